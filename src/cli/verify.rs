//! `score-sde verify`: what of a run is as it was written.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::experiment;
use crate::run::{Run, State, verify as judge};

#[derive(Args, Debug)]
pub struct Arguments {
    /// A run folder.
    run: PathBuf,
}

pub fn verify(Arguments { run: path }: Arguments) -> Result<()> {
    let run = Run::reading(&path)?;
    experiment::load_run(&run, &[], &[], false)?;
    let findings = judge(&run)?;
    let mut damaged = 0;
    println!("whole    experiment.toml");
    for finding in &findings {
        match &finding.state {
            State::Whole => println!("whole    {}", finding.name),
            State::Damaged { what, cure } => {
                damaged += 1;
                println!("DAMAGED  {}: {what}; {cure}", finding.name);
            }
        }
    }
    if damaged > 0 {
        let message = format!("{damaged} of {} files or results are damaged", findings.len() + 1);
        return Err(Error::run(run.path(), message, "score-sde run with the same experiment makes again what it says above"));
    }
    Ok(())
}
