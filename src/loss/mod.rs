//! Training losses: pure functions of data, times and noise.

mod denoising;

pub use denoising::{denoising_score_matching, discrete_score_matching};

use serde::{Deserialize, Serialize};

/// λ(t), the weight of time t (Song et al. 2021, eq. 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// λ = σ²: every time's loss has the same scale.
    Variance,
    /// λ = g²: the loss bounds the negative log-likelihood (Song et al. 2021b, arXiv 2101.09258, theorem 1).
    Likelihood,
}

/// How the squared errors of one example's D numbers become one loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// Half of their sum.
    HalfSum,
}
