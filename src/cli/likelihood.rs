//! `score-sde likelihood`: the likelihood of a finished run, again.

use std::path::Path;

use super::session::Session;
use super::{Common, free_name, plain_name};
use crate::error::{Error, Result};
use crate::experiment;
use crate::likelihood::protocol;
use crate::progress::Terminal;
use crate::run::Run;

/// Whose protocol the number is put beside.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Protocol {
    /// That of Song et al. 2021, as their code has it.
    Reference,
}

pub fn likelihood(
    path: &Path,
    name: Option<String>,
    split: Option<String>,
    protocol: Option<Protocol>,
    common: &Common,
    terminal: &Terminal,
) -> Result<()> {
    let run = Run::existing(path)?;
    let split = split.map(|split| format!("likelihood.split={split}"));
    let overrides: Vec<String> = common.overrides.iter().cloned().chain(split).collect();
    let loaded = experiment::load_run(&run, &overrides, &["seed", "likelihood"])?;
    let spec = loaded.experiment.likelihood.as_ref().ok_or_else(|| {
        Error::run(run.path(), "its experiment has no [likelihood]", "give one: --set 'likelihood={split=\"test\",...}' with all its keys")
    })?;
    if protocol.is_some() {
        protocol::reference(spec, loaded.experiment.data.scale())?;
    }
    let session = Session::new(&loaded, common.device, common.threads, terminal);
    let step = session.load_average(&run)?;
    let name = match name {
        Some(name) => plain_name(name)?,
        None => free_name("likelihood", |name| run.path().join(format!("{name}.json")).exists()),
    };
    let values = session.likelihood(spec, &run, &name, step)?;
    let mut report = values.report(step);
    println!("{}", values.headline());
    values.bound_headline().iter().for_each(|line| println!("{line}"));
    if let Some(Protocol::Reference) = protocol {
        let mut measure = |change: &str, spec: &_| session.likelihood(spec, &run, &format!("{name}.{change}"), step);
        let comparison = protocol::compare(spec, loaded.experiment.data.scale(), &values, &mut measure)?;
        report["comparison"] = comparison.report();
        print!("{comparison}");
    }
    values.save(&run, &name, &report)?;
    println!("{}", run.path().join(format!("{name}.json")).display());
    Ok(())
}
