//! Weights of a checkpoint, for whoever asks a network.

use serde::{Deserialize, Serialize};
use tch::no_grad;

use crate::error::Result;
use crate::optim::Parameters;
use crate::run::checkpoint::Checkpoint;
use crate::run::tensors;

/// Which weights are taken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Weights {
    /// Of the checkpoint.
    pub step: u64,
    /// Of their bytes.
    pub crc32: String,
    #[serde(skip_serializing_if = "Average::is_average")]
    pub average: Average,
}

/// Whether weights are averaged over training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Average {
    /// Their exponential moving average, `train.ema`.
    #[default]
    Average,
    /// As the last step left them.
    Raw,
}

impl Average {
    fn is_average(&self) -> bool {
        *self == Average::Average
    }
}

impl Weights {
    /// Which they are, for people.
    pub fn name(&self) -> String {
        let average = match self.average {
            Average::Average => "moving average",
            Average::Raw => "raw weights",
        };
        format!("{average} at step {}", self.step)
    }
}

/// Takes the weights of a checkpoint and ends training: no gradient of the weights is asked for any more.
pub fn load_weights(parameters: &Parameters, checkpoint: &Checkpoint, average: Average) -> Result<Weights> {
    let mut crc = crc32fast::Hasher::new();
    for (name, parameter, trainable) in parameters.named() {
        let averaged = trainable && average == Average::Average;
        let source = checkpoint.tensor(&format!("{}.{name}", if averaged { "ema" } else { "model" }))?;
        no_grad(|| parameter.detach().copy_(source));
        crc.update(tensors::bytes(source));
    }
    parameters.freeze();
    Ok(Weights { step: checkpoint.step, crc32: format!("{:08x}", crc.finalize()), average })
}
