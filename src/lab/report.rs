//! The lab's results as tables and as advice.

use serde::Serialize;

use super::{Measured, Point};
use crate::metric::Estimate;

/// A line of the table.
#[derive(Serialize)]
struct Line<'a> {
    solver: &'a str,
    steps: &'a str,
    evaluations: f64,
    seconds: f64,
    /// Root mean square distance to the accurate solve.
    error: Option<f64>,
    energy: f64,
    energy_half_width: f64,
    marginal: Option<f64>,
    /// What to write into `[sample]`.
    settings: String,
}

/// `dynamics` and `solver` as lines of an experiment file.
fn settings(point: &Point) -> String {
    #[derive(Serialize)]
    struct Sample<'a> {
        dynamics: &'a crate::sample::DynamicsSpec,
        solver: &'a crate::solver::SolverSpec,
    }
    let value =
        toml::Value::try_from(Sample { dynamics: &point.setting.dynamics, solver: &point.setting.spec }).expect("settings are TOML");
    value.as_table().expect("a struct is a table").iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join("\n")
}

fn line(point: &Point) -> Line<'_> {
    let Point { setting, measured: Measured { evaluations, seconds, error, energy, marginal } } = point;
    Line {
        solver: setting.solver,
        steps: &setting.steps,
        evaluations: *evaluations,
        seconds: *seconds,
        error: *error,
        energy: energy.value,
        energy_half_width: energy.half_width,
        marginal: *marginal,
        settings: settings(point),
    }
}

/// Every point as comma-separated values with a header.
pub fn csv(points: &[Point]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for point in points {
        writer.serialize(line(point)).expect("memory takes everything");
    }
    writer.into_inner().expect("memory takes everything")
}

/// Every point as a Markdown table, by solver, the cheapest first.
pub fn markdown(points: &[Point]) -> String {
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by(|a, b| {
        (a.setting.solver, &a.setting.steps)
            .cmp(&(b.setting.solver, &b.setting.steps))
            .then(a.measured.evaluations.total_cmp(&b.measured.evaluations))
    });
    let known = points.iter().any(|point| point.measured.marginal.is_some());
    let mut text =
        String::from("| solver | steps | evaluations | seconds | distance to the accurate solve | energy distance to the data |");
    text += if known { " largest KS distance |\n" } else { "\n" };
    text += "| --- | --- | ---: | ---: | ---: | ---: |";
    text += if known { " ---: |\n" } else { "\n" };
    for Point { setting, measured: Measured { evaluations, seconds, error, energy, marginal } } in sorted {
        let error = error.map_or("-".into(), |error| format!("{error:.1e}"));
        text += &format!("| {} | {} | {evaluations:.0} | {seconds:.2} | {error} | {} |", setting.solver, setting.steps, bar(energy));
        text += &marginal.map_or("\n".into(), |distance| format!(" {distance:.4} |\n"));
    }
    text
}

fn bar(Estimate { value, half_width, .. }: &Estimate) -> String {
    format!("{value:.1e} ± {half_width:.0e}")
}

/// For each budget of evaluations: the setting that comes closest to the accurate solve, and the one whose samples come closest to the
/// data: the cheapest of those that the best one's interval of confidence does not tell from it.
pub fn recommendations(points: &[Point], budgets: &[usize]) -> String {
    let mut text = String::new();
    for budget in budgets {
        let within: Vec<&Point> = points.iter().filter(|point| point.measured.evaluations <= *budget as f64).collect();
        let accurate = within
            .iter()
            .filter(|point| point.measured.error.is_some())
            .min_by(|a, b| a.measured.error.unwrap_or(f64::NAN).total_cmp(&b.measured.error.unwrap_or(f64::NAN)));
        let least = within.iter().map(|point| point.measured.energy.value + point.measured.energy.half_width).fold(f64::INFINITY, f64::min);
        let faithful = within.iter().filter(|point| point.measured.energy.value <= least).min_by(|a, b| {
            a.measured.evaluations.total_cmp(&b.measured.evaluations).then(a.measured.energy.value.total_cmp(&b.measured.energy.value))
        });
        text += &format!("up to {budget} evaluations\n");
        if let Some(point) = accurate {
            let error = point.measured.error.unwrap_or(f64::NAN);
            text += &format!(
                "  closest to the accurate solve   {} ({}), {:.0} evaluations, off by {error:.1e}\n",
                point.setting.solver, point.setting.steps, point.measured.evaluations
            );
            text += &format!("    {}\n", settings(point).replace('\n', "\n    "));
        }
        if let Some(point) = faithful {
            text += &format!(
                "  closest to the data             {} ({}), {:.0} evaluations, energy distance {}\n",
                point.setting.solver,
                point.setting.steps,
                point.measured.evaluations,
                bar(&point.measured.energy)
            );
            text += &format!("    {}\n", settings(point).replace('\n', "\n    "));
        }
        if within.is_empty() {
            text += "  no setting is this cheap\n";
        }
    }
    text
}
