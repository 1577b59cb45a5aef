//! Training a score: t, z → the objective.

use std::ops::Range;

use tch::Tensor;

use super::spec::ScoreMatching;
use super::times::Times;
use crate::bound::{DecoderLaw, chain_losses};
use crate::error::Fault;
use crate::law::{GaussianMixture, noise_rows};
use crate::loss::{Batch, Objective, denoising_score_matching, explicit_score_matching, implicit_score_matching, sliced_score_matching};
use crate::model::{ExactScore, Model, ScoreNetwork};
use crate::net::Dropout;
use crate::optim::{Losses, Parameters, Trained};
use crate::rng::{self, Purpose};
use crate::sde::Sde;
use crate::space::Scale;

/// A network that becomes the score of a process.
pub struct ScoreTraining<'a> {
    seed: u64,
    sde: &'a dyn Sde,
    network: &'a ScoreNetwork,
    times: Times<'a>,
    loss: Box<Loss<'a>>,
}

/// The losses `[B]` of a batch whose examples are at these positions of the run.
type Loss<'a> = dyn Fn(&dyn Model, &Batch, Range<u64>) -> Tensor + 'a;

impl<'a> ScoreTraining<'a> {
    /// `spec` has passed its checks under `sde`. What is learnt is of this scale, and of this law where that is known. Error: the objective can't
    /// serve network or data.
    pub fn new(
        spec: &'a ScoreMatching,
        seed: u64,
        sde: &'a dyn Sde,
        network: &'a ScoreNetwork,
        (scale, law): (Scale, Option<GaussianMixture>),
    ) -> Result<ScoreTraining<'a>, Fault> {
        let chain = network.model(sde).chain().cloned();
        let reduction = spec.reduction;
        let loss: Box<Loss> = match &spec.objective {
            Objective::Denoising => Box::new(move |score, batch, _| denoising_score_matching(score, reduction, batch)),
            Objective::Explicit => {
                let exact = ExactScore::new(sde, &law.ok_or_else(ScoreMatching::needs_law)?, network.device);
                Box::new(move |score, batch, _| explicit_score_matching(score, &exact, reduction, batch))
            }
            Objective::Implicit { curvature } => {
                Box::new(move |score, batch, _| implicit_score_matching(score, reduction, *curvature, batch))
            }
            Objective::Sliced { projections, law, variance_reduced } => Box::new(move |score, batch, positions| {
                let (dimension, device) = (batch.dimension() as i64, batch.x0.device());
                let draw = |j| rng::rows(*law, seed, Purpose::Projection, positions.clone(), j, &[dimension], device);
                let projections = Tensor::stack(&(0..*projections as u64).map(draw).collect::<Vec<_>>(), 0);
                sliced_score_matching(score, reduction, *variance_reduced, &projections, batch)
            }),
            Objective::Vlb { variance } => {
                let (chain, law) = (chain.clone().ok_or_else(ScoreMatching::needs_levels)?, DecoderLaw::of(scale));
                Box::new(move |score, batch, _| chain_losses(score, &chain, *variance, law, reduction, batch))
            }
        };
        Ok(ScoreTraining { seed, sde, network, times: Times::new(spec, sde, chain), loss })
    }
}

impl Trained for ScoreTraining<'_> {
    fn parameters(&self) -> &Parameters {
        &self.network.parameters
    }

    fn losses(&self, x0: &Tensor, positions: Range<u64>) -> Losses {
        let ScoreTraining { seed, sde, network, .. } = *self;
        let (t, w) = self.times.draw(&rng::uniform_rows(seed, Purpose::Time, positions.clone()));
        let z = noise_rows(sde.noise(), seed, Purpose::Noise, positions.clone(), 0, &x0.size()[1..], network.device);
        let dropout = Dropout::new(seed, positions.clone());
        let of_examples = (self.loss)(&network.in_training(sde, &dropout), &Batch { x0, t: &t, z: &z, w: &w }, positions);
        Losses { of_examples, t: Some(t), parts: Vec::new() }
    }
}
