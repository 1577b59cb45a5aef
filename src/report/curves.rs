//! The curves of runs as charts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::Result;
use crate::plot::chart::{Axis, Chart, Layer, Line, Sheet, Stroke};
use crate::run::Run;

/// The points (step, value) of each tag `group/name`.
pub type Curves = BTreeMap<String, Vec<[f64; 2]>>;

/// A curve with what tells it from those that share its chart.
type Named<'a> = (&'a str, &'a [[f64; 2]]);

const METRICS: &str = "metrics.jsonl";
/// What is looked at first.
const LOSS: &str = "train/loss";
const SIZE: (u32, u32) = (560, 300);
/// Points of a line; more are averaged.
const MOST: usize = 400;

/// What the phases of a run logged. Lines that are no JSON are passed over.
pub fn curves(run: &Run) -> Result<Curves> {
    let mut curves = Curves::new();
    let bytes = run.read(METRICS)?.unwrap_or_default();
    for line in bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Map<String, Value>>(line).ok()) {
        let Some(step) = line.get("step").and_then(Value::as_f64) else { continue };
        for (tag, value) in line.iter().filter(|(tag, _)| tag.contains('/')) {
            // Numbers that are not finite are words.
            curves.entry(tag.clone()).or_default().push([step, value.as_f64().unwrap_or(f64::NAN)]);
        }
    }
    Ok(curves)
}

/// A chart of each curve of one run; those whose tags have three parts share one with their like.
pub fn charts(curves: &Curves) -> Vec<Sheet> {
    let mut together = BTreeMap::<&str, Vec<Named>>::new();
    for (tag, points) in curves.iter().filter(|(_, points)| points.len() > 1) {
        let (title, name) = match tag.rsplit_once('/') {
            Some((title, name)) if title.contains('/') => (title, name),
            _ => (tag.as_str(), ""),
        };
        together.entry(title).or_default().push((name, points));
    }
    let sheet = |(title, lines): (&str, Vec<Named>)| match &lines[..] {
        [("", points)] => sheet(title, raw_and_smooth(points, None, 0)),
        _ => sheet(title, lines.iter().enumerate().map(|(i, (name, points))| Line::named(*name, i, smoothed(points))).collect()),
    };
    let mut together: Vec<_> = together.into_iter().collect();
    together.sort_by_key(|(title, _)| (*title != LOSS, *title));
    together.into_iter().map(sheet).collect()
}

/// All of them on one sheet; none where nothing was logged twice.
pub fn curve_sheet(run: &Run) -> Result<Option<Sheet>> {
    let charts: Vec<Chart> = charts(&curves(run)?).into_iter().flat_map(|sheet| sheet.charts).collect();
    Ok((!charts.is_empty()).then_some(Sheet { charts, columns: 2, size: SIZE }))
}

/// A chart of each curve that several runs have, by the names of the runs.
pub fn overlaid(runs: &[(String, Curves)]) -> Vec<Sheet> {
    let mut tags: Vec<&String> = runs.iter().flat_map(|(_, curves)| curves.keys()).collect();
    tags.sort_by_key(|tag| (*tag != LOSS, *tag));
    tags.dedup();
    let of_tag = |tag: &String| {
        let lines = runs.iter().enumerate().filter_map(|(i, (name, curves))| Some((i, name, curves.get(tag).filter(|c| c.len() > 1)?)));
        let layers: Vec<Line> = lines.flat_map(|(i, name, points)| raw_and_smooth(points, Some(name), i)).collect();
        (!layers.is_empty() && tag.matches('/').count() == 1).then(|| sheet(tag, layers))
    };
    tags.into_iter().filter_map(of_tag).collect()
}

fn sheet(title: &str, lines: Vec<Line>) -> Sheet {
    let all = || lines.iter().flat_map(|line| &line.points).map(|point| point[1]).filter(|y| y.is_finite());
    let (least, most) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    // Where numbers differ by much more than a factor of ten, powers of ten are told apart.
    let y = if least > 0.0 && most > 30.0 * least { Axis::logarithmic("") } else { Axis::linear("") };
    let layers = lines.into_iter().map(Layer::Line).collect();
    Sheet::of(Chart { title: title.into(), x: Axis::linear("step"), y, layers, square: false }, SIZE)
}

/// A curve, smooth before its own points, of a run with a name or the only one.
fn raw_and_smooth(points: &[[f64; 2]], name: Option<&str>, colour: usize) -> Vec<Line> {
    let smooth = Line { name: name.map(str::to_owned), points: smoothed(points), stroke: Stroke::Strong(colour) };
    vec![Line::plain(Stroke::Faint(colour), thinned(points)), smooth]
}

/// Means of equal numbers of points, at most [`MOST`] of them.
fn thinned(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mean = |part: &[[f64; 2]]| [0, 1].map(|axis| part.iter().map(|point| point[axis]).sum::<f64>() / part.len() as f64);
    points.chunks(points.len().div_ceil(MOST).max(1)).map(mean).collect()
}

/// The mean over a twentieth of the curve around each point.
fn smoothed(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let thin = thinned(points);
    let reach = thin.len() / 40;
    let mean = |i: usize| {
        // As many on either side, also near the ends.
        let reach = reach.min(i).min(thin.len() - 1 - i);
        let around = thin[i - reach..=i + reach].iter().map(|point| point[1]).filter(|y| y.is_finite());
        let (sum, count) = around.fold((0.0, 0.0), |(sum, count), y| (sum + y, count + 1.0));
        [thin[i][0], sum / count]
    };
    (0..thin.len()).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_curve_stays_straight_and_noise_falls() {
        let straight: Vec<[f64; 2]> = (0..3000).map(|i| [i as f64, 2.0 * i as f64]).collect();
        assert!(smoothed(&straight).iter().all(|[x, y]| (y - 2.0 * x).abs() < 1e-9));
        let noisy: Vec<[f64; 2]> = (0..400).map(|i| [i as f64, if i % 2 == 0 { 1.0 } else { -1.0 }]).collect();
        assert!(smoothed(&noisy)[50..350].iter().all(|[_, y]| y.abs() < 0.1));
        assert_eq!(thinned(&noisy).len(), 400);
        assert_eq!(thinned(&straight).len(), 375);
    }

    #[test]
    fn curves_that_belong_together_share_a_chart() {
        let curve = vec![[0.0, 1.0], [1.0, 2.0]];
        let tags = ["train/loss", "loss/by_log_snr/-5", "loss/by_log_snr/5", "train/grad_norm"];
        let mut curves: Curves = tags.map(|tag| (tag.to_owned(), curve.clone())).into();
        curves.insert("likelihood/nats".into(), vec![[1.0, 1.0]]);
        let titles = |sheets: Vec<Sheet>| sheets.iter().map(|sheet| sheet.charts[0].title.clone()).collect::<Vec<_>>();
        assert_eq!(titles(charts(&curves)), ["train/loss", "loss/by_log_snr", "train/grad_norm"]);
        let runs = [("a".to_owned(), curves.clone()), ("b".to_owned(), Curves::new())];
        assert_eq!(titles(overlaid(&runs)), ["train/loss", "train/grad_norm"]);
    }
}
