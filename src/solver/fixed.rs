//! The loop over a fixed time grid, for every Runge-Kutta method, with or without noise.

use tch::{Tensor, no_grad};

use super::tableau::Tableau;
use super::{Noise, Statistics, Watch};
use crate::dynamics::Dynamics;

/// Σ_j weights_j k_j for stages k [s, B, D], as one product that reads each stage once -> [B, D].
pub(super) fn combine(weights: &[f64], k: &Tensor) -> Tensor {
    let n = weights.len() as i64;
    let used = k.narrow(0, 0, n);
    let row = Tensor::from_slice(weights).to_kind(k.kind()).to_device(k.device()).view([1, n]);
    row.matmul(&used.reshape([n, -1])).view(&used.size()[1..])
}

/// Solves along `times`.
///
/// The diffusion of every process here depends on t alone. On one step the Brownian path is replaced by the straight line through its
/// increment ΔW = √|h| z, which adds g(t) ΔW / h to the slope: Euler becomes Euler-Maruyama, and Heun the stochastic Heun method
/// (Wong & Zakai 1965; Kloeden & Platen 1992, sec. 14.1 and 15.4).
pub(super) fn solve(
    tableau: &Tableau,
    dynamics: &dyn Dynamics,
    x: &Tensor,
    times: &[f64],
    mut noise: Option<&mut Noise>,
    watch: &mut Watch,
) -> (Tensor, Statistics) {
    let (shape, stages) = (x.size(), tableau.b.len());
    let batch = shape[0] as usize;
    // A copy: the steps are added in place, and the caller keeps its start points.
    let mut x = x.flatten(1, -1).copy();
    let k = no_grad(|| x.unsqueeze(0).repeat([stages as i64, 1, 1]));
    for (n, pair) in times.windows(2).enumerate() {
        let (t, h) = (pair[0], pair[1] - pair[0]);
        let path_slope = noise.as_mut().map(|noise| noise(n).flatten(1, -1) * (h.abs().sqrt() / h));
        for i in 0..stages {
            let stage = if i == 0 { x.shallow_clone() } else { &x + combine(tableau.a[i], &k) * h };
            // The last stage of a step may end one rounding past the grid point.
            let at = if tableau.c[i] == 1.0 { pair[1] } else { t + tableau.c[i] * h };
            let mut slope = dynamics.drift(&stage.view(shape.as_slice()), &vec![at; batch]).flatten(1, -1);
            if let Some(path_slope) = &path_slope {
                slope += path_slope * dynamics.diffusion(at);
            }
            k.select(0, i as i64).copy_(&slope);
        }
        x += combine(tableau.b, &k) * h;
        watch((n + 1) as f64 / (times.len() - 1) as f64);
    }
    (x.view(shape.as_slice()), Statistics::of_steps(batch, times.len() - 1, stages))
}
