//! Hierarchical VAEs: Markov chains of latent variables z_1, …, z_L (Rezende et al. 2014, arXiv 1401.4082), whose encoder is learnt or,
//! as in the first diffusion model, only adds noise (Sohl-Dickstein et al. 2015, arXiv 1503.03585).

mod diffusion;
mod learnt;

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use super::{Draws, Estimate, Generator};
use crate::bound::{Encoder, StepsDown, Terms, log_weight};
use crate::error::Fault;
use crate::net::Held;
use crate::optim::{Builder, Losses};
use crate::rng::{self, Law, Purpose};
use crate::space::Scale;

/// `[hierarchical_vae.<encoder>]`: latent variables in levels, p(x) = ∫ p(x | z_1) Π p(z_l | z_{l+1}) N(z_L; 0, I) dz, trained on the ELBO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Spec {
    Learnt(learnt::Spec),
    Diffusion(diffusion::Spec),
}

impl Spec {
    /// Its table.
    pub(super) fn table(&self) -> &'static str {
        match self {
            Spec::Learnt(_) => "hierarchical_vae.learnt",
            Spec::Diffusion(_) => "hierarchical_vae.diffusion",
        }
    }

    /// Whether it can serve data of this scale.
    pub fn check(&self, scale: Scale) -> Result<(), Fault> {
        match self {
            Spec::Learnt(spec) => spec.check(scale),
            Spec::Diffusion(spec) => spec.check(),
        }
    }

    /// Whether it gives the probability of pixels, and not a density.
    pub(super) fn of_pixels(&self) -> bool {
        matches!(self, Spec::Learnt(spec) if spec.decoder.of_pixels())
    }

    pub(super) fn held(&self, dimension: usize) -> Held {
        match self {
            Spec::Learnt(spec) => spec.held(dimension),
            Spec::Diffusion(spec) => spec.held(dimension),
        }
    }
}

/// Steps down that end with data.
trait Drawing: StepsDown {
    /// A draw of p(x | z_1) [B, ...] from z_1 [B, n] and the normal `noise` [B, D].
    fn draw(&self, z: &Tensor, noise: &Tensor) -> Tensor;
}

/// A hierarchy of L levels of n latent variables, trained on the ELBO by one path for each example.
pub struct HierarchicalVae {
    encoder: Box<dyn Encoder>,
    down: Box<dyn Drawing>,
    /// L and n.
    shape: [i64; 2],
    /// D.
    dimension: i64,
    /// Passes of a network for a sample.
    evaluations: u32,
    options: (Kind, Device),
}

impl HierarchicalVae {
    /// `spec` has passed its check for data of `shape` and `scale`.
    pub fn new(spec: &Spec, shape: &[usize], scale: Scale, builder: &Builder) -> HierarchicalVae {
        let dimension = shape.iter().product::<usize>() as i64;
        let options = builder.options();
        match spec {
            Spec::Learnt(spec) => {
                let (levels, latent) = (spec.levels as i64, spec.latent as i64);
                let (encoder, down) = learnt::new(spec, shape, scale, builder);
                let (encoder, down) = (Box::new(encoder), Box::new(down));
                HierarchicalVae { encoder, down, shape: [levels, latent], dimension, evaluations: spec.levels as u32, options }
            }
            Spec::Diffusion(spec) => {
                let (encoder, down) = diffusion::new(spec, shape, builder);
                let (encoder, down) = (Box::new(encoder), Box::new(down));
                let levels = spec.levels as i64;
                HierarchicalVae { encoder, down, shape: [levels, dimension], dimension, evaluations: spec.levels as u32 - 1, options }
            }
        }
    }

    /// [B, L, n] as the noise of a path, [L, B, n].
    fn of_path(&self, rows: &Tensor) -> Tensor {
        rows.transpose(0, 1).contiguous().to_kind(self.options.0)
    }

    /// One draw of the ELBO's terms for x [B, ...]; `noise` [B, L, n].
    pub fn terms(&self, x: &Tensor, noise: &Tensor) -> Terms {
        self.encoder.terms(&*self.down, &x.to_kind(self.options.0), &self.of_path(noise))
    }
}

impl Generator for HierarchicalVae {
    fn losses(&self, x0: &Tensor, seed: u64, positions: Range<u64>) -> Losses {
        let noise = rng::rows(Law::Gaussian, seed, Purpose::Latent, positions, 0, &self.shape, x0.device());
        let terms = self.terms(x0, &noise);
        Losses { of_examples: terms.sum(), t: None, parts: vec![terms.of_steps(), terms.reconstruction, terms.prior] }
    }

    fn parts(&self) -> &'static [&'static str] {
        &["train/steps", "train/reconstruction", "train/kl"]
    }

    fn draw(&self, seed: u64, rows: Range<u64>, temperature: f64) -> Tensor {
        let (kind, device) = self.options;
        let [levels, latent] = self.shape;
        let normal = |purpose, draw: i64, n| rng::rows(Law::Gaussian, seed, purpose, rows.clone(), draw as u64, &[n], device).to_kind(kind);
        no_grad(|| {
            let highest = normal(Purpose::Prior, 0, latent) * temperature;
            let z = (1..levels).rev().fold(highest, |above, l| {
                let law = self.down.laws(l..l + 1, &above.unsqueeze(0));
                law.draw(&normal(Purpose::StepDown, l, latent)).squeeze_dim(0)
            });
            self.down.draw(&z, &normal(Purpose::Decoder, 0, self.dimension))
        })
    }

    fn evaluations(&self) -> u32 {
        self.evaluations
    }

    /// ln (1/k) Σ_j w_j over k paths, whose mean rises with k to ln p(x) (Burda et al. 2016, eq. 8 and theorem 1).
    fn log_density(&self, x: &Tensor, draws: &Draws) -> Estimate {
        no_grad(|| {
            let x = x.to_kind(self.options.0);
            let noise = |j| self.of_path(&draws.normal(j, Purpose::Importance, &self.shape, x.device()));
            let log_weights = (0..draws.count).map(|j| log_weight(&*self.encoder, &*self.down, &x, &noise(j)));
            Estimate::of_weights(&Tensor::stack(&log_weights.collect::<Vec<_>>(), 1))
        })
    }
}

#[cfg(test)]
mod tests;
