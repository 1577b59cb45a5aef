//! Implicit score matching (Hyvärinen 2005): the score of p_t without the conditional one.

use tch::Tensor;

use super::{Batch, Reduction};
use crate::divergence::quadratic_forms;
use crate::model::{At, Model};
use crate::tensor::column_of;

/// w [‖σ s‖² + 2 σ² div s + D + 2 κ Σ_i (σ² ∂_i s_i)²] at x_t = α x_0 + σ z, reduced over the D numbers, with the exact divergence from D
/// backward passes (Hyvärinen 2005, theorem 1, with the curvatures of Kingma & LeCun 2010, here in units of 1 / σ²: one κ serves all t).
///
/// At κ = 0 its mean is denoising score matching's, since E z·s = σ E div s for x = α x_0 + σ z (Stein); D is the constant between them.
/// -> losses `[B]`, whose graph goes through the Jacobian to the parameters of s.
pub fn implicit_score_matching(model: &dyn Model, reduction: Reduction, curvature: f64, batch: &Batch) -> Tensor {
    let Noised { x, s, variance } = Noised::new(model, batch);
    let d = batch.dimension() as i64;
    let units = Tensor::eye(d, (x.kind(), x.device())).unsqueeze(1);
    let slopes = quadratic_forms(&s, &x, &units) * &variance;
    let mut errors = s.square() * variance + &slopes * 2.0 + 1.0;
    if curvature > 0.0 {
        errors += slopes.square() * (2.0 * curvature);
    }
    batch.weighted(&errors, reduction)
}

/// The noised batch and its score, with a graph from x to s.
pub(super) struct Noised {
    /// x_t [B, ...].
    pub x: Tensor,
    /// s(x_t, t) [B, D].
    pub s: Tensor,
    /// σ² [B, 1].
    pub variance: Tensor,
}

impl Noised {
    pub fn new(model: &dyn Model, batch: &Batch) -> Noised {
        let Batch { x0, t, z, .. } = *batch;
        let sde = model.sde();
        let x = (x0 * column_of(x0, t, |t| sde.alpha(t)) + z * column_of(x0, t, |t| sde.sigma(t))).detach().set_requires_grad(true);
        let s = model.score(&At::whole(&x, t)).flatten(1, -1);
        let variance = column_of(&s, t, |t| sde.sigma(t).powi(2));
        Noised { x, s, variance }
    }
}
