//! Scores s(x, t) ≈ ∇ₓ ln p_t(x): the exact one of a Gaussian mixture, and a preconditioned network's.

mod exact;
mod precondition;
mod score_network;
mod thresholded;

use serde::{Deserialize, Serialize};
use tch::Tensor;

pub use exact::ExactScore;
pub use precondition::{Label, NetworkScore, Output, Precondition};
pub use score_network::ScoreNetwork;
pub use thresholded::DynamicThresholding;

use crate::error::Fault;
use crate::law::GaussianMixture;

/// A score model: x [B, ...] and one time per example in [0, 1] -> [B, ...], in x's kind.
pub trait ScoreModel {
    fn score(&self, x: &Tensor, t: &[f64]) -> Tensor;
    /// How many levels of noise stand for the times, if the model lives in discrete time.
    fn levels(&self) -> Option<usize> {
        None
    }
}

/// `[score.*]`: a score that is known and not trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum ScoreSpec {
    GaussianMixture(GaussianMixture),
}

impl ScoreSpec {
    pub fn check(&self, shape: &[usize]) -> Result<(), Fault> {
        let ScoreSpec::GaussianMixture(mixture) = self;
        mixture.check().map_err(|fault| fault.within("gaussian_mixture"))?;
        if shape != [mixture.dimension()] {
            return Err(Fault::new(
                "gaussian_mixture.means",
                format!("the mixture has dimension {} but the data have shape {shape:?}", mixture.dimension()),
                "give means and covariances of the data's dimension; an exact score serves vectors only",
            ));
        }
        Ok(())
    }
}
