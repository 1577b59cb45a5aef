//! `score-sde verify`: what of a run is as it was written.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Form;
use crate::error::{Error, Result};
use crate::experiment;
use crate::run::{Finding, Run, State, verify as judge};

#[derive(Args, Debug)]
pub struct Arguments {
    /// A run folder.
    run: PathBuf,
    #[command(flatten)]
    form: Form,
}

pub fn verify(Arguments { run: path, form }: Arguments) -> Result<()> {
    let run = Run::reading(&path)?;
    experiment::load_run(&run, &[], &[], false)?;
    let findings = judge(&run)?;
    let damaged = findings.iter().filter(|finding| finding.state != State::Whole).count();
    let row = |Finding { name, state }: &Finding| match state {
        State::Whole => json!({ "name": name, "whole": true }),
        State::Damaged { what, cure } => json!({ "name": name, "whole": false, "what": what, "cure": cure }),
    };
    if form.json {
        form.print(&findings.iter().map(row).collect())?;
    } else {
        println!("whole    experiment.toml");
        findings.iter().for_each(|Finding { name, state }| match state {
            State::Whole => println!("whole    {name}"),
            State::Damaged { what, cure } => println!("DAMAGED  {name}: {what}; {cure}"),
        });
    }
    if damaged > 0 {
        let message = format!("{damaged} of {} files or results are damaged", findings.len() + 1);
        return Err(Error::run(run.path(), message, "score-sde run with the same experiment makes again what it says above"));
    }
    Ok(())
}
