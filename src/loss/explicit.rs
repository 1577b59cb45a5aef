//! Explicit score matching (Hyvärinen 2005, eq. 2; Vincent 2011, sec. 2.2), for laws whose score is known.

use tch::Tensor;

use super::{Batch, Reduction};
use crate::model::{At, Model};
use crate::tensor::column_of;

/// w ‖σ s - σ ∇ ln p_t‖² at x_t = α x_0 + σ z, with the score ∇ ln p_t of `truth`, a model of the same process -> losses `[B]`.
///
/// Denoising score matching has the score of x_t given x_0 in its place; by Vincent 2011, appendix, their means differ by a number that no
/// model changes.
pub fn explicit_score_matching(model: &dyn Model, truth: &dyn Model, reduction: Reduction, batch: &Batch) -> Tensor {
    let Batch { x0, t, z, .. } = *batch;
    let sde = model.sde();
    let x = x0 * column_of(x0, t, |t| sde.alpha(t)) + z * column_of(x0, t, |t| sde.sigma(t));
    let at = At::whole(&x, t);
    batch.weighted(&(model.noise(&at) - truth.noise(&at)).square(), reduction)
}
