//! Step control of the adaptive solvers: which error is accepted, and how long the next step is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::{Error, Fault};
use crate::tensor::to_vec;

/// `solver.rk45 = { rtol, atol, control }`: a step is accepted if the root mean square of error / (atol + rtol · max(|x|, |x_new|)) is
/// below 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adaptive {
    /// Relative tolerance, in (0, 1); the reference uses 1e-5.
    pub rtol: f64,
    /// Absolute tolerance in the unit of the state, in (0, 1); the reference uses 1e-5.
    pub atol: f64,
    /// Over what an error is measured; per-example if left out.
    #[serde(default)]
    pub control: Control,
}

/// Over what the root mean square goes, and what follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Each example has its own error, time and step: its result does not depend on its batch mates. The elementary controller.
    #[default]
    PerExample,
    /// As `per-example` with the PI controller.
    Pi,
    /// The whole batch is one vector with one error, time and step, as in the reference: a result depends on its batch mates. The
    /// elementary controller.
    BatchCoupled,
}

impl Adaptive {
    /// The elementary controller for each example.
    pub fn new(rtol: f64, atol: f64) -> Adaptive {
        Adaptive { rtol, atol, control: Control::PerExample }
    }

    pub fn check(&self) -> Result<(), Fault> {
        check_tolerances(self.rtol, self.atol, "the reference uses 1e-5")
    }

    /// What an error of 1 is, for numbers that are at most `largest` in a step.
    pub(super) fn scale(&self, largest: &Tensor) -> Tensor {
        largest * self.rtol + self.atol
    }
}

pub(super) fn check_tolerances(rtol: f64, atol: f64, known: &str) -> Result<(), Fault> {
    for (key, value) in [("rtol", rtol), ("atol", atol)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(Fault::new(key, format!("the tolerance is {value}"), format!("give a number between 0 and 1; {known}")));
        }
    }
    Ok(())
}

/// Per row: √ mean (x / scale)², `[B]`.
pub(super) fn rms(x: &Tensor, scale: &Tensor) -> Vec<f64> {
    to_vec(&(x / scale).square().mean_dim(1i64, false, Kind::Double).sqrt())
}

/// |h_next| = |h| · 0.9 · error^(-α) · error_before^β, within [0.2, 10] |h|, and not growing right after a rejection.
///
/// β = 0: the elementary controller with the constants of scipy's RK45. β > 0: the PI controller (Gustafsson 1991; Hairer & Wanner 1996,
/// sec. IV.2), whose steps shrink while the error still grows. An error that is not finite rejects the step.
#[derive(Clone, Copy)]
pub(super) struct Controller {
    alpha: f64,
    beta: f64,
}

const SAFETY: f64 = 0.9;
const MIN_FACTOR: f64 = 0.2;
const MAX_FACTOR: f64 = 10.0;
/// Errors before count as no less: one lucky step should not shorten the next.
const MIN_ERROR: f64 = 1e-4;

impl Controller {
    /// For an error estimate of order q: α = 1 / (q + 1) - ¾ β, and β = 0.2 / (q + 1) for the PI controller, 0.04 for a pair of order 5(4).
    pub fn new(control: Control, q: u32) -> Controller {
        let power = 1.0 / f64::from(q + 1);
        let beta = if control == Control::Pi { 0.2 * power } else { 0.0 };
        Controller { alpha: power - 0.75 * beta, beta }
    }
}

/// What has one time and one step: an example on its way, or the whole batch.
pub(super) struct Traveller {
    /// Its row in the batch that was handed in.
    pub row: usize,
    pub t: f64,
    /// |h| of the next attempt.
    pub step: f64,
    just_rejected: bool,
    error_before: f64,
}

impl Traveller {
    pub fn new(row: usize, t: f64, step: f64) -> Traveller {
        Traveller { row, t, step, just_rejected: false, error_before: MIN_ERROR }
    }

    /// The end of the next attempt on the way to `end`, which the last step hits exactly, without a rounding error of a step after it.
    /// Error: the step has shrunk to nothing.
    pub fn aim(&self, end: f64) -> Result<f64, Error> {
        let smallest = 10.0 * f64::EPSILON * self.t.abs().max(f64::MIN_POSITIVE);
        if self.step.is_nan() || self.step <= smallest {
            return Err(Error::Solver {
                message: format!("the solver can't go on: example {} needs a step below {:.1e} at t = {:.6}", self.row, self.step, self.t),
                help: "the score is not finite or not smooth there; train longer, raise t_min, or use a fixed grid".into(),
            });
        }
        let left = (end - self.t).abs();
        Ok(if self.step >= left * (1.0 - 1e-12) { end } else { self.t + (end - self.t).signum() * self.step })
    }

    /// Takes the answer to an attempt that would end at `t_new`; whether it is accepted.
    pub fn judge(&mut self, controller: Controller, error: f64, t_new: f64) -> bool {
        let accept = error < 1.0;
        let wish = SAFETY * error.powf(-controller.alpha);
        let wish = if accept { wish * self.error_before.powf(controller.beta) } else { wish };
        if accept {
            self.error_before = error.max(MIN_ERROR);
        }
        self.settle(accept, wish, t_new)
    }

    /// Accepts or rejects the attempt that would end at `t_new`, and makes the next step `wish` times as long, within the limits. Returns
    /// `accept`.
    pub fn settle(&mut self, accept: bool, wish: f64, t_new: f64) -> bool {
        let limit = if self.just_rejected || !accept { 1.0 } else { MAX_FACTOR };
        // Not `clamp`, which keeps NaN.
        let factor = if wish > MIN_FACTOR { wish.min(limit) } else { MIN_FACTOR };
        self.step = (t_new - self.t).abs() * factor;
        if accept {
            self.t = t_new;
        }
        self.just_rejected = !accept;
        accept
    }
}
