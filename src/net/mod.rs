//! Networks F(x, c_noise): they know tensors, nothing of SDEs.

use tch::Tensor;

/// A noise-conditional network.
///
/// `x` [B, ...] in the network's kind and on its device; `noise` [B], the noise label c_noise of each example, same kind; the result
/// has the shape of `x`. `train` switches dropout on.
pub trait Network {
    fn forward(&self, x: &Tensor, noise: &Tensor, train: bool) -> Tensor;
}
