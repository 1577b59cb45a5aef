//! The noise that a model of diffusers was trained with.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::model::{Label, Output, Precondition};
use crate::sde::{SdeSpec, Vp};

/// β_i from `beta_start` to `beta_end`, evenly, at so many levels, and what the network predicts.
pub struct Schedule {
    path: PathBuf,
    levels: usize,
    betas: [f64; 2],
    output: Output,
}

const CURE: &str = "export it as a program instead, for [network.torchscript], with the process that it was trained with";

impl Schedule {
    /// Error: a schedule that no `[sde.vp]` has.
    pub(super) fn read(path: &Path, config: &Map<String, Value>) -> Result<Schedule> {
        let wrong = |key: &str, expected: &str| {
            let found = config.get(key).unwrap_or(&Value::Null);
            Error::data(path, format!("{key} is {found}, and here {expected}"), CURE)
        };
        let number = |key: &str, left_out: f64| config.get(key).map_or(Some(left_out), Value::as_f64).ok_or_else(|| wrong(key, "a number"));
        if config.get("beta_schedule").is_some_and(|kind| kind != "linear") {
            return Err(wrong("beta_schedule", "linear"));
        }
        if config.get("trained_betas").is_some_and(|betas| !betas.is_null()) {
            return Err(wrong("trained_betas", "null"));
        }
        if config.get("rescale_betas_zero_snr").is_some_and(|rescaled| rescaled == true) {
            return Err(wrong("rescale_betas_zero_snr", "false"));
        }
        let output = match config.get("prediction_type").and_then(Value::as_str) {
            None | Some("epsilon") => Output::Noise,
            Some("v_prediction") => Output::V,
            Some("sample") => Output::Data,
            Some(_) => return Err(wrong("prediction_type", "epsilon, v_prediction or sample")),
        };
        let betas = [number("beta_start", 1e-4)?, number("beta_end", 0.02)?];
        Ok(Schedule { path: path.to_owned(), levels: number("num_train_timesteps", 1000.0)? as usize, betas, output })
    }

    /// Error: the experiment's process, or what its network is told and predicts, is another; the message says the first difference.
    pub fn check(&self, sde: &SdeSpec, precondition: &Precondition) -> Result<()> {
        let Schedule { path, levels, betas, output } = self;
        let n = *levels as f64;
        let [min, max] = betas.map(|beta| beta * n);
        let differs = |message: String, help: String| Err(Error::data(path, message, help));
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs();
        let same = matches!(sde, SdeSpec::Vp(Vp { beta_min, beta_max }) if near(*beta_min, min) && near(*beta_max, max));
        if !same {
            let message =
                format!("{levels} steps of β from {} to {} are [sde.vp] with beta_min = {min} and beta_max = {max}", betas[0], betas[1]);
            return differs(message, "give the experiment this process".into());
        }
        let (asked, predicted) = match precondition {
            Precondition::Discrete { levels: ours, output, .. } => (*ours == *levels, output.unwrap_or(Output::Noise)),
            Precondition::Reference {} => (*levels == 1000, Output::Noise),
            Precondition::Plain { label, output } => (*levels == 1000 && *label == Label::Time, *output),
            Precondition::Edm { .. } => (false, *output),
        };
        let name = serde_json::json!(output);
        if !asked {
            let message = format!("the network was trained at the labels 0 to {}, of {levels} levels", levels - 1);
            return differs(message, format!("give [precondition.discrete] with levels = {levels} and output = {name}"));
        }
        if predicted != *output {
            let ours = serde_json::json!(predicted);
            return differs(
                format!("the network predicts {name}, and {ours} in [precondition]"),
                format!("give [precondition.*] output = {name}"),
            );
        }
        Ok(())
    }
}
