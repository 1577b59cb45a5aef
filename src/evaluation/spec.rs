//! `[evaluate]` as written in an experiment, and whether it can work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::{Split, Summary};
use crate::error::Fault;
use crate::features::FeatureSpec;

/// `[evaluate]`: how far the samples of `[sample]` or `[draw]` are from examples of the data, by the metrics of `score-sde evaluate`, each with
/// an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// The split whose examples the samples are compared with.
    pub against: Split,
    /// Examples of it, drawn by the seed, at least 20. Left out, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// What makes features of samples and examples.
    pub features: FeatureSpec,
    /// Examples that are read, and handed to what makes features, at once, 1 to 1,000,000. Operational.
    pub batch: usize,
    /// Which neighbour the balls of precision, recall, density and coverage reach to, at least 1; 5 is usual.
    pub neighbours: i64,
    /// Whether copies of training examples are looked for among the samples.
    pub copies: bool,
    /// Whether samples of each class are compared with examples of it as well: of samples that were given classes, and data with labels.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub classes: bool,
    /// Left out, samples are compared once all training is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub during_training: Option<DuringTraining>,
}

/// `[evaluate.during_training]`: samples of the averaged weights of checkpoints, drawn as `[sample]` or `[draw]` says, and compared; the numbers
/// and the samples' picture are in TensorBoard. Every checkpoint's samples begin at the same noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DuringTraining {
    /// Steps from one comparison to the next, a multiple of `train.checkpoint_every`. Training ends with the same weights, whatever it is.
    pub every: u64,
    /// Samples for each, at least 20.
    pub count: usize,
}

/// Examples of a set that can be compared.
const FEWEST: usize = 20;

impl Evaluate {
    /// `samples` are those that the experiment draws, if it does; `checkpoints` the steps between those of its training, if there is one. A
    /// fault's key is relative to `[evaluate]`.
    pub fn check(&self, samples: Option<usize>, checkpoints: Option<u64>) -> Result<(), Fault> {
        let help = "intervals come from ten groups of two or more";
        match samples {
            None => return Err(Fault::new("", "there are no samples to compare", "give [sample], or [draw], or remove [evaluate]")),
            Some(count) if count < FEWEST => {
                let message = format!("the experiment draws {count} samples, and {FEWEST} or more can be compared");
                return Err(Fault::new("", message, "raise sample.count, or draw.count, or remove [evaluate]"));
            }
            Some(_) => {}
        }
        Fault::unless_in("examples", self.examples.unwrap_or(FEWEST), FEWEST..=100_000_000, help)?;
        Fault::unless_in("batch", self.batch, 1..=1_000_000, "a smaller batch needs less memory")?;
        Fault::unless_in("neighbours", self.neighbours, 1..=1_000_000, "5 is usual")?;
        self.features.check().map_err(|fault| fault.within("features"))?;
        match (self.during_training, checkpoints) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(Fault::new("during_training", "nothing is trained", "remove [evaluate.during_training]")),
            (Some(DuringTraining { every, count }), Some(checkpoints)) => {
                Fault::unless_in("during_training.count", count, FEWEST..=100_000_000, help)?;
                if every > 0 && every.is_multiple_of(checkpoints) {
                    return Ok(());
                }
                let message = format!("{every} is no multiple of train.checkpoint_every = {checkpoints}");
                Err(Fault::new("during_training.every", message, "what is compared are checkpoints; give a multiple"))
            }
        }
    }

    /// What can only be known of the split, and of the files of what makes features.
    pub fn check_against(&self, split: &Summary) -> Result<(), Fault> {
        self.features.check_files().map_err(|fault| fault.within("features"))?;
        if let Some(examples) = self.examples.filter(|examples| *examples > split.len) {
            let message = format!("the split has {} examples, and {examples} are asked for", split.len);
            return Err(Fault::new("examples", message, "give as many or less, or leave it out for all"));
        }
        if split.len < FEWEST {
            let message = format!("the split has {} examples, and {FEWEST} or more can be compared", split.len);
            return Err(Fault::new("against", message, "give the other split, or remove [evaluate]"));
        }
        Ok(())
    }
}
