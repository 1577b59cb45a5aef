//! `score-sde likelihood`: the likelihood of a finished run, again.

use std::path::Path;

use tch::Device;

use super::session::Session;
use super::{free_name, plain_name};
use crate::error::{Error, Result};
use crate::experiment;
use crate::progress::Terminal;
use crate::run::Run;

pub fn likelihood(
    path: &Path,
    name: Option<String>,
    overrides: &[String],
    device: Device,
    threads: Option<i32>,
    terminal: &Terminal,
) -> Result<()> {
    let run = Run::existing(path)?;
    let loaded = experiment::load_run(&run, overrides, &["seed", "likelihood"])?;
    let spec = loaded.experiment.likelihood.as_ref().ok_or_else(|| {
        Error::run(run.path(), "its experiment has no [likelihood]", "give one: --set 'likelihood={split=\"test\",...}' with all its keys")
    })?;
    let session = Session::new(&loaded, device, threads, terminal);
    let step = session.load_average(&run)?;
    let name = match name {
        Some(name) => plain_name(name)?,
        None => free_name("likelihood", |name| run.path().join(format!("{name}.json")).exists()),
    };
    let values = session.likelihood(spec)?;
    values.save(&run, &name, &values.report(spec, loaded.experiment.data.scale(), step))?;
    println!("{}\n{}", values.headline(), run.path().join(format!("{name}.json")).display());
    Ok(())
}
