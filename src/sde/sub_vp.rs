//! The sub-VP process (Song et al. 2021, eq. 12): VP's mean with a smaller variance, for better likelihoods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Chain, Level, LinearBeta, Sde, Slope, euler_maruyama};
use crate::error::Fault;

/// dx = -½ β(t) x dt + √(β(t) (1 - α⁴)) dw with β(t) linear: α = exp(-½∫β), σ = 1 - α², prior N(0, I).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubVp {
    /// β(0), above 0; the reference uses 0.1.
    pub beta_min: f64,
    /// β(1), at least beta_min; the reference uses 20.
    pub beta_max: f64,
}

impl SubVp {
    fn beta(&self) -> LinearBeta {
        LinearBeta { min: self.beta_min, max: self.beta_max }
    }
}

impl Sde for SubVp {
    fn drift(&self, t: f64) -> f64 {
        -0.5 * self.beta().at(t)
    }
    fn diffusion(&self, t: f64) -> f64 {
        let beta = self.beta();
        (-beta.at(t) * (4.0 * beta.log_alpha(t)).exp_m1()).sqrt()
    }
    fn level(&self, t: f64) -> Level {
        let log_alpha = self.beta().log_alpha(t);
        Level { t, alpha: log_alpha.exp(), sigma: -(2.0 * log_alpha).exp_m1() }
    }
    /// α' = -½ β α, and σ' = -2 α α'.
    fn slope(&self, t: f64) -> Slope {
        let (alpha, beta) = (self.alpha(t), self.beta().at(t));
        Slope { alpha: -0.5 * beta * alpha, sigma: beta * alpha * alpha }
    }
    fn prior_std(&self) -> f64 {
        1.0
    }
    /// With y = α / σ = α / (1 - α²): α = 2y / (1 + √(1 + 4y²)); near α = 1, ln α comes from 1 - α² = α / y, which does not cancel.
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        let y = (0.5 * lambda).exp();
        let alpha = 2.0 / (1.0 / y + (1.0 / (y * y) + 4.0).sqrt());
        let log_alpha = if alpha > 0.5 { 0.5 * (-alpha / y).ln_1p() } else { alpha.ln() };
        self.beta().time_of_log_alpha(log_alpha)
    }
    fn discretised(&self, t: f64, steps: usize) -> (f64, f64) {
        euler_maruyama(self, t, steps)
    }
    fn chain(&self, _levels: usize) -> Result<Chain, Fault> {
        Err(Fault::new("levels", "sub-VP is not the limit of a chain of noise levels", "use the SDE vp or ve, or continuous time"))
    }
    fn check(&self) -> Result<(), Fault> {
        self.beta().check()
    }
}
