//! Dropout (Srivastava et al. 2014) whose masks are functions of an example's position in the run.

use std::cell::Cell;
use std::ops::Range;

use tch::Tensor;

use crate::rng::{self, Purpose};

/// What is dropped in one pass through a network: the mask of an example is a function of (seed, its position in the run, which of the
/// dropping layers it meets), whatever the batch around it.
pub struct Dropout {
    seed: u64,
    positions: Range<u64>,
    /// Dropping layers met so far.
    met: Cell<u64>,
}

/// What one layer drops.
pub(super) struct Mask {
    /// 1 for what is kept, 0 for what is dropped [B, C, H, W].
    pub bytes: Tensor,
    /// The factor on what is kept, which leaves the mean as it is.
    pub kept: f64,
}

impl Dropout {
    /// For a pass of the examples at these positions of the run.
    pub fn new(seed: u64, positions: Range<u64>) -> Dropout {
        Dropout { seed, positions, met: Cell::new(0) }
    }

    /// The mask of the next dropping layer, for images `x` [B, C, H, W]; none where nothing is dropped. `probability` is in [0, 1).
    pub(super) fn mask(&self, x: &Tensor, probability: f64) -> Option<Mask> {
        if probability == 0.0 {
            return None;
        }
        let layer = self.met.replace(self.met.get() + 1);
        let (_, channels, height, width) = x.size4().expect("an image batch [B, C, H, W]");
        let keep = 1.0 - probability;
        // In the order of an image's memory.
        let shape = [height, width, channels];
        let (bytes, keep) = rng::masks(self.seed, Purpose::Dropout, self.positions.clone(), layer, &shape, keep, x.device());
        Some(Mask { bytes: bytes.permute([0, 3, 1, 2]), kept: keep.recip() })
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::tensor::to_vec;

    fn applied(dropout: &Dropout, x: &Tensor, probability: f64) -> Tensor {
        dropout.mask(x, probability).map_or_else(|| x.shallow_clone(), |mask| x * mask.bytes.to_kind(x.kind()) * mask.kept)
    }

    #[test]
    fn a_mask_keeps_its_share_and_the_mean() {
        tch::set_num_threads(1);
        let x = Tensor::ones([20, 3, 40, 40], (Kind::Double, Device::Cpu));
        let y = applied(&Dropout::new(1, 0..20), &x, 0.3);
        let dropped = y.eq(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!((dropped - 0.3).abs() < 4.0 * (0.21f64 / 96_000.0).sqrt(), "{dropped}");
        assert!((y.max().double_value(&[]) * 0.7 - 1.0).abs() < 1e-4);
        assert!((y.mean(Kind::Double).double_value(&[]) - 1.0).abs() < 0.01);
        assert_eq!(to_vec(&applied(&Dropout::new(1, 0..20), &x, 0.0)), to_vec(&x));
    }

    #[test]
    fn a_mask_belongs_to_a_position_and_a_layer() {
        tch::set_num_threads(1);
        let x = Tensor::ones([6, 2, 5, 5], (Kind::Float, Device::Cpu));
        let whole = Dropout::new(1, 10..16);
        let layers = [applied(&whole, &x, 0.5), applied(&whole, &x, 0.5)];
        for (first, n) in [(0, 2), (2, 4)] {
            let part = Dropout::new(1, 10 + first as u64..10 + (first + n) as u64);
            for layer in &layers {
                assert_eq!(to_vec(&applied(&part, &x.narrow(0, first, n), 0.5)), to_vec(&layer.narrow(0, first, n)));
            }
        }
        assert_ne!(to_vec(&layers[0]), to_vec(&layers[1]));
        assert_ne!(to_vec(&layers[0]), to_vec(&applied(&Dropout::new(2, 10..16), &x, 0.5)));
    }
}
