//! Adaptive Runge-Kutta where every example has its own time, step and error: its result does not depend on its batch mates.

use tch::{Kind, Tensor, no_grad};

use super::fixed::combine;
use super::tableau::Tableau;
use super::{Statistics, Watch};
use crate::dynamics::Dynamics;
use crate::error::{Error, Fault, Result};
use crate::tensor::{column, to_vec};

/// A step is accepted if the root mean square over an example's numbers of error / (absolute + relative · max(|x|, |x_new|)) is below 1.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub relative: f64,
    pub absolute: f64,
}

impl Tolerance {
    pub fn check(&self) -> Result<(), Fault> {
        for (key, value) in [("rtol", self.relative), ("atol", self.absolute)] {
            if !(value > 0.0 && value < 1.0) {
                let message = format!("the tolerance is {value}");
                return Err(Fault::new(key, message, "give a number between 0 and 1; the reference uses 1e-5"));
            }
        }
        Ok(())
    }
}

const SAFETY: f64 = 0.9;
const MIN_FACTOR: f64 = 0.2;
const MAX_FACTOR: f64 = 10.0;

/// One example that is still on its way.
struct Traveller {
    /// Its row in the batch that was handed in.
    row: usize,
    t: f64,
    /// |h| of the next attempt.
    step: f64,
    just_rejected: bool,
}

/// Per example: √ mean (x / scale)², `[B]`.
fn rms(x: &Tensor, scale: &Tensor) -> Vec<f64> {
    to_vec(&(x / scale).square().mean_dim(1i64, false, Kind::Double).sqrt())
}

/// Solves from `span.0` to `span.1` with an embedded pair whose last stage is the next first one. Step control as in Hairer, Nørsett &
/// Wanner 1993, sec. II.4, with the constants of scipy's RK45, applied to each example by itself. A non-finite error rejects the step.
pub(super) fn solve(
    tableau: &Tableau,
    dynamics: &mut dyn Dynamics,
    x: &Tensor,
    span: (f64, f64),
    tolerance: Tolerance,
    watch: &mut Watch,
) -> Result<(Tensor, Statistics)> {
    let _no_grad = tch::no_grad_guard();
    let shape = x.size();
    let batch = shape[0] as usize;
    let (start, end) = span;
    let direction = (end - start).signum();
    let stages = tableau.b.len();
    let slope_at = |dynamics: &dyn Dynamics, x: &Tensor, t: &[f64]| {
        let mut full = shape.clone();
        full[0] = t.len() as i64;
        dynamics.drift(&x.view(full.as_slice()), t).flatten(1, -1)
    };

    let result = x.flatten(1, -1).copy();
    let mut x = result.copy();
    let mut statistics = Statistics { evaluations: vec![2; batch], accepted: vec![0; batch], rejected: vec![0; batch] };
    let mut slope = slope_at(dynamics, &x, &vec![start; batch]);
    let steps = first_steps(tableau, &x, &slope, span, tolerance, |x, t| slope_at(dynamics, x, t));
    let mut travellers: Vec<Traveller> =
        steps.into_iter().enumerate().map(|(row, step)| Traveller { row, t: start, step, just_rejected: false }).collect();

    while !travellers.is_empty() {
        for example in &mut travellers {
            let smallest = 10.0 * f64::EPSILON * example.t.abs().max(f64::MIN_POSITIVE);
            if example.step.is_nan() || example.step <= smallest {
                return Err(stuck(example));
            }
            example.step = example.step.min((end - example.t).abs());
        }
        let h = column(&x, travellers.iter().map(|e| direction * e.step));
        // k holds the stages and, last, the slope at the new point.
        let k = Tensor::empty([&[stages as i64 + 1], x.size().as_slice()].concat(), (x.kind(), x.device()));
        k.select(0, 0).copy_(&slope);
        for i in 1..stages {
            let t: Vec<f64> = travellers.iter().map(|e| e.t + direction * tableau.c[i] * e.step).collect();
            let stage = x.addcmul(&h, &combine(tableau.a[i], &k));
            k.select(0, i as i64).copy_(&slope_at(dynamics, &stage, &t));
        }
        let x_new = x.addcmul(&h, &combine(tableau.b, &k));
        // The last step lands on the end itself, not one rounding beside it.
        let arrival = |e: &Traveller| if e.step >= (end - e.t).abs() { end } else { e.t + direction * e.step };
        let t_new: Vec<f64> = travellers.iter().map(arrival).collect();
        let last = slope_at(dynamics, &x_new, &t_new);
        k.select(0, stages as i64).copy_(&last);
        let scale = x.abs().maximum(&x_new.abs()) * tolerance.relative + tolerance.absolute;
        let errors = rms(&(combine(tableau.error, &k) * &h), &scale);

        let mut accepted = Vec::with_capacity(travellers.len());
        for ((example, error), t_new) in travellers.iter_mut().zip(errors).zip(t_new) {
            statistics.evaluations[example.row] += stages as u32;
            let wish = SAFETY * error.powf(-1.0 / f64::from(tableau.order + 1));
            let accept = error < 1.0;
            if accept {
                statistics.accepted[example.row] += 1;
                example.t = t_new;
                example.step *= wish.min(if example.just_rejected { 1.0 } else { MAX_FACTOR });
            } else {
                statistics.rejected[example.row] += 1;
                example.step *= if wish > MIN_FACTOR { wish } else { MIN_FACTOR };
            }
            example.just_rejected = !accept;
            accepted.push(accept);
        }
        if accepted.iter().all(|&a| a) {
            (x, slope) = (x_new, last);
        } else {
            let mask = Tensor::from_slice(&accepted).to_device(x.device()).unsqueeze(1);
            (x, slope) = (x_new.where_self(&mask, &x), last.where_self(&mask, &slope));
        }

        if travellers.iter().any(|e| e.t == end) {
            let rows: Vec<i64> = travellers.iter().map(|e| e.row as i64).collect();
            let _ = no_grad(|| result.shallow_clone().index_copy_(0, &Tensor::from_slice(&rows).to_device(x.device()), &x));
            let going: Vec<i64> = travellers.iter().enumerate().filter(|(_, e)| e.t != end).map(|(i, _)| i as i64).collect();
            travellers.retain(|e| e.t != end);
            let going = Tensor::from_slice(&going).to_device(x.device());
            (x, slope) = (x.index_select(0, &going), slope.index_select(0, &going));
            dynamics.keep(&going);
        }
        let way: f64 = travellers.iter().map(|e| (e.t - start) / (end - start)).sum();
        watch((way + (batch - travellers.len()) as f64) / batch as f64);
    }
    Ok((result.view(shape.as_slice()), statistics))
}

/// The first |h| of each example (Hairer, Nørsett & Wanner 1993, sec. II.4, "starting step size"); one evaluation.
fn first_steps(
    tableau: &Tableau,
    x: &Tensor,
    slope: &Tensor,
    span: (f64, f64),
    tolerance: Tolerance,
    slope_at: impl Fn(&Tensor, &[f64]) -> Tensor,
) -> Vec<f64> {
    let length = (span.1 - span.0).abs();
    let direction = (span.1 - span.0).signum();
    let scale = x.abs() * tolerance.relative + tolerance.absolute;
    let (d0, d1) = (rms(x, &scale), rms(slope, &scale));
    let trial: Vec<f64> =
        d0.iter().zip(&d1).map(|(&d0, &d1)| if d0 < 1e-5 || d1 < 1e-5 { 1e-6 } else { 0.01 * d0 / d1 }.min(length)).collect();
    let h = column(x, trial.iter().map(|h| direction * h));
    let t: Vec<f64> = trial.iter().map(|h| span.0 + direction * h).collect();
    let change = rms(&(slope_at(&x.addcmul(&h, slope), &t) - slope), &scale);
    let power = 1.0 / f64::from(tableau.order + 1);
    let step = |((h0, d1), change): ((f64, f64), f64)| {
        let d2 = change / h0;
        let h1 = if d1 <= 1e-15 && d2 <= 1e-15 { (h0 * 1e-3).max(1e-6) } else { (0.01 / d1.max(d2)).powf(power) };
        (100.0 * h0).min(h1).min(length)
    };
    trial.into_iter().zip(d1).zip(change).map(step).collect()
}

fn stuck(example: &Traveller) -> Error {
    Error::Solver {
        message: format!("the solver can't go on: example {} needs a step below {:.1e} at t = {:.6}", example.row, example.step, example.t),
        help: "the score is not finite or not smooth there; train longer, raise t_min, or use a fixed grid".into(),
    }
}
