//! Training losses: pure functions of data, times and noise.

mod denoising;
mod inverse;
mod time;
mod weighting;

pub use denoising::{denoising_score_matching, discrete_score_matching};
pub use time::{TimeLaw, TimeSpec};
pub use weighting::Weighting;

use serde::{Deserialize, Serialize};

/// How the squared errors of one example's D numbers become one loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// Half of their sum.
    HalfSum,
}
