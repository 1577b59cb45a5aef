//! The lab's picture: what an evaluation buys.

use std::collections::BTreeMap;

use super::{Distance, Point};
use crate::plot::{Panel, curves_png, curves_svg};

pub(super) const COST: &str = "evaluations of the score per sample";

/// The picture as a PNG file.
pub fn png(points: &[Point], distance: Distance) -> Vec<u8> {
    curves_png(&panels(points, distance), COST)
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
        panel("distance to the accurate solve of the same start points", of(&|point| point.measured.error)),
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
