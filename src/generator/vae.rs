//! The variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114), with its importance-weighted bound (Burda et al. 2016).

mod decoder;

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use super::{Draws, Estimate, Generator};
use crate::error::Fault;
use crate::net::Held;
use crate::net::perceptron::Perceptron;
use crate::optim::{Builder, Losses};
use crate::rng::{self, Law, Purpose};
use crate::space::Scale;
use crate::tensor::sum_per_example;
use decoder::Decoder;
pub use decoder::DecoderSpec;

/// `[vae]`: a prior N(0, I) of latent variables, a decoder p(x | z) and a Gaussian encoder q(z | x). Kingma & Welling 2014.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Latent variables, 1 to 65536.
    pub latent: usize,
    /// Features of the hidden layers of encoder and decoder, 1 to 65536.
    pub width: usize,
    /// Hidden layers of each, 0 to 100; 0 makes both affine, and of a Gaussian decoder probabilistic PCA.
    pub depth: usize,
    pub decoder: DecoderSpec,
}

impl Spec {
    /// Whether it can serve data of this scale.
    pub fn check(&self, scale: Scale) -> Result<(), Fault> {
        Fault::unless_in("latent", self.latent, 1..=65536, "2 serve two dimensions")?;
        Fault::unless_in("width", self.width, 1..=65536, "128 serves two dimensions")?;
        Fault::unless_in("depth", self.depth, 0..=100, "2 serves two dimensions")?;
        match scale {
            Scale::Vectors { .. } if self.decoder.of_pixels() => {
                Err(Fault::new("decoder", "the data are vectors, and this decoder is for pixels", "use \"gaussian\""))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn held(&self, dimension: usize) -> Held {
        let pass = Perceptron::held([dimension, self.width, 2 * self.latent], self.depth)
            + Perceptron::held([self.latent, self.width, dimension], self.depth)
            + (8 * self.latent + 6 * dimension) as f64;
        Held { with_graph: pass, without_graph: pass }
    }
}

/// p(x) = ∫ N(z; 0, I) p(x | z) dz with q(z | x) = N(μ(x), diag σ²(x)), trained on the ELBO in two terms,
/// E_q[-ln p(x | z)] + KL(q ‖ N(0, I)), with z = μ + σ ε (Kingma & Welling 2014, eq. 3 and 10).
pub struct Vae {
    /// x -> μ and ln σ².
    encoder: Perceptron,
    decoder: Decoder,
    latent: i64,
}

impl Vae {
    /// `spec` has passed its check for data of `shape` and `scale`.
    pub fn new(spec: &Spec, shape: &[usize], scale: Scale, builder: &Builder) -> Vae {
        let (d, latent, width) = (shape.iter().product::<usize>() as i64, spec.latent as i64, spec.width as i64);
        let encoder = Perceptron::new([d, width, 2 * latent], spec.depth, 1.0, &builder.part("encoder"));
        let mean = Perceptron::new([latent, width, d], spec.depth, 1.0, &builder.part("decoder"));
        Vae { encoder, decoder: Decoder::new(spec.decoder, mean, shape, scale, builder), latent }
    }

    /// μ and ln σ² [B, L] of q(z | x), x [B, ...].
    pub fn posterior(&self, x: &Tensor) -> (Tensor, Tensor) {
        let parts = self.encoder.forward(&x.flatten(1, -1).to_kind(self.decoder.kind()));
        (parts.narrow(1, 0, self.latent), parts.narrow(1, self.latent, self.latent))
    }

    /// -ln p(x | z) for z = μ + σ ε, and KL(q ‖ N(0, I)) = ½ Σ (μ² + σ² - 1 - ln σ²): `[B]` each, in nats, with a graph. ε [B, L].
    pub fn terms(&self, x: &Tensor, noise: &Tensor) -> [Tensor; 2] {
        let (mean, log_variance) = self.posterior(x);
        let z = &mean + (&log_variance * 0.5).exp() * noise.to_kind(mean.kind());
        let kl = sum_per_example(&(mean.square() + log_variance.exp() - 1.0 - &log_variance)) * 0.5;
        [-self.decoder.log_likelihood(x, &z), kl]
    }

    /// ln w = ln p(x | z) + ln N(z; 0, I) - ln q(z | x) `[B]`, f64, of one draw z = μ + σ ε.
    fn log_weight(&self, x: &Tensor, (mean, log_variance): &(Tensor, Tensor), noise: &Tensor) -> Tensor {
        let noise = noise.to_kind(mean.kind());
        let z = mean + (log_variance * 0.5).exp() * &noise;
        let of_z = sum_per_example(&(noise.square() - z.square() + log_variance)) * 0.5;
        (self.decoder.log_likelihood(x, &z) + of_z).to_kind(Kind::Double)
    }
}

impl Generator for Vae {
    fn losses(&self, x0: &Tensor, seed: u64, positions: Range<u64>) -> Losses {
        let noise = rng::rows(Law::Gaussian, seed, Purpose::Latent, positions, 0, &[self.latent], x0.device());
        let [reconstruction, kl] = self.terms(x0, &noise);
        Losses { of_examples: &reconstruction + &kl, t: None, parts: vec![reconstruction, kl] }
    }

    fn parts(&self) -> &'static [&'static str] {
        &["train/reconstruction", "train/kl"]
    }

    fn draw(&self, seed: u64, rows: Range<u64>, temperature: f64) -> Tensor {
        let normal = |purpose, shape: &[i64]| rng::rows(Law::Gaussian, seed, purpose, rows.clone(), 0, shape, self.decoder.device());
        let z = normal(Purpose::Prior, &[self.latent]).to_kind(self.decoder.kind()) * temperature;
        no_grad(|| self.decoder.draw(&z, &normal(Purpose::Decoder, &[self.decoder.dimension()])))
    }

    /// ln (1/k) Σ_j w_j for k draws z_j ~ q(z | x), whose mean rises with k to ln p(x) (Burda et al. 2016, eq. 8 and theorem 1).
    fn log_density(&self, x: &Tensor, draws: &Draws) -> Estimate {
        no_grad(|| {
            let posterior = self.posterior(x);
            let noise = |j| draws.normal(j, Purpose::Importance, &[self.latent], x.device());
            let log_weights: Vec<Tensor> = (0..draws.count).map(|j| self.log_weight(x, &posterior, &noise(j))).collect();
            Estimate::of_weights(&Tensor::stack(&log_weights, 1))
        })
    }
}

#[cfg(test)]
mod tests;
