//! `score-sde check`: the resolved experiment, where its keys come from, and what would run.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Form, Overrides};
use crate::data::{ConditionSpec, Split};
use crate::error::{Error, Result};
use crate::experiment::{self, Family, Loaded};
use crate::generator::GeneratorSpec;
use crate::memory;
use crate::train::Train;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The experiment, a TOML file.
    experiment: PathBuf,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    form: Form,
}

pub fn check(Arguments { experiment: path, set, form }: Arguments) -> Result<()> {
    let loaded = experiment::load(&path, &set.overrides)?;
    let needs = loaded.needs(&experiment::PHASES)?;
    let model_shape = loaded.model_shape();
    let Loaded { experiment, plan, shape, condition, vae, origins, train, .. } = loaded;
    if form.json {
        let parameters = match &plan.family {
            Family::Known(..) => 0,
            Family::Score(learned) => learned.parameter_count(&model_shape, plan.told(condition)),
            Family::Classifier(_, spec) => spec.parameter_count(&shape, condition),
            Family::Generator(spec, _) => spec.parameter_count(&shape),
        };
        let examples = train.as_ref().map_or(0, |train| train.len);
        let of = json!({
            "examples": examples,
            "shape": shape,
            "parameters": parameters,
            "bytes": needs.peak(),
            "experiment": experiment,
            "origins": origins,
        });
        form.print(&of)?;
        return needs.fit(memory::available(), false);
    }
    print!("{}", origins.noted(&experiment, &path.display().to_string()));
    println!("\n# What will run:");
    let examples = train.as_ref().map_or(0, |train| train.len);
    println!("# data        {examples} training examples of shape {shape:?}");
    if let Some(note) = train.as_ref().and_then(|train| train.note.as_ref()) {
        println!("#             {note}");
    }
    match &plan.condition {
        None => {}
        Some(ConditionSpec::Class(_)) => println!("# condition   the class, one of {condition}"),
        Some(ConditionSpec::Vector(_)) => println!("# condition   {} numbers of each example", condition - 1),
    }
    if let Some(vae) = &vae {
        let parameters = GeneratorSpec::Vae(vae.clone()).parameter_count(&shape);
        println!("# space       latent variables of shape {model_shape:?}, an autoencoder of {parameters} parameters");
    }
    match &plan.family {
        Family::Known(..) => println!("# score       exact; nothing is trained"),
        Family::Score(learned) => {
            println!("# network     {} trainable parameters", learned.parameter_count(&model_shape, plan.told(condition)))
        }
        Family::Classifier(_, spec) => {
            println!("# classifier  {} trainable parameters, {condition} classes", spec.parameter_count(&shape, condition));
        }
        Family::Generator(spec, _) => println!("# family      [{}], {} trainable parameters", spec.table(), spec.parameter_count(&shape)),
    }
    if let Some(&Train { steps, batch, .. }) = plan.train() {
        println!("# train       {steps} steps of {batch} examples, {:.1} epochs", steps as f64 * batch as f64 / examples as f64);
    }
    if let Some(analytic) = &plan.analytic_variance {
        println!("# variance    {} training examples at each of {} levels", analytic.examples, analytic.levels);
    }
    if let Some(spec) = &plan.classifier {
        let parameters = spec.parameter_count(&shape, condition);
        println!("# classifier  {parameters} trainable parameters, {condition} classes, {} steps", spec.train.steps);
    }
    if let Some(count) = plan.sample.as_ref().map(|sample| sample.count).or(plan.draw.as_ref().map(|draw| draw.count)) {
        println!("# sample      {count} samples");
    }
    let measured = plan.likelihood.as_ref().map(|likelihood| likelihood.count).or(plan.density.as_ref().map(|density| density.count));
    if let (Some(count), Some(split)) = (measured, plan.measured()) {
        let split = match split {
            Split::Train => "training",
            Split::Test => "test",
        };
        println!("# likelihood  {count} {split} examples");
    }
    let available = memory::available();
    let of = available.map_or(String::new(), |available| format!(" of {} available", memory::bytes(available)));
    println!("# memory      about {}{of}", memory::bytes(needs.peak()));
    if matches!(&plan.family, Family::Score(learned) if learned.network.is_trained()) {
        println!("#             without what its network, a program of others, holds at work");
    }
    needs.fit(available, false)?;
    if let Err(Error::Memory { help, .. }) = needs.fit(available, true) {
        println!("#             too much for this machine's processor: {help}");
    }
    Ok(())
}
