//! `score-sde check`: the resolved experiment and what would run.

use std::path::Path;

use crate::data::Split;
use crate::error::Result;
use crate::experiment;
use crate::train::Train;

pub fn check(path: &Path, overrides: &[String]) -> Result<()> {
    let loaded = experiment::load(path, overrides)?;
    let experiment = &loaded.experiment;
    print!("{}", experiment.resolved());
    println!("\n# What will run:");
    println!("# data        {} training examples of shape {:?}", loaded.train.len(), loaded.train.shape());
    if let Some(note) = loaded.train.note() {
        println!("#             {note}");
    }
    match (&experiment.network, &experiment.train) {
        (Some(network), Some(Train { steps, batch, .. })) => {
            println!("# network     {} trainable parameters", network.parameter_count(loaded.train.shape()));
            println!(
                "# train       {steps} steps of {batch} examples, {:.1} epochs",
                *steps as f64 * *batch as f64 / loaded.train.len() as f64
            );
        }
        _ => println!("# score       exact; nothing is trained"),
    }
    if let Some(sample) = &experiment.sample {
        println!("# sample      {} samples", sample.count);
    }
    if let Some(likelihood) = &experiment.likelihood {
        let split = match likelihood.split {
            Split::Train => "training",
            Split::Test => "test",
        };
        println!("# likelihood  {} {split} examples", likelihood.count);
    }
    Ok(())
}
