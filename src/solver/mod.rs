//! Solvers of differential equations on batched states: time grids, Runge-Kutta tableaus, one loop for fixed grids, one for adaptive steps.

mod adaptive;
mod fixed;
mod grid;
mod tableau;

use serde::{Deserialize, Serialize};
use tch::Tensor;

pub use adaptive::Tolerance;
pub use grid::TimeGrid;
pub use tableau::{EULER, HEUN, RK45, Tableau};

use crate::dynamics::Dynamics;
use crate::error::{Error, Fault, Result};
use crate::sde::Sde;
use crate::tensor::to_vec;

/// How to solve: `solver.euler.grid…`, `solver.heun.grid…`, `solver.rk45 = { rtol, atol }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum SolverSpec {
    /// Euler; Euler-Maruyama when the dynamics are stochastic. Weak order 1.
    Euler { grid: TimeGrid },
    /// Heun's method, two evaluations a step; stochastic Heun when the dynamics are stochastic.
    Heun { grid: TimeGrid },
    /// Dormand-Prince 5(4) with its own step for each example; deterministic dynamics only.
    Rk45 { rtol: f64, atol: f64 },
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
    pub fn extend(&mut self, other: Statistics) {
        self.evaluations.extend(other.evaluations);
        self.accepted.extend(other.accepted);
        self.rejected.extend(other.rejected);
    }
}

/// The standard normal draws of step n [B, ...], asked for once per step and in order.
pub type Noise<'a> = dyn FnMut(usize) -> Tensor + 'a;
/// Told the share of the way that is done, in [0, 1].
pub type Watch<'a> = dyn FnMut(f64) + 'a;

impl SolverSpec {
    /// Solves from `span.0` to `span.1` for x [B, ...]. `noise` is `None` for an ordinary differential equation.
    ///
    /// Errors: a solution that is not finite, or an adaptive step that shrinks to nothing.
    pub fn solve(
        &self,
        dynamics: &mut dyn Dynamics,
        sde: &dyn Sde,
        x: &Tensor,
        span: (f64, f64),
        noise: Option<&mut Noise>,
        watch: &mut Watch,
    ) -> Result<(Tensor, Statistics)> {
        let (x, statistics) = match self {
            SolverSpec::Euler { grid } => fixed::solve(&EULER, dynamics, x, &grid.times(sde, span), noise, watch),
            SolverSpec::Heun { grid } => fixed::solve(&HEUN, dynamics, x, &grid.times(sde, span), noise, watch),
            SolverSpec::Rk45 { rtol, atol } => {
                assert!(noise.is_none(), "RK45 has no error estimate for noise; check() refuses it");
                adaptive::solve(&RK45, dynamics, x, span, Tolerance { relative: *rtol, absolute: *atol }, watch)?
            }
        };
        let finite = to_vec(&x.isfinite().flatten(1, -1).all_dim(1, false));
        match finite.iter().position(|&finite| finite == 0.0) {
            None => Ok((x, statistics)),
            Some(row) => Err(Error::Solver {
                message: format!("the solution for example {row} of the batch is not finite at t = {}", span.1),
                help: "the score is not finite on the way, or the steps are too long; train longer, raise t_min, or give more steps".into(),
            }),
        }
    }

    pub fn check(&self, stochastic: bool) -> Result<(), Fault> {
        match self {
            SolverSpec::Euler { grid } => grid.check().map_err(|f| f.within("euler.grid")),
            SolverSpec::Heun { grid } => grid.check().map_err(|f| f.within("heun.grid")),
            SolverSpec::Rk45 { .. } if stochastic => Err(Fault::new(
                "rk45",
                "rk45 can't solve the reverse SDE: its error estimate knows no noise",
                "use dynamics = \"probability-flow\", or the solver euler or heun",
            )),
            SolverSpec::Rk45 { rtol, atol } => {
                for (key, value) in [("rk45.rtol", *rtol), ("rk45.atol", *atol)] {
                    if !(value > 0.0 && value < 1.0) {
                        return Err(Fault::new(
                            key,
                            format!("the tolerance is {value}"),
                            "give a number between 0 and 1; the reference uses 1e-5",
                        ));
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
