//! `score-sde run`: every phase of an experiment, each once.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Args;
use serde_json::json;

use super::{Form, Machine, Overrides, parse_choice};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::experiment::{self, default_run_folder};
use crate::phase::{Performed, help, perform};
use crate::ranks::Ranks;
use crate::run::checkpoint::Choice;
use crate::run::{EXPERIMENT, Measured, Overview, Run};
use crate::session::{Session, open_features};

#[derive(Args, Debug)]
pub struct Arguments {
    /// The experiment, a TOML file; or a run folder, or the experiment.toml in it, to go on there.
    experiment: PathBuf,
    /// The run folder [default: runs/<file's stem>, or the run that is named].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Begin a new run with the weights of another one, their raw values and their moving average; of its newest checkpoint, or of step N, or of
    /// best. Adam's moments and the count of steps begin anew.
    #[arg(long, value_name = "RUN[@N]")]
    from: Option<PathBuf>,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    machine: Machine,
}

pub fn run(arguments: Arguments) -> Result<()> {
    let ranks = Rc::new(Ranks::join(&arguments.words())?);
    ranks.end(run_among(&ranks, arguments))
}

fn run_among(ranks: &Rc<Ranks>, Arguments { experiment: path, out, from, set, form, machine }: Arguments) -> Result<()> {
    let own = of_a_run(&path)?;
    let path = own.as_ref().map_or(path, |run| run.path().join(EXPERIMENT));
    let folder = out.or(own.map(|run| run.path().to_owned())).unwrap_or_else(|| default_run_folder(&path));
    let loaded = experiment::load_into(&path, &set.overrides, Run::reading(&folder).ok().as_ref())?;
    machine.holds(&loaded.needs(&experiment::PHASES)?)?;
    let session = Session::new(&loaded, machine.of_rank(ranks)).among(ranks.clone());
    // Before the folder changes, all have read it; and then, rank 0 has made it.
    ranks.wait()?;
    if !ranks.is_first() {
        ranks.wait()?;
        return help(&loaded, &session, &Run::reading(&folder)?);
    }
    open_data(&session)?;
    let run = Run::open(&folder)?;
    if let Some(from) = from {
        let (from, choice) = parse_from(&from)?;
        session.begin_from(&run, (&from, choice), loaded.about(&run)?)?;
    }
    let changes = loaded.claim(&run)?;
    ranks.wait()?;
    session.terminal().say(&format!("{} -> {}", path.display(), folder.display()));
    changes.iter().for_each(|line| session.terminal().say(&format!("changed: {line}")));
    if let Some(note) = loaded.train.as_ref().and_then(|train| train.note.as_ref()) {
        session.terminal().say(&format!("data: {note}"));
    }

    let Performed { worked, shows } = perform(&loaded, &session, &run)?;
    if !worked {
        session.terminal().say("every phase is done already");
    }
    let overview = run.overview()?;
    summary(&overview, &shows, &run).iter().for_each(|line| session.terminal().say(line));
    if form.json { form.print(&json!(overview)) } else { Ok(()) }
}

impl Arguments {
    /// What all processes of a run must be told alike.
    fn words(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map_or(String::new(), |path| format!(" {}", path.display()));
        let set: String = self.set.overrides.iter().map(|change| format!(" {}", change.flag().join(" "))).collect();
        format!("{}{}{}{set}", self.experiment.display(), path(&self.out), path(&self.from))
    }
}

/// What the run has come to: a line for each phase with something to look at.
fn summary(overview: &Overview, shows: &[(&str, &str)], run: &Run) -> Vec<String> {
    let said = |name: &str| match name {
        "samples" => overview.samples.map(|count| count.to_string()),
        "likelihood" => overview.likelihood.as_ref().map(Measured::line),
        _ => None,
    };
    let rows: Vec<(&str, String, String)> =
        shows.iter().map(|(name, file)| (*name, said(name).unwrap_or_default(), run.folder().at(file).display().to_string())).collect();
    let width = rows.iter().map(|(_, number, _)| number.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, number, file)| format!("{name:<10}  {number:<width$}  {file}")).collect()
}

/// The run that a path names: its folder, or the experiment in it, whole. None where it names an experiment that is no run's.
fn of_a_run(path: &Path) -> Result<Option<Run>> {
    let folder = match path.file_name() {
        _ if path.is_dir() => path,
        Some(name) if name == EXPERIMENT => path.parent().unwrap_or(path),
        _ => return Ok(None),
    };
    let has_run = folder.join("run.json").is_file() || folder.join("checkpoints").is_dir();
    if !path.is_dir() && !has_run {
        return Ok(None);
    }
    let run = Run::reading(folder)?;
    run.experiment()?;
    Ok(Some(run))
}

/// A run and the checkpoint in it, RUN or RUN@N or RUN@best.
fn parse_from(word: &Path) -> Result<(PathBuf, Choice)> {
    match word.to_str().and_then(|word| word.rsplit_once('@')) {
        Some((run, step)) if !word.exists() => {
            let usage = |help| Error::Usage { message: format!("--from {} names no checkpoint", word.display()), help };
            Ok((run.into(), parse_choice(step).map_err(usage)?))
        }
        _ => Ok((word.to_owned(), Choice::Newest)),
    }
}

/// Opens every split that is needed, so that damaged data are found before any work.
fn open_data(session: &Session) -> Result<()> {
    session.dataset(Split::Train)?;
    if session.plan().knows_classes() {
        session.classes(Split::Train)?;
    }
    session.conditions(Split::Train)?;
    if let Some(sample) = &session.plan().sample {
        session.check_samples(sample)?;
    }
    if let Some(measured) = session.plan().sample.as_ref().and_then(|sample| sample.measurement.as_ref()) {
        session.observed(measured)?;
    }
    if let Some(evaluate) = &session.plan().evaluate {
        session.dataset(evaluate.against)?;
        open_features(&evaluate.features, session.device())?;
    }
    match session.plan().measured() {
        Some(split) => session.dataset(split).and_then(|_| session.conditions(split)).map(drop),
        None => Ok(()),
    }
}
