//! `score-sde check`: the resolved experiment and what would run.

use std::path::PathBuf;

use clap::Args;

use super::Overrides;
use crate::data::Split;
use crate::error::{Error, Result};
use crate::experiment::{self, Family, Loaded};
use crate::memory;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The experiment, a TOML file.
    experiment: PathBuf,
    #[command(flatten)]
    set: Overrides,
}

pub fn check(Arguments { experiment: path, set }: Arguments) -> Result<()> {
    let loaded = experiment::load(&path, &set.overrides)?;
    let needs = loaded.needs(&experiment::PHASES)?;
    let Loaded { experiment, plan, shape, train } = loaded;
    print!("{}", experiment.resolved());
    println!("\n# What will run:");
    let examples = train.as_ref().map_or(0, |train| train.len);
    println!("# data        {examples} training examples of shape {shape:?}");
    if let Some(note) = train.as_ref().and_then(|train| train.note.as_ref()) {
        println!("#             {note}");
    }
    match &plan.family {
        Family::Known(_) => println!("# score       exact; nothing is trained"),
        Family::Score(learned) => {
            println!("# network     {} trainable parameters", learned.network.parameter_count(&shape));
            let (steps, batch) = (learned.train.steps, learned.train.batch);
            println!("# train       {steps} steps of {batch} examples, {:.1} epochs", steps as f64 * batch as f64 / examples as f64);
        }
    }
    if let Some(sample) = &plan.sample {
        println!("# sample      {} samples", sample.count);
    }
    if let Some(likelihood) = &plan.likelihood {
        let split = match likelihood.split {
            Split::Train => "training",
            Split::Test => "test",
        };
        println!("# likelihood  {} {split} examples", likelihood.count);
    }
    let available = memory::available();
    let of = available.map_or(String::new(), |available| format!(" of {} available", memory::bytes(available)));
    println!("# memory      about {}{of}", memory::bytes(needs.peak()));
    needs.fit(available, false)?;
    if let Err(Error::Memory { help, .. }) = needs.fit(available, true) {
        println!("#             too much for this machine's processor: {help}");
    }
    Ok(())
}
