//! `score-sde sample`: samples from a run, again.

use clap::Args;

use super::{Machine, Overrides, Source, Target, result_name};
use crate::error::{Error, Result};
use crate::experiment;
use crate::run::Run;
use crate::session::Session;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    machine: Machine,
}

pub fn sample(Arguments { source, target, set, machine }: Arguments) -> Result<()> {
    let run = Run::reading(&source.run)?;
    let loaded = experiment::load_run(&run, &set.overrides, &["seed", "sample"], false)?;
    machine.holds(&loaded.needs(&["sample"])?)?;
    let session = Session::new(&loaded, machine.into());
    let spec = session.plan().sample.as_ref().ok_or_else(|| {
        Error::run(run.path(), "its experiment has no [sample]", "give one: --set 'sample={count=16,...}' with all its keys")
    })?;
    session.average_of(&run, source.step.unwrap_or_default())?;
    let elsewhere = target.out.map(|out| Run::elsewhere(&out)).transpose()?;
    let place = elsewhere.as_ref().unwrap_or(&run);
    let (name, _reserved) = result_name(place, target.name, "samples", |name| format!("samples/{name}"))?;
    session.sample_into(spec, &run, place, &name, |_| Ok(()))?;
    println!("{}", place.folder().at(&format!("samples/{name}.png")).display());
    Ok(())
}
