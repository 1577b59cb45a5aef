//! Which weights a session has.

use super::Session;
use crate::error::{Error, Result};
use crate::run::Run;
use crate::run::checkpoint::{self, Choice};
use crate::train::{self, Average, Weights};

impl Session {
    /// Takes the averaged weights of the newest checkpoint, once; says which, or `None` where nothing is trained. Training is over then.
    pub fn average(&self, run: &Run) -> Result<Option<&Weights>> {
        self.average_of(run, Choice::Newest)
    }

    /// As [`average`](Session::average), of the checkpoint that is wanted, unless weights are taken already.
    pub fn average_of(&self, run: &Run, choice: Choice) -> Result<Option<&Weights>> {
        self.weights_of(run, choice, Average::Average)
    }

    /// The same, averaged or raw.
    pub fn weights_of(&self, run: &Run, choice: Choice, average: Average) -> Result<Option<&Weights>> {
        if self.weights.get().is_none() {
            self.read_latents(run)?;
            let weights = match self.parameters() {
                None => None,
                Some(_) if self.plan.train().is_none() && choice != Choice::Newest => {
                    let help = "leave out the step, or give [train] to train it";
                    return Err(Error::run(run.path(), "has no checkpoints: the weights of its network are the file's", help));
                }
                Some(parameters) if self.plan.train().is_none() => {
                    parameters.freeze();
                    None
                }
                Some(parameters) => {
                    let checkpoint = checkpoint::choose(run, choice)?.ok_or_else(|| {
                        Error::run(run.path(), "holds no checkpoint yet", "train first: score-sde run with this experiment")
                    })?;
                    Some(train::load_weights(parameters, &checkpoint, average)?)
                }
            };
            self.weights.get_or_init(|| weights);
        }
        Ok(self.weights.get().and_then(Option::as_ref))
    }

    /// The step of these weights; 0 where nothing is trained.
    pub fn step(&self, run: &Run) -> Result<u64> {
        Ok(self.average(run)?.map_or(0, |weights| weights.step))
    }
}
