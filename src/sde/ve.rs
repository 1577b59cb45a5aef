//! The variance-exploding process (Song et al. 2021, eq. 9; the limit of NCSN's noise levels).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chain::{place_of, time_of};
use super::{Chain, Level, Sde, Slope, check_levels};
use crate::error::Fault;

/// dx = g(t) dw: α = 1, σ(t) = σ_min (σ_max / σ_min)^t, g = σ √(2 ln(σ_max / σ_min)), prior N(0, σ_max² I).
///
/// As in the reference, σ(0) = σ_min stands for zero noise: x_0 already carries noise of σ_min.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ve {
    /// σ(0) in model space, above 0; the reference uses 0.01.
    pub sigma_min: f64,
    /// σ(1) in model space, above sigma_min; about the largest distance between two examples, 50 for CIFAR-10 in [0, 1] in the reference.
    pub sigma_max: f64,
}

impl Ve {
    fn log_ratio(&self) -> f64 {
        (self.sigma_max / self.sigma_min).ln()
    }
}

impl Sde for Ve {
    fn drift(&self, _t: f64) -> f64 {
        0.0
    }
    fn diffusion(&self, t: f64) -> f64 {
        self.sigma(t) * (2.0 * self.log_ratio()).sqrt()
    }
    fn level(&self, t: f64) -> Level {
        Level { t, alpha: 1.0, sigma: self.sigma_min * (t * self.log_ratio()).exp() }
    }
    fn slope(&self, t: f64) -> Slope {
        Slope { alpha: 0.0, sigma: self.sigma(t) * self.log_ratio() }
    }
    fn prior_std(&self) -> f64 {
        self.sigma_max
    }
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        (-0.5 * lambda - self.sigma_min.ln()) / self.log_ratio()
    }
    /// NCSN's: σ_i = σ(i / (N - 1)), G² = σ_i² - σ_{i-1}², from no noise at all to σ_0 = σ_min.
    fn discretised(&self, t: f64, steps: usize) -> (f64, f64) {
        let i = place_of(t, steps);
        let variance = |i: usize| self.sigma(time_of(i, steps)).powi(2);
        let before = if i == 0 { 0.0 } else { variance(i - 1) };
        (0.0, (variance(i) - before).sqrt())
    }
    /// NCSN's noise levels, geometric from σ_min to σ_max.
    fn chain(&self, levels: usize) -> Result<Chain, Fault> {
        check_levels(levels)?;
        Ok(Chain::new(levels, (0..levels).map(|i| (1.0, self.sigma(time_of(i, levels))))))
    }
    fn check(&self) -> Result<(), Fault> {
        if !(self.sigma_min > 0.0 && self.sigma_min.is_finite()) {
            return Err(Fault::new(
                "sigma_min",
                format!("sigma_min is {}", self.sigma_min),
                "give a number above 0; the reference uses 0.01",
            ));
        }
        if !(self.sigma_max > self.sigma_min && self.sigma_max.is_finite()) {
            return Err(Fault::new(
                "sigma_max",
                format!("sigma_max is {}, not above sigma_min = {}", self.sigma_max, self.sigma_min),
                "give about the largest distance between two examples; the reference uses 50.0 for CIFAR-10 in [0, 1]",
            ));
        }
        Ok(())
    }
}
