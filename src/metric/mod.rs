//! How far samples are from a reference solve, and from the law of the data.

mod classifier;
mod energy;
mod estimate;
mod ks;
mod ranks;

pub use classifier::classifier_accuracy;
pub use energy::{Energy, energy_distances};
pub use estimate::Estimate;
pub use ks::kolmogorov_smirnov;
pub use ranks::Uniformity;
use tch::{Kind, Tensor};

/// Root mean square of x - y over all numbers.
pub fn rms(x: &Tensor, y: &Tensor) -> f64 {
    (x - y).square().mean(Kind::Double).sqrt().double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Law, Purpose, rows};
    use tch::Device;

    /// Standard normal points [n, d].
    pub fn normal(seed: u64, n: u64, d: i64) -> Tensor {
        rows(Law::Gaussian, seed, Purpose::Prior, 0..n, 0, &[d], Device::Cpu).to_kind(Kind::Double)
    }
}
