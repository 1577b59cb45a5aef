//! Exponential moving average of the parameters.

use tch::{Tensor, no_grad};

use super::block::{Block, norm};

/// The average `[P]`, with the reference's ramp.
pub struct Ema {
    pub average: Tensor,
    rate: f64,
}

impl Ema {
    pub fn new(parameters: &Tensor, rate: f64) -> Ema {
        Ema { average: parameters.detach().copy(), rate }
    }

    /// The n-th update, n = 1, 2, …, of a block from its θ: average += (1 - d) (θ - average) with d = min(rate, (1 + n) / (10 + n)).
    pub fn update(&self, block: &Block, parameters: &Tensor, n: u64) {
        let decay = self.rate.min((1.0 + n as f64) / (10.0 + n as f64));
        let _ = no_grad(|| block.of(&self.average).lerp_(parameters, 1.0 - decay));
    }

    /// ‖average - θ‖ / ‖θ‖, a tensor without axes: how far the average trails behind.
    pub fn drift(&self, parameters: &Tensor) -> Tensor {
        no_grad(|| norm(&(&self.average - parameters)) / norm(parameters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramp_then_rate() {
        let parameters = Tensor::from_slice(&[1.0]);
        let ema = Ema::new(&Tensor::from_slice(&[0.0]), 0.5);
        let update = |n| Block::all(&parameters).for_each(|block| ema.update(&block, &parameters, n));
        update(1);
        let first = 1.0 - 2.0 / 11.0;
        assert!((ema.average.double_value(&[0]) - first).abs() < 1e-12);
        update(100);
        assert!((ema.average.double_value(&[0]) - (first + 0.5 * (1.0 - first))).abs() < 1e-12);
        assert!((ema.drift(&parameters).double_value(&[]) - 0.5 * (1.0 - first)).abs() < 1e-12);
    }
}
