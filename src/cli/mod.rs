//! The command line: one file for each verb, with the flags that it obeys.

mod check;
mod codes;
mod data;
mod doctor;
mod evaluate;
mod export;
mod given;
mod import;
mod lab;
mod likelihood;
mod ls;
mod new;
mod over;
mod overrides;
mod pages;
mod parity;
mod plot;
mod posterior;
mod report;
mod run;
mod sample;
mod schema;
mod sweep;
mod verify;
mod verify_resume;

use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use clap::{Args, Parser, Subcommand, ValueEnum};
use overrides::Overrides;
use serde_json::Value;
use tch::Device;

use crate::error::Result;
use crate::experiment::Needs;
use crate::interrupt;
use crate::memory;
use crate::ranks::Ranks;
use crate::run::Run;
use crate::run::checkpoint::Choice;
use crate::session::{self, Session};
use crate::train::{Average, Weights};

/// Score-based generative modelling through stochastic differential equations.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Train, sample and measure the likelihood, as an experiment file says; goes on where an earlier run stopped.
    Run(run::Arguments),
    /// Check an experiment file, print it with all defaults, and say what it would do; does no work and reads no data but their headers.
    Check(check::Arguments),
    /// Look at a data set and write a first experiment for it: complete, with the words of every key, and ready to run.
    New(new::Arguments),
    /// Read every example of a data set and say what it holds: mean, standard deviation, the largest distance between two examples, classes, and
    /// the keys that these suggest.
    Data(data::Arguments),
    /// Draw samples again from a run, with overrides of [sample] or [draw] or seed; also while it trains.
    Sample(sample::Arguments),
    /// Measure the likelihood again for a run, with overrides of [likelihood] or [density] or seed; also while it trains.
    Likelihood(likelihood::Arguments),
    /// Carry examples along the probability flow to their codes, the states at t = 1, and say how far off the way back ends; and, if asked,
    /// how far another run's codes agree.
    Encode(codes::Encode),
    /// Carry codes back: samples of given states at t = 1.
    Decode(codes::Decode),
    /// Samples on the way between two examples: of codes along the great circle between theirs.
    Interpolate(codes::Interpolate),
    /// Samples of given images or examples: noised to a time on the way, and solved from there (SDEdit).
    Edit(given::Edit),
    /// Samples that share their way down to a time and differ below, a row for each of some times.
    Share(given::Share),
    /// Compare solvers on one score: what each costs, how far it is from an accurate solve of the same start points, and from the data; or
    /// methods that make samples fit a measurement, with the exact posterior or by their coverage of examples.
    Lab(lab::Arguments),
    /// Compare two sets of examples: samples of runs, splits of data, arrays, image files, or features kept of these; every number has an
    /// interval, and the protocol goes with them as JSON.
    Evaluate(evaluate::Arguments),
    /// Write a page about a run, one HTML file that needs no other: samples, likelihood, comparison with data, curves, every key, and what made it.
    Report(report::Report),
    /// Compare runs: in what their experiments differ, their results, and by how much one is better, with errors; of the same examples pair by pair.
    Compare(report::Compare),
    /// Run an experiment with each of some values of its keys, one after another or several at once, and give a table with errors over seeds and the
    /// best; the same command goes on where it stopped.
    Sweep(sweep::Arguments),
    /// Draw figures of an experiment or a run, as PNG and SVG: schedules, curves, and of vectors the density, the score, and paths.
    Plot(plot::Arguments),
    /// List runs: their process and data, how far they are trained, their likelihood, and whether they run, stopped or are done.
    Ls(ls::Arguments),
    /// Read every file of a run and say what is as it was written, what is damaged, and what can be made again.
    Verify(verify::Arguments),
    /// Run a few steps of every phase of an experiment, kill it in each, resume it, and compare bit for bit with a run left in peace.
    VerifyResume(verify_resume::Arguments),
    /// Compare the numbers computed here with golden ones of the reference implementation; fails if any is further off than it may be.
    Parity(parity::Arguments),
    /// Make a run of a checkpoint of the reference implementation, or of a model of diffusers, for sample, likelihood and more training.
    ///
    /// Weights, their average, Adam's moments and the step come out of the .pth file, of either of PyTorch's layouts. Nothing in it is run:
    /// a file that names anything to call is refused. Of a model of diffusers there are the weights. If a tensor is missing, too many or of
    /// another shape, all are named and nothing is written.
    Import(import::Arguments),
    /// Write the weights of a run, averaged as those that sample, as a safetensors file for other programs.
    #[command(after_long_help = export::IN_PYTORCH)]
    Export(export::Arguments),
    /// Say which LibTorch this is and what it can use, and check its arithmetic and speed, in two seconds.
    Doctor(doctor::Arguments),
    /// Print a script with which a shell completes the words of score-sde.
    Completions(pages::Completions),
    /// Print the JSON Schema of experiment files, for editors.
    Schema,
    /// Print the keys of a table of experiment files with their words, or the names of all tables.
    Keys(schema::Keys),
    /// Print a page for man: score-sde man run | man -l -
    Man(pages::Page),
}

impl Arguments {
    pub fn execute(self) -> Result<()> {
        interrupt::listen()?;
        match self.verb {
            Verb::Run(arguments) => run::run(arguments),
            Verb::Check(arguments) => check::check(arguments),
            Verb::New(arguments) => new::new(arguments),
            Verb::Data(arguments) => data::data(arguments),
            Verb::Sample(arguments) => sample::sample(arguments),
            Verb::Likelihood(arguments) => likelihood::likelihood(arguments),
            Verb::Encode(arguments) => codes::encode(arguments),
            Verb::Decode(arguments) => codes::decode(arguments),
            Verb::Interpolate(arguments) => codes::interpolate(arguments),
            Verb::Edit(arguments) => given::edit(arguments),
            Verb::Share(arguments) => given::share(arguments),
            Verb::Lab(arguments) if arguments.posterior => posterior::posterior(arguments),
            Verb::Lab(arguments) => lab::lab(arguments),
            Verb::Evaluate(arguments) => evaluate::evaluate(arguments),
            Verb::Report(arguments) => report::report(arguments),
            Verb::Compare(arguments) => report::compare(arguments),
            Verb::Sweep(arguments) => sweep::sweep(arguments),
            Verb::Plot(arguments) => plot::plot(arguments),
            Verb::Verify(arguments) => verify::verify(arguments),
            Verb::VerifyResume(arguments) => verify_resume::verify_resume(arguments),
            Verb::Parity(arguments) => parity::parity(arguments),
            Verb::Import(arguments) => import::import(arguments),
            Verb::Export(arguments) => export::export(arguments),
            Verb::Ls(arguments) => ls::ls(arguments),
            Verb::Doctor(arguments) => doctor::doctor(arguments),
            Verb::Completions(arguments) => pages::completions(arguments),
            Verb::Schema => schema::schema(),
            Verb::Keys(arguments) => schema::keys(arguments),
            Verb::Man(arguments) => pages::page(arguments),
        }
    }
}

/// Of a verb that reports.
#[derive(Args, Clone, Copy, Debug)]
struct Form {
    /// Print the report as JSON; all other talk is on standard error.
    #[arg(long)]
    json: bool,
}

impl Form {
    /// Prints a report as JSON.
    fn print(self, report: &Value) -> Result<()> {
        println!("{report:#}");
        Ok(())
    }

    /// Prints the JSON of a result, with the name of its file as `file`, or else the file that people look at.
    fn show(self, place: &Run, report: &str, shown: &str) -> Result<()> {
        let at = |name: &str| place.folder().at(name).display().to_string();
        if !self.json {
            println!("{}", at(shown));
            return Ok(());
        }
        let bytes = place.read(report)?.unwrap_or_default();
        let mut content: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        content["file"] = at(report).into();
        self.print(&content)
    }
}

/// A run and the weights in it.
#[derive(Args, Clone, Debug)]
struct Source {
    /// A run folder.
    run: PathBuf,
    /// The checkpoint, by its step, or best by the curve of train.keep_best [default: the newest].
    #[arg(long, value_name = "N|best", value_parser = parse_choice)]
    step: Option<Choice>,
    /// Which weights of the checkpoint: their moving average, or as the last step left them.
    #[arg(long, default_value = "average")]
    weights: Averaging,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Averaging {
    Average,
    Raw,
}

impl Source {
    /// Takes these weights for a session; says which, or none where nothing is trained.
    fn take<'a>(&self, session: &'a Session, run: &Run) -> Result<Option<&'a Weights>> {
        let average = match self.weights {
            Averaging::Average => Average::Average,
            Averaging::Raw => Average::Raw,
        };
        session.weights_of(run, self.step.unwrap_or_default(), average)
    }
}

/// Where one more result of a run goes.
#[derive(Args, Debug)]
struct Target {
    /// A folder for the results that is not the run's.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Name of the result's files [default: the next free one of samples-2, samples-3, ... or likelihood-2, ...].
    #[arg(long)]
    name: Option<String>,
}

/// Of a verb that computes.
#[derive(Args, Clone, Debug)]
struct Machine {
    /// Where tensors live: cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu", value_parser = parse_device)]
    device: Device,
    /// Threads of LibTorch; part of a run's exact reproducibility [default: 1 for vectors, all cores for images].
    #[arg(long, value_parser = parse_threads)]
    threads: Option<i32>,
    #[command(flatten)]
    voice: Voice,
}

#[derive(Args, Clone, Debug)]
struct Voice {
    /// Print nothing but warnings, errors and what was asked for.
    #[arg(short, long)]
    quiet: bool,
}

impl Machine {
    /// Error: this needs more memory than there is.
    fn holds(&self, needs: &Needs) -> Result<()> {
        needs.fit(memory::available(), self.device == Device::Cpu)
    }
}

impl Machine {
    /// That of one of several processes: each has a CUDA device of its machine for itself.
    fn of_rank(self, ranks: &Ranks) -> session::Machine {
        let device = match self.device {
            Device::Cuda(first) if ranks.world() > 1 => Device::Cuda(first + ranks.local()),
            device => device,
        };
        session::Machine { device, ..self.into() }
    }
}

impl From<Machine> for session::Machine {
    fn from(Machine { device, threads, voice: Voice { quiet } }: Machine) -> session::Machine {
        session::Machine { device, threads, quiet }
    }
}

fn parse_choice(word: &str) -> Result<Choice, String> {
    match word {
        "best" => Ok(Choice::Best),
        _ => word.parse().map(Choice::Step).map_err(|_| "give the step of a checkpoint, or best".into()),
    }
}

/// Threads that a machine can be asked for.
const MOST_THREADS: i32 = 1024;

fn parse_threads(word: &str) -> Result<i32, String> {
    match word.parse() {
        Ok(threads) if (1..=MOST_THREADS).contains(&threads) && can_start(threads - 1) => Ok(threads),
        Ok(threads) if (1..=MOST_THREADS).contains(&threads) => Err("this machine does not start so many threads".into()),
        _ => Err(format!("give a whole number from 1 to {MOST_THREADS}")),
    }
}

/// Whether so many more threads can be had at once: LibTorch ends the process where one can't.
fn can_start(threads: i32) -> bool {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let closed = gate.lock();
        let started = (0..threads).all(|_| thread::Builder::new().spawn_scoped(scope, || drop(gate.lock())).is_ok());
        drop(closed);
        started
    })
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
