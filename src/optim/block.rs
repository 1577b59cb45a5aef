//! Flat buffers in parts.

use tch::{Device, Tensor, no_grad};

/// A part of a flat buffer that stays in a processor's cache while it is worked on.
#[derive(Clone, Copy)]
pub struct Block {
    begin: i64,
    length: i64,
}

/// Numbers of a block. Measured: 2^14 to 2^18 take the same time, a buffer as one block twice that.
pub(super) const LENGTH: i64 = 1 << 17;

impl Block {
    /// The blocks of a buffer; another device has its own ways and takes it as one.
    pub fn all(buffer: &Tensor) -> impl Iterator<Item = Block> {
        let size = buffer.numel() as i64;
        let length = if buffer.device() == Device::Cpu { LENGTH } else { size.max(1) };
        (0..size).step_by(length as usize).map(move |begin| Block { begin, length: length.min(size - begin) })
    }

    /// Its place in a buffer `[P]`.
    pub fn of(&self, buffer: &Tensor) -> Tensor {
        buffer.narrow(0, self.begin, self.length)
    }
}

/// The norm of a buffer `[P]`, a tensor without axes: of the blocks' norms, since one sum of millions of f32 rounds away what is added.
pub fn norm(buffer: &Tensor) -> Tensor {
    no_grad(|| Tensor::stack(&Block::all(buffer).map(|block| block.of(buffer).norm()).collect::<Vec<_>>(), 0).norm())
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::rng::{self, Purpose};

    #[test]
    fn blocks_are_the_whole_buffer_once() {
        tch::set_num_threads(1);
        for size in [0, 5, LENGTH, 3 * LENGTH + 7] {
            let seen = Tensor::zeros([size], (Kind::Float, Device::Cpu));
            Block::all(&seen).for_each(|block| drop(block.of(&seen).g_add_scalar_(1.0)));
            assert!(seen.eq(1.0).all().int64_value(&[]) == 1, "{size}");
        }
    }

    #[test]
    fn the_norm_of_millions_of_numbers_is_theirs() {
        tch::set_num_threads(1);
        let gradient = rng::normal(1, Purpose::Init, 0, &[1 << 23], Device::Cpu);
        let truth = gradient.to_kind(Kind::Double).norm().double_value(&[]);
        let apart = norm(&gradient).double_value(&[]) / truth - 1.0;
        assert!(apart.abs() < 2e-6, "{apart}");
    }
}
