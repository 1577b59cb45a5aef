//! `score-sde export`: the averaged weights of a run as a safetensors file, for other programs.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tch::Tensor;

use super::Source;
use crate::error::{Error, Result};
use crate::experiment;
use crate::net::NetworkSpec;
use crate::pth::reference::{PREFIX, SIGMAS};
use crate::run::{Run, replace, tensors};
use crate::sde::SdeSpec;
use crate::session::{Machine, Session};
use crate::train::Average;

/// The end of `score-sde export --help`.
pub const IN_PYTORCH: &str = "\
A run of [network.ncsnpp] in PyTorch, with the reference's network for the same configuration:

    from safetensors.torch import load_file
    state = load_file(\"weights-pth-names.safetensors\")
    score_model.load_state_dict(state, strict=True)";

/// What the tensors are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Names {
    /// As they are called here, which for [network.ncsnpp] is as in the reference: all_modules.0.W, all_modules.1.weight, ...
    Safetensors,
    /// As its saved state dict does: module.sigmas, module.all_modules.0.W, ...; of [network.ncsnpp] alone.
    PthNames,
}

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    /// What the tensors are called.
    #[arg(long, value_name = "NAMES")]
    to: Names,
    /// The file [default: weights.safetensors or weights-pth-names.safetensors in the run folder].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Length of module.sigmas with pth-names: the reference's model.num_scales.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(i64).range(2..=1_000_000))]
    scales: i64,
}

pub fn export(Arguments { source, to: names, out, scales }: Arguments) -> Result<()> {
    let run = Run::reading(&source.run)?;
    let loaded = experiment::load_run(&run, &[], &[], false)?;
    let session = Session::new(&loaded, Machine { threads: Some(1), ..Machine::default() });
    let (Some(weights), Some(parameters)) = (source.take(&session, &run)?, session.parameters()) else {
        return Err(Error::run(run.path(), "has no weights of its own: nothing is trained in it", "give a run that trains a network"));
    };
    if let Some((name, ..)) = parameters.named().find(|(_, tensor, _)| tensor.isfinite().all().int64_value(&[]) == 0) {
        let message = format!("its weights are not finite: `{name}` holds a number that is none");
        return Err(Error::run(run.path(), message, "train it anew with a lower train.lr; what is not a number is of no use elsewhere"));
    }
    if names == Names::PthNames && !matches!(loaded.experiment.network, Some(NetworkSpec::Ncsnpp(_))) {
        let message = "has a network that the reference does not have: its names are for [network.ncsnpp]".to_owned();
        return Err(Error::run(run.path(), message, "use --to safetensors"));
    }
    if names == Names::PthNames && session.network().is_some_and(|network| network.parametrisation.outputs() > 1) {
        let message = "has a network that says variances, which the reference's do not".to_owned();
        return Err(Error::run(run.path(), message, "use --to safetensors"));
    }
    let parameters = parameters.named();
    let sigmas = noise_levels(loaded.experiment.sde.as_ref(), scales);
    let (file, named): (_, Vec<(String, &Tensor)>) = match names {
        Names::Safetensors => ("weights.safetensors", parameters.map(|(name, tensor, _)| (name.to_owned(), tensor)).collect()),
        Names::PthNames => {
            let weights = parameters.map(|(name, tensor, _)| (format!("{PREFIX}{name}"), tensor));
            ("weights-pth-names.safetensors", std::iter::once((format!("{PREFIX}{SIGMAS}"), &sigmas)).chain(weights).collect())
        }
    };
    let out = out.unwrap_or_else(|| run.path().join(file));
    let kind = if weights.average == Average::Raw { "raw" } else { "ema" };
    let meta = [("format", "pt".to_owned()), ("weights", kind.to_owned()), ("step", weights.step.to_string())];
    replace(&out, |file| file.write_all(&tensors::encode(&named, &meta)))?;
    println!("{}", out.display());
    Ok(())
}

/// The buffer `sigmas` [scales], f64: geometric from large to small, of VE and of what has its levels; elsewhere, where nothing reads it,
/// the reference's 50 to 0.01.
fn noise_levels(sde: Option<&SdeSpec>, scales: i64) -> Tensor {
    let (largest, smallest) = match sde {
        Some(SdeSpec::Ve(ve)) => (ve.sigma_max, ve.sigma_min),
        Some(SdeSpec::PoissonFlow(flow)) => (flow.sigma_max, flow.sigma_min),
        _ => (50.0, 0.01),
    };
    let step = (f64::ln(smallest) - f64::ln(largest)) / (scales - 1) as f64;
    let levels: Vec<f64> = (0..scales).map(|i| (f64::ln(largest) + i as f64 * step).exp()).collect();
    Tensor::from_slice(&levels)
}
