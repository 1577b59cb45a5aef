//! The laws of x given z.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::Map;
use crate::error::Fault;
use crate::optim::{Builder, Init};
use crate::space::Scale;
use crate::tensor::{logistic_of_normal, sum_per_example};

/// The law of a component of x given z, around what the decoder's network says; all are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DecoderSpec {
    /// N(m(z), s²), with one learnt s.
    Gaussian,
    /// Pixels: the mass of a pixel's bin under the logistic law around m(z) with one learnt scale (Kingma et al. 2016, appendix C); the
    /// outermost bins have no outer end.
    DiscretisedLogistic,
    /// Pixels, taken for 1 from 128 on and for 0 below: m(z) is the logit of a 1. The likelihood is that of the ones and zeros.
    Bernoulli,
}

impl DecoderSpec {
    /// Whether it gives the probability of pixels, and not a density.
    pub fn of_pixels(self) -> bool {
        self != DecoderSpec::Gaussian
    }

    /// Whether it can serve data of this scale.
    pub(in crate::generator) fn check(self, scale: Scale) -> Result<(), Fault> {
        match scale {
            Scale::Vectors { .. } if self.of_pixels() => {
                Err(Fault::new("decoder", "the data are vectors, and this decoder is for pixels", "use \"gaussian\""))
            }
            _ => Ok(()),
        }
    }
}

/// Where ln s begins. A wide decoder explains the data without the latent variables, which then stay unused.
const NARROW: f64 = -2.0;

/// p(x | z) with its network m(z).
pub(in crate::generator) struct Decoder {
    spec: DecoderSpec,
    network: Map,
    /// ln s `[1]`; a Bernoulli decoder has none.
    log_scale: Option<Tensor>,
    options: (Kind, Device),
    /// Of a batch, [-1, ...].
    shape: Vec<i64>,
    scale: Scale,
}

impl Decoder {
    pub fn new(spec: DecoderSpec, network: Map, shape: &[usize], scale: Scale, builder: &Builder) -> Decoder {
        let log_scale = (spec != DecoderSpec::Bernoulli).then(|| builder.parameter("log_scale", &[1], Init::Constant(NARROW)));
        let shape = std::iter::once(-1).chain(shape.iter().map(|&n| n as i64)).collect();
        Decoder { spec, network, log_scale, options: builder.options(), shape, scale }
    }

    pub fn kind(&self) -> Kind {
        self.options.0
    }

    pub fn device(&self) -> Device {
        self.options.1
    }

    /// D.
    pub fn dimension(&self) -> i64 {
        self.shape[1..].iter().product()
    }

    /// ln p(x | z) `[B]`, nats, for x [B, ...] in model space and z [B, L, ...].
    pub fn log_likelihood(&self, x: &Tensor, z: &Tensor) -> Tensor {
        let (x, m) = (x.flatten(1, -1).to_kind(self.kind()), (self.network)(z).flatten(1, -1));
        let terms = match (self.spec, &self.log_scale) {
            (DecoderSpec::Gaussian, Some(log_scale)) => {
                (((x - m) * log_scale.neg().exp()).square() + log_scale * 2.0 + (2.0 * PI).ln()) * -0.5
            }
            (DecoderSpec::DiscretisedLogistic, Some(log_scale)) => self.log_mass(&x, &m, log_scale),
            _ => m.log_sigmoid() - m.masked_fill(&self.ones(&x), 0.0),
        };
        sum_per_example(&terms)
    }

    /// A draw of p(x | z) [B, ...] in model space from the normal `noise` [B, D].
    pub fn draw(&self, z: &Tensor, noise: &Tensor) -> Tensor {
        let (m, noise) = ((self.network)(z).flatten(1, -1), noise.to_kind(self.kind()));
        let x = match (self.spec, &self.log_scale) {
            (DecoderSpec::Gaussian, Some(log_scale)) => m + log_scale.exp() * noise,
            (DecoderSpec::DiscretisedLogistic, Some(log_scale)) => m + log_scale.exp() * logistic_of_normal(&noise),
            _ => {
                let [black, white] = [0.0, 255.0].map(|pixel| self.scale.centre(pixel));
                (m + logistic_of_normal(&noise)).gt(0.0).to_kind(self.kind()) * (white - black) + black
            }
        };
        x.view(self.shape.as_slice())
    }

    /// Where pixels are at least 128.
    fn ones(&self, x: &Tensor) -> Tensor {
        self.scale.to_data(x).ge(128.0)
    }

    /// ln of the mass of the pixels' bins, elementwise: σ(b) - σ(a) = σ(b) σ(-a) (1 - e^(a - b)) for a bin from a to b in units of s.
    fn log_mass(&self, x: &Tensor, m: &Tensor, log_scale: &Tensor) -> Tensor {
        let pixels = self.scale.to_data(x);
        let [lowest, highest] = [0.0, 255.0].map(|pixel| self.scale.centre(pixel));
        let width = (highest - lowest) / 255.0;
        let s = log_scale.exp();
        let a = (pixels.to_kind(self.kind()) * width + (lowest - 0.5 * width) - m) / &s;
        let b = &a + width / &s;
        let (first, last) = (pixels.eq(0.0), pixels.eq(255.0));
        let within = (-(width / &s).neg().expm1()).log().masked_fill(&first.logical_or(&last), 0.0);
        b.log_sigmoid().masked_fill(&last, 0.0) + a.neg().log_sigmoid().masked_fill(&first, 0.0) + within
    }
}
