//! `score-sde ls`: runs at a glance.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Form;
use crate::error::{Error, Result};
use crate::progress::columns;
use crate::run::{Overview, Run, runs_below};

#[derive(Args, Debug)]
pub struct Arguments {
    /// A folder of runs, or a run.
    #[arg(default_value = "runs")]
    folder: PathBuf,
    #[command(flatten)]
    form: Form,
}

pub fn ls(Arguments { folder, form }: Arguments) -> Result<()> {
    let runs = runs_below(&folder);
    if runs.is_empty() {
        let help = "a run is the folder that score-sde run FILE makes, runs/<name of FILE>; name the folder in which they are".into();
        return Err(Error::Usage { message: format!("there is no run in {}", folder.display()), help });
    }
    let overviews = runs.iter().map(|run| Run::reading(run)?.overview()).collect::<Result<Vec<Overview>>>()?;
    if form.json {
        return form.print(&json!(overviews));
    }
    let head = ["run", "model", "data", "steps", "-ln p", "state"].map(str::to_owned);
    print!("{}", columns(&[&[head][..], &overviews.iter().map(row).collect::<Vec<_>>()].concat()));
    Ok(())
}

fn row(overview: &Overview) -> [String; 6] {
    let Overview { run, model, data, steps, planned, likelihood, state, .. } = overview;
    let trained = if *planned == 0 { "-".into() } else { format!("{steps}/{planned}") };
    let number = likelihood.as_ref().map_or("-".into(), |measured| measured.line());
    [run.display().to_string(), model.clone(), data.clone(), trained, number, state.name().into()]
}
