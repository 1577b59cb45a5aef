//! The variance-preserving process (Song et al. 2021, eq. 11; the limit of DDPM's chain).

use serde::{Deserialize, Serialize};

use super::{LinearBeta, Sde};
use crate::error::Fault;

/// dx = -½ β(t) x dt + √β(t) dw with β(t) linear: α = exp(-½∫β), σ² = 1 - α², prior N(0, I).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vp {
    pub beta_min: f64,
    pub beta_max: f64,
}

impl Vp {
    fn beta(&self) -> LinearBeta {
        LinearBeta { min: self.beta_min, max: self.beta_max }
    }
}

impl Sde for Vp {
    fn drift(&self, t: f64) -> f64 {
        -0.5 * self.beta().at(t)
    }
    fn diffusion(&self, t: f64) -> f64 {
        self.beta().at(t).sqrt()
    }
    fn alpha(&self, t: f64) -> f64 {
        self.beta().log_alpha(t).exp()
    }
    fn sigma(&self, t: f64) -> f64 {
        (-(2.0 * self.beta().log_alpha(t)).exp_m1()).sqrt()
    }
    fn prior_std(&self) -> f64 {
        1.0
    }
    /// α² = 1 / (1 + e^-λ).
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        self.beta().time_of_log_alpha(-0.5 * (-lambda).exp().ln_1p())
    }
    /// Label 999 t, F predicts the noise: score = -F / σ.
    fn reference_parametrisation(&self, t: f64) -> (f64, f64) {
        (999.0 * t, -1.0 / self.sigma(t))
    }
    fn check(&self) -> Result<(), Fault> {
        self.beta().check()
    }
}
