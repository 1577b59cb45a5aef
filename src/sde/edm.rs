//! The straight path of EDM (Karras et al. 2022, arXiv 2206.00364, sec. 3), whose noise is its time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Level, Sde, Slope};
use crate::error::Fault;

/// α = 1, σ = σ_max t, which is EDM's σ = t on t in [0, 1]; g² = 2 σ_max² t, prior N(0, σ_max² I). A t_min of σ / σ_max ends at σ: EDM ends at 0.002
/// of 80, which is 2.5e-5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Edm {
    /// σ(1) in model space, above 0; EDM uses 80 for data with the standard deviation 0.5.
    pub sigma_max: f64,
}

impl Sde for Edm {
    fn level(&self, t: f64) -> Level {
        Level { t, alpha: 1.0, sigma: self.sigma_max * t }
    }
    fn slope(&self, _t: f64) -> Slope {
        Slope { alpha: 0.0, sigma: self.sigma_max }
    }
    fn prior_std(&self) -> f64 {
        self.sigma_max
    }
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        (-0.5 * lambda).exp() / self.sigma_max
    }
    fn check(&self) -> Result<(), Fault> {
        if self.sigma_max > 0.0 && self.sigma_max.is_finite() {
            return Ok(());
        }
        let help = "give about the largest distance between two examples; EDM uses 80 for data with the standard deviation 0.5";
        Err(Fault::new("sigma_max", format!("sigma_max is {}", self.sigma_max), help))
    }
}
