//! Right-hand sides of the differential equations that are solved, from t = 1 down to t_min (sampling) or up from t_min (likelihood).
//!
//! A state is one tensor [B, ...] whose first axis is the batch.

use tch::{Kind, Tensor, no_grad};

use crate::divergence::Probes;
use crate::model::ScoreModel;
use crate::sde::Sde;
use crate::tensor::{column_of, sum_per_example};

/// dx = drift(x, t) dt + diffusion(t) dw, with each example at its own time.
pub trait Dynamics {
    /// x [B, ...] and one time per example -> dx/dt [B, ...].
    fn drift(&self, x: &Tensor, t: &[f64]) -> Tensor;
    /// The factor on dw; 0 for an ordinary differential equation.
    fn diffusion(&self, _t: f64) -> f64 {
        0.0
    }
    /// Only these rows of the batch go on: whatever belongs to single examples is reduced to them.
    fn keep(&mut self, _rows: &Tensor) {}
}

/// The reverse-time family dx = (f x - ½ (1 + η²) g² s) dt + η g dw̄, which has the marginals of the forward process for every η >= 0:
/// η = 0 is the probability-flow ODE, η = 1 the reverse SDE (Anderson 1982; Song et al. 2021, eq. 6 and 13; Zhang & Chen 2023, eq. 7).
pub struct Reverse<'a> {
    pub sde: &'a dyn Sde,
    pub model: &'a dyn ScoreModel,
    /// η.
    pub eta: f64,
}

impl Dynamics for Reverse<'_> {
    fn drift(&self, x: &Tensor, t: &[f64]) -> Tensor {
        no_grad(|| reverse_drift(self.sde, x, t, 0.5 * (1.0 + self.eta * self.eta), &self.model.score(x, t)))
    }
    fn diffusion(&self, t: f64) -> f64 {
        self.eta * self.sde.diffusion(t)
    }
}

/// f x - share · g² s.
fn reverse_drift(sde: &dyn Sde, x: &Tensor, t: &[f64], share: f64, score: &Tensor) -> Tensor {
    x * column_of(x, t, |t| sde.drift(t)) - score * column_of(x, t, |t| share * sde.diffusion(t).powi(2))
}

impl Reverse<'_> {
    /// (f, G) of the reverse diffusion step x' = x - f + G z that undoes one of `steps` discretised steps of the process:
    /// f = f_i x - ½ (1 + η²) G_i² s `[B, ...]`, G = η G_i `[B, 1, ...]` (Song et al. 2021, appendix E).
    pub fn discretised(&self, x: &Tensor, t: &[f64], steps: usize) -> (Tensor, Tensor) {
        let score = no_grad(|| self.model.score(x, t));
        let share = 0.5 * (1.0 + self.eta * self.eta);
        let forward = |t: f64| self.sde.discretised(t, steps);
        let f = x * column_of(x, t, |t| forward(t).0) - score * column_of(x, t, |t| share * forward(t).1.powi(2));
        (f, column_of(x, t, |t| self.eta * forward(t).1))
    }
}

/// The probability flow together with the change of log-density along it (Chen et al. 2018; Song et al. 2021, appendix D.2):
/// d ln p_t(x_t) / dt = -div(f x - ½ g² s) = -f D + ½ g² div s.
///
/// The state is [B, D + k]: x flattened, then one estimate of ln p_t(x_t) - ln p_start(x_start) for each of the k that [`Probes`] give.
pub struct FlowWithLogDensity<'a> {
    pub sde: &'a dyn Sde,
    pub model: &'a dyn ScoreModel,
    /// The shape of one example, without the batch.
    pub shape: Vec<i64>,
    pub probes: Probes,
}

impl FlowWithLogDensity<'_> {
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
}

impl Dynamics for FlowWithLogDensity<'_> {
    fn drift(&self, state: &Tensor, t: &[f64]) -> Tensor {
        let (flat, _) = self.split(state);
        let mut shape = vec![flat.size()[0]];
        shape.extend(&self.shape);
        let x = flat.reshape(shape.as_slice());
        let score = |x: &Tensor| self.model.score(x, t);
        let (score, divergence) = self.probes.value_and_divergence(score, &x);
        let velocity = reverse_drift(self.sde, &x, t, 0.5, &score).flatten(1, -1);
        let d = self.dimension() as f64;
        let change =
            divergence * column_of(&flat, t, |t| 0.5 * self.sde.diffusion(t).powi(2)) - column_of(&flat, t, |t| d * self.sde.drift(t));
        Tensor::cat(&[velocity, change], 1)
    }

    fn keep(&mut self, rows: &Tensor) {
        self.probes.keep(rows);
    }
}

/// Tweedie's formula: E[x_0 | x_t] = (x + σ² s) / α, the last step of a sampler that ends at t > 0.
pub fn denoise(sde: &dyn Sde, model: &dyn ScoreModel, x: &Tensor, t: f64) -> Tensor {
    no_grad(|| (x + model.score(x, &vec![t; x.size()[0] as usize]) * sde.sigma(t).powi(2)) / sde.alpha(t))
}

/// ‖x‖² per example, f64.
pub fn squared_norm(x: &Tensor) -> Vec<f64> {
    crate::tensor::to_vec(&sum_per_example(&x.to_kind(Kind::Double).square()))
}
