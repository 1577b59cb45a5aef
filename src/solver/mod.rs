//! Solvers: time grids; Runge-Kutta tableaus with one loop for fixed grids and one for adaptive steps; exponential methods, multi-step and
//! single-step; EDM's Heun with churn; methods for dynamics with noise; the samplers of Song et al. and the chains before them.
//!
//! # Do they draw from the law?
//!
#![doc = include_str!("laws.md")]

mod adaptive;
mod adaptive_sde;
mod check;
mod control;
mod discrete_chain;
mod dop853;
mod edm;
mod exponential;
mod fixed;
mod grid;
mod langevin;
mod multi_step;
mod predictor_corrector;
mod refined;
mod single_step;
mod spec;
mod sra;
mod tableau;
mod trajectory;

use statrs::statistics::Statistics as _;
use tch::Tensor;

pub use control::{Adaptive, Control};
pub use discrete_chain::{DiscreteChain, Spacing, Variance};
pub use edm::Churn;
pub use grid::TimeGrid;
pub use langevin::{AnnealedLangevin, Corrector, Norms, StepFactor};
pub use multi_step::{DeisVariable, UniPcVariant};
pub use predictor_corrector::{Predictor, PredictorCorrector, Visit};
pub use spec::SolverSpec;
pub use tableau::Tableau;
pub use trajectory::{Step, Trajectory, Watch};

use crate::dynamics::{Dynamics, Reverse, denoise};
use crate::error::{Error, Fault, Result};
use crate::sde::Sde;
use crate::tensor::to_vec;
use spec::Family;

/// What a solver is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The reverse process with noise.
    ReverseSde,
    /// The reverse process without noise.
    ProbabilityFlow,
    /// The probability flow together with the change of log-density.
    LogDensity,
}

/// What a reverse process starts from and where it ends.
pub struct Problem<'a> {
    /// The start points [B, ...].
    pub x: &'a Tensor,
    /// From 1 to t_min.
    pub span: (f64, f64),
    /// Whether the end is the mean of x_0 given the state at t_min instead of a state with noise.
    pub denoise: bool,
}

/// A solver of the reverse process alone, with steps and an end of its own.
trait Sampler {
    fn sample(&self, reverse: &Reverse, problem: &Problem, noise: &mut Noise, watch: &mut Watch) -> (Tensor, Statistics);
    /// Whether this can serve a process with the family parameter η, and a network that knows so many levels of noise.
    fn check(&self, sde: &dyn Sde, eta: f64, t_min: f64, network_levels: Option<usize>) -> Result<(), Fault>;
}

/// What a solve cost, per example.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Evaluations of the dynamics.
    pub evaluations: Vec<u32>,
    pub accepted: Vec<u32>,
    pub rejected: Vec<u32>,
}

impl Statistics {
    /// Of a fixed grid, with the same number of evaluations in every step.
    fn of_steps(batch: usize, steps: usize, evaluations: usize) -> Statistics {
        let steps = steps as u32;
        Statistics { evaluations: vec![steps * evaluations as u32; batch], accepted: vec![steps; batch], rejected: vec![0; batch] }
    }

    pub fn mean_evaluations(&self) -> f64 {
        self.evaluations.iter().map(|&n| f64::from(n)).mean()
    }

    pub fn extend(&mut self, other: Statistics) {
        self.evaluations.extend(other.evaluations);
        self.accepted.extend(other.accepted);
        self.rejected.extend(other.rejected);
    }
}

/// The n-th standard normal draw [B, ...] of a solve, for the whole batch; asked for at most once and in ascending order. Most solvers take
/// one a step.
pub type Noise<'a> = dyn FnMut(usize) -> Tensor + 'a;

impl SolverSpec {
    /// Solves the reverse process; `noise` is asked for where η > 0, and by Langevin steps and churn.
    ///
    /// Errors: a solution that is not finite, or an adaptive step that shrinks to nothing.
    pub fn sample(&self, mut reverse: Reverse, problem: &Problem, noise: &mut Noise, watch: &mut Watch) -> Result<(Tensor, Statistics)> {
        let Problem { x, span, denoise } = *problem;
        let sde = reverse.sde;
        let brownian = if reverse.eta > 0.0 { Some(&mut *noise) } else { None };
        let solution = match self.family() {
            Family::Sampler(sampler) => return finite(sampler.sample(&reverse, problem, noise, watch), span.1),
            Family::Edm(churn) => finite(edm::solve(churn, &reverse, x, span, noise, watch), span.1)?,
            Family::MultiStep(scheme, order, grid) => {
                finite(multi_step::solve(scheme, order, &reverse, x, &grid.times(sde, span), brownian, watch), span.1)?
            }
            Family::SingleStep(prediction, order, grid) => {
                finite(single_step::solve(prediction, order, &reverse, x, &grid.times(sde, span), brownian, watch), span.1)?
            }
            _ => self.solve(&mut reverse, sde, x, span, brownian, watch)?,
        };
        Ok(if denoise { tweedie(&reverse, solution, span.1) } else { solution })
    }

    /// Solves any dynamics from `span.0` to `span.1` for x [B, ...] by a Runge-Kutta method. `noise` is `None` for an ordinary
    /// differential equation. Errors as for [`sample`](SolverSpec::sample).
    pub fn solve(
        &self,
        dynamics: &mut dyn Dynamics,
        sde: &dyn Sde,
        x: &Tensor,
        span: (f64, f64),
        noise: Option<&mut Noise>,
        watch: &mut Watch,
    ) -> Result<(Tensor, Statistics)> {
        let solution = match self.family() {
            Family::Fixed(tableau, grid) => fixed::solve(tableau, dynamics, x, &grid.times(sde, span), noise, watch),
            Family::Adaptive(tableau, adaptive) => {
                assert!(noise.is_none(), "no error estimate here knows noise; check() refuses it");
                adaptive::solve(tableau, dynamics, x, span, adaptive, watch)?
            }
            Family::Sra(grid) => {
                let noise = noise.expect("check() refuses dynamics without noise");
                sra::solve(dynamics, x, &grid.times(sde, span), noise, watch)
            }
            Family::AdaptiveSde(rtol, atol) => {
                let noise = noise.expect("check() refuses dynamics without noise");
                adaptive_sde::solve(dynamics, x, span, (rtol, atol), noise, watch)?
            }
            Family::Edm(_) | Family::MultiStep(..) | Family::SingleStep(..) | Family::Sampler(_) => {
                unreachable!("this one knows the reverse process alone; check() refuses others")
            }
        };
        finite(solution, span.1)
    }
}

/// The last denoise: Tweedie's formula at the time the solution ends at, one more evaluation.
fn tweedie(reverse: &Reverse, (x, mut statistics): (Tensor, Statistics), t: f64) -> (Tensor, Statistics) {
    statistics.evaluations.iter_mut().for_each(|n| *n += 1);
    (denoise(reverse.sde, reverse.model, &x, t), statistics)
}

/// The solution, if all of it is finite.
fn finite((x, statistics): (Tensor, Statistics), t: f64) -> Result<(Tensor, Statistics)> {
    let finite = to_vec(&x.isfinite().flatten(1, -1).all_dim(1, false));
    match finite.iter().position(|&finite| finite == 0.0) {
        None => Ok((x, statistics)),
        Some(row) => Err(Error::Solver {
            message: format!("the solution for example {row} of the batch is not finite at t = {t}"),
            help: "the score is not finite on the way, or the steps are too long; train longer, raise t_min, or give more steps".into(),
        }),
    }
}

#[cfg(test)]
mod tests;
