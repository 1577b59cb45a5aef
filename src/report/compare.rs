//! Several runs compared: in what their experiments differ, their curves, and what came of them.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::curves::{curves, overlaid};
use super::page::{Block, Page, Section, Table};
use super::{facts, results};
use crate::data::read_array;
use crate::error::{Error, Result};
use crate::metric::Estimate;
use crate::progress::{columns, wrapped};
use crate::run::{Overview, Run};

/// What is known of several runs beside each other.
#[derive(Serialize)]
pub struct Comparison {
    /// Names that tell them apart.
    pub names: Vec<String>,
    pub runs: Vec<Overview>,
    /// A row for each key in which they differ: the key, and its value in each.
    pub differences: Vec<Vec<String>>,
    pub judgements: Vec<Judgement>,
    #[serde(skip)]
    sheets: Vec<crate::plot::chart::Sheet>,
}

/// Two runs by one number.
#[derive(Serialize)]
pub struct Judgement {
    /// `nats`, `bits_per_dim`, or a metric of the comparison with data.
    pub metric: String,
    /// Which two, by their places.
    pub of: [usize; 2],
    /// By how much the second is better than the first: below 0 where it is worse.
    pub gain: Estimate,
    /// Whether both are of the same examples, so that what these have in common falls out.
    pub paired: bool,
    pub sentence: String,
}

/// Compares runs, at least two; the first is what the others are judged by.
///
/// Error: a file of a run can't be read.
pub fn compare(runs: &[Run]) -> Result<Comparison> {
    if runs.len() < 2 {
        let help = "name two runs or more: score-sde compare runs/a runs/b".into();
        return Err(Error::Usage { message: "one run alone can't be compared".into(), help });
    }
    let names = names(runs);
    let curves = names.iter().cloned().zip(runs).map(|(name, run)| Ok((name, curves(run)?))).collect::<Result<Vec<_>>>()?;
    let mut judgements = Vec::new();
    for i in 1..runs.len() {
        judgements.extend(likelihoods(runs, [0, i], &names)?);
        judgements.extend(evaluations(runs, [0, i], &names)?);
    }
    Ok(Comparison {
        runs: runs.iter().map(Run::overview).collect::<Result<_>>()?,
        differences: facts::differences(&runs.iter().collect::<Vec<_>>())?,
        judgements,
        sheets: overlaid(&curves),
        names,
    })
}

/// The ends of paths, as long as need be to tell them apart.
fn names(runs: &[Run]) -> Vec<String> {
    let end = |run: &Run, parts: usize| {
        let all: Vec<_> = run.path().components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        all[all.len().saturating_sub(parts)..].join("/")
    };
    let longest = runs.iter().map(|run| run.path().components().count()).max().unwrap_or(1);
    let of = |parts: usize| runs.iter().map(|run| end(run, parts)).collect::<Vec<_>>();
    let differ = |names: &Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    (1..=longest).map(of).find(differ).unwrap_or_else(|| of(longest))
}

/// By the likelihoods of the same examples, pair by pair, or of others by their means.
fn likelihoods(runs: &[Run], of: [usize; 2], names: &[String]) -> Result<Option<Judgement>> {
    let [Some(a), Some(b)] = [results::read(&runs[of[0]], "likelihood.json")?, results::read(&runs[of[1]], "likelihood.json")?] else {
        return Ok(None);
    };
    let unit = results::unit(&a);
    let (Some(mean_a), Some(mean_b)) = (results::estimate(&a[unit]), results::estimate(&b[unit])) else { return Ok(None) };
    let same = a["protocol"]["settings"]["split"] == b["protocol"]["settings"]["split"] && data_of(&runs[of[0]])? == data_of(&runs[of[1]])?;
    let values = |run: &Run| read_array(&run.folder().at("likelihood.npz"), unit).map(|(_, values)| values).ok();
    let pairs = values(&runs[of[0]]).zip(values(&runs[of[1]])).filter(|(a, b)| same && a.len() == b.len() && a.len() > 1);
    let gain = match &pairs {
        Some((a, b)) => Estimate::of_mean(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>()),
        None => mean_a.minus(&mean_b),
    };
    Ok(Some(Judgement::new(unit, of, names, gain, pairs.is_some())))
}

/// What tells the data of a run: their table, and the fingerprints of their files, or else the seed that they are drawn by.
fn data_of(run: &Run) -> Result<Value> {
    let table: toml::Table = toml::from_str(&run.experiment()?.unwrap_or_default()).unwrap_or_default();
    let files = run.about()?.data;
    let seed = table.get("seed").filter(|_| files.is_empty());
    Ok(json!({ "data": table.get("data"), "files": files, "seed": seed }))
}

/// By each metric of the comparison with data, where both were compared with the same.
fn evaluations(runs: &[Run], of: [usize; 2], names: &[String]) -> Result<Vec<Judgement>> {
    let [Some(a), Some(b)] = [results::read(&runs[of[0]], "evaluation.json")?, results::read(&runs[of[1]], "evaluation.json")?] else {
        return Ok(Vec::new());
    };
    // Groups of examples are the same where seed and counts are.
    let paired = ["seed", "neighbours"].iter().all(|key| a[key] == b[key])
        && a["b"]["sha256"] == b["b"]["sha256"]
        && a["a"]["count"] == b["a"]["count"];
    if a["b"]["features"] != b["b"]["features"] {
        return Ok(Vec::new());
    }
    let measures = |report: &Value| report["measures"].as_array().cloned().unwrap_or_default();
    let others = measures(&b);
    let judge = |measure: Value| {
        let other = others.iter().find(|other| other["metric"] == measure["metric"])?;
        let of_measure = |measure: &Value| serde_json::from_value::<Estimate>(measure.clone()).ok();
        let (mut first, mut second) = (of_measure(&measure)?, of_measure(other)?);
        if !paired {
            [&mut first, &mut second].into_iter().for_each(|estimate| *estimate = Estimate::new(estimate.value, estimate.half_width));
        }
        let gain = match measure["better"].as_str()? {
            "smaller" => first.minus(&second),
            _ => second.minus(&first),
        };
        Some(Judgement::new(measure["metric"].as_str()?, of, names, gain, paired))
    };
    Ok(measures(&a).into_iter().filter_map(judge).collect())
}

impl Judgement {
    fn new(metric: &str, of: [usize; 2], names: &[String], gain: Estimate, paired: bool) -> Judgement {
        let [a, b] = of.map(|i| &names[i]);
        Judgement { metric: metric.into(), of, gain, paired, sentence: gain.sentence(b, a, "examples") }
    }

    /// What the metric is called in words.
    fn name(&self) -> String {
        match &*self.metric {
            "bits_per_dim" => "bits/dim".into(),
            metric => metric.replace('_', " "),
        }
    }
}

impl Comparison {
    pub fn page(self) -> Page {
        let head = |first: &str| [&[first.to_owned()][..], &self.names].concat();
        let mut differences = Section::new("Experiments");
        differences.table(Table { head: head("key"), rows: self.differences.clone() });
        if self.differences.is_empty() {
            differences.blocks.push(Block::Text("They do not differ.".into()));
        }
        let mut outcome = Section::new("Results");
        outcome.table(Table { head: head(""), rows: self.outcomes() });
        let said = |judgement: &Judgement| {
            let how = if judgement.paired { "same examples, paired" } else { "as independent numbers" };
            vec![judgement.name(), judgement.sentence.clone(), how.into()]
        };
        outcome.table(Table::with_head(&["by", "", "how"], self.judgements.iter().map(said).collect()));
        let mut curves = Section::new("Curves");
        curves.charts(self.sheets);
        Page {
            title: format!("{} runs", self.runs.len()),
            subtitle: self.names.join(", "),
            figures: Vec::new(),
            sections: vec![outcome, differences, curves],
        }
    }

    /// A row for each number that runs come to.
    fn outcomes(&self) -> Vec<Vec<String>> {
        let row = |name: &str, of: &dyn Fn(&Overview) -> Option<String>| {
            let cells = self.runs.iter().map(|run| of(run).unwrap_or_else(|| "-".into()));
            [name.to_owned()].into_iter().chain(cells).collect::<Vec<_>>()
        };
        let rows = vec![
            row("state", &|run| Some(run.state.name().into())),
            row("steps", &|run| Some(run.steps.to_string())),
            row("-ln p", &|run| run.likelihood.as_ref().map(|measured| measured.line())),
            row("samples", &|run| run.samples.map(|count| count.to_string())),
            row("time", &|run| Some(results::duration(run.seconds))),
        ];
        rows.into_iter().filter(|row| row[1..].iter().any(|cell| cell != "-")).collect()
    }
}

/// The differences and the sentences.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let head = [&[String::new()][..], &self.names].concat();
        let rows = [&[head][..], &self.differences, &self.outcomes()].concat();
        write!(f, "{}", columns(&rows))?;
        if !self.judgements.is_empty() {
            writeln!(f)?;
        }
        self.judgements.iter().try_for_each(|judgement| {
            let how = if judgement.paired { " (paired)" } else { "" };
            writeln!(f, "{}", wrapped(&format!("{}{how}", judgement.sentence), &format!("{}: ", judgement.name()), "    "))
        })
    }
}
