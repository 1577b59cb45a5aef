//! The distance between samples and the data.

use std::cell::OnceCell;

use clap::ValueEnum;
use serde::Serialize;
use tch::Tensor;

use crate::error::Result;
use crate::metric::{Energy, Estimate, Features, Frechet, kid, median_distance, mmd, sliced_wasserstein, told_apart};

/// What is measured between samples and points of the data, as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// 2 E‖X - Y‖ - E‖X - X'‖ - E‖Y - Y'‖.
    Energy,
    /// The Fréchet distance of Gaussians with the samples' moments, extrapolated to infinitely many samples.
    Frechet,
    /// The squared discrepancy by the kernel (x·y/D + 1)³.
    Kid,
    /// The squared discrepancy by a Gaussian kernel as wide as the median distance.
    Mmd,
    /// The mean of W₂² along 256 directions.
    SlicedWasserstein,
    /// How much more often than by chance a small network tells a sample from a point of the data.
    C2st,
}

/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: u64 = 256;

/// Points of the data that samples are compared with.
pub(super) struct Data {
    points: Tensor,
    distance: Distance,
    seed: u64,
    energy: OnceCell<Energy>,
    features: OnceCell<Features>,
}

impl Distance {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Distance::Energy => "energy distance",
            Distance::Frechet => "Fréchet distance",
            Distance::Kid => "KID",
            Distance::Mmd => "MMD²",
            Distance::SlicedWasserstein => "sliced Wasserstein²",
            Distance::C2st => "C2ST accuracy - ½",
        }
    }
}

impl Data {
    pub fn new(points: Tensor, distance: Distance, seed: u64) -> Data {
        Data { points, distance, seed, energy: OnceCell::new(), features: OnceCell::new() }
    }

    /// From samples x [N, ...]; unbiased, or nearly so: it scatters around 0 for samples of the very law. Error: they say nothing.
    pub fn distance(&self, x: &Tensor) -> Result<Estimate> {
        if self.distance == Distance::Energy {
            return Ok(self.energy.get_or_init(|| Energy::new(&self.points)).distance(x));
        }
        let features = |name: &str, x: &Tensor| Features::new(name, &x.contiguous(), self.seed);
        let y = match self.features.get() {
            Some(features) => features,
            None => {
                let y = features("the data", &self.points)?;
                self.features.get_or_init(|| y)
            }
        };
        let x = features("the samples", x)?;
        match self.distance {
            Distance::Energy => unreachable!("it is measured above"),
            Distance::Frechet => Ok(Frechet::new(&x, y)?.extrapolated),
            Distance::Kid => kid(&x, y),
            Distance::Mmd => mmd(&x, y, median_distance(&x, y)?),
            Distance::SlicedWasserstein => sliced_wasserstein(&x, y, DIRECTIONS, self.seed),
            Distance::C2st => Ok(told_apart(&x, y, self.seed)?.minus(&Estimate::new(0.5, 0.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Law, Purpose, rows};
    use tch::{Device, Kind};

    fn normal(seed: u64, n: u64, d: i64) -> Tensor {
        rows(Law::Gaussian, seed, Purpose::Prior, 0..n, 0, &[d], Device::Cpu).to_kind(Kind::Double)
    }

    #[test]
    fn every_distance_is_small_for_one_law_and_larger_for_another() {
        tch::set_num_threads(1);
        let (same, other) = (normal(1, 400, 2), normal(2, 400, 2) + 1.0);
        for distance in Distance::value_variants() {
            let data = Data::new(normal(3, 500, 2), *distance, 1);
            let [near, far] = [&same, &other].map(|x| data.distance(x).unwrap());
            assert!(near.value.abs() < 1.5 * near.half_width, "{distance:?}: {near:?}");
            assert!(far.value > far.half_width && far.value > near.value + near.half_width, "{distance:?}: {far:?}");
        }
    }
}
