//! Flow matching with examples and noise that optimal transport pairs (Pooladian et al. 2023, arXiv 2304.14772; Tong et al. 2024, arXiv
//! 2302.00482).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Chain, Level, Linear, Sde, Slope};
use crate::error::Fault;

/// The straight path, α = 1 - t and σ = t, on which training gives each example of a batch the noise of it that makes Σ ‖x_0 - z‖² least.
///
/// Ways that belong to each other cross less, so that the flow is straighter and needs fewer evaluations. z is normal, but not independent of x_0:
/// what -ε / σ is of x_t is no score. There is a probability flow, with its likelihood; there is no reverse SDE, no chain and no bound. The larger
/// the batch, the nearer the pairs are to those of optimal transport between the two laws; a batch of one pairs independently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimalTransport {}

impl Sde for OptimalTransport {
    fn level(&self, t: f64) -> Level {
        Linear {}.level(t)
    }
    fn slope(&self, t: f64) -> Slope {
        Linear {}.slope(t)
    }
    fn diffusion(&self, t: f64) -> f64 {
        Linear {}.diffusion(t)
    }
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        Linear {}.time_of_log_snr(lambda)
    }
    fn horizon(&self) -> f64 {
        Linear {}.horizon()
    }
    fn pairs_by_transport(&self) -> bool {
        true
    }
    fn without_score(&self) -> Option<&'static str> {
        Some("under [sde.optimal-transport] noise is paired with the data")
    }
    fn chain(&self, _levels: usize) -> Result<Chain, Fault> {
        let help = "use a network and a solver in continuous time, such as [precondition.plain] and heun";
        Err(Fault::new("levels", "noise that is paired with the data has no chain", help))
    }
    fn check(&self) -> Result<(), Fault> {
        Ok(())
    }
}
