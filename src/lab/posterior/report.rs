//! The verdicts as tables and as a picture.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Measured, Point, Verdict};
use crate::lab::picture::{COST, panel};
use crate::metric::{Estimate, Uniformity};
use crate::plot::{Panel, curves_png};

/// A line of the table.
#[derive(Serialize)]
struct Line<'a> {
    method: &'a str,
    solver: &'a str,
    steps: &'a str,
    evaluations: f64,
    seconds: f64,
    coverage_50: f64,
    coverage_50_half_width: f64,
    coverage_90: f64,
    coverage_90_half_width: f64,
    energy: Option<f64>,
    energy_half_width: Option<f64>,
    classifier: Option<f64>,
    classifier_half_width: Option<f64>,
    rank_chi_square: f64,
    rank_freedom: usize,
    rank_p: f64,
}

impl Point {
    fn method(&self) -> &'static str {
        self.trial.as_ref().map_or("exact", |trial| trial.name)
    }

    fn line(&self) -> Line<'_> {
        let Measured { evaluations, seconds, verdict: Verdict { coverage: [half, most], energy, classifier, ranks } } = &self.measured;
        Line {
            method: self.method(),
            solver: self.trial.as_ref().map_or("-", |trial| trial.setting.solver),
            steps: self.trial.as_ref().map_or("-", |trial| &trial.setting.steps),
            evaluations: *evaluations,
            seconds: *seconds,
            coverage_50: half.value,
            coverage_50_half_width: half.half_width,
            coverage_90: most.value,
            coverage_90_half_width: most.half_width,
            energy: energy.map(|energy| energy.value),
            energy_half_width: energy.map(|energy| energy.half_width),
            classifier: classifier.map(|classifier| classifier.value),
            classifier_half_width: classifier.map(|classifier| classifier.half_width),
            rank_chi_square: ranks.chi_square,
            rank_freedom: ranks.freedom,
            rank_p: ranks.p,
        }
    }

    /// The columns of a table for people: shares in percent.
    fn columns(&self) -> [String; 8] {
        let Line { method, solver, evaluations, .. } = self.line();
        let Verdict { coverage: [half, most], energy, classifier, ranks } = &self.measured.verdict;
        let percent = |Estimate { value, half_width, .. }: &Estimate| format!("{:.0}({:.0})", 100.0 * value, (100.0 * half_width).ceil());
        let p = |Uniformity { p, .. }: &Uniformity| if *p < 0.001 { "<.001".into() } else { format!("{p:.3}") };
        let evaluations = format!("{evaluations:.0}");
        let known = |column: Option<String>| column.unwrap_or_else(|| "-".into());
        let energy = known(energy.map(|energy| bar(energy.value, energy.half_width)));
        let classifier = known(classifier.as_ref().map(percent));
        [method.into(), solver.into(), evaluations, percent(half), percent(most), energy, classifier, p(ranks)]
    }
}

/// A number with the half width of its interval in units of its last digit: 0.076(4).
fn bar(value: f64, half_width: f64) -> String {
    let digits = if half_width > 0.0 { (-half_width.log10().floor()).clamp(0.0, 9.0) as usize } else { 3 };
    format!("{value:.digits$}({:.0})", half_width * 10f64.powi(digits as i32))
}

const COLUMNS: [&str; 8] = ["method", "solver", "evals", "50 %", "90 %", "energy", "C2ST", "SBC p"];

/// The files of the results, by name.
pub fn files(points: &[Point]) -> [(&'static str, Vec<u8>); 4] {
    [
        ("posterior.csv", csv(points)),
        ("posterior.json", format!("{:#}", as_json(points)).into_bytes()),
        ("posterior.md", markdown(points).into_bytes()),
        ("posterior.png", picture(points)),
    ]
}

/// Every point in 80 columns.
pub fn table(points: &[Point]) -> String {
    let line = |[method, solver, evaluations, half, most, energy, classifier, p]: [&str; 8]| {
        format!("{method:<15} {solver:<21} {evaluations:>5} {half:>6} {most:>6} {energy:>9} {classifier:>6} {p:>5}\n")
    };
    let of = |point: &Point| line(point.columns().each_ref().map(String::as_str));
    line(COLUMNS) + &points.iter().map(of).collect::<String>()
}

/// Every point as a Markdown table.
fn markdown(points: &[Point]) -> String {
    let mut text = format!("| {} |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n", COLUMNS.join(" | "));
    points.iter().for_each(|point| text += &format!("| {} |\n", point.columns().join(" | ")));
    text
}

/// Every point as comma-separated values with a header.
fn csv(points: &[Point]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    points.iter().for_each(|point| writer.serialize(point.line()).expect("memory takes everything"));
    writer.into_inner().expect("memory takes everything")
}

/// Every point with its method and solver as an experiment has them.
pub fn as_json(points: &[Point]) -> Value {
    points.iter().map(|Point { trial, measured }| json!({ "trial": trial, "measured": measured })).collect()
}

/// What an evaluation buys, each method by the solver that serves it best, as a PNG file.
fn picture(points: &[Point]) -> Vec<u8> {
    let exact = points.iter().find(|point| point.trial.is_none()).map(|exact| &exact.measured.verdict);
    let curve = |title, distance: &dyn Fn(&Verdict) -> f64| -> Panel {
        let served = |point: &&Point| point.trial.is_some() && best_solver(points, point.method()) == Some(point.line().solver);
        let of = |point: &Point| (point.method(), point.measured.evaluations, Some(distance(&point.measured.verdict)));
        panel(title, points.iter().filter(served).map(of))
    };
    let above = |estimate: Option<Estimate>, truth: f64, chance: Option<Estimate>| {
        estimate.map_or(0.0, |estimate| (estimate.value - truth).max(chance.map_or(0.0, |chance| chance.half_width)))
    };
    let panels = match exact {
        Some(exact) => [
            curve("energy distance to the posterior, down to what chance leaves", &|own| above(own.energy, 0.0, exact.energy)),
            curve("C2ST accuracy above 1/2, down to what chance leaves", &|own| above(own.classifier, 0.5, exact.classifier)),
        ],
        None => [
            curve("distance of the 50 % coverage from 1/2, down to its interval", &|own| off(&own.coverage[0], 0.5)),
            curve("distance of the 90 % coverage from 9/10, down to its interval", &|own| off(&own.coverage[1], 0.9)),
        ],
    };
    curves_png(&panels, COST)
}

/// How far a coverage is from what it should be, or half of its interval where that is more.
fn off(coverage: &Estimate, level: f64) -> f64 {
    (coverage.value - level).abs().max(coverage.half_width)
}

/// The solver by which a method comes nearest to the posterior.
fn best_solver<'a>(points: &'a [Point], method: &str) -> Option<&'a str> {
    let own = points.iter().filter(|point| point.method() == method);
    let distance = |point: &Point| {
        let Verdict { coverage, energy, .. } = &point.measured.verdict;
        energy.map_or_else(|| off(&coverage[0], 0.5), |energy| energy.value)
    };
    own.min_by(|a, b| distance(a).total_cmp(&distance(b))).map(|point| point.line().solver)
}
