//! The loop over a fixed time grid, for every Runge-Kutta method, with or without noise.

use std::cell::Cell;

use tch::{Tensor, no_grad};

use super::sampler::{Noise, Solution, Statistics};
use super::tableau::Tableau;
use super::trajectory::{Step, Watch};
use crate::dynamics::Dynamics;
use crate::model::At;
use crate::tensor::{column, select};

/// Σ_j weights_j k_j for stages k [s, B, D], as one product that reads each stage once -> [B, D].
pub(super) fn combine(weights: &[f64], k: &Tensor) -> Tensor {
    let n = weights.len() as i64;
    let used = k.narrow(0, 0, n);
    let row = Tensor::from_slice(weights).to_kind(k.kind()).to_device(k.device()).view([1, n]);
    row.matmul(&used.reshape([n, -1])).view(&used.size()[1..])
}

/// The states between x and x_new of a step, at shares θ of it: x + h Σ_i b_i(θ) k_i, for some rows of x [B, D] and of the slopes k
/// [s + 1, B, D], of which the last are those at the new points. Lengths h as a column, one for each of these rows.
pub(super) fn between(tableau: &Tableau, x: &Tensor, k: &Tensor, rows: &[usize], h: &Tensor, shares: &[f64]) -> Tensor {
    let weights: Vec<Vec<f64>> = shares.iter().map(|&theta| tableau.interpolate(theta)).collect();
    let mut state = select(x, rows);
    for i in 0..k.size()[0] {
        state += select(&k.select(0, i), rows) * h * column(x, weights.iter().map(|w| w[i as usize]));
    }
    state
}

/// The end of the way along `times` for x [B, D], by the same steps, with a graph through all of them where there is one.
pub fn unrolled(tableau: &Tableau, dynamics: &dyn Dynamics, x: &Tensor, times: &[f64]) -> Tensor {
    let batch = x.size()[0] as usize;
    times.windows(2).fold(x.shallow_clone(), |x, pair| {
        let h = pair[1] - pair[0];
        let moved = |weights: &[f64], k: &[Tensor]| weights.iter().zip(k).fold(x.shallow_clone(), |x, (weight, k)| x + k * (weight * h));
        let mut k: Vec<Tensor> = Vec::new();
        for (weights, share) in tableau.a.iter().zip(tableau.c) {
            let stage = moved(weights, &k);
            k.push(dynamics.drift(&At::whole(&stage, &vec![pair[0] + share * h; batch])));
        }
        moved(tableau.b, &k)
    })
}

/// Solves along `times`. A state between two of them that `watch` asks for costs one evaluation, for the slope at the new point.
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
) -> Solution {
    let (shape, stages) = (x.size(), tableau.b.len());
    let batch = shape[0] as usize;
    let mut x = x.flatten(1, -1);
    let k = no_grad(|| x.unsqueeze(0).repeat([stages as i64, 1, 1]));
    let slope_at = |x: &Tensor, t: f64| dynamics.drift(&At::whole(&x.view(shape.as_slice()), &vec![t; batch])).flatten(1, -1);
    let between_steps = noise.is_none();
    let asked = Cell::new(0);
    for (n, pair) in times.windows(2).enumerate() {
        let (t, h) = (pair[0], pair[1] - pair[0]);
        let path_slope = noise.as_mut().map(|noise| noise(n).flatten(1, -1) * (h.abs().sqrt() / h));
        for i in 0..stages {
            let stage = if i == 0 { x.shallow_clone() } else { &x + combine(tableau.a[i], &k) * h };
            // The last stage of a step may end one rounding past the grid point.
            let at = if tableau.c[i] == 1.0 { pair[1] } else { t + tableau.c[i] * h };
            let mut slope = slope_at(&stage, at);
            if let Some(path_slope) = &path_slope {
                slope += path_slope * dynamics.diffusion(at);
            }
            k.select(0, i as i64).copy_(&slope);
        }
        let x_new = &x + combine(tableau.b, &k) * h;
        let state = |rows: &[usize], times: &[f64]| {
            let states = if times.iter().all(|&t| t == pair[1]) {
                select(&x_new, rows)
            } else {
                asked.set(asked.get() + 1);
                let k = Tensor::cat(&[&k, &slope_at(&x_new, pair[1]).unsqueeze(0)], 0);
                let shares: Vec<f64> = times.iter().map(|at| (at - t) / h).collect();
                between(tableau, &x, &k, rows, &column(&x, vec![h; rows.len()]), &shares)
            };
            states.view([&[-1], &shape[1..]].concat().as_slice())
        };
        watch(&Step::on_grid(batch, times, n, between_steps, &state));
        x = x_new;
    }
    let mut statistics = Statistics::of_steps(batch, times.len() - 1, stages);
    statistics.evaluations.iter_mut().for_each(|n| *n += asked.get());
    (x.view(shape.as_slice()), statistics)
}

#[cfg(test)]
mod tests {
    use super::super::tableau::{HEUN, RK4};
    use super::*;
    use crate::divergence::Probes;
    use crate::dynamics::FlowWithLogDensity;
    use crate::testing::{VP, exact, largest, mixture, normal};

    #[test]
    fn unrolled_steps_are_the_solvers_own() {
        tch::set_num_threads(1);
        let exact = exact(&VP, &mixture());
        let flow = FlowWithLogDensity::new(&exact, vec![2], Probes::Exact);
        let (start, times) = (flow.start(&normal(0, &[5, 2])), [0.1, 0.3, 0.4, 1.0]);
        for tableau in [&HEUN, &RK4] {
            let (end, _) = solve(tableau, &flow, &start, &times, None, &mut |_| {});
            assert!(largest(&(unrolled(tableau, &flow, &start, &times) - &end)) < 1e-12);
            assert!(largest(&(end - &start)) > 0.1);
        }
    }
}
