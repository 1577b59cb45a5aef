//! Figures: schedules of a process, the plane of a score, paths in time.

mod paths;
mod plane;
mod schedules;

pub use paths::paths;
pub use plane::plane;
pub use schedules::schedules;

use tch::Tensor;

use crate::dynamics::Reverse;
use crate::error::Result;
use crate::experiment::Family;
use crate::model::Model;
use crate::session::Session;
use crate::solver::{Adaptive, Control, General, SolverSpec, Trajectory};

/// Close enough for the eye.
const TOLERANCE: f64 = 1e-4;

/// The flow's solver.
fn flow_solver() -> General {
    let adaptive = Adaptive { rtol: TOLERANCE, atol: TOLERANCE, control: Control::PerExample };
    SolverSpec::Rk45(adaptive).general().expect("a Runge-Kutta method serves any flow")
}

/// The states [T, N, D] of the flow through points [N, D] at the first of these times, at all of them, ascending.
fn flow_states(model: &dyn Model, points: &Tensor, times: &[f64]) -> Result<Tensor> {
    let (first, last) = (times[0], times[times.len() - 1]);
    let mut trajectory = Trajectory::new(times, points, first);
    let flow = Reverse { model, eta: 0.0 };
    let _ = flow_solver().solve(&flow, model.sde(), points, (first, last), &mut |step| trajectory.record(step))?;
    Ok(trajectory.states)
}

/// Whether there is a score of vectors, for data that are vectors, which is told nothing.
fn is_plain(session: &Session) -> bool {
    let is_score = matches!(session.plan().family, Family::Known(..) | Family::Score(_));
    let of_vectors = [session.shape(), session.model_shape()].iter().all(|shape| shape.len() == 1);
    is_score && of_vectors && session.plan().condition.is_none()
}
