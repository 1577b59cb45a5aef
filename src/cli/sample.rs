//! `score-sde sample`: samples from a run, again.

use std::path::PathBuf;

use clap::Args;

use super::{Machine, Overrides, parse_choice, result_name};
use crate::error::{Error, Result};
use crate::experiment;
use crate::run::Run;
use crate::run::checkpoint::Choice;
use crate::session::Session;

#[derive(Args, Debug)]
pub struct Arguments {
    /// A run folder.
    run: PathBuf,
    /// The checkpoint, by its step, or best by the curve of train.keep_best [default: the newest].
    #[arg(long, value_name = "N|best", value_parser = parse_choice)]
    step: Option<Choice>,
    /// A folder for the results that is not the run's.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Name of the files below samples/ [default: the next free samples-2, samples-3, ...].
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    machine: Machine,
}

pub fn sample(Arguments { run: path, step, out, name, set, machine }: Arguments) -> Result<()> {
    let run = Run::reading(&path)?;
    let loaded = experiment::load_run(&run, &set.overrides, &["seed", "sample"], false)?;
    machine.holds(&loaded, &["sample"])?;
    let session = Session::new(&loaded, machine.into());
    let spec = session.plan().sample.as_ref().ok_or_else(|| {
        Error::run(run.path(), "its experiment has no [sample]", "give one: --set 'sample={count=16,...}' with all its keys")
    })?;
    session.average_of(&run, step.unwrap_or_default())?;
    let elsewhere = out.map(|out| Run::elsewhere(&out)).transpose()?;
    let place = elsewhere.as_ref().unwrap_or(&run);
    let (name, _reserved) = result_name(place, name, "samples", |name| format!("samples/{name}"))?;
    session.sample_into(spec, &run, place, &name, |_| Ok(()))?;
    println!("{}", place.folder().at(&format!("samples/{name}.png")).display());
    Ok(())
}
