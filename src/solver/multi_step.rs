//! Exponential multi-step solvers: the polynomial goes through the predictions at the last few grid points. One evaluation a step.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::exponential::{Integrand, Interval, check_order, lambda};
use super::grid::TimeGrid;
use super::sampler::{Noise, Sampler, Solution, Statistics};
use super::trajectory::{self, Watch};
use crate::dynamics::Reverse;
use crate::error::{Fault, Result};
use crate::sde::Sde;
use crate::tensor::select;

/// UniPC's B(h), which matters only where its order is lowest: `Bh1` is h, `Bh2` is e^h - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UniPcVariant {
    Bh1,
    Bh2,
}

/// What DEIS's polynomial is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeisVariable {
    /// t: tAB-DEIS.
    Time,
    /// ρ = σ/α: ρAB-DEIS.
    NoiseToSignal,
}

/// A multi-step method.
#[derive(Clone, Copy)]
pub(super) enum Scheme {
    /// Lu et al. 2022b. Of order 1 it is DDIM (η = 0; Song et al. 2021a, arXiv 2010.02502) and DDPM's ancestral step with variance β̃
    /// (η = 1; Ho et al. 2020).
    DpmSolverPp,
    /// Zhao et al. 2023 (arXiv 2302.04867): each state is corrected with the denoised one that has just been computed there.
    UniPc(UniPcVariant),
    /// Zhang & Chen 2023 (arXiv 2204.13902, sec. 3.3): Adams-Bashforth in the noise.
    Deis(DeisVariable),
}

impl Scheme {
    fn integrand(self) -> Integrand {
        match self {
            Scheme::DpmSolverPp | Scheme::UniPc(_) => Integrand::Data,
            Scheme::Deis(_) => Integrand::Noise,
        }
    }

    /// Weights of the predictions at `times`, newest first, for the next state.
    fn predictor(self, sde: &dyn Sde, step: &Interval, times: &[f64]) -> Vec<f64> {
        match self {
            Scheme::Deis(variable) => {
                let at = |lambda: f64| match variable {
                    DeisVariable::Time => sde.time_of_log_snr(2.0 * lambda),
                    DeisVariable::NoiseToSignal => (-lambda).exp(),
                };
                let nodes: Vec<f64> = times.iter().map(|&t| at(lambda(sde, t))).collect();
                step.polynomial_weights(&nodes, |theta| at(step.lambda + theta * step.h))
            }
            Scheme::DpmSolverPp | Scheme::UniPc(_) => {
                let nodes = fractions(sde, step, times);
                match nodes[..] {
                    // Two states: "2M" takes the slope at half of the step.
                    [_, node] => {
                        let b = if let Scheme::UniPc(UniPcVariant::Bh1) = self { step.e } else { step.phi() };
                        vec![step.phi() - 0.5 * b / node, 0.5 * b / node]
                    }
                    _ => step.polynomial_weights(&nodes, |theta| theta),
                }
            }
        }
    }
}

/// θ of each time on a step's scale, 0 at its start and 1 at its end in λ.
fn fractions(sde: &dyn Sde, step: &Interval, times: &[f64]) -> Vec<f64> {
    times.iter().map(|&t| (lambda(sde, t) - step.lambda) / step.h).collect()
}

/// UniPC's weights that correct a state, for the denoised one at its own θ = 1 and then the older ones.
fn corrector(variant: UniPcVariant, step: &Interval, nodes: &[f64]) -> Vec<f64> {
    let phi = step.phi();
    match (nodes, variant) {
        ([_, _], UniPcVariant::Bh1) => vec![0.5 * step.e, phi - 0.5 * step.e],
        ([_, _], UniPcVariant::Bh2) => vec![0.5 * phi, 0.5 * phi],
        _ => step.polynomial_weights(nodes, |theta| theta),
    }
}

/// A scheme with its order, on a grid.
pub(super) struct MultiStep {
    scheme: Scheme,
    order: usize,
    grid: TimeGrid,
}

impl MultiStep {
    pub fn new(scheme: Scheme, order: usize, grid: TimeGrid) -> Result<MultiStep, Fault> {
        let highest = if let Scheme::Deis(_) = scheme { 4 } else { 3 };
        check_order(order, highest, &grid, grid.steps())?;
        Ok(MultiStep { scheme, order, grid })
    }
}

/// A step of a multi-step method with noise, as numbers: x_t = of_x x_s + Σ_j of_data_j D_j + std z, the newest of the denoised states D first.
pub struct GaussianStep {
    pub of_x: f64,
    pub of_data: Vec<f64>,
    pub std: f64,
}

impl MultiStep {
    /// The steps between `times`, for a scheme in the denoised state.
    pub fn steps(&self, reverse: &Reverse, times: &[f64]) -> Vec<GaussianStep> {
        let of = |(n, pair): (usize, &[f64])| {
            let step = Interval::new(Integrand::Data, reverse, pair[0], pair[1]);
            let past: Vec<f64> = (0..self.order.min(n + 1)).map(|i| times[n - i]).collect();
            let weights = self.scheme.predictor(reverse.sde(), &step, &past);
            GaussianStep { of_x: step.decay, of_data: weights.into_iter().map(|weight| step.gain * weight).collect(), std: step.noise }
        };
        times.windows(2).enumerate().map(of).collect()
    }
}

impl Sampler for MultiStep {
    /// The first steps have the order that the states so far allow.
    fn solve(&self, reverse: &Reverse, x: &Tensor, span: (f64, f64), noise: &mut Noise, watch: &mut Watch) -> Result<Solution> {
        let _no_grad = tch::no_grad_guard();
        let MultiStep { scheme, order, grid } = *self;
        let (sde, integrand) = (reverse.sde(), scheme.integrand());
        let times = &*grid.times(sde, span);
        let noisy = reverse.eta > 0.0;
        let batch = x.size()[0] as usize;
        let mut x = x.shallow_clone();
        let mut seen: VecDeque<Tensor> = VecDeque::new();
        let mut last: Option<(Interval, Tensor)> = None;
        // The times of `seen`, newest first.
        let past = |n: usize, count: usize| -> Vec<f64> { (0..count).map(|i| times[n - i]).collect() };
        for (n, pair) in times.windows(2).enumerate() {
            let step = Interval::new(integrand, reverse, pair[0], pair[1]);
            seen.push_front(integrand.evaluate(reverse, &x, pair[0]));
            if let (Scheme::UniPc(variant), Some((before, start))) = (scheme, &last) {
                let nodes = fractions(sde, before, &past(n, seen.len()));
                x = before.advance(start, &corrector(variant, before, &nodes), &seen);
            }
            seen.truncate(order);
            let predict = |step: &Interval| step.advance(&x, &scheme.predictor(sde, step, &past(n, seen.len())), &seen);
            let mut next = predict(&step);
            if noisy {
                next += noise(n) * step.noise;
            }
            // A state between is that of a shorter step with the same polynomial.
            let state = |rows: &[usize], at: &[f64]| {
                if at[0] == pair[1] {
                    select(&next, rows)
                } else {
                    select(&predict(&Interval::new(integrand, reverse, pair[0], at[0])), rows)
                }
            };
            watch(&trajectory::Step::on_grid(batch, times, n, !noisy, &state));
            last = Some((step, std::mem::replace(&mut x, next)));
        }
        Ok((x, Statistics::of_steps(batch, times.len() - 1, 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{chained, zero};

    #[test]
    fn deis_integrates_polynomials_in_its_own_variable() {
        for (_, sde) in chained() {
            let times = [0.7, 0.85, 0.95];
            let step = Interval::new(Integrand::Noise, &Reverse { model: &zero(sde), eta: 0.0 }, times[0], 0.5);
            // Simpson's rule over the step, at t(θ).
            let integral = |p: &dyn Fn(f64) -> f64| {
                let n = 2000;
                let f = |i: i32| {
                    let theta = f64::from(i) / f64::from(n);
                    let t = sde.time_of_log_snr(2.0 * (step.lambda + theta * step.h));
                    step.e * (-step.e * (1.0 - theta)).exp() * p(t)
                };
                (0..n / 2).map(|i| f(2 * i) + 4.0 * f(2 * i + 1) + f(2 * i + 2)).sum::<f64>() / f64::from(3 * n)
            };
            let rho = |t: f64| sde.sigma(t) / sde.alpha(t);
            let variables: [(DeisVariable, &dyn Fn(f64) -> f64); 2] = [(DeisVariable::Time, &|t| t), (DeisVariable::NoiseToSignal, &rho)];
            for (variable, v) in variables {
                let weights = Scheme::Deis(variable).predictor(sde, &step, &times);
                for k in 0..3 {
                    let sum: f64 = weights.iter().zip(times).map(|(w, t)| w * v(t).powi(k)).sum();
                    let truth = integral(&|t| v(t).powi(k));
                    assert!((sum / truth - 1.0).abs() < 1e-7, "{variable:?}, degree {k}: {sum} is not {truth}");
                }
            }
        }
    }
}
