//! The variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114), with its importance-weighted bound (Burda et al. 2016).

pub(super) mod decoder;

use std::f64::consts::PI;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use super::{Draws, Estimate, Generator};
use crate::error::Fault;
use crate::net::Held;
use crate::net::convolutional::{Contracting, Expanding};
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
    /// Latent variables, 1 to 65536; of convolutional layers, those at each place of the smallest image.
    pub latent: usize,
    /// Features of the hidden layers of encoder and decoder, 1 to 65536; of convolutional layers, those at the images' own size.
    pub width: usize,
    /// Hidden layers of each, 0 to 100; 0 makes both affine, and of a Gaussian decoder probabilistic PCA. Of convolutional layers, how often the
    /// image is halved, 0 to 8.
    pub depth: usize,
    /// Of encoder and decoder.
    #[serde(default, skip_serializing_if = "Layers::is_dense")]
    pub layers: Layers,
    pub decoder: DecoderSpec,
}

/// How encoder and decoder look at their input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layers {
    /// As a vector, by a [`Perceptron`].
    #[default]
    Dense,
    /// As an image, by [`Contracting`] and [`Expanding`] networks: the latent variables are an image, too.
    Convolutional,
}

impl Layers {
    fn is_dense(&self) -> bool {
        *self == Layers::Dense
    }
}

/// A network of a batch.
pub(super) type Map = Box<dyn Fn(&Tensor) -> Tensor>;

impl Spec {
    /// Whether it can serve data of this shape and scale.
    pub fn check(&self, shape: &[usize], scale: Scale) -> Result<(), Fault> {
        Fault::unless_in("latent", self.latent, 1..=65536, "2 serve two dimensions")?;
        Fault::unless_in("width", self.width, 1..=65536, "128 serves two dimensions")?;
        match (self.layers, shape) {
            (Layers::Dense, _) => Fault::unless_in("depth", self.depth, 0..=100, "2 serves two dimensions")?,
            (Layers::Convolutional, &[_, height, width]) => self.check_halving([height, width])?,
            (Layers::Convolutional, _) => {
                let message = format!("the data are of shape {shape:?}, and convolutional layers are for images");
                return Err(Fault::new("layers", message, "leave it out, or give \"dense\""));
            }
        }
        self.decoder.check(scale)
    }

    fn check_halving(&self, [height, width]: [usize; 2]) -> Result<(), Fault> {
        Fault::unless_in("depth", self.depth, 0..=8, "2 make of an image of 32 x 32 one of 8 x 8")?;
        let side = 1 << self.depth;
        if height % side != 0 || width % side != 0 {
            let message = format!("images of {height} x {width} can't be halved {} times", self.depth);
            return Err(Fault::new("depth", message, format!("give less, or pad the images to multiples of {side}")));
        }
        Ok(())
    }

    /// The shape of the latent variables for data of `shape`.
    pub fn latent_shape(&self, shape: &[usize]) -> Vec<usize> {
        match (self.layers, shape) {
            (Layers::Convolutional, &[_, height, width]) => vec![self.latent, height >> self.depth, width >> self.depth],
            _ => vec![self.latent],
        }
    }

    /// The networks x -> μ and ln σ² [B, 2 L, ...], and z [B, L, ...] -> m.
    fn build(&self, shape: &[usize], builder: &Builder) -> [Map; 2] {
        let (encoder, decoder) = (builder.part("encoder"), builder.part("decoder"));
        let (latent, width) = (self.latent as i64, self.width as i64);
        match (self.layers, shape) {
            (Layers::Convolutional, &[channels, ..]) => {
                let encoder = Contracting::new([channels as i64, width, 2 * latent], self.depth, &encoder);
                let decoder = Expanding::new([latent, width, channels as i64], self.depth, &decoder);
                [Box::new(move |x| encoder.forward(x)), Box::new(move |z| decoder.forward(z))]
            }
            _ => {
                let d = shape.iter().product::<usize>() as i64;
                let encoder = Perceptron::new([d, width, 2 * latent], self.depth, 1.0, &encoder);
                let decoder = Perceptron::new([latent, width, d], self.depth, 1.0, &decoder);
                [Box::new(move |x| encoder.forward(&x.flatten(1, -1))), Box::new(move |z| decoder.forward(z))]
            }
        }
    }

    pub(super) fn held(&self, shape: &[usize]) -> Held {
        let (dimension, latent) = (shape.iter().product::<usize>(), self.latent_shape(shape).iter().product::<usize>());
        let networks = match (self.layers, shape) {
            (Layers::Convolutional, &[channels, height, width]) => {
                let held = |[inputs, outputs]: [usize; 2]| Contracting::held([inputs, self.width, outputs], self.depth, height * width);
                held([channels, 2 * self.latent]) + held([channels, self.latent])
            }
            _ => {
                Perceptron::held([dimension, self.width, 2 * self.latent], self.depth)
                    + Perceptron::held([self.latent, self.width, dimension], self.depth)
            }
        };
        let pass = networks + (8 * latent + 6 * dimension) as f64;
        Held { with_graph: pass, without_graph: pass }
    }
}

/// p(x) = ∫ N(z; 0, I) p(x | z) dz with q(z | x) = N(μ(x), diag σ²(x)), trained on the ELBO in two terms,
/// E_q[-ln p(x | z)] + KL(q ‖ N(0, I)), with z = μ + σ ε (Kingma & Welling 2014, eq. 3 and 10).
pub struct Vae {
    /// x -> μ and ln σ².
    encoder: Map,
    decoder: Decoder,
    /// Of z.
    shape: Vec<i64>,
}

impl Vae {
    /// `spec` has passed its check for data of `shape` and `scale`.
    pub fn new(spec: &Spec, shape: &[usize], scale: Scale, builder: &Builder) -> Vae {
        let [encoder, mean] = spec.build(shape, builder);
        let latent = spec.latent_shape(shape).iter().map(|&n| n as i64).collect();
        Vae { encoder, decoder: Decoder::new(spec.decoder, mean, shape, scale, builder), shape: latent }
    }

    /// μ and ln σ² [B, L, ...] of q(z | x), x [B, ...].
    pub fn posterior(&self, x: &Tensor) -> (Tensor, Tensor) {
        let parts = (self.encoder)(&x.to_kind(self.decoder.kind()));
        (parts.narrow(1, 0, self.shape[0]), parts.narrow(1, self.shape[0], self.shape[0]))
    }

    /// -ln p(x | z) for z = μ + σ ε, and KL(q ‖ N(0, I)) = ½ Σ (μ² + σ² - 1 - ln σ²): `[B]` each, in nats, with a graph. ε [B, L, ...].
    pub fn terms(&self, x: &Tensor, noise: &Tensor) -> [Tensor; 2] {
        let (mean, log_variance) = self.posterior(x);
        let z = &mean + (&log_variance * 0.5).exp() * noise.to_kind(mean.kind());
        let kl = sum_per_example(&(mean.square() + log_variance.exp() - 1.0 - &log_variance)) * 0.5;
        [-self.decoder.log_likelihood(x, &z), kl]
    }

    /// z ~ q(z | x) [B, L, ...] by the normal ε `noise`, and ln q(z | x) `[B]`, f64, nats.
    pub fn encode(&self, x: &Tensor, noise: &Tensor) -> (Tensor, Tensor) {
        let (mean, log_variance) = self.posterior(x);
        let z = &mean + (&log_variance * 0.5).exp() * noise.to_kind(mean.kind());
        let log_q = sum_per_example(&(noise.to_kind(Kind::Double).square() + &log_variance + (2.0 * PI).ln())) * -0.5;
        (z, log_q)
    }

    /// ln p(x | z) `[B]`, f64, nats.
    pub fn log_likelihood(&self, x: &Tensor, z: &Tensor) -> Tensor {
        self.decoder.log_likelihood(x, z).to_kind(Kind::Double)
    }

    /// A draw of p(x | z) [B, ...] by the normal `noise` [B, D].
    pub fn decode(&self, z: &Tensor, noise: &Tensor) -> Tensor {
        self.decoder.draw(z, noise)
    }

    /// The kind it computes in.
    pub fn kind(&self) -> Kind {
        self.decoder.kind()
    }

    /// D.
    pub fn dimension(&self) -> i64 {
        self.decoder.dimension()
    }

    /// ln w = ln p(x | z) + ln N(z; 0, I) - ln q(z | x) `[B]`, f64, of one draw z = μ + σ ε.
    fn log_weight(&self, x: &Tensor, (mean, log_variance): &(Tensor, Tensor), noise: &Tensor) -> Tensor {
        let noise = noise.to_kind(mean.kind());
        let z = mean + (log_variance * 0.5).exp() * &noise;
        let of_z = sum_per_example(&(noise.square() - z.square() + log_variance)) * 0.5;
        self.log_likelihood(x, &z) + of_z.to_kind(Kind::Double)
    }
}

impl Generator for Vae {
    fn losses(&self, x0: &Tensor, seed: u64, positions: Range<u64>) -> Losses {
        let noise = rng::rows(Law::Gaussian, seed, Purpose::Latent, positions, 0, &self.shape, x0.device());
        let [reconstruction, kl] = self.terms(x0, &noise);
        Losses { of_examples: &reconstruction + &kl, t: None, parts: vec![reconstruction, kl] }
    }

    fn parts(&self) -> &'static [&'static str] {
        &["train/reconstruction", "train/kl"]
    }

    fn draw(&self, seed: u64, rows: Range<u64>, temperature: f64) -> Tensor {
        let normal = |purpose, shape: &[i64]| rng::rows(Law::Gaussian, seed, purpose, rows.clone(), 0, shape, self.decoder.device());
        let z = normal(Purpose::Prior, &self.shape).to_kind(self.decoder.kind()) * temperature;
        no_grad(|| self.decoder.draw(&z, &normal(Purpose::Decoder, &[self.decoder.dimension()])))
    }

    /// ln (1/k) Σ_j w_j for k draws z_j ~ q(z | x), whose mean rises with k to ln p(x) (Burda et al. 2016, eq. 8 and theorem 1).
    fn log_density(&self, x: &Tensor, draws: &Draws) -> Estimate {
        no_grad(|| {
            let posterior = self.posterior(x);
            let noise = |j| draws.normal(j, Purpose::Importance, &self.shape, x.device());
            let log_weights: Vec<Tensor> = (0..draws.count).map(|j| self.log_weight(x, &posterior, &noise(j))).collect();
            Estimate::of_weights(&Tensor::stack(&log_weights, 1))
        })
    }
}

#[cfg(test)]
mod tests;
