//! Figures: schedules of a process, the plane of a score, paths in time.

mod paths;
mod plane;
mod schedules;

pub use paths::paths;
pub use plane::plane;
pub use schedules::schedules;

use tch::Tensor;

use crate::solver::{Adaptive, Control, General, SolverSpec};
use crate::tensor::to_vec;

/// Close enough for the eye.
const TOLERANCE: f64 = 1e-4;

/// The flow's solver.
fn flow_solver() -> General {
    let adaptive = Adaptive { rtol: TOLERANCE, atol: TOLERANCE, control: Control::PerExample };
    SolverSpec::Rk45(adaptive).general().expect("a Runge-Kutta method serves any flow")
}

/// Rows [N, 2] of the plane.
fn points(x: &Tensor) -> Vec<[f64; 2]> {
    to_vec(x).chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect()
}
