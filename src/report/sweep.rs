//! What the runs of a sweep came to: a row for each choice of values, over its seeds, and which is best.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::curves::{Curves, curves, overlaid};
use super::page::{Block, Figure, Page, Section, Table};
use super::results;
use crate::error::Result;
use crate::metric::{Estimate, number};
use crate::progress::columns;
use crate::run::Run;

/// The key whose values are repeats.
const SEED: &str = "seed";

/// A run of a sweep, with the values that it was given.
pub struct Swept<'a> {
    pub values: Vec<(String, String)>,
    pub run: &'a Run,
}

/// All of a sweep.
#[derive(Debug, Serialize)]
pub struct SweepTable {
    /// By what runs are judged, smaller being better: `nats`, `bits_per_dim`, a distance of the comparison with data, or `train/loss` at its end.
    pub by: String,
    pub rows: Vec<Row>,
    /// The row with the smallest mean.
    pub best: Option<usize>,
    /// How sure that is, against the next one.
    pub sentence: Option<String>,
}

/// The repeats of one choice of values.
#[derive(Debug, Serialize)]
pub struct Row {
    pub values: Vec<(String, String)>,
    /// The number of each seed, by its value; of the only run, by "".
    pub of_seeds: BTreeMap<String, f64>,
    /// Their mean with the interval over seeds, or the interval of the only run's own number.
    pub mean: Estimate,
}

/// The rows of some runs. A run without the number by which others are judged has no part in it.
pub fn sweep_table(runs: &[Swept]) -> Result<SweepTable> {
    let measured = runs.iter().map(|swept| numbers(swept.run)).collect::<Result<Vec<_>>>()?;
    let by =
        measured.iter().flatten().map(|(name, _)| name).find(|name| measured.iter().all(|of| of.iter().any(|(other, _)| other == *name)));
    let by = by.cloned().unwrap_or_else(|| "nothing".into());
    let mut rows: Vec<(Row, Vec<Estimate>)> = Vec::new();
    for (swept, of) in runs.iter().zip(&measured) {
        let Some((_, estimate)) = of.iter().find(|(name, _)| *name == by) else { continue };
        let (seed, values): (Vec<_>, Vec<_>) = swept.values.iter().cloned().partition(|(key, _)| key == SEED);
        let place = rows.iter().position(|(row, _)| row.values == values).unwrap_or_else(|| {
            rows.push((Row { values, of_seeds: BTreeMap::new(), mean: *estimate }, Vec::new()));
            rows.len() - 1
        });
        let seed = seed.into_iter().next().map_or(String::new(), |(_, seed)| seed);
        rows[place].0.of_seeds.insert(seed, estimate.value);
        rows[place].1.push(*estimate);
    }
    let rows: Vec<Row> = rows.into_iter().map(|(row, of)| Row { mean: mean(&of), ..row }).collect();
    let mut order: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].mean.value.is_finite()).collect();
    order.sort_by(|&i, &j| rows[i].mean.value.total_cmp(&rows[j].mean.value));
    let sentence = match order[..] {
        [first, second, ..] => Some(rows[first].against(&rows[second])),
        _ => None,
    };
    Ok(SweepTable { by, best: order.first().copied(), rows, sentence })
}

fn mean(of: &[Estimate]) -> Estimate {
    match of {
        [only] => *only,
        several => Estimate::of_mean(&several.iter().map(|estimate| estimate.value).collect::<Vec<_>>()),
    }
}

/// What a run can be judged by, the best first.
fn numbers(run: &Run) -> Result<Vec<(String, Estimate)>> {
    let mut found = Vec::new();
    if let Some(says) = results::read(run, "likelihood.json")? {
        let unit = results::unit(&says);
        found.extend(results::estimate(&says[unit]).map(|estimate| (unit.to_owned(), estimate)));
    }
    if let Some(says) = results::read(run, "evaluation.json")? {
        let distances = says["measures"].as_array().into_iter().flatten().filter(|measure| measure["better"] == "smaller");
        let named = distances.filter_map(|of| Some((of["metric"].as_str()?.to_owned(), serde_json::from_value(of.clone()).ok()?)));
        found.extend(named);
    }
    found.extend(last(&curves(run)?).map(|loss| ("train/loss".to_owned(), loss)));
    Ok(found)
}

/// The mean of the last tenth of the training loss.
fn last(curves: &Curves) -> Option<Estimate> {
    let points = curves.get("train/loss")?;
    let last: Vec<f64> = points[points.len() - points.len().div_ceil(10)..].iter().map(|point| point[1]).collect();
    let value = last.iter().sum::<f64>() / last.len() as f64;
    Some(if last.len() > 1 { Estimate::of_mean(&last) } else { Estimate::new(value, f64::NAN) })
}

impl Row {
    fn name(&self) -> String {
        match self.values.is_empty() {
            true => "all seeds".into(),
            false => self.values.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "),
        }
    }

    /// Whether this one is better than another, by the seeds that both have, pair by pair, or else by their means.
    fn against(&self, other: &Row) -> String {
        let pairs: Vec<f64> = self.of_seeds.iter().filter_map(|(seed, x)| Some(other.of_seeds.get(seed)? - x)).collect();
        let (gain, of) = match pairs.len() > 1 {
            true => (Estimate::of_mean(&pairs), "seeds"),
            false => (other.mean.minus(&self.mean), "examples"),
        };
        gain.sentence(&self.name(), &other.name(), of)
    }
}

impl SweepTable {
    fn head(&self) -> Vec<String> {
        let keys = self.rows.first().map(|row| &row.values[..]).unwrap_or_default().iter().map(|(key, _)| key.clone());
        keys.chain([self.by.replace('_', " "), "95 % interval".into(), "runs".into(), String::new()]).collect()
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let of = |(i, row): (usize, &Row)| {
            let half_width = if row.mean.half_width.is_finite() { format!("± {}", number(row.mean.half_width)) } else { "-".into() };
            let best = if self.best == Some(i) { "best" } else { "" };
            let values = row.values.iter().map(|(_, value)| value.clone());
            values.chain([number(row.mean.value), half_width, row.of_seeds.len().to_string(), best.into()]).collect::<Vec<_>>()
        };
        self.rows.iter().enumerate().map(of).collect()
    }

    /// With the curves of every run.
    pub fn page(&self, runs: &[Swept], experiment: &str) -> Result<Page> {
        let name = |swept: &Swept| swept.values.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
        let of_runs = runs.iter().map(|swept| Ok((name(swept), curves(swept.run)?))).collect::<Result<Vec<_>>>()?;
        let mut outcome = Section::new("Results");
        outcome.table(Table { head: self.head(), rows: self.cells() });
        outcome.blocks.extend(self.sentence.iter().map(|sentence| Block::Text(format!("{sentence}."))));
        let mut section = Section::new("Curves");
        section.charts(overlaid(&of_runs));
        Ok(Page {
            title: format!("Sweep of {experiment}"),
            subtitle: format!("judged by {}, smaller being better", self.by.replace('_', " ")),
            figures: vec![Figure::new("runs", runs.len().to_string())],
            sections: vec![outcome, section],
        })
    }
}

impl fmt::Display for SweepTable {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", columns(&[&[self.head()][..], &self.cells()].concat()))?;
        self.sentence.iter().try_for_each(|sentence| writeln!(f, "\n{sentence}"))
    }
}
