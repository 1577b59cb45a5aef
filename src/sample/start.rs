//! Where samples begin.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::{Sample, sizes};
use crate::error::{Error, Result};
use crate::law::noise_rows;
use crate::model::Model;
use crate::rng::Purpose;
use crate::sde::Level;

/// The states that samples begin with.
pub enum Start<'a> {
    /// x_1 of the prior, for examples of this shape.
    Prior { shape: &'a [usize], device: Device },
    /// States [N, ...] at t, which go on with the noise of the samples `first`, `first` + 1, ….
    At { x: &'a Tensor, t: f64, first: u64 },
}

impl Start<'_> {
    /// t.
    pub fn time(&self) -> f64 {
        match self {
            Start::Prior { .. } => 1.0,
            Start::At { t, .. } => *t,
        }
    }

    /// Where they live.
    pub(super) fn device(&self) -> Device {
        match self {
            Start::Prior { device, .. } => *device,
            Start::At { x, .. } => x.device(),
        }
    }

    /// The shape of one state.
    pub(super) fn shape(&self) -> Vec<i64> {
        match self {
            Start::Prior { shape, .. } => sizes(shape),
            Start::At { x, .. } => x.size()[1..].to_vec(),
        }
    }

    /// The states that some samples begin with, f32, and the places of their noise.
    pub(super) fn states(&self, model: &dyn Model, seed: u64, rows: Range<u64>) -> (Tensor, Range<u64>) {
        match self {
            Start::Prior { device, .. } => {
                let z = noise_rows(model.sde().noise(), seed, Purpose::Prior, rows.clone(), 0, &self.shape(), *device);
                (z * model.sde().prior_std(), rows)
            }
            Start::At { x, first, .. } => {
                let some = x.narrow(0, rows.start as i64, (rows.end - rows.start) as i64);
                (some.to_kind(Kind::Float), first + rows.start..first + rows.end)
            }
        }
    }
}

/// x_t = α x + σ z of x [N, ...] at the level that the model takes t for, with the z that N samples of the prior begin with.
pub fn noised(model: &dyn Model, x: &Tensor, t: f64, seed: u64) -> Tensor {
    let Level { alpha, sigma, .. } = model.level(t);
    let rows = 0..x.size()[0] as u64;
    let z = noise_rows(model.sde().noise(), seed, Purpose::Prior, rows, 0, &x.size()[1..], x.device());
    x * alpha + z.to_kind(x.kind()) * sigma
}

impl Sample {
    /// For so many samples that begin on the way, of which no states are kept.
    pub fn on_the_way(&self, count: usize) -> Sample {
        Sample { count, trajectory: Vec::new(), ..self.clone() }
    }

    /// Error: samples can't begin at t.
    pub fn check_start(&self, t: f64) -> Result<()> {
        if t > self.t_min && t <= 1.0 {
            return Ok(());
        }
        let help = format!("give a time above t_min = {} and at most 1", self.t_min);
        Err(Error::Usage { message: format!("samples can't begin at t = {t}"), help })
    }
}
