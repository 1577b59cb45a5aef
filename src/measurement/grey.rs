//! Grey images of coloured ones.

use tch::Tensor;

use super::{Operator, image};
use crate::error::Fault;

/// √C times the mean of the channels, which has A Aᵀ = I: the first coordinate of the orthogonal transform by which Song et al. 2021 colour
/// images (their appendix I.3).
pub struct Grey {
    shape: [i64; 3],
}

impl Grey {
    pub fn new(shape: &[usize]) -> Result<Grey, Fault> {
        let shape = image(shape, "grey")?;
        if shape[0] == 1 {
            return Err(Fault::new("", "the images have one channel, and are grey already", "use mask, blur or downsampling"));
        }
        Ok(Grey { shape })
    }

    fn weight(&self) -> f64 {
        (self.shape[0] as f64).sqrt().recip()
    }
}

impl Operator for Grey {
    fn apply(&self, x: &Tensor) -> Tensor {
        x.sum_dim_intlist(1i64, false, None::<tch::Kind>).flatten(1, -1) * self.weight()
    }

    fn adjoint(&self, y: &Tensor) -> Tensor {
        let [c, h, w] = self.shape;
        (y * self.weight()).view([-1, 1, h, w]).expand([-1, c, h, w], false)
    }

    fn rows(&self) -> i64 {
        self.shape[1] * self.shape[2]
    }

    fn gram(&self) -> Option<f64> {
        Some(1.0)
    }
}
