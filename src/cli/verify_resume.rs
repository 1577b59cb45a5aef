//! `score-sde verify-resume`: an experiment of one's own, killed in every phase and resumed, beside one that is left in peace.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;

use super::Overrides;
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment, Override};
use crate::run::{CLASSIFIER, Folder, checkpoint};

#[derive(Args, Debug)]
pub struct Arguments {
    /// The experiment, a TOML file.
    experiment: PathBuf,
    /// Steps of training before the kill, and after it.
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    steps: u64,
    /// Threads of LibTorch [default: as score-sde run has them].
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=1024))]
    threads: Option<i32>,
    #[command(flatten)]
    set: Overrides,
}

pub fn verify_resume(Arguments { experiment: path, steps, threads, set }: Arguments) -> Result<()> {
    let loaded = experiment::load(&path, &set.overrides)?;
    let settings: Vec<Override> = shortened(&loaded.experiment, steps).into_iter().map(Override::from).collect();
    let home = tempfile::tempdir().map_err(|e| Error::io("create a folder in", std::env::temp_dir(), e))?;
    let [whole, broken] = ["whole", "broken"].map(|name| home.path().join(name));
    let run = |out: &Path| {
        let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| "score-sde".into()));
        command.arg("run").arg(&path).arg("--quiet").arg("--out").arg(out);
        command.args(set.overrides.iter().chain(&settings).flat_map(Override::flag));
        command.args(threads.iter().flat_map(|n| ["--threads".to_owned(), n.to_string()]));
        command.stdout(Stdio::null()).spawn().map_err(|e| Error::io("start", "score-sde", e))
    };
    finish(run(&whole)?)?;
    for mark in marks(&loaded.experiment, &checkpoint::name(steps)) {
        if kill_at(run(&broken)?, &broken.join(&mark))? {
            println!("killed at  {mark}");
        }
    }
    finish(run(&broken)?)?;
    compare(&Folder::open(&whole)?, &Folder::open(&broken)?, steps)
}

/// The files of a run at whose sight a phase of the experiment is in its middle; `trained` is a checkpoint's.
fn marks(experiment: &Experiment, trained: &str) -> Vec<String> {
    let beside = experiment.network.is_some() || experiment.score.is_some();
    let classifier = experiment.classifier.is_some();
    let all = [
        (experiment.train.is_some() || classifier && !beside, trained.to_owned()),
        (experiment.analytic_variance.is_some(), "analytic_variance.journal".into()),
        (classifier && beside, format!("{CLASSIFIER}/{trained}")),
        (experiment.sample.is_some() || experiment.draw.is_some(), "samples/samples.journal".into()),
        (experiment.evaluate.is_some(), "samples/samples.manifest".into()),
        (experiment.dequantisation.is_some(), "dequantiser.journal".into()),
        (experiment.likelihood.is_some() || experiment.density.is_some(), "likelihood.journal".into()),
    ];
    all.into_iter().filter(|(there, _)| *there).map(|(_, mark)| mark).collect()
}

/// Samples that can be compared.
const COMPARED: usize = 20;

/// Settings that make every phase as short as can be and still be killed in its middle.
fn shortened(experiment: &Experiment, steps: u64) -> Vec<String> {
    let mut settings = Vec::new();
    if experiment.train.is_some() {
        settings.extend([format!("train.steps={}", 2 * steps), format!("train.checkpoint_every={steps}"), "train.log_every=1".into()]);
    }
    if experiment.classifier.is_some() {
        let train = |key: &str, n: u64| format!("classifier.train.{key}={n}");
        settings.extend([train("steps", 2 * steps), train("checkpoint_every", steps), train("log_every", 1)]);
    }
    if let Some(analytic) = &experiment.analytic_variance {
        let examples = analytic.examples.min(4);
        settings.extend([format!("analytic_variance.examples={examples}"), format!("analytic_variance.batch={}", examples.div_ceil(2))]);
    }
    if experiment.dequantisation.is_some() {
        settings.push(format!("dequantisation.variational.steps={}", 2 * steps));
    }
    if let Some(evaluate) = &experiment.evaluate {
        settings.push(format!("evaluate.examples={}", evaluate.examples.unwrap_or(COMPARED).min(COMPARED)));
        settings.extend(evaluate.during_training.map(|_| format!("evaluate.during_training={{every={steps},count={COMPARED}}}")));
    }
    let least = if experiment.evaluate.is_some() { COMPARED } else { 4 };
    let halves = |table: &str, count: usize, couples: bool| {
        let count = if ["sample", "draw"].contains(&table) { count.min(least) } else { count.min(4) };
        let batch = if couples { None } else { Some(format!("{table}.batch={}", count.div_ceil(2))) };
        [Some(format!("{table}.count={count}")), batch].into_iter().flatten()
    };
    settings.extend(experiment.sample.iter().flat_map(|sample| halves("sample", sample.count, sample.solver.couples_batch())));
    settings.extend(experiment.draw.iter().flat_map(|draw| halves("draw", draw.count, false)));
    settings.extend(experiment.density.iter().flat_map(|density| halves("density", density.count, false)));
    if let Some(likelihood) = &experiment.likelihood {
        settings.extend(halves("likelihood", likelihood.count, likelihood.solver.couples_batch()));
        settings.push(format!("likelihood.solver_check={}", likelihood.solver_check.min(1)));
    }
    settings
}

fn finish(mut child: Child) -> Result<()> {
    match child.wait().map_err(|e| Error::io("wait for", "score-sde", e))?.success() {
        true => Ok(()),
        false => Err(Error::Usage { message: "the experiment itself fails; its message is above".into(), help: "mend that first".into() }),
    }
}

/// Kills a process once a file is there; false if it ended before.
fn kill_at(mut child: Child, mark: &Path) -> Result<bool> {
    let waiting = |e| Error::io("wait for", "score-sde", e);
    while !mark.exists() {
        if child.try_wait().map_err(waiting)?.is_some() {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // It may have ended by itself in this moment.
    let killed = child.kill().is_ok();
    child.wait().map_err(waiting)?;
    Ok(killed)
}

fn compare(whole: &Folder, broken: &Folder, steps: u64) -> Result<()> {
    let trained = checkpoint::name(2 * steps);
    let classified = format!("{CLASSIFIER}/{trained}");
    let results =
        [&trained, &classified, "analytic_variance.safetensors", "samples/samples.npz", "dequantiser.safetensors", "likelihood.npz"];
    let (mut differing, mut compared) = (0, 0);
    for name in results {
        let Some(expected) = whole.read(name)? else { continue };
        compared += 1;
        let same = broken.read(name)?.as_ref() == Some(&expected);
        differing += usize::from(!same);
        println!("{}  {name}", if same { "identical" } else { "DIFFERS  " });
    }
    if compared == 0 {
        let message = "the experiment leaves no result that could be compared".into();
        return Err(Error::Usage { message, help: "give one with [train], [sample] or [likelihood]".into() });
    }
    if differing > 0 {
        let message = format!("{differing} results of the resumed run differ from those of the unbroken one");
        return Err(Error::Solver { message, help: "this must not be: please report it with the experiment".into() });
    }
    Ok(())
}
