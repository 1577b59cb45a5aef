//! `score-sde run`: every phase of an experiment, each once.

use std::path::PathBuf;

use clap::Args;

use super::{Machine, Overrides};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment, Loaded, default_run_folder};
use crate::phase::phases;
use crate::progress::warn;
use crate::run::log::Log;
use crate::run::{About, Run, checkpoint};
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
    machine.holds(&loaded.needs(&experiment::PHASES)?)?;
    let session = Session::new(&loaded, machine.into());
    let phases = phases(session.plan());
    open_data(&session)?;
    let folder = out.unwrap_or_else(|| default_run_folder(&path));
    let run = Run::open(&folder)?;
    claim(&run, &loaded)?;
    session.terminal().say(&format!("{} -> {}", path.display(), folder.display()));
    if let Some(note) = loaded.train.as_ref().and_then(|train| train.note.as_ref()) {
        session.terminal().say(&format!("data: {note}"));
    }

    let mut log = Log::open(&run, format!("```toml\n{}```", loaded.experiment.resolved()))?;
    let (mut worked, mut shown) = (false, Vec::new());
    for phase in phases {
        let done = phase.run(&session, &run, &mut log)?;
        worked |= done.worked;
        shown.extend(done.shows.map(|file| format!("{}: {}", phase.name(), run.folder().at(file).display())));
    }
    if !worked {
        session.terminal().say("every phase is done already");
    }
    shown.iter().for_each(|line| session.terminal().say(line));
    Ok(())
}

/// Opens every split that is needed, so that damaged data are found before any work.
fn open_data(session: &Session) -> Result<()> {
    session.dataset(Split::Train)?;
    match session.plan().measured() {
        Some(split) => session.dataset(split).map(drop),
        None => Ok(()),
    }
}

/// Makes the folder this experiment's, or refuses if it is another's.
fn claim(run: &Run, Loaded { experiment, shape, .. }: &Loaded) -> Result<()> {
    let stored_path = run.path().join("experiment.toml");
    // Where nothing but the weights vouches for them, both files can be made again.
    if run.is_anonymous()? && checkpoint::may_bear(run, &experiment.mark())? {
        if run.has("experiment.toml") {
            warn(&format!("{} is lost or damaged; it is made again", run.path().join("run.json").display()));
        }
        run.introduce(&About::new(shape, experiment.mark()))?;
    }
    let about = run.about()?;
    let parse = |text: String| toml::from_str(&text).map_err(|e| about.unreadable(&stored_path, e.message().trim()));
    let stored: Result<Option<Experiment>> = run.experiment().and_then(|text| text.map(parse).transpose());
    let stored = match stored {
        Ok(Some(stored)) => stored,
        // Its results say themselves what they are of.
        Ok(None) | Err(Error::Run { .. }) if about.mark == experiment.mark() => {
            stored.err().into_iter().for_each(|error| warn(&format!("{error}; it is made again")));
            return run.keep_experiment(&experiment.resolved());
        }
        Ok(None) => return Err(Error::run(run.path(), "holds a run of another experiment", "give this one another folder: --out DIR")),
        Err(error) => return Err(error),
    };
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
