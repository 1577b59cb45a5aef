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
        let Shown { x0, ref positions, examples } = *shown;
        let y = self.space.draw(x0, &self.space.noise(self.seed, positions.clone()));
        self.score.losses(&Shown { x0: &y, positions: positions.clone(), examples }, history)
    }

    fn parts(&self) -> Vec<&str> {
        self.score.parts()
    }
}
