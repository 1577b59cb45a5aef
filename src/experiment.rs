//! The experiment file as one struct, and everything that can be wrong with it found before any work.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{NamedSource, SourceSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml_edit::{Document, DocumentMut, Item, Table};

use crate::data::{Data, Dataset, Split};
use crate::dequantisation::DequantisationSpec;
use crate::error::{Error, Fault, Result};
use crate::likelihood::{Dequantisation, Likelihood};
use crate::model::{Precondition, ScoreSpec};
use crate::net::NetworkSpec;
use crate::run::Run;
use crate::sample::Sample;
use crate::sde::SdeSpec;
use crate::train::Train;

/// An experiment: either `[score.*]`, a score that is known, or `[network.*]`, `[precondition.*]` and `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Every random number is a function of it.
    pub seed: u64,
    pub sde: SdeSpec,
    pub data: Data,
    pub score: Option<ScoreSpec>,
    pub network: Option<NetworkSpec>,
    pub precondition: Option<Precondition>,
    pub train: Option<Train>,
    pub sample: Option<Sample>,
    pub dequantisation: Option<DequantisationSpec>,
    pub likelihood: Option<Likelihood>,
}

/// A checked experiment with its data open, which the check needed for their shapes.
pub struct Loaded {
    pub experiment: Experiment,
    pub train: Arc<dyn Dataset>,
    /// The split whose likelihood is asked for, if one is.
    pub measured: Option<Arc<dyn Dataset>>,
}

/// Reads `path`, applies `--set` overrides, and checks everything: spelling, types, values, data files, and that the network fits the data.
pub fn load(path: &Path, overrides: &[String]) -> Result<Loaded> {
    let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::Usage {
            message: format!("there is no experiment file {}", path.display()),
            help: "name a TOML file, such as experiments/quickstart.toml".into(),
        },
        _ => Error::io("read", path, e),
    })?;
    parse(&path.display().to_string(), &text, overrides)
}

/// [`load`] for a text that goes by the name `name` in messages.
pub fn parse(name: &str, text: &str, overrides: &[String]) -> Result<Loaded> {
    let mut text = Text { name: name.to_owned(), text: text.to_owned() };
    for setting in overrides {
        text = text.with(setting)?;
    }
    let experiment: Experiment = toml::from_str(&text.text).map_err(|error| text.misspelt(&error))?;
    experiment.check().map_err(|fault| text.fault(fault))?;
    let train = experiment.data.open(Split::Train, experiment.seed)?;
    let measured = match experiment.likelihood.as_ref().map(|likelihood| likelihood.split) {
        None => None,
        Some(Split::Train) => Some(train.clone()),
        Some(Split::Test) => Some(experiment.data.open(Split::Test, experiment.seed)?),
    };
    experiment.check_against(&*train, measured.as_deref()).map_err(|fault| text.fault(fault))?;
    Ok(Loaded { experiment, train, measured })
}

impl Experiment {
    /// The whole experiment as TOML, defaults included.
    pub fn resolved(&self) -> String {
        toml::to_string(self).expect("an experiment is a TOML document")
    }

    fn check(&self) -> Result<(), Fault> {
        self.sde.check().map_err(|fault| fault.within("sde"))?;
        self.data.check().map_err(|fault| fault.within("data"))?;
        let trained = [("network", self.network.is_some()), ("precondition", self.precondition.is_some()), ("train", self.train.is_some())];
        for (table, given) in trained {
            if self.score.is_some() && given {
                let help = format!("remove [score], or remove [{table}] and whatever else describes training");
                return Err(Fault::new(table, format!("[{table}] has nothing to do: [score] is known already"), help));
            }
            if self.score.is_none() && !given {
                let help = "give [network.*], [precondition.*] and [train] to train a score, or [score.gaussian_mixture] for an exact one";
                return Err(Fault::new("", format!("there is no [{table}]"), help));
            }
        }
        if let Some(precondition) = &self.precondition {
            precondition.under(self.sde.get()).map(drop).map_err(|fault| fault.within("precondition"))?;
        }
        if let Some(train) = &self.train {
            train.check(self.sde.get()).map_err(|fault| fault.within("train"))?;
            if matches!(self.precondition, Some(Precondition::Discrete { .. })) {
                train.check_discrete().map_err(|fault| fault.within("train"))?;
            }
        }
        if let Some(sample) = &self.sample {
            let levels = self.precondition.as_ref().and_then(Precondition::levels);
            sample.check(self.data.scale(), self.sde.get(), levels).map_err(|fault| fault.within("sample"))?;
        }
        if let Some(likelihood) = &self.likelihood {
            let levels = self.precondition.as_ref().and_then(Precondition::levels);
            likelihood.check(self.data.scale(), self.sde.get(), levels).map_err(|fault| fault.within("likelihood"))?;
            if matches!(likelihood.dequantisation, Dequantisation::Variational { .. }) && self.dequantisation.is_none() {
                let help = "give [dequantisation.variational] with its keys, or use uniform = { draws = 1 }";
                return Err(Fault::new("likelihood.dequantisation", "nothing trains the law of this dequantisation", help));
            }
        }
        if let Some(dequantisation) = &self.dequantisation {
            dequantisation.check(self.data.scale()).map_err(|fault| fault.within("dequantisation"))?;
        }
        Ok(())
    }

    /// What can only be known with the data at hand.
    fn check_against(&self, train: &dyn Dataset, measured: Option<&dyn Dataset>) -> Result<(), Fault> {
        if let Some(score) = &self.score {
            score.check(train.shape()).map_err(|fault| fault.within("score"))?;
        }
        if let Some(network) = &self.network {
            network.check(train.shape()).map_err(|fault| fault.within("network"))?;
        }
        if let Some(Train { objective, .. }) = &self.train {
            let dimension = train.shape().iter().product();
            objective.check_dimension(dimension).map_err(|fault| fault.within("train.objective"))?;
        }
        if let (Some(likelihood), Some(set)) = (&self.likelihood, measured) {
            likelihood.check_against(set, train.shape()).map_err(|fault| fault.within("likelihood"))?;
        }
        Ok(())
    }

    /// The keys in which two experiments differ so that their results may: (key, here, there). Operational keys don't count.
    pub fn differences(&self, other: &Experiment) -> Vec<(String, String, String)> {
        let value = |experiment: &Experiment| toml::Value::try_from(experiment).expect("an experiment is a TOML document");
        let mut found = Vec::new();
        differences("", Some(&value(self)), Some(&value(other)), &mut found);
        found.retain(|(key, _, _)| !self.is_operational(key));
        found
    }

    /// Whether a key changes no result here. A batch size does where a solver couples the examples of a batch.
    fn is_operational(&self, key: &str) -> bool {
        let coupled = match key {
            "sample.batch" => self.sample.as_ref().is_some_and(|sample| sample.solver.couples_batch()),
            "likelihood.batch" => self.likelihood.as_ref().is_some_and(|likelihood| likelihood.solver.couples_batch()),
            _ => false,
        };
        OPERATIONAL.contains(&key) && !coupled
    }
}

/// Keys that change no result.
const OPERATIONAL: [&str; 5] = ["train.checkpoint_every", "train.keep", "train.log_every", "sample.batch", "likelihood.batch"];

fn differences(key: &str, a: Option<&toml::Value>, b: Option<&toml::Value>, found: &mut Vec<(String, String, String)>) {
    match (a, b) {
        (Some(toml::Value::Table(a)), Some(toml::Value::Table(b))) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                differences(&key, a.get(name), b.get(name), found);
            }
        }
        _ if a == b => {}
        _ => {
            let show = |value: Option<&toml::Value>| match value {
                None => "nothing".to_owned(),
                Some(toml::Value::Table(_)) => "a table".to_owned(),
                Some(value) => value.to_string(),
            };
            found.push((key.to_owned(), show(a), show(b)));
        }
    }
}

/// An experiment's text with the name that messages give it.
struct Text {
    name: String,
    text: String,
}

impl Text {
    fn error(&self, message: String, span: Option<std::ops::Range<usize>>, help: Option<String>) -> Error {
        let span = span.map(|s| SourceSpan::from((s.start, s.len())));
        let text = NamedSource::new(&self.name, self.text.clone()).with_language("TOML");
        Error::Experiment { message, text: Arc::new(text), span, help }
    }

    /// One `--set key=value`: the value is TOML, or else a string.
    fn with(&self, setting: &str) -> Result<Text> {
        let usage = |message: String, help: &str| Error::Usage { message, help: help.into() };
        let Some((key, value)) = setting.split_once('=') else {
            return Err(usage(format!("--set {setting} has no ="), "write --set KEY=VALUE, such as --set train.steps=1000"));
        };
        let value = value.trim().parse::<toml_edit::Value>().unwrap_or_else(|_| toml_edit::Value::from(value.trim()));
        let mut document = self.text.parse::<DocumentMut>().map_err(|e| self.error(e.message().to_owned(), e.span(), None))?;
        let path: Vec<&str> = key.split('.').map(str::trim).collect();
        if path.contains(&"") {
            return Err(usage(format!("--set {setting} names no key"), "write --set KEY=VALUE, such as --set train.steps=1000"));
        }
        let (last, tables) = path.split_last().expect("split gives at least one part");
        let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
        for name in tables {
            let implicit = || {
                let mut table = Table::new();
                table.set_implicit(true);
                Item::Table(table)
            };
            table = table.entry(name).or_insert_with(implicit).as_table_like_mut().ok_or_else(|| {
                usage(
                    format!("--set {setting}: `{name}` is a value, not a table"),
                    "score-sde check FILE prints every key of an experiment",
                )
            })?;
        }
        table.insert(last, Item::Value(value));
        let name = if self.name.contains(" + --set") { self.name.clone() } else { format!("{} + --set", self.name) };
        Ok(Text { name, text: document.to_string() })
    }

    /// The report of an error that serde found: unknown or missing keys, wrong types, bad syntax.
    fn misspelt(&self, error: &toml::de::Error) -> Error {
        let message = plainly(error.message().trim());
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let help = if message.contains("unknown field") || message.contains("unknown variant") {
            quoted.split_first().and_then(|(wrong, choices)| nearest(wrong, choices)).map(|near| format!("did you mean `{near}`?"))
        } else if message.contains("exactly one choice, but has more") {
            Some("keep one of them; an override replaces the whole table: --set 'sde={ve={sigma_min=0.01,sigma_max=50.0}}'".into())
        } else if message.contains("exactly one choice, but has none") || message.contains("keys of its own") {
            Some("give one; the files in experiments/ show the choices".into())
        } else if message.contains("missing field") {
            Some("every number that changes a result is given in the file; the files in experiments/ show all keys".into())
        } else {
            None
        };
        self.error(message, error.span(), help)
    }

    /// The report of a value that can't work: the line of its key, or of the nearest table around it.
    fn fault(&self, fault: Fault) -> Error {
        let span = Document::parse(self.text.clone()).ok().and_then(|document| {
            let mut item = document.as_item();
            let mut span = None;
            for name in fault.key.split('.') {
                let Some((key, inner)) = item.as_table_like().and_then(|table| table.get_key_value(name)) else { break };
                span = inner.span().filter(|_| inner.is_value()).or(key.span()).or(span);
                item = inner;
            }
            span
        });
        let message = if fault.key.is_empty() { fault.message } else { format!("{}: {}", fault.key, fault.message) };
        self.error(message, span, Some(fault.help))
    }
}

/// A message of the parser in a user's words.
fn plainly(message: &str) -> String {
    let words = [
        ("wanted exactly 1 element, more than 1 element", "this table takes exactly one choice, but has more"),
        ("wanted exactly 1 element, found 0 elements", "this table takes exactly one choice, but has none"),
        ("invalid type: unit variant, expected struct variant", "this choice is a table with keys of its own"),
        ("expected u64", "expected a whole number of at least 0"),
        ("expected usize", "expected a whole number of at least 0"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
    ];
    let ending = words.iter().find_map(|(rust, plain)| Some(format!("{}{plain}", message.strip_suffix(rust)?)));
    ending.unwrap_or_else(|| message.to_owned())
}

/// The choice that is closest to a misspelt word, if any is close.
fn nearest<'a>(wrong: &str, choices: &[&'a str]) -> Option<&'a str> {
    let near = choices.iter().map(|choice| (strsim::damerau_levenshtein(wrong, choice), *choice)).min()?;
    (near.0 <= 1 + wrong.len() / 3).then_some(near.1)
}

/// `runs/<stem of the experiment file>`.
pub fn default_run_folder(experiment: &Path) -> PathBuf {
    Path::new("runs").join(experiment.file_stem().unwrap_or_default())
}

/// The experiment of a run with overrides of nothing but `tables`, for whoever repeats one phase.
pub fn load_run(run: &Run, overrides: &[String], tables: &[&str]) -> Result<Loaded> {
    for setting in overrides {
        let top = setting.split(['.', '=']).next().unwrap_or_default().trim();
        if !tables.contains(&top) {
            return Err(Error::Usage {
                message: format!("--set {setting} would change what was trained"),
                help: format!("here only these may change: {}; for anything else, begin a run with score-sde run", tables.join(", ")),
            });
        }
    }
    load(&run.path().join("experiment.toml"), overrides)
}
