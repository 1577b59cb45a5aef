//! Right-hand sides of the differential equations that are solved, from t = 1 down to t_min (sampling) or up from t_min (likelihood).
//!
//! A state is one tensor [B, ...] whose first axis is the batch.

use std::cell::RefCell;

use tch::{Kind, Tensor, no_grad};

use crate::divergence::{Probes, quadratic_forms};
use crate::model::{At, Model};
use crate::sde::Sde;
use crate::tensor::{column_of, sum_per_example};

/// dx = drift(x, t) dt + diffusion(t) dw, with each example at its own time.
pub trait Dynamics {
    /// dx/dt [B, ...] at points [B, ...].
    fn drift(&self, at: &At) -> Tensor;
    /// The factor on dw; 0 for an ordinary differential equation.
    fn diffusion(&self, _t: f64) -> f64 {
        0.0
    }
}

/// The reverse-time family dx = (f x - ½ (1 + η²) g² s) dt + η g dw̄, which has the marginals of the forward process for every η >= 0:
/// η = 0 is the probability-flow ODE, η = 1 the reverse SDE (Anderson 1982; Song et al. 2021, eq. 6 and 13; Zhang & Chen 2023, eq. 7).
pub struct Reverse<'a> {
    pub model: &'a dyn Model,
    /// η.
    pub eta: f64,
}

impl Dynamics for Reverse<'_> {
    fn drift(&self, at: &At) -> Tensor {
        no_grad(|| match self.eta {
            0.0 => self.model.velocity(at),
            _ => reverse_drift(self.sde(), at, self.score_share(), &self.model.score(at)),
        })
    }
    fn diffusion(&self, t: f64) -> f64 {
        self.eta * self.sde().diffusion(t)
    }
}

/// f x - share · g² s.
fn reverse_drift(sde: &dyn Sde, at: &At, share: f64, score: &Tensor) -> Tensor {
    at.x * column_of(at.x, at.t, |t| sde.drift(t)) - score * column_of(at.x, at.t, |t| share * sde.diffusion(t).powi(2))
}

impl<'a> Reverse<'a> {
    pub fn sde(&self) -> &'a dyn Sde {
        self.model.sde()
    }

    /// ½ (1 + η²).
    fn score_share(&self) -> f64 {
        0.5 * (1.0 + self.eta * self.eta)
    }

    /// (f, G) of the reverse diffusion step x' = x - f + G z that undoes one of `steps` discretised steps of the process:
    /// f = f_i x - ½ (1 + η²) G_i² s `[B, ...]`, G = η G_i `[B, 1, ...]` (Song et al. 2021, appendix E).
    pub fn discretised(&self, at: &At, steps: usize) -> (Tensor, Tensor) {
        let At { x, t, .. } = *at;
        let score = no_grad(|| self.model.score(at));
        let forward = |t: f64| self.sde().discretised(t, steps);
        let f = x * column_of(x, t, |t| forward(t).0) - score * column_of(x, t, |t| self.score_share() * forward(t).1.powi(2));
        (f, column_of(x, t, |t| self.eta * forward(t).1))
    }
}

/// A flow dx/dt = a(t) x + b(t) u(x, t), of which u alone has a divergence to be found.
pub trait Flow {
    /// u [B, ...] at points [B, ...].
    fn field(&self, at: &At) -> Tensor;
    /// a and b.
    fn shares(&self, t: f64) -> (f64, f64);
}

/// The probability flow: u is the score s, a = f and b = -½ g² (Song et al. 2021, eq. 13).
impl<M: Model + ?Sized> Flow for M {
    fn field(&self, at: &At) -> Tensor {
        self.score(at)
    }

    fn shares(&self, t: f64) -> (f64, f64) {
        let sde = self.sde();
        (sde.drift(t), -0.5 * sde.diffusion(t).powi(2))
    }
}

/// A flow together with the change of log-density along it (Chen et al. 2018, eq. 8; Song et al. 2021, appendix D.2):
/// d ln p_t(x_t) / dt = -div(a x + b u) = -a D - b div u.
///
/// The state is [B, D + k]: x flattened, then one estimate of ln p_t(x_t) - ln p_start(x_start) for each of the k that [`Probes`] give.
pub struct FlowWithLogDensity<'a, F: ?Sized = dyn Model + 'a> {
    flow: &'a F,
    /// The shape of one example, without the batch.
    shape: Vec<i64>,
    /// Of the whole batch.
    probes: Probes,
    /// Of the rows that were asked for last.
    chosen: RefCell<(Vec<usize>, Probes)>,
    /// Whether the slopes have a graph to all that u depends on.
    graph: bool,
}

impl<'a, F: Flow + ?Sized> FlowWithLogDensity<'a, F> {
    pub fn new(flow: &'a F, shape: Vec<i64>, probes: Probes) -> FlowWithLogDensity<'a, F> {
        FlowWithLogDensity { flow, shape, probes, chosen: RefCell::new((Vec::new(), Probes::Exact)), graph: false }
    }

    /// With the exact divergence, and a graph from the slopes to all that u depends on: for training through a solver.
    pub fn with_graph(flow: &'a F, shape: Vec<i64>) -> FlowWithLogDensity<'a, F> {
        FlowWithLogDensity { graph: true, ..FlowWithLogDensity::new(flow, shape, Probes::Exact) }
    }

    fn dimension(&self) -> i64 {
        self.shape.iter().product()
    }

    /// The start state for x [B, ...].
    pub fn start(&self, x: &Tensor) -> Tensor {
        Tensor::cat(&[x.flatten(1, -1), Tensor::zeros([x.size()[0], self.probes.estimates()], (x.kind(), x.device()))], 1)
    }

    /// x [B, D] and the k estimates of the change of log-density [B, k] of a state.
    pub fn split(&self, state: &Tensor) -> (Tensor, Tensor) {
        let d = self.dimension();
        (state.narrow(1, 0, d), state.narrow(1, d, state.size()[1] - d))
    }

    /// u and the estimates of its divergence [B, k] at points [B, ...], by the probes of these rows.
    fn field_and_divergence(&self, at: &At) -> (Tensor, Tensor) {
        let field = |x: &Tensor| self.flow.field(&at.moved(x));
        if self.graph {
            let x = if at.x.requires_grad() { at.x.shallow_clone() } else { at.x.detach().set_requires_grad(true) };
            let u = field(&x);
            let units = Tensor::eye(self.dimension(), (x.kind(), x.device())).unsqueeze(1);
            let terms = quadratic_forms(&u.flatten(1, -1), &x, &units);
            return (u, terms.sum_dim_intlist(1i64, true, None::<Kind>));
        }
        let Some(rows) = at.rows else { return self.probes.value_and_divergence(field, at.x) };
        let mut chosen = self.chosen.borrow_mut();
        if chosen.0 != rows {
            *chosen = (rows.to_vec(), self.probes.of_rows(rows));
        }
        chosen.1.value_and_divergence(field, at.x)
    }
}

impl<F: Flow + ?Sized> Dynamics for FlowWithLogDensity<'_, F> {
    fn drift(&self, at: &At) -> Tensor {
        let At { x: state, t, .. } = *at;
        let (flat, _) = self.split(state);
        let mut shape = vec![flat.size()[0]];
        shape.extend(&self.shape);
        let x = flat.reshape(shape.as_slice());
        let here = at.moved(&x);
        let (u, divergence) = self.field_and_divergence(&here);
        let (of_x, of_u) = (|t: f64| self.flow.shares(t).0, |t: f64| self.flow.shares(t).1);
        let velocity = &x * column_of(&x, t, of_x) + u * column_of(&x, t, of_u);
        let d = self.dimension() as f64;
        let change = divergence * column_of(&flat, t, |t| -of_u(t)) - column_of(&flat, t, |t| d * of_x(t));
        Tensor::cat(&[velocity.flatten(1, -1), change], 1)
    }
}

/// Tweedie's formula: `E[x_0 | x_t]` = (x + σ² s) / α, the last step of a sampler that ends at t > 0.
pub fn denoise(model: &dyn Model, x: &Tensor, t: f64) -> Tensor {
    no_grad(|| model.data(&At::whole(x, &vec![t; x.size()[0] as usize])))
}

/// ‖x‖² per example, f64.
pub fn squared_norm(x: &Tensor) -> Vec<f64> {
    crate::tensor::to_vec(&sum_per_example(&x.to_kind(Kind::Double).square()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{exact, largest, mixture, sdes};

    #[test]
    fn many_discretised_steps_are_the_reverse_process() {
        tch::set_num_threads(1);
        let x = Tensor::from_slice(&[0.4, -1.0, 1.5, 0.2]).view([2, 2]);
        let t = [0.31, 0.8];
        for (name, sde) in sdes() {
            let exact = exact(sde, &mixture());
            for eta in [0.0, 0.5, 1.0] {
                let reverse = Reverse { model: &exact, eta };
                let at = At::whole(&x, &t);
                let apart = |n: usize| {
                    let (f, g) = reverse.discretised(&at, n);
                    // x' = x - f + G z over a step of -1 / N.
                    let drift = reverse.drift(&at);
                    let diffusion = column_of(&x, &t, |t| sde.diffusion(t));
                    let drift = largest(&((f * n as f64 - drift) / diffusion.square()));
                    (drift, largest(&((g * (n as f64).sqrt() - &diffusion * eta) / diffusion)))
                };
                let ((drift, diffusion), (close, closer)) = (apart(1_000), apart(100_000));
                assert!(close < 1e-3 && closer < 1e-3, "{name}, η = {eta}: {close}, {closer} apart");
                // Without a chain the step is Euler-Maruyama's, and only rounding is left of both.
                assert!(close <= 0.1 * drift + 1e-10 && closer <= 0.1 * diffusion + 1e-10, "{name}, η = {eta}: no limit");
            }
        }
    }

    #[test]
    fn probes_follow_the_rows_that_are_asked_for() {
        tch::set_num_threads(1);
        let exact = exact(sdes()[0].1, &mixture());
        let probes = Tensor::from_slice(&[1.0, -1.0, 1.0, 1.0, 0.5, 2.0]).view([1, 3, 2]);
        let flow = FlowWithLogDensity::new(&exact, vec![2], Probes::Random(probes));
        let x = Tensor::from_slice(&[0.4, -1.0, 1.5, 0.2, -0.3, 0.9]).view([3, 2]);
        let state = flow.start(&x);
        let all = flow.drift(&At::whole(&state, &[0.2, 0.5, 0.9]));
        for rows in [vec![0, 2], vec![1], vec![2, 1], vec![0, 1, 2]] {
            let chosen = crate::tensor::select(&state, &rows);
            let t: Vec<f64> = rows.iter().map(|&i| [0.2, 0.5, 0.9][i]).collect();
            let some = flow.drift(&At { rows: Some(&rows), ..At::whole(&chosen, &t) });
            assert_eq!(largest(&(some - crate::tensor::select(&all, &rows))), 0.0, "{rows:?}");
        }
    }
}
