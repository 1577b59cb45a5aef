//! Images of fewer pixels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Operator, image};
use crate::error::Fault;

/// Into how many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Pixels on a side of a block, at least 2; a divisor of height and width.
    pub factor: usize,
}

/// The mean of each block of pixels; A Aᵀ = I / factor².
pub struct Downsampling {
    factor: i64,
    shape: [i64; 3],
}

impl Downsampling {
    pub fn new(&Spec { factor }: &Spec, shape: &[usize]) -> Result<Downsampling, Fault> {
        let shape = image(shape, "down-sampling")?;
        let fits = |side: i64| side % factor as i64 == 0;
        if factor < 2 || !fits(shape[1]) || !fits(shape[2]) {
            let message = format!("images of {} x {} have no blocks of {factor} x {factor}", shape[1], shape[2]);
            return Err(Fault::new("factor", message, "give a divisor of height and width, such as 2"));
        }
        Ok(Downsampling { factor: factor as i64, shape })
    }
}

impl Operator for Downsampling {
    fn apply(&self, x: &Tensor) -> Tensor {
        let side = [self.factor, self.factor];
        x.avg_pool2d(side, side, [0, 0], false, true, None::<i64>).flatten(1, -1)
    }

    fn adjoint(&self, y: &Tensor) -> Tensor {
        let [c, h, w] = self.shape;
        let small = y.view([-1, c, h / self.factor, w / self.factor]) / (self.factor * self.factor) as f64;
        small.repeat_interleave_self_int(self.factor, 2, None).repeat_interleave_self_int(self.factor, 3, None)
    }

    fn rows(&self) -> i64 {
        self.shape.iter().product::<i64>() / (self.factor * self.factor)
    }

    fn gram(&self) -> Option<f64> {
        Some(((self.factor * self.factor) as f64).recip())
    }
}
