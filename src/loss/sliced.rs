//! Sliced score matching (Song et al. 2019, arXiv 1905.07088): implicit score matching along random directions.

use tch::{Kind, Tensor};

use super::implicit::Noised;
use super::{Batch, Reduction};
use crate::divergence::quadratic_forms;
use crate::model::Model;
use crate::tensor::sum_per_example;

/// w [(v·σ s)² + 2 σ² vᵀ (∂s/∂x) v + D] at x_t = α x_0 + σ z, the mean over an example's projections v, reduced over the D numbers
/// (Song et al. 2019, sec. 3); variance-reduced, ‖σ s‖² stands for its mean (v·σ s)² (SSM-VR).
///
/// `projections` [k, B, D] with E v vᵀ = I: then its mean is that of [`implicit_score_matching`](super::implicit_score_matching) without
/// curvatures, from k backward passes. -> losses `[B]`, whose graph goes through the Jacobian to the parameters of s.
pub fn sliced_score_matching(
    model: &dyn Model,
    reduction: Reduction,
    variance_reduced: bool,
    projections: &Tensor,
    batch: &Batch,
) -> Tensor {
    let Noised { x, s, variance } = Noised::new(model, batch);
    let mean = |x: &Tensor| x.mean_dim(1i64, false, None::<Kind>);
    let divergence = mean(&quadratic_forms(&s, &x, projections));
    let square = match variance_reduced {
        true => sum_per_example(&s.square()),
        false => mean(&(projections * &s).sum_dim_intlist(2i64, false, None::<Kind>).square().transpose(0, 1)),
    };
    let sums = (square + divergence * 2.0) * variance.squeeze_dim(1) + batch.dimension() as f64;
    batch.weighted_sums(&sums, reduction)
}
