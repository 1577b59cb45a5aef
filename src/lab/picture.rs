//! The lab's picture: what an evaluation buys.

use std::collections::BTreeMap;

use image::RgbImage;
use tch::{Device, Tensor};

use super::{Advice, Distance, Point, Starts};
use crate::error::Result;
use crate::plot::{self, Panel, curves, curves_svg};
use crate::tensor::to_vec;

pub(super) const COST: &str = "evaluations of the score per sample";

/// What is drawn of samples: images, or points of the plane.
const IMAGES: i64 = 16;
const POINTS: i64 = 2000;
/// Advised settings whose samples are drawn.
const DRAWN: usize = 6;

/// Samples below a title, in data units.
pub struct Shown {
    title: String,
    x: Tensor,
}

/// The data, the ends of the accurate solve, and those of the settings that are advised, from the same start points. `to_data` brings points of
/// model space into data units. Error: a solve fails.
pub fn samples(starts: &Starts, advice: &[Advice], to_data: impl Fn(&Tensor) -> Tensor) -> Result<Vec<Shown>> {
    let _no_grad = tch::no_grad_guard();
    let most = if starts.world.shape.len() == 3 { IMAGES } else { POINTS };
    let some = |x: &Tensor| x.narrow(0, 0, x.size()[0].min(most));
    let shown = |title: String, x: &Tensor| Shown { title, x: to_data(&x.to_device(Device::Cpu)) };
    let accurate = some(starts.accurate()?);
    let mut all = vec![shown("data".into(), &some(&starts.world.data)), shown("accurate solve".into(), &accurate)];
    let mut drawn: Vec<&Point> = Vec::new();
    for advised in
        advice.iter().flat_map(|advice| [&advice.without_noise, &advice.with_noise]).flatten().filter(|advised| !advised.is_far())
    {
        if drawn.len() < DRAWN && !drawn.iter().any(|point| std::ptr::eq(*point, advised.point)) {
            let Point { setting, measured } = advised.point;
            drawn.push(advised.point);
            let title = format!("{}, {:.0} evaluations", setting.solver, measured.evaluations);
            all.push(shown(title, &starts.solve_some(setting, accurate.size()[0])?));
        }
    }
    Ok(all)
}

/// The picture as a PNG file: what evaluations buy, above samples.
pub fn png(points: &[Point], distance: Distance, samples: &[Shown]) -> Vec<u8> {
    plot::png(&plot::stacked(&[curves(&panels(points, distance), COST), drawn(samples)]))
}

/// Images in a row of each kind, whose titles the first of them stand for; points of the plane in a plot of each.
fn drawn(samples: &[Shown]) -> RgbImage {
    let first = &samples[0].x;
    if let [_, c, h, w] = first.size()[..] {
        let few = samples.iter().map(|shown| shown.x.size()[0]).min().unwrap_or(0);
        let rows: Vec<Tensor> = samples.iter().map(|shown| shown.x.narrow(0, 0, few)).collect();
        let pixels: Vec<u8> = Vec::try_from(Tensor::cat(&rows, 0).contiguous().view(-1)).expect("pixels are bytes");
        let grid = plot::strips(&pixels, &[rows.len() * few as usize, c as usize, h as usize, w as usize], few as usize);
        let titles: Vec<&str> = samples.iter().map(|shown| &*shown.title).collect();
        return plot::stacked(&[plot::caption(&format!("rows: {}", titles.join("; "))), grid]);
    }
    let points = |x: &Tensor| {
        let columns = if x.size()[1] > 1 { x.narrow(1, 0, 2) } else { x.repeat([1, 2]) };
        to_vec(&columns).chunks(2).map(|point| [point[0], point[1]]).collect::<Vec<_>>()
    };
    plot::scatters_alike(&samples.iter().map(|shown| (shown.title.clone(), points(&shown.x))).collect::<Vec<_>>(), 4)
}

/// The picture as an SVG file.
pub fn svg(points: &[Point], distance: Distance) -> String {
    curves_svg(&panels(points, distance), COST)
}

fn panels(points: &[Point], distance: Distance) -> [Panel; 2] {
    // What samples of the very law would show: half of the interval of the most faithful setting.
    let faithful = points.iter().min_by(|a, b| a.measured.from_data.value.abs().total_cmp(&b.measured.from_data.value.abs()));
    let chance = faithful.map_or(0.0, |point| point.measured.from_data.half_width);
    let of = |far: &dyn Fn(&Point) -> Option<f64>| {
        points.iter().map(|point| (point.setting.solver, point.measured.evaluations, far(point))).collect::<Vec<_>>()
    };
    [
        panel("off the accurate solve, in standard deviations", of(&|point| Some(point.measured.share))),
        panel(
            format!("{} to the data, down to what chance leaves", distance.name()),
            of(&|point| Some(point.measured.from_data.value.max(chance))),
        ),
    ]
}

/// For each name the best distance for each number of evaluations, but for distances a hundred times the median and more. Points are names,
/// evaluations and distances.
pub(super) fn panel(title: impl Into<String>, points: impl IntoIterator<Item = (&'static str, f64, Option<f64>)>) -> Panel {
    let mut curves: BTreeMap<&'static str, Vec<(f64, f64)>> = BTreeMap::new();
    for (name, evaluations, distance) in points {
        let Some(y) = distance.filter(|y| *y > 0.0 && y.is_finite()) else { continue };
        let curve = curves.entry(name).or_default();
        match curve.iter_mut().find(|(x, _)| *x == evaluations) {
            Some((_, best)) => *best = best.min(y),
            None => curve.push((evaluations, y)),
        }
    }
    // A setting that is much worse than most is no use: it would only flatten the rest.
    let mut distances: Vec<f64> = curves.values().flatten().map(|point| point.1).collect();
    distances.sort_by(f64::total_cmp);
    let most = 100.0 * distances.get(distances.len() / 2).copied().unwrap_or(0.0);
    curves.values_mut().for_each(|curve| {
        curve.retain(|point| point.1 < most);
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    });
    curves.retain(|_, curve| !curve.is_empty());
    Panel { title: title.into(), curves }
}
