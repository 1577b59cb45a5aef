//! `score-sde evaluate`: two sets of examples compared.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Machine;
use crate::error::{Error, Result};
use crate::evaluation::{Comparison, Protocol, Report, Set, Settings};
use crate::features::FeatureSpec;
use crate::progress::Terminal;
use crate::run::replace;
use crate::session::{self, open_features, open_set};

#[derive(Args, Debug)]
pub struct Arguments {
    /// What is measured: a run folder (its samples) or RUN:NAME; FILE.toml:train or FILE.toml:test, a split of an experiment's data; an .npy or
    /// .npz file, or FILE.npz:ARRAY; a folder or .zip of PNG and JPEG files; or features that --save wrote.
    a: String,
    /// What it is compared with, named likewise [default: of a run, the test split of its experiment].
    #[arg(long, value_name = "B")]
    against: Option<String>,
    /// Another set, whose distances from B are compared with those of A.
    #[arg(long, value_name = "C")]
    than: Option<String>,
    /// The examples that a model was trained on, in which copies are looked for: how authentic A is, and which pairs are nearest.
    #[arg(long, value_name = "T")]
    train: Option<String>,
    /// What makes features of examples: data, where they are their own; efficientnet-lite0, of images; a run with a classifier; or a
    /// TorchScript file, a module x [B, ...] -> features [B, D] with pixels from 0 to 255.
    #[arg(long, value_name = "NAME|RUN|FILE", default_value = "data")]
    features: FeatureSpec,
    /// So many examples of each set, drawn by the seed [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    count: Option<u64>,
    /// Examples that are read, and handed to the module, at once.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch: u64,
    /// Which neighbour the balls of precision, recall, density and coverage reach to.
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    neighbours: i64,
    /// Gives the numbers of a published protocol, too, and says what is missing for them to be comparable.
    #[arg(long)]
    protocol: Option<Published>,
    /// What everything random is a function of.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Writes numbers and protocol to a file, or with - to standard output in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keeps the features of A, a .safetensors file, to be named in place of A or B.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    machine: Machine,
}

/// Whose numbers.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Published {
    /// The FID of EDM (Karras et al. 2022).
    Edm,
    /// FID and KID of score_sde_pytorch (Song et al. 2021).
    Reference,
    /// FID, KID, precision and recall of torch-fidelity.
    TorchFidelity,
}

impl From<Published> for Protocol {
    fn from(published: Published) -> Protocol {
        match published {
            Published::Edm => Protocol::Edm,
            Published::Reference => Protocol::Reference,
            Published::TorchFidelity => Protocol::TorchFidelity,
        }
    }
}

pub fn evaluate(arguments: Arguments) -> Result<()> {
    let Arguments { a, against, than, train, features, count, batch, neighbours, protocol, seed, json, save, machine } = arguments;
    let against = against.or_else(|| test_split(&a));
    if against.is_none() && (save.is_none() || than.is_some() || train.is_some()) {
        let message = format!("there is nothing to compare {a} with");
        return Err(Error::Usage { message, help: "give --against B, or --save FILE to keep the features of A".into() });
    }
    check_name(save.as_deref())?;
    let extractor = open_features(&features, machine.device)?;
    let terminal = Terminal::new(machine.voice.quiet);
    let a = open_set(&a)?;
    let [b, c, train] = [against, than, train].map(|name| name.map(|name| open_set(&name)).transpose());
    let (b, c, train) = (b?, c?, train?);
    session::Machine::from(machine.clone()).set_threads(a.shape());
    let (settings, count) = (Settings { seed, neighbours }, count.map(|n| n as usize));
    let (batch, protocol) = (batch as usize, protocol.map(Protocol::from));
    let comparison = Comparison { settings, extractor: &extractor, batch, protocol, device: machine.device, terminal: &terminal };
    let features = |set: Option<Set>, count| set.map(|set| comparison.features(set, count)).transpose();
    let a = comparison.features(a, count)?;
    if let Some(path) = &save {
        a.save(path)?;
    }
    let report = match features(b, count)? {
        Some(b) => comparison.report(&a, &b, features(c, count)?.as_ref(), features(train, None)?.as_ref())?,
        None => Report::new(settings, a.about, None, Vec::new()),
    };
    say(&report, json.as_deref())
}

/// The test split of a run's experiment.
fn test_split(a: &str) -> Option<String> {
    let run = [Some(a), a.rsplit_once(':').map(|(run, _)| run)].into_iter().flatten();
    let experiment = run.map(|run| Path::new(run).join("experiment.toml")).find(|path| path.is_file())?;
    Some(format!("{}:test", experiment.display()))
}

/// Error: kept features could not be told from something else by their name.
fn check_name(save: Option<&Path>) -> Result<()> {
    match save.filter(|path| path.extension().is_none_or(|extension| extension != "safetensors")) {
        None => Ok(()),
        Some(path) => Err(Error::Usage {
            message: format!("--save {} does not end with .safetensors", path.display()),
            help: format!("give --save {}", path.with_extension("safetensors").display()),
        }),
    }
}

fn say(report: &Report, json: Option<&Path>) -> Result<()> {
    let text = serde_json::to_string_pretty(report).expect("a report is JSON") + "\n";
    match json {
        Some(path) if path == Path::new("-") => print!("{text}"),
        Some(path) => {
            replace(path, |file| file.write_all(text.as_bytes()))?;
            print!("{report}");
        }
        None => print!("{report}"),
    }
    Ok(())
}
