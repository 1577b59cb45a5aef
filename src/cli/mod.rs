//! The command line: one file for each verb.

mod check;
mod export;
mod import;
mod lab;
mod likelihood;
mod parity;
mod run;
mod sample;
mod session;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tch::Device;

use crate::error::{Error, Result};
use crate::progress::Terminal;

/// Score-based generative modelling through stochastic differential equations.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train, sample and measure the likelihood, as an experiment file says; goes on where an earlier run stopped.
    Run {
        /// The experiment, a TOML file.
        experiment: PathBuf,
        /// The run folder [default: runs/<file's stem>].
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Check an experiment file, print it with all defaults, and say what it would do; does no work.
    Check {
        /// The experiment, a TOML file.
        experiment: PathBuf,
    },
    /// Draw samples again from a finished run, with overrides of [sample] or seed.
    Sample {
        /// A run folder.
        run: PathBuf,
        /// Name of the files below samples/ [default: the next free samples-2, samples-3, ...].
        #[arg(long)]
        name: Option<String>,
    },
    /// Measure the likelihood again for a finished run, with overrides of [likelihood] or seed.
    Likelihood {
        /// A run folder.
        run: PathBuf,
        /// Name of the files in the run folder [default: the next free likelihood-2, likelihood-3, ...].
        #[arg(long)]
        name: Option<String>,
        /// Whose likelihood: train or test; short for --set likelihood.split=...
        #[arg(long)]
        split: Option<String>,
        /// Print the number by this protocol, too, and what each difference between the two is worth.
        #[arg(long, value_name = "PROTOCOL")]
        compare: Option<likelihood::Protocol>,
    },
    /// Compare solvers on one score: what each costs, how far it is from an accurate solve of the same start points, and from the data.
    Lab(lab::Lab),
    /// Compare the numbers computed here with golden ones of the reference implementation; fails if any is further off than it may be.
    Parity {
        /// An index.json of golden cases; tests/golden/README.md describes the format.
        index: PathBuf,
        /// Only this case. May be given many times.
        #[arg(long = "case", value_name = "NAME")]
        cases: Vec<String>,
        /// Only cases of these kinds: model, sde, losses, train, likelihood.
        #[arg(long = "kind", value_name = "KIND,...", value_delimiter = ',')]
        kinds: Vec<String>,
    },
    /// Make a run of a checkpoint of the reference implementation, for sample, likelihood and more training.
    ///
    /// Weights, their average, Adam's moments and the step come out of the .pth file, of either of PyTorch's layouts. Nothing in it is run:
    /// a file that names anything to call is refused. If a tensor is missing, too many or of another shape, all are named and nothing is
    /// written.
    Import {
        /// The .pth file: a dict of optimizer, model, ema and step.
        checkpoint: PathBuf,
        /// What it was trained as, a TOML file.
        #[arg(long, value_name = "FILE")]
        experiment: PathBuf,
        /// The run folder, which must be new.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Write the averaged weights of a run, those that sample, as a safetensors file for other programs.
    #[command(after_long_help = export::IN_PYTORCH)]
    Export {
        /// A run folder.
        run: PathBuf,
        /// What the tensors are called.
        #[arg(long, value_name = "NAMES")]
        to: export::Names,
        /// The file [default: weights.safetensors or weights-pth-names.safetensors in the run folder].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Length of module.sigmas with pth-names: the reference's model.num_scales.
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(i64).range(2..=1_000_000))]
        scales: i64,
    },
}

#[derive(Args, Debug)]
struct Common {
    /// Override a key of the experiment; the value is TOML. May be given many times.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    overrides: Vec<String>,
    /// Where tensors live: cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu", global = true, value_parser = parse_device)]
    device: Device,
    /// Threads of LibTorch; part of a run's exact reproducibility [default: 1 for vectors, all cores for images].
    #[arg(long, global = true, value_parser = clap::value_parser!(i32).range(1..=1024))]
    threads: Option<i32>,
    /// Print nothing but warnings, errors and what was asked for.
    #[arg(short, long, global = true)]
    quiet: bool,
}

impl Arguments {
    pub fn execute(self) -> Result<()> {
        let common = &self.common;
        let terminal = &Terminal::new(common.quiet);
        match self.verb {
            Verb::Run { experiment, out } => run::run(&experiment, out, common, terminal),
            Verb::Check { experiment } => check::check(&experiment, &common.overrides),
            Verb::Sample { run, name } => sample::sample(&run, name, common, terminal),
            Verb::Lab(options) => lab::lab(options, common, terminal),
            Verb::Parity { index, cases, kinds } => parity::parity(&index, &cases, &kinds, common),
            Verb::Likelihood { run, name, split, compare } => likelihood::likelihood(&run, name, split, compare, common, terminal),
            Verb::Import { checkpoint, experiment, out } => import::import(&checkpoint, &experiment, &out, common, terminal),
            Verb::Export { run, to, out, scales } => export::export(&run, to, out, scales, common, terminal),
        }
    }
}

fn parse_device(word: &str) -> Result<Device, String> {
    let index = match word {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        _ => word.strip_prefix("cuda:").and_then(|n| n.parse().ok()).ok_or("the devices are cpu, cuda and cuda:N")?,
    };
    match tch::Cuda::device_count() {
        0 => Err("this LibTorch sees no CUDA device; set LIBTORCH to a CUDA build and build again, or use cpu".into()),
        n if index >= n as usize => Err(format!("there are {n} CUDA devices, cuda:0 to cuda:{}", n - 1)),
        _ => Ok(Device::Cuda(index)),
    }
}

/// The first of `<base>-2`, `<base>-3`, … that `taken` does not know.
fn free_name(base: &str, taken: impl Fn(&str) -> bool) -> String {
    (2..).map(|n| format!("{base}-{n}")).find(|name| !taken(name)).expect("numbers do not end")
}

/// A name that is a plain file name.
fn plain_name(name: String) -> Result<String> {
    if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(Error::Usage {
            message: format!("{name:?} can't name a file"),
            help: "give a plain name without slashes, such as --name heun-40".into(),
        });
    }
    Ok(name)
}
