//! The variance-preserving process (Song et al. 2021, eq. 11; the limit of DDPM's chain).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chain::{place_of, time_of};
use super::{Chain, Level, LinearBeta, Sde, Slope, check_levels};
use crate::error::Fault;

/// dx = -½ β(t) x dt + √β(t) dw with β(t) linear: α = exp(-½∫β), σ² = 1 - α², prior N(0, I).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vp {
    /// β(0), above 0; the reference uses 0.1.
    pub beta_min: f64,
    /// β(1), at least beta_min; the reference uses 20.
    pub beta_max: f64,
}

impl Vp {
    fn beta(&self) -> LinearBeta {
        LinearBeta { min: self.beta_min, max: self.beta_max }
    }

    /// β_i of DDPM's chain.
    fn beta_of_level(&self, i: usize, levels: usize) -> f64 {
        self.beta().at(time_of(i, levels)) / levels as f64
    }
}

impl Sde for Vp {
    fn drift(&self, t: f64) -> f64 {
        -0.5 * self.beta().at(t)
    }
    fn diffusion(&self, t: f64) -> f64 {
        self.beta().at(t).sqrt()
    }
    fn level(&self, t: f64) -> Level {
        let log_alpha = self.beta().log_alpha(t);
        Level { t, alpha: log_alpha.exp(), sigma: (-(2.0 * log_alpha).exp_m1()).sqrt() }
    }
    /// α' = -½ β α, and σ σ' = -α α'.
    fn slope(&self, t: f64) -> Slope {
        let Level { alpha, sigma, .. } = self.level(t);
        let half_beta = 0.5 * self.beta().at(t);
        Slope { alpha: -half_beta * alpha, sigma: half_beta * alpha * alpha / sigma }
    }
    fn prior_std(&self) -> f64 {
        1.0
    }
    /// α² = 1 / (1 + e^-λ).
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        self.beta().time_of_log_alpha(-0.5 * (-lambda).exp().ln_1p())
    }
    /// DDPM's: β_i = β(i / (N - 1)) / N, √(1 - β_i) x + √β_i z.
    fn discretised(&self, t: f64, steps: usize) -> (f64, f64) {
        let beta = self.beta_of_level(place_of(t, steps), steps);
        (-beta / (1.0 + (1.0 - beta).sqrt()), beta.sqrt())
    }
    /// DDPM's: α_i² = Π_{j <= i} (1 - β_j), σ_i² = 1 - α_i².
    fn chain(&self, levels: usize) -> Result<Chain, Fault> {
        check_levels(levels)?;
        if self.beta_max >= levels as f64 {
            return Err(Fault::new(
                "levels",
                format!("with {levels} levels and beta_max = {} the last step keeps nothing of the image", self.beta_max),
                format!("give more than beta_max = {} levels; the reference uses 1000", self.beta_max),
            ));
        }
        let marginals = (0..levels).scan(0.0, |log_alpha, i| {
            *log_alpha += 0.5 * (-self.beta_of_level(i, levels)).ln_1p();
            Some((log_alpha.exp(), (-(2.0 * *log_alpha).exp_m1()).sqrt()))
        });
        Ok(Chain::new(levels, marginals))
    }
    fn check(&self) -> Result<(), Fault> {
        self.beta().check()
    }
}
