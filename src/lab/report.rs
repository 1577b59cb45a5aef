//! The lab's results as tables and as advice.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Distance, Measured, Point};
use crate::metric::Estimate;
use crate::progress::wrapped;

/// A line of the table.
#[derive(Serialize)]
struct Line<'a> {
    solver: &'a str,
    steps: &'a str,
    evaluations: f64,
    seconds: f64,
    /// Root mean square distance to the accurate solve.
    error: Option<f64>,
    from_data: f64,
    from_data_half_width: f64,
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
    let Point { setting, measured: Measured { evaluations, seconds, error, from_data, marginal, .. } } = point;
    Line {
        solver: setting.solver,
        steps: &setting.steps,
        evaluations: *evaluations,
        seconds: *seconds,
        error: *error,
        from_data: from_data.value,
        from_data_half_width: from_data.half_width,
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
pub fn markdown(points: &[Point], distance: Distance) -> String {
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by(|a, b| {
        (a.setting.solver, &a.setting.steps)
            .cmp(&(b.setting.solver, &b.setting.steps))
            .then(a.measured.evaluations.total_cmp(&b.measured.evaluations))
    });
    let known = points.iter().any(|point| point.measured.marginal.is_some());
    let name = distance.name();
    let mut text = format!("| solver | steps | evaluations | seconds | distance to the accurate solve | {name} to the data |");
    text += if known { " largest KS distance |\n" } else { "\n" };
    text += "| --- | --- | ---: | ---: | ---: | ---: |";
    text += if known { " ---: |\n" } else { "\n" };
    for Point { setting, measured: Measured { evaluations, seconds, error, from_data, marginal, .. } } in sorted {
        let error = error.map_or("-".into(), |error| format!("{error:.1e}"));
        text += &format!("| {} | {} | {evaluations:.0} | {seconds:.2} | {error} | {} |", setting.solver, setting.steps, bar(from_data));
        text += &marginal.map_or("\n".into(), |distance| format!(" {distance:.4} |\n"));
    }
    text
}

fn bar(Estimate { value, half_width, .. }: &Estimate) -> String {
    format!("{value:.1e} ± {half_width:.0e}")
}

/// For each budget of evaluations: the setting that comes closest to the accurate solve; and of those whose samples come closest to the data, which
/// the best one's interval does not tell from it, the one that is closest to the accurate solve, and the names of the others.
pub fn recommendations(points: &[Point], budgets: &[usize], distance: Distance) -> String {
    let mut text = String::new();
    for budget in budgets {
        let within: Vec<&Point> = points.iter().filter(|point| point.measured.evaluations <= *budget as f64).collect();
        text += &format!("up to {budget} evaluations\n");
        if within.is_empty() {
            text += "  no setting is this cheap\n";
        }
        let error = |point: &Point| point.measured.error.unwrap_or(f64::INFINITY);
        let nearest = |points: &[&Point]| -> Option<usize> {
            let cost = |i: &usize| (error(points[*i]), points[*i].measured.evaluations);
            (0..points.len()).min_by(|a, b| cost(a).0.total_cmp(&cost(b).0).then(cost(a).1.total_cmp(&cost(b).1)))
        };
        if let Some(point) = nearest(&within).map(|i| within[i]).filter(|point| point.measured.error.is_some()) {
            text += &advice("closest to the accurate solve", point, &format!("off by {:.1e}", error(point)));
            text += &far(point);
        }
        let least =
            within.iter().map(|point| point.measured.from_data.value + point.measured.from_data.half_width).fold(f64::INFINITY, f64::min);
        let mut tied: Vec<&Point> = within.iter().copied().filter(|point| point.measured.from_data.value <= least).collect();
        if let Some(i) = nearest(&tied) {
            let point = tied.remove(i);
            text += &advice("closest to the data", point, &format!("{} {}", distance.name(), bar(&point.measured.from_data)));
            text += &far(point);
            text += &others(&tied);
        }
    }
    text
}

/// An error beyond this share of the samples' standard deviation changes what they look like.
const FAR: f64 = 0.05;

/// That a setting is no advice, if it is none: few samples may not tell a wrong law from the data's.
fn far(point: &Point) -> String {
    match point.measured.relative_error.filter(|error| *error > FAR) {
        None => String::new(),
        Some(error) => {
            format!("    not advised: {:.0} % of a standard deviation off the accurate solve; take more evaluations\n", 100.0 * error)
        }
    }
}

fn advice(what: &str, point: &Point, number: &str) -> String {
    let Point { setting, measured } = point;
    let settings = settings(point).replace('\n', "\n    ");
    format!("  {what:<31} {} ({}), {:.0} evaluations, {number}\n    {settings}\n", setting.solver, setting.steps, measured.evaluations)
}

/// The settings that can't be told from the one that is advised.
fn others(tied: &[&Point]) -> String {
    let names: BTreeSet<&str> = tied.iter().map(|point| point.setting.solver).collect();
    let names = match names.is_empty() {
        true => return "    no other is as close\n".into(),
        false => names.into_iter().collect::<Vec<_>>().join(", "),
    };
    let line = format!("not to be told from it by these samples: {} other settings, of {names}", tied.len());
    wrapped(&line, "    ", "      ") + "\n"
}
