//! The map between the data's model space and the latent variables.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::generator::vae::{self, Vae};
use crate::optim::{Builder, Parameters};
use crate::rng::{self, Law, Purpose};
use crate::run::checkpoint::Checkpoint;
use crate::space::Scale;
use crate::train::{Average, Weights, load_weights};

/// y = z / r for z of a VAE with fixed weights.
pub struct LatentSpace {
    vae: Vae,
    /// Keeps the weights.
    _parameters: Parameters,
    /// Of y.
    shape: Vec<i64>,
    /// Between data units and what the VAE sees.
    scale: Scale,
    /// Whether p(x | z) is a probability of pixels, and not a density.
    of_pixels: bool,
    device: Device,
    /// r.
    root_mean_square: f64,
}

/// Points y that stand for some x, with the two parts of the bound that are not the score's; `[B]`, nats, f64.
pub struct Encoded {
    /// [B, ...], f64.
    pub y: Tensor,
    /// -ln p(x | z).
    pub reconstruction: Tensor,
    /// ln q(y | x).
    pub posterior: Tensor,
}

/// What was measured of the latent variables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// r.
    pub root_mean_square: f64,
}

impl LatentSpace {
    /// Of data of `shape`, with the averaged weights of the autoencoder's `checkpoint` and r = 1.
    pub fn open(
        spec: &vae::Spec,
        (shape, scale): (&[usize], Scale),
        checkpoint: &Checkpoint,
        device: Device,
    ) -> Result<(LatentSpace, Weights)> {
        let builder = Builder::new(0, Kind::Float, device);
        let vae = Vae::new(spec, shape, scale, &builder);
        let parameters = builder.finish();
        let weights = load_weights(&parameters, checkpoint, Average::Average)?;
        Ok((LatentSpace::new(spec, vae, parameters, (shape, scale), device), weights))
    }

    /// Of a VAE of `spec` whose weights are fixed, with r = 1.
    pub fn new(spec: &vae::Spec, vae: Vae, parameters: Parameters, (shape, scale): (&[usize], Scale), device: Device) -> LatentSpace {
        let shape = spec.latent_shape(shape).iter().map(|&n| n as i64).collect();
        LatentSpace { vae, _parameters: parameters, shape, scale, of_pixels: spec.decoder.of_pixels(), device, root_mean_square: 1.0 }
    }

    /// With r as it was measured.
    pub fn scaled(self, Spread { root_mean_square }: &Spread) -> LatentSpace {
        LatentSpace { root_mean_square: *root_mean_square, ..self }
    }

    /// The shape of y.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// Whether the decoder gives the probability of pixels: then they need no dequantisation.
    pub fn of_pixels(&self) -> bool {
        self.of_pixels
    }

    /// y ~ q(y | x) for the normal `noise` [B, ...]; x in the data's model space.
    pub fn draw(&self, x: &Tensor, noise: &Tensor) -> Tensor {
        no_grad(|| self.vae.encode(x, noise).0 / self.root_mean_square)
    }

    /// The same with the parts of the bound. ln q(y | x) = ln q(z | x) + L ln r.
    pub fn encode(&self, x: &Tensor, noise: &Tensor) -> Encoded {
        no_grad(|| {
            let (z, log_q) = self.vae.encode(x, noise);
            let size = self.shape.iter().product::<i64>() as f64;
            let reconstruction = -self.vae.log_likelihood(x, &z);
            let y = z.to_kind(Kind::Double) / self.root_mean_square;
            Encoded { y, reconstruction, posterior: log_q + size * self.root_mean_square.ln() }
        })
    }

    /// Draws of p(x | r y) [B, ...] in the data's model space; they belong to the rows `first`, `first` + 1, … of `seed`.
    pub fn decode(&self, y: &Tensor, seed: u64, first: u64) -> Tensor {
        let rows = first..first + y.size()[0] as u64;
        let noise = rng::rows(Law::Gaussian, seed, Purpose::Decoder, rows, 0, &[self.vae.dimension()], self.device);
        no_grad(|| self.vae.decode(&(y.to_device(self.device).to_kind(self.vae.kind()) * self.root_mean_square), &noise))
    }

    /// The normal noise of draws for training examples at these positions.
    pub fn noise(&self, seed: u64, positions: std::ops::Range<u64>) -> Tensor {
        rng::rows(Law::Gaussian, seed, Purpose::Latent, positions, 0, &self.shape, self.device)
    }
}

/// Examples that are encoded together.
const BATCH: usize = 1000;

/// r over `count` training examples, one draw each: a function of (seed, experiment).
///
/// Error: an example can't be read; the latent variables are not finite, or all zero.
pub fn measure(space: &LatentSpace, dataset: Arc<dyn Dataset>, flip: bool, count: usize, seed: u64) -> Result<Spread> {
    let seed = rng::derive(seed, Purpose::Autoencoder, 1);
    let mut batches = Batches::start(dataset, space.scale, flip, seed, BATCH.min(count), 0);
    let sum_of = |first: usize| {
        let last = (first + BATCH).min(count);
        let x = batches.next()?.narrow(0, 0, (last - first) as i64).to_device(space.device);
        let z = space.draw(&x, &space.noise(seed, first as u64..last as u64));
        Ok::<_, Error>(z.square().sum(Kind::Double).double_value(&[]))
    };
    let sum = (0..count).step_by(BATCH).map(sum_of).sum::<Result<f64>>()?;
    let root_mean_square = (sum / (count as f64 * space.shape.iter().product::<i64>() as f64)).sqrt();
    if root_mean_square > 0.0 && root_mean_square.is_finite() {
        return Ok(Spread { root_mean_square });
    }
    Err(Error::Solver {
        message: format!("the root mean square of the latent variables is {root_mean_square}"),
        help: "train the autoencoder longer, or with a lower learning rate".into(),
    })
}
