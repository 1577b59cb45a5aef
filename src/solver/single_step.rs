//! Exponential single-step solvers: the polynomial goes through predictions inside the step, so nothing is remembered between steps.

use tch::Tensor;

use super::exponential::{Integrand, Interval, check_order, lambda};
use super::grid::TimeGrid;
use super::sampler::{Noise, Sampler, Solution, Statistics};
use super::trajectory::{self, Watch};
use crate::dynamics::Reverse;
use crate::error::{Fault, Result};
use crate::tensor::select;

/// `order` evaluations a step: DPM-Solver-1 to 3 (noise; Lu et al. 2022a, algorithms 1 and 2) and DPM-Solver++ 1S to 3S (data; Lu et al.
/// 2022b).
///
/// The stages lie at θ = i / order in λ. With noise, stages and end see one Brownian path: the increments between neighbouring stages
/// are drawn, `order` draws a step, and carried on by the exact linear part.
pub(super) struct SingleStep {
    integrand: Integrand,
    order: usize,
    grid: TimeGrid,
}

impl SingleStep {
    pub fn new(integrand: Integrand, order: usize, grid: TimeGrid) -> Result<SingleStep, Fault> {
        check_order(order, 3, &grid, usize::MAX)?;
        Ok(SingleStep { integrand, order, grid })
    }
}

impl Sampler for SingleStep {
    fn solve(&self, reverse: &Reverse, x: &Tensor, span: (f64, f64), noise: &mut Noise, watch: &mut Watch) -> Result<Solution> {
        let _no_grad = tch::no_grad_guard();
        let SingleStep { integrand, order, grid } = *self;
        let noisy = reverse.eta > 0.0;
        let sde = reverse.sde();
        let times = grid.times(sde, span);
        let batch = x.size()[0] as usize;
        let mut x = x.shallow_clone();
        for (n, pair) in times.windows(2).enumerate() {
            let (start, end) = (lambda(sde, pair[0]), lambda(sde, pair[1]));
            let stage_time = |i: usize| match i {
                0 => pair[0],
                i if i == order => pair[1],
                i => sde.time_of_log_snr(2.0 * (start + (end - start) * i as f64 / order as f64)),
            };
            let mut seen = vec![integrand.evaluate(reverse, &x, pair[0])];
            let mut shaken: Option<Tensor> = None;
            let mut next = x.shallow_clone();
            for i in 1..=order {
                let step = Interval::new(integrand, reverse, pair[0], stage_time(i));
                let (weights, used) = weights(&step, i, order);
                let mut state = step.advance(&x, &weights, used.iter().map(|&j| &seen[j]));
                if noisy {
                    let part = Interval::new(integrand, reverse, stage_time(i - 1), stage_time(i));
                    let fresh = noise(n * order + i - 1) * part.noise;
                    let path = shaken.map_or_else(|| fresh.shallow_clone(), |before| before * part.decay + &fresh);
                    state += &path;
                    shaken = Some(path);
                }
                if i < order {
                    seen.push(integrand.evaluate(reverse, &state, stage_time(i)));
                } else {
                    next = state;
                }
            }
            // A state between is that of a shorter step with the polynomial through all stages.
            let state = |rows: &[usize], at: &[f64]| {
                if at[0] == pair[1] {
                    return select(&next, rows);
                }
                let step = Interval::new(integrand, reverse, pair[0], at[0]);
                let nodes: Vec<f64> = (0..order).map(|i| (end - start) / step.h * i as f64 / order as f64).collect();
                select(&step.advance(&x, &step.polynomial_weights(&nodes, |theta| theta), &seen), rows)
            };
            watch(&trajectory::Step::on_grid(batch, &times, n, !noisy, &state));
            x = next;
        }
        Ok((x, Statistics::of_steps(batch, times.len() - 1, order)))
    }
}

/// The weights that lead to stage i, and the stages they belong to. Order 2 ends with the exponential midpoint rule, order 3 with the line
/// through stages 0 and 2.
fn weights(step: &Interval, i: usize, order: usize) -> (Vec<f64>, Vec<usize>) {
    match (i, order) {
        (1, _) => (vec![step.phi()], vec![0]),
        (2, 2) => (vec![step.phi()], vec![1]),
        (2, 3) => (step.polynomial_weights(&[0.0, 0.5], |theta| theta), vec![0, 1]),
        _ => (step.polynomial_weights(&[0.0, 2.0 / 3.0], |theta| theta), vec![0, 2]),
    }
}
