//! `score-sde sample`: samples from a finished run, again.

use std::path::Path;

use super::session::Session;
use super::{Common, free_name, plain_name};
use crate::error::{Error, Result};
use crate::experiment;
use crate::progress::Terminal;
use crate::run::Run;

pub fn sample(path: &Path, name: Option<String>, common: &Common, terminal: &Terminal) -> Result<()> {
    let run = Run::existing(path)?;
    let loaded = experiment::load_run(&run, &common.overrides, &["seed", "sample"])?;
    let spec = loaded.experiment.sample.as_ref().ok_or_else(|| {
        Error::run(run.path(), "its experiment has no [sample]", "give one: --set 'sample={count=16,...}' with all its keys")
    })?;
    let session = Session::new(&loaded, common.device, common.threads, terminal);
    session.load_average(&run)?;
    let name = match name {
        Some(name) => plain_name(name)?,
        None => free_name("samples", |name| run.path().join(format!("samples/{name}.json")).exists()),
    };
    let samples = session.sample(spec)?;
    samples.save(&run, &name, loaded.experiment.data.scale(), spec, &session.picture(&samples))?;
    println!("{}", run.path().join(format!("samples/{name}.png")).display());
    Ok(())
}
