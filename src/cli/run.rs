//! `score-sde run`: every phase of an experiment, each once.

use std::path::PathBuf;

use clap::Args;

use super::{Machine, Overrides};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment, Loaded, default_run_folder};
use crate::phase::{Phase, phases};
use crate::run::log::Log;
use crate::run::{About, FORMAT, Run, checkpoint};
use crate::session::Session;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The experiment, a TOML file.
    experiment: PathBuf,
    /// The run folder [default: runs/<file's stem>].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    machine: Machine,
}

pub fn run(Arguments { experiment: path, out, set, machine }: Arguments) -> Result<()> {
    let loaded = experiment::load(&path, &set.overrides)?;
    let session = Session::new(&loaded, machine.into());
    let phases = phases(session.plan());
    open_data(&session)?;
    let folder = out.unwrap_or_else(|| default_run_folder(&path));
    let run = Run::open(&folder)?;
    let about = claim(&run, &loaded)?;
    session.terminal().say(&format!("{} -> {}", path.display(), folder.display()));
    if let Some(note) = loaded.train.as_ref().and_then(|train| train.note.as_ref()) {
        session.terminal().say(&format!("data: {note}"));
    }

    checkpoint::set_damaged_aside(&run)?;
    let left: Vec<&dyn Phase> = phases.iter().map(|phase| &**phase).filter(|phase| !run.has(&phase.product())).collect();
    if left.is_empty() {
        session.terminal().say("every phase is done already");
    } else {
        going_on(&run, &about, &left)?;
        let done = checkpoint::newest_step(&run)?.unwrap_or(0);
        let mut log = Log::open(&run, done + logged_after(&session, &run) + 1);
        log.text("experiment", done, &format!("```toml\n{}```", loaded.experiment.resolved()));
        left.iter().try_for_each(|phase| phase.run(&session, &run, &mut log))?;
    }
    for phase in phases.iter().filter(|phase| ["samples", "likelihood"].contains(&phase.name())) {
        let shown = phase.product().replace("samples.json", "samples.png");
        session.terminal().say(&format!("{}: {}", phase.name(), folder.join(shown).display()));
    }
    Ok(())
}

/// Opens every split that is needed, so that damaged data are found before any work.
fn open_data(session: &Session) -> Result<()> {
    session.dataset(Split::Train)?;
    match &session.plan().likelihood {
        Some(likelihood) => session.dataset(likelihood.split).map(drop),
        None => Ok(()),
    }
}

/// Steps that a finished dequantisation has logged after those of training.
fn logged_after(session: &Session, run: &Run) -> u64 {
    session.plan().dequantisation.as_ref().filter(|_| run.has(crate::dequantisation::Dequantiser::FILE)).map_or(0, |spec| spec.steps)
}

/// A training that was begun with other random numbers can't go on with these.
fn going_on(run: &Run, about: &About, left: &[&dyn Phase]) -> Result<()> {
    let trains = left.iter().any(|phase| phase.name() == "train");
    if about.format < FORMAT && trains && checkpoint::newest_step(run)?.is_some() {
        let message = format!("is a run of format {}, whose training draws are others than those of format {FORMAT}", about.format);
        return Err(Error::run(run.path(), message, "finish it with the version that began it, or start it anew (--out DIR)"));
    }
    Ok(())
}

/// Makes the folder this experiment's, or refuses if it is another's.
fn claim(run: &Run, Loaded { experiment, shape, .. }: &Loaded) -> Result<About> {
    let Some(text) = run.experiment()? else {
        let about = About::new(shape);
        run.introduce(&about)?;
        run.write("experiment.toml", experiment.resolved().as_bytes())?;
        return Ok(about);
    };
    let about = run.about()?;
    let stored_path = run.path().join("experiment.toml");
    let stored: Experiment = toml::from_str(&text).map_err(|e| about.unreadable(&stored_path, e.message().trim()))?;
    let differences = experiment.differences(&stored);
    if differences.is_empty() {
        return Ok(about);
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
