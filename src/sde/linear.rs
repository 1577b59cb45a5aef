//! The straight path of rectified flow and of stochastic interpolants (Liu et al. 2023, arXiv 2209.03003; Lipman et al. 2023, arXiv
//! 2210.02747; Albergo & Vanden-Eijnden 2023, arXiv 2209.15571).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LEAST_SIGNAL, Level, Sde, Slope};

/// α = 1 - t, σ = t, prior N(0, I); so f = -1 / (1 - t) and g² = 2t / (1 - t). At t = 1 there is no signal left: velocities are known there, and
/// whoever divides by α ends at t = 0.999.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Linear {}

impl Sde for Linear {
    fn level(&self, t: f64) -> Level {
        Level { t, alpha: 1.0 - t, sigma: t }
    }
    fn slope(&self, _t: f64) -> Slope {
        Slope { alpha: -1.0, sigma: 1.0 }
    }
    fn diffusion(&self, t: f64) -> f64 {
        (2.0 * t / (1.0 - t)).sqrt()
    }
    fn prior_std(&self) -> f64 {
        1.0
    }
    /// α / σ = e^(λ/2).
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        1.0 / (1.0 + (0.5 * lambda).exp())
    }
    fn horizon(&self) -> f64 {
        1.0 / (1.0 + LEAST_SIGNAL)
    }
}
