//! `score-sde import`: a checkpoint of the reference implementation, or a model of diffusers, as a run.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Overrides, Voice};
use crate::error::{Error, Result};
use crate::experiment::{self, Experiment, Loaded};
use crate::model::ScoreNetwork;
use crate::net::NetworkSpec;
use crate::progress::warn;
use crate::pth::diffusers::Model;
use crate::pth::reference::{Checkpoint, Found};
use crate::run::Run;
use crate::sde::SdeSpec;
use crate::session::{Machine, Session};
use crate::train::{State, Train};

/// Whose files are imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// A training checkpoint of the reference implementation.
    Reference,
    /// The folder of a UNet2DModel of diffusers: config.json and safetensors.
    Diffusers,
}

#[derive(Args, Debug)]
pub struct Arguments {
    /// The .pth file, a dict of optimizer, model, ema and step; or the folder of a model.
    checkpoint: PathBuf,
    /// Whose checkpoint it is.
    #[arg(long, value_name = "LAYOUT", default_value = "reference")]
    layout: Layout,
    /// What it was trained as, a TOML file.
    #[arg(long, value_name = "FILE")]
    experiment: PathBuf,
    /// The run folder, which must be new.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    voice: Voice,
}

pub fn import(Arguments { checkpoint, layout, experiment, out, set, voice }: Arguments) -> Result<()> {
    let loaded = experiment::load(&experiment, &set.overrides)?;
    let session = Session::new(&loaded, Machine { quiet: voice.quiet, threads: Some(1), ..Machine::default() });
    let (Some(spec), Some(model)) = (session.plan().train(), session.network()) else {
        return Err(Error::Usage {
            message: format!("{} trains no score: there is no network to import into", experiment.display()),
            help: "give an experiment with [network.*], [precondition.*] and [train]".into(),
        });
    };
    unused(&out)?;
    let state = match layout {
        Layout::Reference => of_reference(&checkpoint, &loaded, spec, model)?,
        Layout::Diffusers => of_diffusers(&checkpoint, &loaded, spec, model)?,
    };

    let run = Run::open(&out)?;
    run.introduce(&loaded.about(&run)?)?;
    state.save(&run, spec.keep)?;
    loaded.keep_program(&run)?;
    // Last, since it is what makes the folder a run.
    run.keep_experiment(&loaded.experiment.resolved())?;
    let count = model.parameters.named().count();
    session.terminal().say(&format!("{} -> {}: {count} tensors at step {}", checkpoint.display(), out.display(), state.step));
    Ok(())
}

/// Weights, averages, moments and the step.
fn of_reference<'a>(checkpoint: &Path, loaded: &Loaded, spec: &Train, model: &'a ScoreNetwork) -> Result<State<'a>> {
    let mut file = Checkpoint::open(checkpoint)?;
    let mut state = State::new(spec, &model.parameters);
    let found = file.fill(&model.parameters, &state.ema.average, [&state.adam.first_moment, &state.adam.second_moment])?;
    same_noise(checkpoint, loaded, found.sigmas)?;
    state.step = file.step;
    remark(spec, state.step, &found);
    Ok(state)
}

/// Weights, as if they were the beginning of training.
fn of_diffusers<'a>(folder: &Path, loaded: &Loaded, spec: &Train, model: &'a ScoreNetwork) -> Result<State<'a>> {
    let Experiment { network, sde, precondition, .. } = &loaded.experiment;
    let (Some(NetworkSpec::Ddpm(network)), &[channels, height, width]) = (network, &loaded.model_shape()[..]) else {
        return Err(Error::Usage {
            message: "the network of the experiment is not [network.ddpm]".into(),
            help: "a UNet2DModel becomes that one; another network of diffusers can be [network.torchscript]".into(),
        });
    };
    let file = Model::open(folder)?;
    file.check(network, [channels, height, width], model.parametrisation.outputs())?;
    match (&file.schedule, sde, precondition) {
        (Some(schedule), Some(sde), Some(precondition)) => schedule.check(sde, precondition)?,
        _ => warn(&format!("{} has no scheduler_config.json: its noise is taken to be the experiment's", folder.display())),
    }
    file.fill(network, width, &model.parameters)?;
    Ok(State::new(spec, &model.parameters))
}

/// A folder in which nothing is.
fn unused(out: &Path) -> Result<()> {
    let used = match std::fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => out.exists(),
    };
    match used {
        true => Err(Error::run(out, "is in use already", "an import begins a run; name a new folder (--out DIR)")),
        false => Ok(()),
    }
}

/// Under VE, what the weights mean hangs on the range of noise; under other processes the levels in the file go unused.
fn same_noise(checkpoint: &Path, loaded: &Loaded, (largest, smallest): (f64, f64)) -> Result<()> {
    let Some(SdeSpec::Ve(ve)) = &loaded.experiment.sde else { return Ok(()) };
    let alike = |a: f64, b: f64| (a / b).ln().abs() < 1e-5;
    if !(alike(largest, ve.sigma_max) && alike(smallest, ve.sigma_min)) {
        let (max, min) = (ve.sigma_max, ve.sigma_min);
        return Err(Error::data(
            checkpoint,
            format!("module.sigmas: expected noise levels from {max} to {min} as in [sde.ve], found {largest} to {smallest}"),
            format!("--set sde.ve.sigma_max={largest:.6} --set sde.ve.sigma_min={smallest:.6}, if this is the right checkpoint"),
        ));
    }
    Ok(())
}

/// Says what of the training so far differs from the training to come. It changes no sample.
fn remark(spec: &Train, step: u64, found: &Found) {
    let here = [
        ("ema.decay", spec.ema),
        ("ema.num_updates", step as f64),
        ("optimizer.betas[0]", spec.betas[0]),
        ("optimizer.betas[1]", spec.betas[1]),
        ("optimizer.eps", spec.eps),
        ("optimizer.weight_decay", spec.weight_decay),
        ("optimizer.amsgrad", 0.0),
    ];
    for (name, value) in here {
        match found.settings.get(name) {
            Some(there) if *there != value => warn(&format!("the checkpoint has {name} {there}; training would go on with {value}")),
            _ => {}
        }
    }
    if found.without_moments > 0 && step > 0 {
        warn(&format!("the checkpoint has no Adam moments for {} tensors; theirs begin at 0", found.without_moments));
    }
}
