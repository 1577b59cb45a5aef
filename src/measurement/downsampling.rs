//! Images of fewer pixels, and vectors of fewer components.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Operator, planes};
use crate::error::Fault;

/// Into how many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Pixels on a side of a block, at least 2; a divisor of height and width, or of the number of components.
    pub factor: usize,
}

/// The mean of each block of b pixels; A Aᵀ = I / b.
pub struct Downsampling {
    /// Height and width of a block.
    block: [i64; 2],
    planes: [i64; 3],
    /// Of one example.
    shape: Vec<i64>,
}

impl Downsampling {
    pub fn new(&Spec { factor }: &Spec, shape: &[usize]) -> Result<Downsampling, Fault> {
        let planes = planes(shape, "down-sampling")?;
        let [_, height, width] = planes;
        let side = factor as i64;
        let block = if shape.len() == 1 { [1, side] } else { [side, side] };
        if factor < 2 || height % block[0] != 0 || width % block[1] != 0 {
            let message = format!("{height} x {width} numbers have no blocks of {} x {}", block[0], block[1]);
            return Err(Fault::new("factor", message, "give a divisor of height and width, or of the number of components, such as 2"));
        }
        Ok(Downsampling { block, planes, shape: shape.iter().map(|&n| n as i64).collect() })
    }

    /// b.
    fn size(&self) -> i64 {
        self.block[0] * self.block[1]
    }
}

impl Operator for Downsampling {
    fn apply(&self, x: &Tensor) -> Tensor {
        let [c, h, w] = self.planes;
        x.reshape([-1, c, h, w]).avg_pool2d(self.block, self.block, [0, 0], false, true, None::<i64>).flatten(1, -1)
    }

    fn adjoint(&self, y: &Tensor) -> Tensor {
        let ([c, h, w], [height, width]) = (self.planes, self.block);
        let small = y.reshape([-1, c, h / height, w / width]) / self.size() as f64;
        let full = small.repeat_interleave_self_int(height, 2, None).repeat_interleave_self_int(width, 3, None);
        full.view([&[-1], self.shape.as_slice()].concat().as_slice())
    }

    fn rows(&self) -> i64 {
        self.planes.iter().product::<i64>() / self.size()
    }

    fn gram(&self) -> Option<f64> {
        Some((self.size() as f64).recip())
    }
}
