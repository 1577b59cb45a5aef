//! Exponential multi-step solvers: the linear part of the reverse process is solved exactly, the denoiser is a polynomial in λ.
//!
//! With λ = ln(α/σ) and D(x, t) = `E[x_0 | x]`, a step from s to t, h = λ_t - λ_s, of the reverse-time family η is
//!
//! ```text
//! x_t = (σ_t/σ_s) e^(-η² h) x_s + α_t ∫_0^1 e · exp(-e (1 - θ)) D(λ_s + θ h) dθ + σ_t √(1 - e^(-2 η² h)) z,   e = (1 + η²) h,
//! ```
//!
//! for every process with affine drift, VE's included: nothing but (α, σ) enters. Lu et al. 2022 (DPM-Solver++, arXiv 2211.01095, eq. 8 and
//! appendix B); Zhao et al. 2023 (UniPC, arXiv 2302.04867).

use std::collections::VecDeque;

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::trajectory::{self, Watch};
use super::{Noise, Statistics};
use crate::dynamics::{Reverse, denoise};
use crate::sde::Sde;
use crate::tensor::select;

/// UniPC's B(h), which matters only where its order is lowest: `Bh1` is h, `Bh2` is e^h - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UniPcVariant {
    Bh1,
    Bh2,
}

/// A multi-step method: how many denoised states it remembers, and whether it corrects.
pub(super) struct Method {
    pub order: usize,
    /// `Some` for UniPC, which corrects a state with the denoised one it has just computed there.
    pub corrector: Option<UniPcVariant>,
}

/// A step from s to t as numbers.
struct Step {
    lambda: f64,
    h: f64,
    /// (σ_t/σ_s) e^(-η² h), the factor on x_s.
    decay: f64,
    alpha: f64,
    /// (1 + η²) h.
    e: f64,
    /// σ_t √(1 - e^(-2 η² h)).
    noise: f64,
}

impl Step {
    fn new(sde: &dyn Sde, eta: f64, s: f64, t: f64) -> Step {
        let lambda = 0.5 * sde.log_snr(s);
        let h = 0.5 * sde.log_snr(t) - lambda;
        let eta2 = eta * eta;
        Step {
            lambda,
            h,
            decay: sde.sigma(t) / sde.sigma(s) * (-eta2 * h).exp(),
            alpha: sde.alpha(t),
            e: (1.0 + eta2) * h,
            noise: sde.sigma(t) * (-(-2.0 * eta2 * h).exp_m1()).sqrt(),
        }
    }
}

/// The weights w_j with Σ_j w_j p(θ_j) = ∫_0^1 e · exp(-e (1 - θ)) p(θ) dθ for every polynomial p of a degree below the number of nodes.
fn polynomial_weights(e: f64, nodes: &[f64]) -> Vec<f64> {
    let n = nodes.len();
    let mut moment = -(-e).exp_m1();
    let moments = DVector::from_fn(n, |k, _| {
        if k > 0 {
            moment = 1.0 - k as f64 * moment / e;
        }
        moment
    });
    let powers = DMatrix::from_fn(n, n, |k, j| nodes[j].powi(k as i32));
    powers.lu().solve(&moments).expect("the nodes differ").as_slice().to_vec()
}

impl Method {
    /// Weights of the denoised states, newest first, at `nodes` θ = 0, -r_0, -r_1, … that predict the next state.
    ///
    /// One state: DDIM (η = 0; Song et al. 2021a, arXiv 2010.02502), DDPM's ancestral step with variance β̃ (η = 1; Ho et al. 2020). Two
    /// states: DPM-Solver++ "2M", which takes the slope at half of the step.
    fn predictor(&self, step: &Step, nodes: &[f64]) -> Vec<f64> {
        let phi = -(-step.e).exp_m1();
        match (nodes, self.corrector) {
            ([_, node], corrector) => {
                let b = if corrector == Some(UniPcVariant::Bh1) { step.e } else { phi };
                vec![phi - 0.5 * b / node, 0.5 * b / node]
            }
            _ => polynomial_weights(step.e, nodes),
        }
    }

    /// Weights that correct a state, for the denoised one at its own θ = 1 and then the older ones.
    fn corrector(&self, step: &Step, variant: UniPcVariant, nodes: &[f64]) -> Vec<f64> {
        let phi = -(-step.e).exp_m1();
        match (nodes, variant) {
            ([_, _], UniPcVariant::Bh1) => vec![0.5 * step.e, phi - 0.5 * step.e],
            ([_, _], UniPcVariant::Bh2) => vec![0.5 * phi, 0.5 * phi],
            _ => polynomial_weights(step.e, nodes),
        }
    }
}

/// One state after `step`, without noise: decay · x + α Σ_j w_j D_j.
fn advance(step: &Step, x: &Tensor, weights: &[f64], denoised: &VecDeque<(f64, Tensor)>) -> Tensor {
    let mut next = x * step.decay;
    for (weight, (_, state)) in weights.iter().zip(denoised) {
        next += state * (step.alpha * weight);
    }
    next
}

/// Solves along `times`; one evaluation a step. The first steps have the order that the states so far allow.
pub(super) fn solve(
    method: &Method,
    reverse: &Reverse,
    x: &Tensor,
    times: &[f64],
    mut noise: Option<&mut Noise>,
    watch: &mut Watch,
) -> (Tensor, Statistics) {
    let _no_grad = tch::no_grad_guard();
    let batch = x.size()[0] as usize;
    let mut x = x.shallow_clone();
    let mut denoised: VecDeque<(f64, Tensor)> = VecDeque::new();
    let mut last: Option<(Step, Tensor)> = None;
    for (n, pair) in times.windows(2).enumerate() {
        let step = Step::new(reverse.sde, reverse.eta, pair[0], pair[1]);
        denoised.push_front((step.lambda, denoise(reverse.sde, reverse.model, &x, pair[0])));
        if let (Some(variant), Some((before, start))) = (method.corrector, &last) {
            let nodes: Vec<f64> = denoised.iter().map(|(lambda, _)| (lambda - before.lambda) / before.h).collect();
            x = advance(before, start, &method.corrector(before, variant, &nodes), &denoised);
        }
        denoised.truncate(method.order);
        let predict = |step: &Step| {
            let nodes: Vec<f64> = denoised.iter().map(|(lambda, _)| (lambda - step.lambda) / step.h).collect();
            advance(step, &x, &method.predictor(step, &nodes), &denoised)
        };
        let mut next = predict(&step);
        if let Some(noise) = &mut noise {
            next += noise(n) * step.noise;
        }
        // A state between is that of a shorter step with the same polynomial.
        let state = |rows: &[usize], times: &[f64]| {
            let partial = || predict(&Step::new(reverse.sde, reverse.eta, pair[0], times[0]));
            if times[0] == pair[1] { select(&next, rows) } else { select(&partial(), rows) }
        };
        watch(&trajectory::Step::on_grid(batch, times, n, noise.is_none(), &state));
        last = Some((step, std::mem::replace(&mut x, next)));
    }
    let steps = times.len() as u32 - 1;
    (x, Statistics { evaluations: vec![steps; batch], accepted: vec![steps; batch], rejected: vec![0; batch] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_integrate_polynomials_exactly() {
        // Simpson's rule with many points is the truth.
        let integral = |e: f64, p: &dyn Fn(f64) -> f64| {
            let n = 2000;
            let f = |i: i32| e * (-e * (1.0 - i as f64 / n as f64)).exp() * p(i as f64 / n as f64);
            (0..n / 2).map(|i| f(2 * i) + 4.0 * f(2 * i + 1) + f(2 * i + 2)).sum::<f64>() / (3 * n) as f64
        };
        for e in [0.05, 0.7, 3.0] {
            let nodes = [0.0, -0.8, -2.1];
            let weights = polynomial_weights(e, &nodes);
            for k in 0..3 {
                let p = |theta: f64| theta.powi(k);
                let sum: f64 = weights.iter().zip(nodes).map(|(w, node)| w * p(node)).sum();
                assert!((sum - integral(e, &p)).abs() < 1e-9, "degree {k} at e = {e}");
            }
        }
    }
}
