//! Poisson flow generative models: PFGM (Xu et al. 2022, arXiv 2209.11178) and PFGM++ (Xu et al. 2023, arXiv 2302.04265).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Chain, Level, NoiseLaw, Sde, Slope, Ve, euler_maruyama};
use crate::error::Fault;

/// x_t = x_0 + σ(t) z with the levels σ of VE and z by Student's law with D degrees of freedom: PFGM++'s perturbation at the distance r = σ √D.
///
/// The N numbers of an example lie in a space with D dimensions more, and are charges there. Samples run along the lines of their electric
/// field, dx/dσ = (x - E[x_0 | x]) / σ (Xu et al. 2023, eq. 4), from far away, where the field is that of one charge, so that the prior is
/// σ_max z. D = 1 is PFGM, whose one dimension is z = σ; D → ∞ is the probability flow of VE. What takes a score's place is
/// (E[x_0 | x] - x) / σ²: that of ∇ ln p_t for normal noise alone. So there is a probability flow, with its likelihood, and denoising trains
/// it; there is no reverse SDE, no chain and no bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoissonFlow {
    /// σ(0) in model space, above 0; EDM and PFGM++ use 0.002.
    pub sigma_min: f64,
    /// σ(1) in model space, above sigma_min; EDM and PFGM++ use 80.
    pub sigma_max: f64,
    /// D, 1 to 1e9: 1 for PFGM; for CIFAR-10 PFGM++ was best at 2048.
    pub extra_dimensions: f64,
}

impl PoissonFlow {
    fn levels(&self) -> Ve {
        Ve { sigma_min: self.sigma_min, sigma_max: self.sigma_max }
    }
}

impl Sde for PoissonFlow {
    fn level(&self, t: f64) -> Level {
        self.levels().level(t)
    }
    fn slope(&self, t: f64) -> Slope {
        self.levels().slope(t)
    }
    fn drift(&self, t: f64) -> f64 {
        self.levels().drift(t)
    }
    fn diffusion(&self, t: f64) -> f64 {
        self.levels().diffusion(t)
    }
    fn prior_std(&self) -> f64 {
        self.sigma_max
    }
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        self.levels().time_of_log_snr(lambda)
    }
    fn without_score(&self) -> Option<&'static str> {
        Some("a Poisson flow has another noise")
    }
    fn noise(&self) -> NoiseLaw {
        NoiseLaw::Student { freedom: self.extra_dimensions }
    }
    fn discretised(&self, t: f64, steps: usize) -> (f64, f64) {
        euler_maruyama(self, t, steps)
    }
    fn chain(&self, _levels: usize) -> Result<Chain, Fault> {
        let help = "use a network and a solver in continuous time, such as [precondition.edm] and heun";
        Err(Fault::new("levels", "a Poisson flow is the limit of no chain", help))
    }
    fn check(&self) -> Result<(), Fault> {
        self.levels().check()?;
        if !(1.0..=1e9).contains(&self.extra_dimensions) {
            let message = format!("extra_dimensions is {}", self.extra_dimensions);
            return Err(Fault::new("extra_dimensions", message, "give a number from 1 (PFGM) to 1e9; large numbers are near to VE"));
        }
        Ok(())
    }
}
