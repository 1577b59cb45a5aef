//! Training a score of latent variables.

use super::LatentSpace;
use crate::optim::{LossHistory, Losses, Parameters, Shown, Trained};

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

    fn losses(&self, shown: &Shown, history: &LossHistory) -> Losses {
        let y = self.space.draw(&shown.x0, &self.space.noise(self.seed, shown.positions.clone()));
        let Shown { positions, examples, batch, .. } = shown;
        self.score.losses(&Shown { x0: y, positions: positions.clone(), examples, batch: batch.clone() }, history)
    }

    fn couples_batch(&self) -> Option<&'static str> {
        self.score.couples_batch()
    }

    fn parts(&self) -> Vec<&str> {
        self.score.parts()
    }
}
