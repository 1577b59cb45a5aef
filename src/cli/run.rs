//! `score-sde run`: train, sample, train the dequantisation, likelihood, each once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::Common;
use super::session::Session;
use crate::dequantisation::{DequantisationSpec, Dequantiser};
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment, Loaded, default_run_folder};
use crate::progress::Terminal;
use crate::run::Run;
use crate::run::checkpoint::{self, Checkpoint};
use crate::run::log::Log;
use crate::train::{Source, Surroundings, train};

pub fn run(path: &Path, out: Option<PathBuf>, common: &Common, terminal: &Terminal) -> Result<()> {
    let loaded = experiment::load(path, &common.overrides)?;
    let experiment = &loaded.experiment;
    let folder = out.unwrap_or_else(|| default_run_folder(path));
    let run = Run::open(&folder)?;
    claim(&run, experiment)?;
    let session = Session::new(&loaded, common.device, common.threads, terminal);
    terminal.say(&format!("{} -> {}", path.display(), folder.display()));
    if let Some(note) = loaded.train.note() {
        terminal.say(&format!("data: {note}"));
    }

    let left = Left::of(&run, experiment)?;
    if left.train || left.sample || left.dequantisation || left.likelihood {
        work(&run, &loaded, &session, left, terminal)?;
    } else {
        terminal.say("every phase is done already");
    }
    if experiment.sample.is_some() {
        terminal.say(&format!("samples: {}", folder.join("samples/samples.png").display()));
    }
    if experiment.likelihood.is_some() {
        terminal.say(&format!("likelihood: {}", folder.join("likelihood.json").display()));
    }
    Ok(())
}

/// What a run still has to do.
struct Left {
    /// Where earlier sessions of training stopped.
    newest: Option<Checkpoint>,
    train: bool,
    sample: bool,
    dequantisation: bool,
    likelihood: bool,
}

impl Left {
    fn of(run: &Run, experiment: &Experiment) -> Result<Left> {
        let newest = match experiment.train.is_some() {
            true => checkpoint::latest(run)?,
            false => None,
        };
        let done = steps(&newest);
        Ok(Left {
            train: experiment.train.as_ref().is_some_and(|spec| done < spec.steps),
            newest,
            sample: experiment.sample.is_some() && run.read("samples/samples.json")?.is_none(),
            dequantisation: experiment.dequantisation.is_some() && !Dequantiser::exists(run)?,
            likelihood: experiment.likelihood.is_some() && run.read("likelihood.json")?.is_none(),
        })
    }
}

/// The training steps a checkpoint has behind it.
fn steps(checkpoint: &Option<Checkpoint>) -> u64 {
    checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step)
}

/// The phases that are left, each saved as soon as it is done.
fn work(run: &Run, loaded: &Loaded, session: &Session, left: Left, terminal: &Terminal) -> Result<()> {
    let experiment = &loaded.experiment;
    let scale = experiment.data.scale();
    let done = steps(&left.newest);
    // A finished dequantisation has logged its steps after those of training.
    let dequantised = match &experiment.dequantisation {
        Some(DequantisationSpec::Variational(spec)) if !left.dequantisation => spec.steps,
        _ => 0,
    };
    let mut log = Log::open(run, done + dequantised + 1);
    log.text("experiment", done, &format!("```toml\n{}```", experiment.resolved()));

    if let (true, Some(spec), Some(model)) = (left.train, &experiment.train, &session.model) {
        let source = Source { dataset: loaded.train.clone(), scale, flip: experiment.data.flip() };
        let stop = stop_on_signal()?;
        let around = Surroundings { run, log: &mut log, terminal, stop: stop.clone() };
        train(spec, experiment.seed, session.sde(), model, left.newest, source, around)?;
        // From here on there is nothing to save in between: a signal ends the process at once.
        stop.store(true, Ordering::Relaxed);
    }
    let step = if left.sample || left.dequantisation || left.likelihood { session.load_average(run)? } else { None };
    if let (true, Some(spec)) = (left.sample, &experiment.sample) {
        let samples = session.sample(spec)?;
        let picture = session.picture(&samples);
        samples.save(run, "samples", scale, spec, &picture)?;
        log.image("samples", step.unwrap_or(0), &picture);
    }
    if left.dequantisation {
        session.dequantise(run, step.unwrap_or(0), &mut log)?;
    }
    if let (true, Some(spec)) = (left.likelihood, &experiment.likelihood) {
        let values = session.likelihood(spec, run, "likelihood", step)?;
        let report = values.report(step);
        values.bound_headline().iter().for_each(|line| terminal.say(line));
        values.save(run, "likelihood", &report)?;
        log.scalars(step.unwrap_or(0), &likelihood_scalars(&report));
        log.histogram("likelihood/of_examples", step.unwrap_or(0), &values.histogram());
        log.image("likelihood", step.unwrap_or(0), &values.picture());
    }
    Ok(())
}

fn likelihood_scalars(report: &serde_json::Value) -> Vec<(&'static str, f64)> {
    let number = |table: &str, key: &str| report[table][key].as_f64().unwrap_or(f64::NAN);
    let mut scalars = vec![
        ("likelihood/bits_per_dim", number("bits_per_dim", "mean")),
        ("likelihood/bits_per_dim_standard_error", number("bits_per_dim", "standard_error")),
        ("likelihood/nats", number("nats", "mean")),
    ];
    scalars.extend(report["bound"]["bits_per_dim"]["mean"].as_f64().map(|bound| ("likelihood/bound_bits_per_dim", bound)));
    scalars
}

/// Makes the folder this experiment's, or refuses if it is another's.
fn claim(run: &Run, experiment: &Experiment) -> Result<()> {
    let Some(text) = run.experiment()? else {
        run.write("experiment.toml", experiment.resolved().as_bytes())?;
        return Ok(());
    };
    let stored_path = run.path().join("experiment.toml");
    let stored: Experiment = toml::from_str(&text).map_err(|e| {
        Error::run(&stored_path, format!("can't be read: {}", e.message().trim()), "was it edited? Use another folder (--out DIR)")
    })?;
    let differences = experiment.differences(&stored);
    if differences.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = differences.iter().take(8).map(|(key, new, old)| format!("  {key}: {old} in the run, {new} now")).collect();
    let rest = differences.len().saturating_sub(8);
    let more = if rest > 0 { format!("\n  and {rest} more") } else { String::new() };
    let help = format!(
        "to start this one as a run of its own, give it another folder: --out DIR\nto go on with the old one: score-sde run {} --out {}",
        stored_path.display(),
        run.path().display()
    );
    Err(Error::run(run.path(), format!("holds a run of another experiment:\n{}{more}", shown.join("\n")), help))
}

/// The first SIGINT or SIGTERM asks training to save and stop; the second ends the process.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
            .map_err(|e| Error::io("listen for signals in", "this process", e))?;
    }
    Ok(stop)
}
