//! What the exponential solvers share: the linear part of the reverse process is solved exactly, and a polynomial stands for the rest.
//!
//! With λ = ln(α/σ), a step from s to t with h = λ_t - λ_s of the reverse-time family η is, in the denoised state D(x, t) = `E[x_0 | x]`,
//!
//! ```text
//! x_t = (σ_t/σ_s) e^(-η² h) x_s + α_t ∫_0^1 e · exp(-e (1 - θ)) D(λ_s + θ h) dθ + σ_t √(1 - e^(-2 η² h)) z,   e = (1 + η²) h,
//! ```
//!
//! (Lu et al. 2022b, DPM-Solver++, arXiv 2211.01095, eq. 8 and appendix B), and in the noise ε(x, t) = -σ s(x, t)
//!
//! ```text
//! x_t = (α_t/α_s) x_s + (1 + η²) σ_t ∫_0^1 e · exp(-e (1 - θ)) ε(λ_s + θ h) dθ + η σ_t √(e^(2h) - 1) z,   e = -h
//! ```
//!
//! (Lu et al. 2022a, DPM-Solver, arXiv 2206.00927, eq. 3.4). Both hold for every process with affine drift, VE's included: nothing but
//! (α, σ) enters.

use std::num::NonZeroUsize;
use std::sync::LazyLock;

use gauss_quad::GaussLegendre;
use tch::Tensor;

use super::grid::TimeGrid;
use crate::dynamics::Reverse;
use crate::error::Fault;
use crate::model::At;
use crate::sde::Sde;

/// What a polynomial stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integrand {
    /// D
    Data,
    /// ε
    Noise,
}

impl Integrand {
    pub fn evaluate(self, reverse: &Reverse, x: &Tensor, t: f64) -> Tensor {
        let times = vec![t; x.size()[0] as usize];
        let at = At::whole(x, &times);
        match self {
            Integrand::Data => reverse.model.data(&at),
            Integrand::Noise => reverse.model.noise(&at),
        }
    }
}

/// An exponential method of order 1 to `highest` on a grid, which needs as many of these steps as its order.
pub(super) fn check_order(order: usize, highest: usize, grid: &TimeGrid, steps: usize) -> Result<(), Fault> {
    if !(1..=highest).contains(&order) {
        return Err(Fault::new("order", format!("there is no order {order}"), format!("give a whole number from 1 to {highest}")));
    }
    grid.check()?;
    if steps < order {
        let message = format!("order {order} needs as many steps, and there are {steps}");
        return Err(Fault::new("order", message, "give more steps or a lower order"));
    }
    Ok(())
}

/// λ = ln(α/σ) at t.
pub(super) fn lambda(sde: &dyn Sde, t: f64) -> f64 {
    0.5 * sde.log_snr(t)
}

/// A step from s to t as numbers: x_t = decay · x_s + gain · ∫_0^1 e · exp(-e (1 - θ)) P(λ_s + θ h) dθ + noise · z.
pub(super) struct Interval {
    /// λ_s
    pub lambda: f64,
    pub h: f64,
    pub e: f64,
    pub decay: f64,
    pub gain: f64,
    pub noise: f64,
}

impl Interval {
    pub fn new(integrand: Integrand, reverse: &Reverse, s: f64, t: f64) -> Interval {
        let (sde, eta) = (reverse.sde(), reverse.eta);
        let eta2 = eta * eta;
        let start = lambda(sde, s);
        let h = lambda(sde, t) - start;
        let (e, decay, gain, noise) = match integrand {
            Integrand::Data => (
                (1.0 + eta2) * h,
                sde.sigma(t) / sde.sigma(s) * (-eta2 * h).exp(),
                sde.alpha(t),
                sde.sigma(t) * (-(-2.0 * eta2 * h).exp_m1()).sqrt(),
            ),
            Integrand::Noise => {
                (-h, sde.alpha(t) / sde.alpha(s), (1.0 + eta2) * sde.sigma(t), eta * sde.sigma(t) * (2.0 * h).exp_m1().sqrt())
            }
        };
        Interval { lambda: start, h, e, decay, gain, noise }
    }

    /// ∫_0^1 e · exp(-e (1 - θ)) dθ.
    pub fn phi(&self) -> f64 {
        -(-self.e).exp_m1()
    }

    /// The weights w_j with Σ_j w_j p(v_j) = ∫_0^1 e · exp(-e (1 - θ)) p(v(θ)) dθ for every polynomial p of a degree below the number of
    /// nodes v_j.
    pub fn polynomial_weights(&self, nodes: &[f64], v: impl Fn(f64) -> f64) -> Vec<f64> {
        /// Exact for polynomials of degree 63: for steps with |e| up to about 30.
        const POINTS: NonZeroUsize = NonZeroUsize::new(32).unwrap();
        static RULE: LazyLock<GaussLegendre> = LazyLock::new(|| GaussLegendre::new(POINTS));
        if nodes.len() == 1 {
            return vec![self.phi()];
        }
        let lagrange =
            |j: usize, v: f64| -> f64 { (0..nodes.len()).filter(|&k| k != j).map(|k| (v - nodes[k]) / (nodes[j] - nodes[k])).product() };
        let kernel = |theta: f64| self.e * (-self.e * (1.0 - theta)).exp();
        (0..nodes.len()).map(|j| RULE.integrate(0.0, 1.0, |theta| kernel(theta) * lagrange(j, v(theta)))).collect()
    }

    /// The state after the step, without noise: decay · x + gain Σ_j w_j P_j.
    pub fn advance<'a>(&self, x: &Tensor, weights: &[f64], predictions: impl IntoIterator<Item = &'a Tensor>) -> Tensor {
        let mut next = x * self.decay;
        for (weight, prediction) in weights.iter().zip(predictions) {
            next += prediction * (self.gain * weight);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(e: f64) -> Interval {
        Interval { lambda: 0.0, h: e, e, decay: 1.0, gain: 1.0, noise: 0.0 }
    }

    #[test]
    fn weights_integrate_polynomials_exactly() {
        // Simpson's rule with many points is the truth.
        let integral = |e: f64, p: &dyn Fn(f64) -> f64| {
            let n = 4000;
            let f = |i: i32| e * (-e * (1.0 - f64::from(i) / f64::from(n))).exp() * p(f64::from(i) / f64::from(n));
            (0..n / 2).map(|i| f(2 * i) + 4.0 * f(2 * i + 1) + f(2 * i + 2)).sum::<f64>() / f64::from(3 * n)
        };
        let variables: [&dyn Fn(f64) -> f64; 2] = [&|theta| theta, &|theta| (-1.3 * theta).exp()];
        for e in [-2.0, 1e-4, 0.05, 0.7, 12.0] {
            for v in variables {
                let nodes = [v(0.0), v(-0.8), v(-2.1)];
                let weights = step(e).polynomial_weights(&nodes, v);
                for k in 0..3 {
                    let sum: f64 = weights.iter().zip(nodes).map(|(w, node)| w * node.powi(k)).sum();
                    let truth = integral(e, &|theta| v(theta).powi(k));
                    assert!((sum - truth).abs() < 1e-9 * (1.0 + truth.abs()), "degree {k} at e = {e}: {sum} is not {truth}");
                }
            }
        }
    }
}
