//! Blurred images and vectors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{Operator, planes};
use crate::error::Fault;

/// How far it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The standard deviation of the Gaussian, in pixels or components, in (0, 32].
    pub std: f64,
}

/// The Gaussian with the weights of all pixels up to three standard deviations away, which add up to 1; a symmetric map.
pub struct Blur {
    /// [1, 1, k], normalised.
    taps: Tensor,
    planes: [i64; 3],
    /// Of one example.
    shape: Vec<i64>,
}

impl Blur {
    pub fn new(&Spec { std }: &Spec, shape: &[usize], device: Device) -> Result<Blur, Fault> {
        let planes = planes(shape, "a blur")?;
        if !(std > 0.0 && std <= 32.0) {
            return Err(Fault::new("std", format!("std is {std}"), "give a number above 0 and at most 32, in pixels or components"));
        }
        let reach = (3.0 * std).ceil() as i64;
        let taps = ((Tensor::arange_start(-reach, reach + 1, (Kind::Double, device)) / std).square() * -0.5).exp();
        let shape = shape.iter().map(|&n| n as i64).collect();
        Ok(Blur { taps: (&taps / taps.sum(Kind::Double)).view([1, 1, -1]), planes, shape })
    }
}

impl Operator for Blur {
    fn apply(&self, x: &Tensor) -> Tensor {
        let [c, h, w] = self.planes;
        let taps = self.taps.to_kind(x.kind());
        let (k, reach) = (taps.size()[2], taps.size()[2] / 2);
        let along = |x: &Tensor, size: [i64; 2], padding: [i64; 2]| {
            x.conv2d(&taps.view([1, 1, size[0], size[1]]), None::<&Tensor>, [1, 1], padding, [1, 1], 1)
        };
        let across = along(&x.reshape([-1, 1, h, w]), [1, k], [0, reach]);
        let blurred = if self.shape.len() == 1 { across } else { along(&across, [k, 1], [reach, 0]) };
        blurred.view([-1, c * h * w])
    }

    fn adjoint(&self, y: &Tensor) -> Tensor {
        self.apply(y).view([&[-1], self.shape.as_slice()].concat().as_slice())
    }

    fn rows(&self) -> i64 {
        self.planes.iter().product()
    }
}
