//! Data units <-> model space, with the log-determinant that turns densities of one into densities of the other.

use std::f64::consts::LN_2;

use tch::{Kind, Tensor};

use crate::error::Fault;

/// Levels of a pixel: 0..=255.
const LEVELS: f64 = 256.0;

/// An affine map x_model = (x_data - shift) / slope, the same for every dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Pixels p in 0..=255 fill `range` = [lo, hi]: x = lo + (hi - lo) unit. With `dequantise`, training sees unit = (p + u)/256,
    /// u ~ U[0, 1), which is a density on the whole range (Theis et al. 2016, sec. 3.1); without, unit = p/255 as in Song et al. 2021.
    Pixels { range: [f64; 2], dequantise: bool },
    /// x = vector / scale.
    Vectors { scale: f64 },
}

impl Scale {
    pub fn check(&self) -> Result<(), Fault> {
        match *self {
            Scale::Pixels { range: [lo, hi], .. } if !(lo < hi && lo.is_finite() && hi.is_finite()) => Err(Fault::new(
                "range",
                format!("range is [{lo}, {hi}]"),
                "give the model's values for black and white, such as [-1, 1] or [0, 1]",
            )),
            Scale::Vectors { scale } if !(scale > 0.0 && scale.is_finite()) => {
                Err(Fault::new("scale", format!("scale is {scale}"), "give the number above 0 that the vectors are divided by"))
            }
            _ => Ok(()),
        }
    }

    /// Whether training adds uniform noise to the pixels.
    pub fn dequantises(&self) -> bool {
        matches!(self, Scale::Pixels { dequantise: true, .. })
    }

    /// A pixel value or a component of a vector in model space; `u` in [0, 1) is the pixel's dequantisation noise, if any.
    pub fn to_model(&self, value: f64, u: Option<f64>) -> f64 {
        match *self {
            Scale::Pixels { range: [lo, hi], .. } => lo + (hi - lo) * u.map_or(value / (LEVELS - 1.0), |u| (value + u) / LEVELS),
            Scale::Vectors { scale } => value / scale,
        }
    }

    /// The middle of a pixel's bin in model space, where it stands in training without noise.
    pub fn centre(&self, pixel: f64) -> f64 {
        self.to_model(pixel, self.dequantises().then_some(0.5))
    }

    /// Pixels [B, ...] with noise `u` in (0, 1) of the same shape and kind, in model space. Only for pixels.
    pub fn dequantised(&self, pixels: &Tensor, u: &Tensor) -> Tensor {
        let slope = self.log_det_per_dim().exp();
        (pixels + u) * slope + self.to_model(0.0, Some(0.0))
    }

    /// The middles of the bins of pixels [B, ...], or vectors, f64, in model space.
    pub fn centres(&self, x: &Tensor) -> Tensor {
        x.to_kind(Kind::Double) * (self.centre(1.0) - self.centre(0.0)) + self.centre(0.0)
    }

    /// Back from model space [B, ...]: the nearest pixels, clipped to 0..=255 (u8), or vectors (kind of `x`).
    ///
    /// unit = (x - lo)/(hi - lo); floor(256 unit) for dequantised training, else round(255 unit).
    pub fn to_data(&self, x: &Tensor) -> Tensor {
        match *self {
            Scale::Pixels { range: [lo, hi], dequantise } => {
                let unit = (x - lo) / (hi - lo);
                let pixels = if dequantise { (unit * LEVELS).floor() } else { (unit * (LEVELS - 1.0)).round() };
                pixels.clamp(0.0, LEVELS - 1.0).to_kind(Kind::Uint8)
            }
            Scale::Vectors { scale } => x * scale,
        }
    }

    /// ln |dx_model/dx_data| in nats per dimension: added to ln p_model(x) once per dimension, it gives ln P(pixels), a bound in
    /// expectation over u, or ln p(vector).
    ///
    /// ln((hi - lo)/256) for pixels, whose bins have size 1 in data units, and -ln(scale) for vectors.
    pub fn log_det_per_dim(&self) -> f64 {
        match *self {
            Scale::Pixels { range: [lo, hi], .. } => ((hi - lo) / LEVELS).ln(),
            Scale::Vectors { scale } => -scale.ln(),
        }
    }

    /// -(ln p_model(x) + D log_det_per_dim) / (D ln 2), from a log-density in model space (nats) of D dimensions.
    pub fn bits_per_dim(&self, log_p_model: f64, dims: usize) -> f64 {
        -(log_p_model / dims as f64 + self.log_det_per_dim()) / LN_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGES: [[f64; 2]; 3] = [[0.0, 1.0], [-1.0, 1.0], [-3.0, 5.0]];

    #[test]
    fn uniform_pixels_have_exactly_eight_bits() {
        for [lo, hi] in RANGES {
            let scale = Scale::Pixels { range: [lo, hi], dequantise: true };
            let dims = 3 * 32 * 32;
            let log_p_model = -(dims as f64) * (hi - lo).ln();
            assert!((scale.bits_per_dim(log_p_model, dims) - 8.0).abs() < 1e-12);
        }
    }

    #[test]
    fn pixels_survive_the_round_trip() {
        tch::set_num_threads(1);
        let pixels: Vec<u8> = (0..=255).collect();
        let largest_u = 1.0 - 1.0 / 65536.0;
        for range in RANGES {
            for (dequantise, u) in [(true, Some(0.0)), (true, Some(0.5)), (true, Some(largest_u)), (false, None)] {
                let scale = Scale::Pixels { range, dequantise };
                let model: Vec<f32> = pixels.iter().map(|p| scale.to_model(f64::from(*p), u) as f32).collect();
                assert!(model.iter().all(|x| (range[0]..=range[1]).contains(&f64::from(*x))));
                let back = Vec::<u8>::try_from(scale.to_data(&Tensor::from_slice(&model))).unwrap();
                assert_eq!(back, pixels, "{scale:?}, u = {u:?}");
            }
        }
    }

    #[test]
    fn values_outside_the_range_are_clipped() {
        tch::set_num_threads(1);
        for dequantise in [true, false] {
            let scale = Scale::Pixels { range: [-1.0, 1.0], dequantise };
            let back = scale.to_data(&Tensor::from_slice(&[-7.0f32, -1.0001, 1.0, 40.0]));
            assert_eq!(Vec::<u8>::try_from(back).unwrap(), [0, 0, 255, 255]);
        }
    }

    #[test]
    fn the_log_determinant_is_the_slope_of_the_map() {
        let pixels = Scale::Pixels { range: [-3.0, 5.0], dequantise: true };
        let vectors = Scale::Vectors { scale: 2.5 };
        for (scale, u) in [(pixels, Some(0.25)), (vectors, None)] {
            let slope = scale.to_model(18.0, u) - scale.to_model(17.0, u);
            assert!((slope.ln() - scale.log_det_per_dim()).abs() < 1e-12, "{scale:?}");
        }
        tch::set_num_threads(1);
        let x = vectors.to_data(&Tensor::from_slice(&[vectors.to_model(17.0, None)]));
        assert_eq!(x.double_value(&[0]), 17.0);
    }
}
