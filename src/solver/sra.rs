//! A Runge-Kutta method of strong order 1.5 for additive noise, dx = a(x, t) dt + b(t) dw: Rößler 2010, "Runge-Kutta methods for the strong
//! approximation of solutions of stochastic differential equations", method SRA1.

use tch::Tensor;

use super::sampler::{Noise, Solution, Statistics};
use super::trajectory::{Step, Watch};
use crate::dynamics::Dynamics;
use crate::model::At;
use crate::tensor::select;

/// Solves along `times`, two evaluations and two normal draws a step:
///
/// ```text
/// ΔW = √|h| z_2n,   I/|h| = ½ (ΔW + √(|h|/3) z_2n+1),   I = ∫ (w_s - w_t) ds over the step
/// a_1 = a(x, t),    a_2 = a(x + ¾ h a_1 + 3/2 b(t + h) I/|h|, t + ¾ h)
/// x  <- x + h (a_1 + 2 a_2) / 3 + b(t + h) ΔW + (b(t) - b(t + h)) I/|h|
/// ```
pub(super) fn solve(dynamics: &dyn Dynamics, x: &Tensor, times: &[f64], noise: &mut Noise, watch: &mut Watch) -> Solution {
    let batch = x.size()[0] as usize;
    let slope = |x: &Tensor, t: f64| dynamics.drift(&At::whole(x, &vec![t; batch]));
    let mut x = x.shallow_clone();
    for (n, pair) in times.windows(2).enumerate() {
        let (t, h) = (pair[0], pair[1] - pair[0]);
        let (b, b_new) = (dynamics.diffusion(t), dynamics.diffusion(pair[1]));
        let path = noise(2 * n) * h.abs().sqrt();
        let mean = (&path + noise(2 * n + 1) * (h.abs() / 3.0).sqrt()) * 0.5;
        let first = slope(&x, t);
        let second = slope(&(&x + &first * (0.75 * h) + &mean * (1.5 * b_new)), t + 0.75 * h);
        x = x + (first + second * 2.0) * (h / 3.0) + path * b_new + mean * (b - b_new);
        watch(&Step::on_grid(batch, times, n, false, &|rows, _| select(&x, rows)));
    }
    (x, Statistics::of_steps(batch, times.len() - 1, 2))
}
