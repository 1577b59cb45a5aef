//! What a solver of the reverse process is, and what it is given and gives back.

use serde::{Deserialize, Serialize};
use statrs::statistics::Statistics as _;
use tch::Tensor;

use super::trajectory::Watch;
use crate::dynamics::{Reverse, denoise};
use crate::error::{Error, Fault, Result};
use crate::sde::Sde;
use crate::tensor::to_vec;

/// What a reverse process starts from and where it ends.
pub struct Problem<'a> {
    /// The start points [B, ...].
    pub x: &'a Tensor,
    /// From 1 to t_min; solvers that divide by α begin at the horizon ([`Sde::horizon`]).
    pub span: (f64, f64),
    /// Whether the end is the mean of x_0 given the state at t_min instead of a state with noise.
    pub denoise: bool,
}

/// The n-th standard normal draw [B, ...] of a solve, for the whole batch; asked for at most once and in ascending order. Most solvers take
/// one a step.
pub type Noise<'a> = dyn FnMut(usize) -> Tensor + 'a;

/// The states at the end [B, ...] and what they cost.
pub type Solution = (Tensor, Statistics);

/// A solver of the reverse process.
pub trait Sampler {
    /// Leads x [B, ...] along the span; `noise` is asked for where η > 0, and by Langevin steps and churn.
    ///
    /// Error: an adaptive step that shrinks to nothing.
    fn solve(&self, reverse: &Reverse, x: &Tensor, span: (f64, f64), noise: &mut Noise, watch: &mut Watch) -> Result<Solution>;

    /// Solves a problem; the last denoise is Tweedie's formula at the time the solution ends at, one more evaluation, unless a sampler
    /// has an end of its own.
    fn sample(&self, reverse: &Reverse, problem: &Problem, noise: &mut Noise, watch: &mut Watch) -> Result<Solution> {
        let solution = self.solve(reverse, problem.x, problem.span, noise, watch)?;
        Ok(if problem.denoise { tweedie(reverse, solution, problem.span.1) } else { solution })
    }

    /// Whether this can serve a process with the family parameter η down to t_min, and a network that knows so many levels of noise.
    fn check(&self, _sde: &dyn Sde, _eta: f64, _t_min: f64, _network_levels: Option<usize>) -> Result<(), Fault> {
        Ok(())
    }
}

/// What a solve cost, per example.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Evaluations of the dynamics.
    pub evaluations: Vec<u32>,
    pub accepted: Vec<u32>,
    pub rejected: Vec<u32>,
}

impl Statistics {
    /// Of a fixed grid, with the same number of evaluations in every step.
    pub(super) fn of_steps(batch: usize, steps: usize, evaluations: usize) -> Statistics {
        let steps = steps as u32;
        Statistics { evaluations: vec![steps * evaluations as u32; batch], accepted: vec![steps; batch], rejected: vec![0; batch] }
    }

    /// Examples.
    pub fn len(&self) -> usize {
        self.evaluations.len()
    }

    pub fn is_empty(&self) -> bool {
        self.evaluations.is_empty()
    }

    /// As reports have it.
    pub fn cost(&self) -> Cost {
        let Statistics { evaluations, accepted, rejected } = self;
        Cost { evaluations: Counts::of(evaluations), accepted_steps: Counts::of(accepted), rejected_steps: Counts::of(rejected) }
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

/// What a solve cost, over the examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    pub evaluations: Counts,
    pub accepted_steps: Counts,
    pub rejected_steps: Counts,
}

/// One count of each example: mean, least and most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counts {
    pub mean: f64,
    pub min: Option<u32>,
    pub max: Option<u32>,
}

impl Counts {
    pub fn of(counts: &[u32]) -> Counts {
        let mean = counts.iter().map(|&n| f64::from(n)).mean();
        Counts { mean, min: counts.iter().min().copied(), max: counts.iter().max().copied() }
    }
}

/// Tweedie's formula at t, one more evaluation.
pub(super) fn tweedie(reverse: &Reverse, (x, mut statistics): Solution, t: f64) -> Solution {
    statistics.evaluations.iter_mut().for_each(|n| *n += 1);
    (denoise(reverse.model, &x, t), statistics)
}

/// The solution, if all of it is finite.
pub(super) fn finite((x, statistics): Solution, t: f64) -> Result<Solution> {
    let finite = to_vec(&x.isfinite().flatten(1, -1).all_dim(1, false));
    match finite.iter().position(|&finite| finite == 0.0) {
        None => Ok((x, statistics)),
        Some(row) => Err(Error::Solver {
            message: format!("the solution for example {row} of the batch is not finite at t = {t}"),
            help: "the score is not finite on the way, or the steps are too long; train longer, raise t_min, or give more steps".into(),
        }),
    }
}
