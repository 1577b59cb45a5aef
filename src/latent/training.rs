//! Training a score of latent variables.

use std::ops::Range;

use tch::Tensor;

use super::LatentSpace;
use crate::optim::{LossHistory, Losses, Parameters, Trained};

/// What a score is trained on: y drawn of q(y | x₀) for each batch anew.
pub struct LatentTraining<'a> {
    pub space: &'a LatentSpace,
    pub score: Box<dyn Trained + 'a>,
    pub seed: u64,
}

impl Trained for LatentTraining<'_> {
    fn parameters(&self) -> &Parameters {
        self.score.parameters()
    }

    fn losses(&self, x0: &Tensor, positions: Range<u64>, history: &LossHistory) -> Losses {
        let noise = self.space.noise(self.seed, positions.clone());
        self.score.losses(&self.space.draw(x0, &noise), positions, history)
    }

    fn parts(&self) -> &'static [&'static str] {
        self.score.parts()
    }
}
