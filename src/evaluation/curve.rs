//! Comparisons along the checkpoints of a run.

use std::fmt;

use image::RgbImage;
use serde::Serialize;

use super::compare::Measure;
use super::report::Report;
use super::verdict::Verdict;
use crate::plot::chart::{Axis, Chart, Layer, Line, Sheet, Stroke};
use crate::progress::wrapped;

/// The samples of several checkpoints, from the same starts, compared with the same examples.
#[derive(Serialize)]
pub struct Curve {
    /// In the order of their steps.
    pub checkpoints: Vec<OfCheckpoint>,
}

#[derive(Serialize)]
pub struct OfCheckpoint {
    pub step: u64,
    #[serde(flatten)]
    pub report: Report,
}

/// What a table shows.
const SHOWN: [&str; 3] = ["frechet_distance_extrapolated", "energy_distance", "recall"];

impl OfCheckpoint {
    fn measure(&self, metric: &str) -> Option<&Measure> {
        self.report.measures.iter().find(|measure| measure.metric == metric)
    }
}

impl Curve {
    /// Every metric with its intervals, in a panel each.
    pub fn picture(&self) -> RgbImage {
        let metrics = self.checkpoints.first().map_or(&[][..], |first| &first.report.measures[..]);
        let chart = |measure: &Measure| {
            let of = |point: &OfCheckpoint| {
                let Measure { estimate, .. } = point.measure(measure.metric)?;
                Some([point.step as f64, estimate.value, estimate.half_width])
            };
            let points: Vec<[f64; 3]> = self.checkpoints.iter().filter_map(of).collect();
            let line = Line::plain(Stroke::Faint(0), points.iter().map(|&[step, value, _]| [step, value]).collect());
            let layers = measure.equal_laws.map(Layer::Level).into_iter().chain([Layer::Line(line), Layer::Intervals(points)]).collect();
            let title = format!("{} with its 95 % interval", measure.name);
            Chart { title, x: Axis::linear("training steps"), y: Axis::linear(""), layers, square: false }
        };
        Sheet { charts: metrics.iter().map(chart).collect(), columns: 2, size: (560, 240) }.picture()
    }

    /// The checkpoint that is best by a metric, and those that can't be told from it; none where no value is the better one.
    fn best(&self, metric: &str) -> Option<(u64, Vec<u64>)> {
        let measures: Vec<(u64, &Measure)> =
            self.checkpoints.iter().filter_map(|point| Some((point.step, point.measure(metric)?))).collect();
        let better = |a: &Measure, c: &Measure| Verdict::of(a, c).map(|verdict| verdict.difference.value);
        let (step, best) = measures.iter().copied().reduce(|a, c| if better(c.1, a.1) > Some(0.0) { c } else { a })?;
        let tied = |(other, measure): &(u64, &Measure)| {
            let difference = Verdict::of(best, measure)?.difference;
            (*other != step && difference.value <= difference.half_width).then_some(*other)
        };
        better(best, best).map(|_| (step, measures.iter().filter_map(tied).collect()))
    }
}

/// A number of four digits.
fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e4).contains(&size) => format!("{x:.*}", (3 - size.log10().floor() as i32).max(0) as usize),
        _ => format!("{x:.2e}"),
    }
}

/// A table of 80 columns, but for names that are longer.
impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Some(OfCheckpoint { report, .. }) = self.checkpoints.first() else { return Ok(()) };
        report.sides(f)?;
        let name = |metric| report.measures.iter().find(|measure| measure.metric == metric).map_or(metric, |measure| measure.name);
        writeln!(f, "\n{:<12}{:>24}{:>24}{:>20}", "step", name(SHOWN[0]), name(SHOWN[1]), name(SHOWN[2]))?;
        for point in &self.checkpoints {
            write!(f, "{:<12}", point.step)?;
            for (metric, width) in SHOWN.into_iter().zip([24, 24, 20]) {
                let shown = point
                    .measure(metric)
                    .map(|Measure { estimate, .. }| format!("{} ± {}", short(estimate.value), short(estimate.half_width)));
                write!(f, "{:>width$}", shown.unwrap_or("-".into()))?;
            }
            writeln!(f)?;
        }
        writeln!(f)?;
        for Measure { metric, name, .. } in &report.measures {
            let Some((step, tied)) = self.best(metric) else { continue };
            let others = match &tied[..] {
                [] => "better than every other".to_owned(),
                tied => format!("not to be told from {}", tied.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
            };
            let line = format!("{name:<26}step {step}, {others}");
            writeln!(f, "{}", wrapped(&line, "", &" ".repeat(26)))?;
        }
        Ok(())
    }
}
