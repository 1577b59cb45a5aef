//! `score-sde import`: a checkpoint of the reference implementation as a run.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Overrides, Voice};
use crate::error::{Error, Result};
use crate::experiment::{self, Loaded};
use crate::progress::warn;
use crate::pth::reference::{Checkpoint, Found};
use crate::run::{About, Run};
use crate::sde::SdeSpec;
use crate::session::{Machine, Session};
use crate::train::{State, Train};

#[derive(Args, Debug)]
pub struct Arguments {
    /// The .pth file: a dict of optimizer, model, ema and step.
    checkpoint: PathBuf,
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

pub fn import(Arguments { checkpoint, experiment, out, set, voice }: Arguments) -> Result<()> {
    let loaded = experiment::load(&experiment, &set.overrides)?;
    let session = Session::new(&loaded, Machine { quiet: voice.quiet, threads: Some(1), ..Machine::default() });
    let (Some(spec), Some(model)) = (session.plan().train(), session.network()) else {
        return Err(Error::Usage {
            message: format!("{} trains no score: there is no network to import into", experiment.display()),
            help: "give an experiment with [network.*], [precondition.*] and [train]".into(),
        });
    };
    unused(&out)?;
    let mut file = Checkpoint::open(&checkpoint)?;
    let mut state = State::new(spec, &model.parameters);
    let found = file.fill(&model.parameters, &state.ema.average, [&state.adam.first_moment, &state.adam.second_moment])?;
    same_noise(&checkpoint, &loaded, found.sigmas)?;
    state.step = file.step;
    remark(spec, state.step, &found);

    let run = Run::open(&out)?;
    run.introduce(&About::new(session.shape(), loaded.condition, loaded.experiment.mark()))?;
    state.save(&run, spec.keep)?;
    loaded.keep_program(&run)?;
    // Last, since it is what makes the folder a run.
    run.keep_experiment(&loaded.experiment.resolved())?;
    let count = model.parameters.named().count();
    session.terminal().say(&format!("{} -> {}: {count} tensors at step {}", checkpoint.display(), out.display(), state.step));
    Ok(())
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
