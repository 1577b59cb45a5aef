//! `score-sde evaluate`: two sets of examples compared.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Machine;
use crate::error::{Error, Result};
use crate::evaluation::{Against, Comparison, KeptMoments, Protocol, Report, Set, Settings};
use crate::features::FeatureSpec;
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
    #[arg(long)]
    protocol: Option<Published>,
    /// What everything random is a function of.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Writes numbers and protocol to a file, or with - to standard output in place of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keeps the features of A, a .safetensors file, to be named in place of A or B; or an .npz file of their mean and covariance.
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
    let Arguments { a, against, than, train, features, count, batch, neighbours, classes, protocol, seed, json, save, machine } = arguments;
    let against = against.or_else(|| test_split(&a));
    if against.is_none() && (save.is_none() || than.is_some() || train.is_some()) {
        let message = format!("there is nothing to compare {a} with");
        return Err(Error::Usage { message, help: "give --against B, or --save FILE to keep the features of A".into() });
    }
    let save = save.map(|path| Ok::<_, Error>((kept_as(&path)?, path))).transpose()?;
    let extractor = open_features(&features, machine.device)?;
    let terminal = Terminal::new(machine.voice.quiet);
    let a = open_set(&a)?;
    let of_moments = against.as_deref().map(Path::new).filter(|path| KeptMoments::are_in(path));
    let moments = of_moments.map(KeptMoments::read).transpose()?;
    let against = against.filter(|_| moments.is_none());
    let [b, c, train] = [against, than, train].map(|name| name.map(|name| open_set(&name)).transpose());
    let (b, c, train) = (b?, c?, train?);
    session::Machine::from(machine.clone()).set_threads(a.shape());
    let (settings, count) = (Settings { seed, neighbours }, count.map(|n| n as usize));
    let (batch, protocol) = (batch as usize, protocol.map(Protocol::from));
    let comparison = Comparison { settings, extractor: &extractor, batch, classes, protocol, device: machine.device, terminal: &terminal };
    let features = |set: Option<Set>, count| set.map(|set| comparison.features(set, count)).transpose();
    let a = comparison.features(a, count)?;
    match &save {
        Some((Kept::Features, path)) => a.save(path)?,
        Some((Kept::Moments, path)) => KeptMoments::save(&a, seed, path)?,
        None => {}
    }
    let b = features(b, count)?.map(Against::Examples).or(moments.map(Against::Moments));
    let report = match b {
        Some(b) => comparison.report(&a, &b, features(c, count)?.as_ref(), features(train, None)?.as_ref())?,
        None => Report::new(settings, a.about, Vec::new()),
    };
    say(&report, json.as_deref())
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
