//! Training a score: t, z → the objective.

use std::ops::Range;

use tch::Tensor;

use super::spec::ScoreMatching;
use super::times::Times;
use crate::loss::{Batch, Objective, denoising_score_matching, implicit_score_matching, sliced_score_matching};
use crate::model::{Model, ScoreNetwork};
use crate::net::Dropout;
use crate::optim::{Losses, Parameters, Trained};
use crate::rng::{self, Law, Purpose};
use crate::sde::Sde;

/// A network that becomes the score of a process.
pub struct ScoreTraining<'a> {
    spec: &'a ScoreMatching,
    seed: u64,
    sde: &'a dyn Sde,
    network: &'a ScoreNetwork,
    times: Times<'a>,
}

impl<'a> ScoreTraining<'a> {
    /// `spec` has passed its checks under `sde`.
    pub fn new(spec: &'a ScoreMatching, seed: u64, sde: &'a dyn Sde, network: &'a ScoreNetwork) -> ScoreTraining<'a> {
        let times = Times::new(spec, sde, network.model(sde).chain().cloned());
        ScoreTraining { spec, seed, sde, network, times }
    }
}

impl Trained for ScoreTraining<'_> {
    fn parameters(&self) -> &Parameters {
        &self.network.parameters
    }

    fn losses(&self, x0: &Tensor, positions: Range<u64>) -> Losses {
        let ScoreTraining { spec, seed, sde, network, .. } = *self;
        let (t, w) = self.times.draw(&rng::uniform_rows(seed, Purpose::Time, positions.clone()));
        let z = rng::rows(Law::Gaussian, seed, Purpose::Noise, positions.clone(), 0, &x0.size()[1..], network.device);
        let dropout = Dropout::new(seed, positions.clone());
        let score = network.in_training(sde, &dropout);
        let batch = Batch { x0, t: &t, z: &z, w: &w };
        let of_examples = match &spec.objective {
            Objective::Denoising => denoising_score_matching(&score, spec.reduction, &batch),
            Objective::Implicit { curvature } => implicit_score_matching(&score, spec.reduction, *curvature, &batch),
            Objective::Sliced { projections, law, variance_reduced } => {
                let dimension = x0.size()[1..].iter().product();
                let draw = |j| rng::rows(*law, seed, Purpose::Projection, positions.clone(), j, &[dimension], network.device);
                let projections = Tensor::stack(&(0..*projections as u64).map(draw).collect::<Vec<_>>(), 0);
                sliced_score_matching(&score, spec.reduction, *variance_reduced, &projections, &batch)
            }
        };
        Losses { of_examples, t: Some(t), parts: Vec::new() }
    }
}
