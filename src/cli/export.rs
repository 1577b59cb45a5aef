//! `score-sde export`: the averaged weights of a run as a safetensors file, for other programs.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use tch::{Device, Tensor};

use super::Common;
use super::session::Session;
use crate::error::{Error, Result};
use crate::experiment;
use crate::progress::Terminal;
use crate::pth::reference::{PREFIX, SIGMAS};
use crate::run::{Run, tensors};
use crate::sde::SdeSpec;

/// The end of `score-sde export --help`.
pub const IN_PYTORCH: &str = "\
In PyTorch, with the reference's network for the same configuration:

    from safetensors.torch import load_file
    state = load_file(\"weights-pth-names.safetensors\")
    score_model.load_state_dict(state, strict=True)";

/// What the tensors are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Names {
    /// As the reference calls its parameters: all_modules.0.W, all_modules.1.weight, ...
    Safetensors,
    /// As its saved state dict does: module.sigmas, module.all_modules.0.W, ...
    PthNames,
}

pub fn export(path: &Path, names: Names, out: Option<PathBuf>, scales: i64, common: &Common, terminal: &Terminal) -> Result<()> {
    if let Some(setting) = common.overrides.first() {
        let help = "an export is of the run as it is; leave --set out".into();
        return Err(Error::Usage { message: format!("--set {setting} has nothing to change here"), help });
    }
    let run = Run::existing(path)?;
    let loaded = experiment::load_run(&run, &[], &[])?;
    let session = Session::new(&loaded, Device::Cpu, common.threads, terminal);
    let step = session.load_average(&run)?;
    let (Some(step), Some(model)) = (step, &session.model) else {
        return Err(Error::run(run.path(), "has no weights: its score is known", "give a run that trains a network"));
    };
    let parameters = model.parameters.named();
    let sigmas = noise_levels(&loaded.experiment.sde, scales);
    let (file, named): (_, Vec<(String, &Tensor)>) = match names {
        Names::Safetensors => ("weights.safetensors", parameters.map(|(name, tensor, _)| (name.to_owned(), tensor)).collect()),
        Names::PthNames => {
            let weights = parameters.map(|(name, tensor, _)| (format!("{PREFIX}{name}"), tensor));
            ("weights-pth-names.safetensors", std::iter::once((format!("{PREFIX}{SIGMAS}"), &sigmas)).chain(weights).collect())
        }
    };
    let out = out.unwrap_or_else(|| run.path().join(file));
    let meta = [("format", "pt".to_owned()), ("weights", "ema".to_owned()), ("step", step.to_string())];
    tensors::write(&out, &named, &meta)?;
    println!("{}", out.display());
    Ok(())
}

/// The buffer `sigmas` [scales], f64: geometric from large to small. VP and sub-VP do not use it; there it gets the reference's 50 to 0.01.
fn noise_levels(sde: &SdeSpec, scales: i64) -> Tensor {
    let (largest, smallest) = match sde {
        SdeSpec::Ve(ve) => (ve.sigma_max, ve.sigma_min),
        SdeSpec::Vp(_) | SdeSpec::SubVp(_) => (50.0, 0.01),
    };
    let step = (f64::ln(smallest) - f64::ln(largest)) / (scales - 1) as f64;
    let levels: Vec<f64> = (0..scales).map(|i| (f64::ln(largest) + i as f64 * step).exp()).collect();
    Tensor::from_slice(&levels)
}
