//! `score-sde likelihood`: the likelihood of a finished run, again.

use std::path::Path;

use super::session::Session;
use super::{Common, free_name, plain_name};
use crate::error::{Error, Result};
use crate::experiment;
use crate::progress::Terminal;
use crate::run::Run;

pub fn likelihood(path: &Path, name: Option<String>, common: &Common, terminal: &Terminal) -> Result<()> {
    let run = Run::existing(path)?;
    let loaded = experiment::load_run(&run, &common.overrides, &["seed", "likelihood"])?;
    let spec = loaded.experiment.likelihood.as_ref().ok_or_else(|| {
        Error::run(run.path(), "its experiment has no [likelihood]", "give one: --set 'likelihood={split=\"test\",...}' with all its keys")
    })?;
    let session = Session::new(&loaded, common.device, common.threads, terminal);
    let step = session.load_average(&run)?;
    let name = match name {
        Some(name) => plain_name(name)?,
        None => free_name("likelihood", |name| run.path().join(format!("{name}.json")).exists()),
    };
    let values = session.likelihood(spec, &run, &name, step)?;
    values.save(&run, &name, &values.report(step))?;
    let lines: Vec<String> = std::iter::once(values.headline()).chain(values.bound_headline()).collect();
    println!("{}\n{}", lines.join("\n"), run.path().join(format!("{name}.json")).display());
    Ok(())
}
