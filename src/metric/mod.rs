//! How far samples are from a reference solve, and from the law of the data.

mod energy;
mod ks;

pub use energy::{Energy, Estimate};
pub use ks::kolmogorov_smirnov;
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
