//! `score-sde evaluate`: two sets of examples compared.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Machine, over};
use crate::error::{Error, Result};
use crate::evaluation::{Against, Comparison, KeptMoments, Protocol, Report, Set, Settings};
use crate::features::FeatureSpec;
use crate::plot;
use crate::progress::Terminal;
use crate::run::replace;
use crate::session::{self, open_features, open_set};

#[derive(Args, Debug)]
pub struct Arguments {
    /// What is measured: a run folder (its samples) or RUN:NAME; FILE.toml:train or FILE.toml:test, a split of an experiment's data; an .npy or
    /// .npz file, or FILE.npz:ARRAY; a folder or .zip of PNG and JPEG files; or features that --save wrote.
    a: String,
    /// What it is compared with, named likewise, or an .npz file of the moments mu [D] and sigma [D, D] of features [default: of a run, the test
    /// split of its experiment].
    #[arg(long, value_name = "B")]
    against: Option<String>,
    /// Of a run: the samples of every checkpoint that it keeps, --count of each, or as many as its experiment draws.
    #[arg(long, conflicts_with_all = ["than", "save"])]
    over: Option<Over>,
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
    /// Compares examples of each class as well: of samples that were given classes, and data with labels.
    #[arg(long)]
    classes: bool,
    /// Gives the numbers of a published protocol, too, and says what is missing for them to be comparable.
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// What everything random is a function of.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Writes numbers and protocol to a file, or with - to standard output in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws the examples of A that are nearest to training examples above these, a .png file: with --train, of images.
    #[arg(long, value_name = "FILE", requires = "train", conflicts_with = "over")]
    picture: Option<PathBuf>,
    /// Keeps the features of A, a .safetensors file, to be named in place of A or B; or an .npz file of their mean and covariance.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    machine: Machine,
}

/// What a curve of comparisons is along.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Over {
    Checkpoints,
}

pub fn evaluate(arguments: Arguments) -> Result<()> {
    let Arguments { a: name, against, over, than, train, features, count, batch, neighbours, classes, protocol, .. } = arguments;
    let Arguments { seed, json, picture, save, machine, .. } = arguments;
    let against = against.or_else(|| test_split(&name));
    if against.is_none() && (save.is_none() || over.is_some() || than.is_some() || train.is_some()) {
        let message = format!("there is nothing to compare {name} with");
        return Err(Error::Usage { message, help: "give --against B, or --save FILE to keep the features of A".into() });
    }
    let save = save.map(|path| Ok::<_, Error>((kept_as(&path)?, path))).transpose()?;
    let extractor = open_features(&features, machine.device)?;
    let terminal = Terminal::new(machine.voice.quiet);
    // Whatever is misspelt is found before any work.
    let open = |name: Option<String>| name.map(|name| open_set(&name)).transpose();
    let (a, b) = (open(Some(name.clone()).filter(|_| over.is_none()))?, against.map(Other::open).transpose()?);
    let (c, train) = (open(than)?, open(train)?);
    if let Some(shape) = a.as_ref().map(Set::shape) {
        session::Machine::from(machine.clone()).set_threads(shape);
    }
    let (count, batch) = (count.map(|n| n as usize), batch as usize);
    let settings = Settings { seed, neighbours };
    let comparison = Comparison { settings, extractor: &extractor, batch, classes, protocol, device: machine.device, terminal: &terminal };
    let features = |set: Option<Set>, count| set.map(|set| comparison.features(set, count)).transpose();
    let Some(a) = features(a, count)? else {
        let b = b.map(|b| b.features(&comparison, count)).transpose()?.expect("a run is compared with its test split");
        return say(&over::checkpoints(&name, count, &b, features(train, None)?.as_ref(), &comparison, &machine)?, json.as_deref());
    };
    match &save {
        Some((Kept::Features, path)) => a.save(path)?,
        Some((Kept::Moments, path)) => KeptMoments::save(&a, seed, path)?,
        None => {}
    }
    let report = match b.map(|b| b.features(&comparison, count)).transpose()? {
        Some(b) => comparison.report(&a, &b, features(c, count)?.as_ref(), features(train, None)?.as_ref())?,
        None => Report::new(settings, a.about, Vec::new()),
    };
    if let Some(path) = &picture {
        let drawn = report.picture().ok_or_else(|| Error::Usage {
            message: format!("there is nothing to draw in {}", path.display()),
            help: "give images themselves as A and --train, not vectors or kept features".into(),
        })?;
        replace(path, |file| file.write_all(&plot::png(drawn)))?;
    }
    say(&report, json.as_deref())
}

/// What a set is compared with, once it is open.
enum Other {
    Set(Set),
    Moments(KeptMoments),
}

impl Other {
    fn open(name: String) -> Result<Other> {
        match KeptMoments::are_in(Path::new(&name)) {
            true => KeptMoments::read(Path::new(&name)).map(Other::Moments),
            false => open_set(&name).map(Other::Set),
        }
    }

    fn features(self, comparison: &Comparison, count: Option<usize>) -> Result<Against> {
        match self {
            Other::Set(set) => comparison.features(set, count).map(|table| Against::Examples(Box::new(table))),
            Other::Moments(moments) => Ok(Against::Moments(moments)),
        }
    }
}

/// The test split of a run's experiment.
fn test_split(a: &str) -> Option<String> {
    let run = [Some(a), a.rsplit_once(':').map(|(run, _)| run)].into_iter().flatten();
    let experiment = run.map(|run| Path::new(run).join("experiment.toml")).find(|path| path.is_file())?;
    Some(format!("{}:test", experiment.display()))
}

/// What is kept of A.
enum Kept {
    Features,
    Moments,
}

/// By the ending of a file. Error: what is kept could not be told from something else by its name.
fn kept_as(path: &Path) -> Result<Kept> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => Ok(Kept::Features),
        Some("npz") => Ok(Kept::Moments),
        _ => Err(Error::Usage {
            message: format!("--save {} ends neither with .safetensors nor with .npz", path.display()),
            help: format!(
                "give --save {} for features, or .npz for their mean and covariance",
                path.with_extension("safetensors").display()
            ),
        }),
    }
}

fn say<R: Serialize + Display>(report: &R, json: Option<&Path>) -> Result<()> {
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
