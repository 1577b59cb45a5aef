//! Conjugate gradients (Hestenes & Stiefel 1952) for a batch of systems, each with its own matrix.

use tch::{Kind, Tensor};

/// u [B, M] with S u ≈ b for symmetric positive definite S, given as a map of [B, M]; exact after M steps but for rounding. A system that is
/// solved, or whose matrix turns out not to be positive definite, stays where it is.
pub(super) fn solve(s: impl Fn(&Tensor) -> Tensor, b: &Tensor, iterations: usize) -> Tensor {
    let dot = |a: &Tensor, b: &Tensor| (a * b).sum_dim_intlist(1i64, true, None::<Kind>);
    let mut u = b.zeros_like();
    let (mut residual, mut direction) = (b.copy(), b.copy());
    let mut square = dot(&residual, &residual);
    let enough = &square * f64::EPSILON.powi(2);
    for _ in 0..iterations {
        let image = s(&direction);
        let curvature = dot(&direction, &image);
        let going = square.gt_tensor(&enough).logical_and(&curvature.gt(0.0));
        let step = (&square / &curvature).where_self(&going, &square.zeros_like());
        u += &direction * &step;
        residual -= image * step;
        let next = dot(&residual, &residual);
        let share = (&next / &square).where_self(&going, &square.zeros_like());
        direction = &residual + direction * share;
        square = next;
    }
    u
}
