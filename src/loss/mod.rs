//! Training losses: pure functions of data, times and noise.

mod denoising;
mod explicit;
mod implicit;
mod inverse;
mod sliced;
mod time;
mod transport;
mod weighting;

pub use denoising::{denoising_errors, denoising_score_matching};
pub use explicit::explicit_score_matching;
pub use implicit::implicit_score_matching;
pub use sliced::sliced_score_matching;
pub use time::{TimeLaw, TimeSpec, stratified};
pub use transport::paired_by_transport;
pub use weighting::Weighting;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::Fault;
use crate::rng::Law;
use crate::sde::Variance;
use crate::tensor::{column, sum_per_example};

/// `[train] objective`: the loss that is descended; but for `vlb` and `hybrid` an estimator of the same mean E w ‖σ s - σ ∇ ln
/// p_t‖² + const.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Objective {
    /// From the score of x_t given x_0: [`denoising_score_matching`].
    Denoising,
    /// From the score of x_t itself, where the law of the data is known, in continuous time: [`explicit_score_matching`].
    Explicit,
    /// From the divergence of s: [`implicit_score_matching`].
    Implicit {
        /// The weight of the squared curvatures; 0 for none.
        curvature: f64,
    },
    /// From random projections of s and its Jacobian: [`sliced_score_matching`].
    Sliced {
        /// Projections of each example, 1 to 65536.
        projections: usize,
        /// The law of the projections.
        law: Law,
        /// ‖s‖² exactly, instead of by the projections: SSM-VR.
        variance_reduced: bool,
    },
    /// The variational bound of a chain, in discrete time: [`ChainLoss`](crate::bound::ChainLoss) (Ho et al. 2020, eq. 5).
    /// Pixels that are not dequantised have the mass of their bins as L_0, all else a density.
    Vlb {
        /// Of the steps down.
        variance: Variance,
    },
    /// Denoising for the noise and the bound for the learned variance of the steps down, L_simple + λ L_vlb, in discrete time:
    /// [`ChainLoss`](crate::bound::ChainLoss) (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 16).
    Hybrid {
        /// λ, above 0, of nats against ½ ‖z - ẑ‖²; the paper's 0.001, of bits against ‖z - ẑ‖², is 0.0007.
        vlb: f64,
    },
}

impl Objective {
    /// Whether it trains the variance that a network says.
    pub fn trains_variance(&self) -> bool {
        matches!(self, Objective::Hybrid { .. } | Objective::Vlb { variance: Variance::Learned })
    }

    /// A fault's key is relative to `objective`.
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            Objective::Implicit { curvature } if !(*curvature >= 0.0 && curvature.is_finite()) => Err(Fault::new(
                "implicit.curvature",
                format!("curvature is {curvature}"),
                "give 0 for none, or a positive number, such as 0.01",
            )),
            Objective::Sliced { projections, .. } => {
                Fault::unless_in("sliced.projections", *projections, 1..=65536, "1 is enough in large batches")
            }
            Objective::Vlb { variance: Variance::Analytic } => {
                let message = "the analytic variance is measured after training";
                Err(Fault::new("vlb.variance", message, "use \"beta-tilde\" or \"beta\", or \"learned\" with a network that says it"))
            }
            Objective::Hybrid { vlb } if !(*vlb > 0.0 && vlb.is_finite()) => {
                Err(Fault::new("hybrid.vlb", format!("vlb is {vlb}"), "give a number above 0, such as 0.0007, the paper's"))
            }
            _ => Ok(()),
        }
    }

    /// Whether it can be paid for with D numbers in an example.
    pub fn check_dimension(&self, d: usize) -> Result<(), Fault> {
        const LARGEST: usize = 64;
        match self {
            Objective::Implicit { .. } if d > LARGEST => Err(Fault::new(
                "implicit",
                format!(
                    "the exact divergence takes {d} backward passes a step, one for each number of an example; at most {LARGEST} are allowed"
                ),
                "use \"denoising\", or sliced, which takes one for each projection",
            )),
            _ => Ok(()),
        }
    }
}

/// How the squared errors of one example's D numbers become one loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// Half of their sum.
    HalfSum,
}

impl Reduction {
    /// Of the sums `[B]` over D numbers each.
    fn of_sum(self, sum: &Tensor, d: usize) -> Tensor {
        match self {
            Reduction::Mean => sum / d as f64,
            Reduction::HalfSum => sum * 0.5,
        }
    }
}

/// What one step sees.
pub struct Batch<'a> {
    /// Data in model space [B, ...].
    pub x0: &'a Tensor,
    /// One time per example in (0, 1].
    pub t: &'a [f64],
    /// Noise ~ N(0, I) [B, ...].
    pub z: &'a Tensor,
    /// One factor w on each example's noise error ‖σ s + z‖²: [`Weighting::at`], and [`TimeLaw::importance`] where the law of t must not
    /// change the mean.
    pub w: &'a [f64],
}

impl Batch<'_> {
    /// D.
    pub fn dimension(&self) -> usize {
        self.x0.numel() / self.t.len()
    }

    /// The losses `[B]` of squared errors [B, ...].
    fn weighted(&self, errors: &Tensor, reduction: Reduction) -> Tensor {
        self.weighted_sums(&sum_per_example(errors), reduction)
    }

    /// The losses `[B]` of sums `[B]` over an example's numbers.
    pub fn weighted_sums(&self, sums: &Tensor, reduction: Reduction) -> Tensor {
        reduction.of_sum(sums, self.dimension()) * column(sums, self.w.iter().copied())
    }
}

#[cfg(test)]
mod tests;
