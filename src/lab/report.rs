//! The lab's results as tables and as advice.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

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
    /// Root mean square distance of pairs to the accurate solve.
    error: Option<f64>,
    error_half_width: Option<f64>,
    /// Energy distance to the ends of the accurate solve, of paths with noise.
    energy: Option<f64>,
    energy_half_width: Option<f64>,
    /// Either as a share of their standard deviation, and the ends of its interval.
    share: f64,
    least_share: f64,
    most_share: f64,
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
    let Point { setting, measured } = point;
    let Measured { evaluations, seconds, paired, off, share, least_share, most_share, from_data, marginal } = measured;
    let [pairs, laws] = [*paired, !paired].map(|is| Some(*off).filter(|_| is));
    Line {
        solver: setting.solver,
        steps: &setting.steps,
        evaluations: *evaluations,
        seconds: *seconds,
        error: pairs.map(|off| off.value),
        error_half_width: pairs.map(|off| off.half_width),
        energy: laws.map(|off| off.value),
        energy_half_width: laws.map(|off| off.half_width),
        share: *share,
        least_share: *least_share,
        most_share: *most_share,
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
    let mut text = format!("| solver | steps | evaluations | seconds | off the accurate solve | {name} to the data |");
    text += if known { " largest KS distance |\n" } else { "\n" };
    text += "| --- | --- | ---: | ---: | ---: | ---: |";
    text += if known { " ---: |\n" } else { "\n" };
    for Point { setting, measured: Measured { evaluations, seconds, paired, off, from_data, marginal, .. } } in sorted {
        let off = format!("{}{}", bar(off), if *paired { "" } else { " (energy)" });
        text += &format!("| {} | {} | {evaluations:.0} | {seconds:.2} | {off} | {} |", setting.solver, setting.steps, bar(from_data));
        text += &marginal.map_or("\n".into(), |distance| format!(" {distance:.4} |\n"));
    }
    text
}

fn bar(Estimate { value, half_width, .. }: &Estimate) -> String {
    format!("{value:.1e} ± {half_width:.0e}")
}

/// What is best up to a number of evaluations.
pub struct Advice<'a> {
    pub budget: usize,
    /// The closest to the accurate solve, pair by pair.
    pub without_noise: Option<Advised<'a>>,
    /// The closest to its law, and of those that these samples don't tell from it the one with the most evaluations.
    pub with_noise: Option<Advised<'a>>,
}

/// The best of some settings.
pub struct Advised<'a> {
    pub point: &'a Point,
    /// Those that the intervals do not tell from the closest.
    pub ties: Vec<&'a Point>,
}

/// An error beyond this share of the samples' standard deviation changes what they look like.
const FAR: f64 = 0.05;

impl Advised<'_> {
    /// Whether it is so far off that samples look otherwise, or may be twice as far: then it is no advice.
    pub fn is_far(&self) -> bool {
        let Measured { least_share, most_share, .. } = self.point.measured;
        least_share > FAR || most_share > 2.0 * FAR
    }
}

/// The best settings for each budget of evaluations.
pub fn advise<'a>(points: &'a [Point], budgets: &[usize]) -> Vec<Advice<'a>> {
    let best = |budget: usize, paired: bool| {
        let within = |point: &&Point| point.measured.paired == paired && point.measured.evaluations <= budget as f64;
        let cost = |point: &Point| (point.measured.off.value, point.measured.evaluations);
        let mut all: Vec<&Point> = points.iter().filter(within).collect();
        all.sort_by(|a, b| cost(a).0.total_cmp(&cost(b).0).then(cost(a).1.total_cmp(&cost(b).1)));
        let (point, others) = all.split_first()?;
        let is_tied = |other: &&Point| {
            let further = other.measured.off.minus(&point.measured.off);
            further.value <= further.half_width
        };
        let mut tied: Vec<&Point> = std::iter::once(*point).chain(others.iter().copied().filter(is_tied)).collect();
        // Which of some laws that can't be told apart comes out first is chance; more evaluations are safer.
        let most = (0..tied.len()).max_by(|a, b| cost(tied[*a]).1.total_cmp(&cost(tied[*b]).1).then(b.cmp(a))).filter(|_| !paired);
        let point = tied.remove(most.unwrap_or(0));
        Some(Advised { point, ties: tied })
    };
    budgets.iter().map(|&budget| Advice { budget, without_noise: best(budget, true), with_noise: best(budget, false) }).collect()
}

/// The advice for people.
pub fn recommendations(advice: &[Advice], distance: Distance) -> String {
    let mut text = String::new();
    for Advice { budget, without_noise, with_noise } in advice {
        text += &format!("up to {budget} evaluations\n");
        if without_noise.is_none() && with_noise.is_none() {
            text += "  no setting is this cheap\n";
        }
        let both = [("without noise", without_noise), ("with noise", with_noise)];
        for (what, advised) in both.into_iter().filter_map(|(what, advised)| Some((what, advised.as_ref()?))) {
            let Point { setting, measured } = advised.point;
            let most = 100.0 * measured.most_share;
            text += &format!("  {what:<14} {} ({}), {:.0} evaluations\n", setting.solver, setting.steps, measured.evaluations);
            text += &format!("    {}\n", settings(advised.point).replace('\n', "\n    "));
            let (kind, data) = (if measured.paired { "" } else { "energy distance " }, bar(&measured.from_data));
            text += &format!("    off the accurate solve by {kind}{}, at most {most:.2} % of a standard deviation\n", bar(&measured.off));
            text += &format!("    {} to the data {data}\n", distance.name());
            if advised.is_far() {
                text += "    not advised: so far off, samples look otherwise; take more evaluations (or --count)\n";
            }
            text += &others(&advised.ties);
        }
    }
    text
}

/// All points and the advice, as JSON.
pub fn advice_as_json(points: &[Point], advice: &[Advice]) -> Value {
    let of = |advised: &Advised| {
        let ties: Vec<Line> = advised.ties.iter().map(|point| line(point)).collect();
        json!({ "setting": line(advised.point), "advised": !advised.is_far(), "ties": ties })
    };
    let budgets: Vec<Value> = advice
        .iter()
        .map(|Advice { budget, without_noise, with_noise }| {
            json!({ "evaluations": budget, "without_noise": without_noise.as_ref().map(of), "with_noise": with_noise.as_ref().map(of) })
        })
        .collect();
    json!({ "settings": points.iter().map(line).collect::<Vec<_>>(), "advice": budgets })
}

/// The settings that can't be told from the one that is advised.
fn others(tied: &[&Point]) -> String {
    let names: BTreeSet<&str> = tied.iter().map(|point| point.setting.solver).collect();
    if names.is_empty() {
        return "    no other is as close\n".into();
    }
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    let line = format!("not to be told from it by these samples: {} other settings, of {names}", tied.len());
    wrapped(&line, "    ", "      ") + "\n"
}
