//! The way from t_min to 0: p(x_0 | x) for x at the lowest level, by which a law of x_{t_min} becomes one of x_0.
//!
//! For any decoder, with x ~ q(x | x_0) = N(α x_0, σ² I),
//!
//! ```text
//! -ln p(x_0) <= E[-ln p_{t_min}(x)] + offset,   offset = E[-ln p(x_0 | x)] - H(q(x | x_0)).
//! ```

use std::f64::consts::PI;

use tch::{Kind, Tensor};

use super::level::{dimension, noised, signal_share, surplus};
use crate::model::{At, Model};
use crate::sde::Level;
use crate::space::Scale;
use crate::tensor::sum_per_example;

/// What stands at the lowest level, and how x_0 comes back from it.
pub struct Decoder<'a> {
    pub model: &'a dyn Model,
    /// The level of t_min.
    pub level: Level,
    pub law: DecoderLaw,
}

/// The law of x_0 given x; μ = (x + σ² s) / α is Tweedie's mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DecoderLaw {
    /// N(x / α, (σ/α)² I), another draw of the encoder's noise: p(x_0) = α^D E_z p_{t_min}(α x_0 + σ z), whose logarithm is bounded by
    /// Jensen's inequality. Offset -D ln α exactly.
    Jensen,
    /// N(μ, (σ/α)² I), the "Jensen offset" of Song et al. 2021b, appendix B. Offset -D ln α + ½ (E‖z + σ s‖² - D).
    Tweedie,
    /// The mass that N(μ, (σ/α)²) gives to each component's bin, so that p(x_0) is the probability of pixels, without any
    /// dequantisation (Ho et al. 2020, eq. 13).
    Discrete(Bins),
}

/// The bins of a pixel in model space: [centre - half_width, centre + half_width], the outermost two without an outer end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bins {
    pub half_width: f64,
    /// The lowest and the highest centre.
    pub centres: [f64; 2],
}

impl Decoder<'_> {
    /// ln p(x_0 | x) `[B]`, f64, nats: a log-density, or the logarithm of a probability for [`DecoderLaw::Discrete`]. `x0`, `x` [B, ...].
    pub fn log_density(&self, x0: &Tensor, x: &Tensor) -> Tensor {
        let Level { t, alpha, .. } = self.level;
        match self.law {
            DecoderLaw::Jensen => self.law.log_density(x0, &(x / alpha), &self.level),
            _ => self.law.log_density(x0, &self.model.data(&At::whole(x, &vec![t; x.size()[0] as usize])), &self.level),
        }
    }

    /// One draw of E[-ln p(x_0 | x)] `[B]`: the term L_0 of a chain. `z` [B, ...]; exact for Jensen's decoder.
    pub fn reconstruction(&self, x0: &Tensor, z: &Tensor) -> Tensor {
        let share = match self.law {
            DecoderLaw::Jensen => 1.0,
            DecoderLaw::Tweedie => signal_share(&self.level).powi(2),
            DecoderLaw::Discrete(_) => 0.0,
        };
        -self.log_density(x0, &noised(&self.level, x0, z)) - surplus(z) * (0.5 * share)
    }

    /// One draw of the offset `[B]`.
    pub fn offset(&self, x0: &Tensor, z: &Tensor) -> Tensor {
        self.reconstruction(x0, z) - self.level.entropy(dimension(x0) as usize)
    }
}

impl DecoderLaw {
    /// Of pixels that are not dequantised the mass of bins, of all else a density around Tweedie's mean.
    pub fn of(scale: Scale) -> DecoderLaw {
        match scale {
            Scale::Pixels { dequantise: false, .. } => DecoderLaw::Discrete(Bins::of(scale)),
            _ => DecoderLaw::Tweedie,
        }
    }

    /// [`Decoder::log_density`] for a decoder's mean [B, ...].
    pub(super) fn log_density(&self, x0: &Tensor, mean: &Tensor, level: &Level) -> Tensor {
        let std = level.sigma / level.alpha;
        let residual = (x0 - mean).to_kind(Kind::Double) / std;
        match self {
            DecoderLaw::Discrete(bins) => sum_per_example(&bins.log_mass(x0, &residual, std)),
            _ => (sum_per_example(&residual.square()) + dimension(x0) * (2.0 * PI * std * std).ln()) * -0.5,
        }
    }
}

impl Bins {
    /// Those of a scale's 256 values.
    pub fn of(scale: Scale) -> Bins {
        let (lowest, highest) = (scale.centre(0.0), scale.centre(255.0));
        Bins { half_width: (highest - lowest) / 510.0, centres: [lowest, highest] }
    }

    /// ln of the mass in x_0's bin, elementwise, from the residual (x_0 - μ) / std: ln(Φ(b) - Φ(a)), mirrored to the lower tail, where
    /// nothing cancels.
    fn log_mass(&self, x0: &Tensor, residual: &Tensor, std: f64) -> Tensor {
        let half = self.half_width / std;
        let [lowest, highest] = self.centres;
        let a = (residual - half).masked_fill(&x0.lt(lowest + self.half_width), f64::NEG_INFINITY);
        let b = (residual + half).masked_fill(&x0.gt(highest - self.half_width), f64::INFINITY);
        let mirror = (&a + &b).gt(0.0);
        let (low, high) = ((-&b).where_self(&mirror, &a), (-&a).where_self(&mirror, &b));
        let (below_low, below_high) = (low.special_log_ndtr(), high.special_log_ndtr());
        (-(below_low - &below_high).expm1()).log() + below_high
    }
}

#[cfg(test)]
mod tests {
    use statrs::function::erf::erfc;
    use tch::Device;

    use super::*;
    use crate::sde::Sde;
    use crate::testing::{SUB_VP, VP, exact, gaussian, mean_and_error, normal, sdes};

    const N: usize = 4000;
    const MEAN: f64 = 0.2;
    const STD: f64 = 0.3;

    /// α, σ, the variance of x and the variance of Tweedie's mean plus (σ/α)².
    fn numbers(sde: &dyn Sde, t: f64) -> (f64, f64, f64, f64) {
        let (alpha, sigma) = (sde.alpha(t), sde.sigma(t));
        let variance = (alpha * STD).powi(2) + sigma * sigma;
        (alpha, sigma, variance, (alpha * STD * STD).powi(2) / variance + (sigma / alpha).powi(2))
    }

    fn points(x0: f64) -> Tensor {
        Tensor::from_slice(&[x0]).view([1, 1]).repeat([N as i64, 1])
    }

    /// E[-ln p_{t_min}(x)] for x ~ N(α x_0, σ²), p Gaussian.
    fn at_t_min(x0: f64, alpha: f64, sigma: f64, variance: f64) -> f64 {
        0.5 * ((2.0 * PI * variance).ln() + ((alpha * (x0 - MEAN)).powi(2) + sigma * sigma) / variance)
    }

    #[test]
    fn offsets_of_a_gaussian_are_their_closed_forms_and_bound_the_models_density() {
        tch::set_num_threads(1);
        for (name, sde) in sdes() {
            let t_min = 0.05;
            let (alpha, sigma, variance, tweedie) = numbers(sde, t_min);
            let mixture = gaussian(1, MEAN, STD);
            let exact = exact(sde, &mixture);
            for x0 in [0.25, -0.7] {
                let decoder = |law| Decoder { model: &exact, level: sde.level(t_min), law };
                let signal = (alpha * STD).powi(2) / variance;
                let square = signal.powi(2) + (sigma * alpha * (x0 - MEAN) / variance).powi(2);
                let cases = [
                    (DecoderLaw::Jensen, 0.0, STD * STD + 2.0 * (sigma / alpha).powi(2)),
                    (DecoderLaw::Tweedie, 0.5 * (square - 1.0), tweedie),
                ];
                for (law, beyond, model_variance) in cases {
                    let offset = beyond - alpha.ln();
                    let (mean, error) = mean_and_error(&decoder(law).offset(&points(x0), &normal(1, &[N as i64, 1])));
                    assert!((mean - offset).abs() < 4.0 * error + 1e-9, "{name} {law:?}: {mean} ± {error} is not {offset}");
                    assert!(law != DecoderLaw::Jensen || error < 1e-9, "{name}: Jensen's offset has an error of {error}");
                    let bound = at_t_min(x0, alpha, sigma, variance) + offset;
                    let truth = 0.5 * ((2.0 * PI * model_variance).ln() + (x0 - MEAN).powi(2) / model_variance);
                    assert!(bound >= truth - 1e-12, "{name} {law:?} at {x0}: {bound} is below {truth}");
                }
            }
        }
    }

    #[test]
    fn the_offset_goes_to_zero_with_t_min() {
        tch::set_num_threads(1);
        let mixture = gaussian(1, MEAN, STD);
        // VE keeps σ_min.
        for (name, sde) in [("vp", &VP as &dyn Sde), ("sub-vp", &SUB_VP)] {
            let exact = exact(sde, &mixture);
            let decoder = Decoder { model: &exact, level: sde.level(1e-7), law: DecoderLaw::Tweedie };
            let (mean, _) = mean_and_error(&decoder.offset(&points(0.4), &normal(1, &[N as i64, 1])));
            assert!(mean.abs() < 0.03, "{name}: {mean}");
        }
    }

    /// At the centre of N(0, 1) what is drawn of z is a multiple of z² - 1, which the control variate takes.
    #[test]
    fn nothing_varies_at_the_centre_of_a_normal_law() {
        tch::set_num_threads(1);
        let law = gaussian(1, 0.0, 1.0);
        for (name, sde) in sdes() {
            let exact = exact(sde, &law);
            for t_min in [1e-3, 0.1, 0.5] {
                for law in [DecoderLaw::Jensen, DecoderLaw::Tweedie] {
                    let decoder = Decoder { model: &exact, level: sde.level(t_min), law };
                    let offsets = decoder.offset(&points(0.0), &normal(1, &[N as i64, 1]));
                    let spread = (offsets.max() - offsets.min()).double_value(&[]);
                    assert!(spread < 1e-9, "{name} {law:?} at {t_min}: a spread of {spread}");
                }
            }
        }
    }

    /// Φ.
    fn phi(x: f64) -> f64 {
        0.5 * erfc(-x / std::f64::consts::SQRT_2)
    }

    /// The mass N(MEAN, std²) gives to bin i of 16 in [-1, 1] with open ends.
    fn mass(i: usize, std: f64) -> f64 {
        let edge = |i: usize| {
            if i == 0 {
                f64::NEG_INFINITY
            } else if i == 16 {
                f64::INFINITY
            } else {
                -1.0 + i as f64 / 8.0
            }
        };
        phi((edge(i + 1) - MEAN) / std) - phi((edge(i) - MEAN) / std)
    }

    const BINS: Bins = Bins { half_width: 0.0625, centres: [-0.9375, 0.9375] };

    #[test]
    fn a_discrete_decoder_bounds_the_probability_of_every_bin() {
        tch::set_num_threads(1);
        let mixture = gaussian(1, MEAN, STD);
        for (name, sde) in sdes() {
            // σ/α about the bins' half width
            let t_min = sde.time_of_log_snr(-2.0 * 0.05f64.ln());
            let (alpha, sigma, variance, tweedie) = numbers(sde, t_min);
            let exact = exact(sde, &mixture);
            let decoder = Decoder { model: &exact, level: sde.level(t_min), law: DecoderLaw::Discrete(BINS) };
            let (mut cross_entropy, mut entropy) = (0.0, 0.0);
            for i in 0..16 {
                let centre = -0.9375 + i as f64 / 8.0;
                let (offset, error) = mean_and_error(&decoder.offset(&points(centre), &normal(1, &[N as i64, 1])));
                let bound = at_t_min(centre, alpha, sigma, variance) + offset;
                let truth = -mass(i, tweedie.sqrt()).ln();
                assert!(bound > truth - 4.0 * error, "{name}, bin {i}: {bound} ± {error} is below {truth}");
                cross_entropy += mass(i, STD) * bound;
                entropy -= mass(i, STD) * mass(i, STD).ln();
            }
            let gap = cross_entropy - entropy;
            assert!(gap > 0.0 && gap < 0.15, "{name}: over the data the bound is {gap} above the entropy");
        }
    }

    #[test]
    fn bins_share_the_whole_mass_and_far_tails_are_finite() {
        tch::set_num_threads(1);
        let mixture = gaussian(1, MEAN, STD);
        let exact = exact(&VP, &mixture);
        let decoder = Decoder { model: &exact, level: VP.level(1e-3), law: DecoderLaw::Discrete(BINS) };
        let centres = Tensor::linspace(-0.9375, 0.9375, 16, (Kind::Double, Device::Cpu)).view([16, 1]);
        for x in [-3.0, -0.94, 0.1, 0.2, 5.0] {
            let log_mass = decoder.log_density(&centres, &Tensor::full([16, 1], x, (Kind::Double, Device::Cpu)));
            let total = log_mass.exp().sum(Kind::Double).double_value(&[]);
            assert!((total - 1.0).abs() < 1e-12, "the bins' masses at x = {x} add up to {total}");
            assert!(log_mass.isfinite().all().int64_value(&[]) == 1, "{log_mass}");
        }
    }
}
