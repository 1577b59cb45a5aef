//! Solvers: time grids; Runge-Kutta tableaus with one loop for fixed grids and one for adaptive steps; exponential multi-step methods.

mod adaptive;
mod exponential;
mod fixed;
mod grid;
mod refined;
mod tableau;

use serde::{Deserialize, Serialize};
use tch::Tensor;

pub use adaptive::Tolerance;
pub use exponential::UniPcVariant;
pub use grid::TimeGrid;
pub use tableau::Tableau;

use crate::dynamics::{Dynamics, Reverse};
use crate::error::{Error, Fault, Result};
use crate::sde::Sde;
use crate::tensor::to_vec;
use exponential::Method;

/// How to solve: `solver.euler.grid…`, `solver.rk45 = { rtol, atol }`, `solver.dpm-solver-pp = { order, grid }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum SolverSpec {
    /// Euler; Euler-Maruyama when the dynamics are stochastic.
    Euler { grid: TimeGrid },
    /// The explicit midpoint rule, two evaluations a step.
    Midpoint { grid: TimeGrid },
    /// Heun's method, two evaluations a step; stochastic Heun when the dynamics are stochastic.
    Heun { grid: TimeGrid },
    /// The classical Runge-Kutta method, four evaluations a step.
    Rk4 { grid: TimeGrid },
    /// Bogacki-Shampine 3(2) with its own step for each example; deterministic dynamics only, like the other adaptive ones.
    Rk23 { rtol: f64, atol: f64 },
    /// Dormand-Prince 5(4).
    Rk45 { rtol: f64, atol: f64 },
    /// Tsitouras 5(4).
    Tsit5 { rtol: f64, atol: f64 },
    /// DDIM for the probability flow, DDPM's ancestral chain with variance β̃ for the reverse SDE; one evaluation a step.
    Ddim { grid: TimeGrid },
    /// DPM-Solver++ multi-step of order 1 to 3; its SDE form when the dynamics are stochastic. One evaluation a step.
    DpmSolverPp { order: usize, grid: TimeGrid },
    /// UniPC of order 1 to 3, one evaluation a step; deterministic dynamics only.
    UniPc { order: usize, variant: UniPcVariant, grid: TimeGrid },
}

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

/// The loop that serves a solver.
enum Family<'a> {
    Fixed(&'static Tableau, &'a TimeGrid),
    Adaptive(&'static Tableau, Tolerance),
    Exponential(Method, &'a TimeGrid),
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
    /// The solver's table.
    fn name(&self) -> &'static str {
        match self {
            SolverSpec::Euler { .. } => "euler",
            SolverSpec::Midpoint { .. } => "midpoint",
            SolverSpec::Heun { .. } => "heun",
            SolverSpec::Rk4 { .. } => "rk4",
            SolverSpec::Rk23 { .. } => "rk23",
            SolverSpec::Rk45 { .. } => "rk45",
            SolverSpec::Tsit5 { .. } => "tsit5",
            SolverSpec::Ddim { .. } => "ddim",
            SolverSpec::DpmSolverPp { .. } => "dpm-solver-pp",
            SolverSpec::UniPc { .. } => "uni-pc",
        }
    }

    fn family(&self) -> Family<'_> {
        let tolerance = |rtol: &f64, atol: &f64| Tolerance { relative: *rtol, absolute: *atol };
        match self {
            SolverSpec::Euler { grid } => Family::Fixed(&tableau::EULER, grid),
            SolverSpec::Midpoint { grid } => Family::Fixed(&tableau::MIDPOINT, grid),
            SolverSpec::Heun { grid } => Family::Fixed(&tableau::HEUN, grid),
            SolverSpec::Rk4 { grid } => Family::Fixed(&tableau::RK4, grid),
            SolverSpec::Rk23 { rtol, atol } => Family::Adaptive(&tableau::RK23, tolerance(rtol, atol)),
            SolverSpec::Rk45 { rtol, atol } => Family::Adaptive(&tableau::RK45, tolerance(rtol, atol)),
            SolverSpec::Tsit5 { rtol, atol } => Family::Adaptive(&tableau::TSIT5, tolerance(rtol, atol)),
            SolverSpec::Ddim { grid } => Family::Exponential(Method { order: 1, corrector: None }, grid),
            SolverSpec::DpmSolverPp { order, grid } => Family::Exponential(Method { order: *order, corrector: None }, grid),
            SolverSpec::UniPc { order, variant, grid } => Family::Exponential(Method { order: *order, corrector: Some(*variant) }, grid),
        }
    }

    /// Solves the reverse process from `span.0` to `span.1` for x [B, ...]; `noise` is asked for where η > 0.
    ///
    /// Errors: a solution that is not finite, or an adaptive step that shrinks to nothing.
    pub fn sample(
        &self,
        mut reverse: Reverse,
        x: &Tensor,
        span: (f64, f64),
        noise: &mut Noise,
        watch: &mut Watch,
    ) -> Result<(Tensor, Statistics)> {
        let sde = reverse.sde;
        let noise = (reverse.eta > 0.0).then_some(noise);
        match self.family() {
            Family::Exponential(method, grid) => {
                finite(exponential::solve(&method, &reverse, x, &grid.times(sde, span), noise, watch), span.1)
            }
            _ => self.solve(&mut reverse, sde, x, span, noise, watch),
        }
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
            Family::Adaptive(tableau, tolerance) => {
                assert!(noise.is_none(), "no error estimate here knows noise; check() refuses it");
                adaptive::solve(tableau, dynamics, x, span, tolerance, watch)?
            }
            Family::Exponential(..) => unreachable!("an exponential solver knows the reverse process alone; check() refuses others"),
        };
        finite(solution, span.1)
    }

    pub fn check(&self, task: Task) -> Result<(), Fault> {
        let name = self.name();
        match self.family() {
            Family::Fixed(_, grid) => grid.check(),
            Family::Adaptive(..) if task == Task::ReverseSde => {
                let message = format!("{name} can't solve the reverse SDE: its error estimate knows no noise");
                return Err(Fault::new(
                    name,
                    message,
                    "use dynamics = \"probability-flow\", or a solver with a grid such as euler or heun",
                ));
            }
            Family::Adaptive(_, tolerance) => tolerance.check(),
            Family::Exponential(..) if task == Task::LogDensity => {
                let message = format!("{name} can't carry a log-density: it solves for the denoised state");
                return Err(Fault::new(name, message, "use a Runge-Kutta method, such as rk45 or heun"));
            }
            Family::Exponential(Method { order, .. }, _) if !(1..=3).contains(&order) => {
                Err(Fault::new("order", format!("there is no order {order}"), "give 1, 2 or 3"))
            }
            Family::Exponential(Method { corrector: Some(_), .. }, _) if task == Task::ReverseSde => {
                return Err(Fault::new(name, "uni-pc knows no noise", "use dynamics = \"probability-flow\", or dpm-solver-pp"));
            }
            Family::Exponential(Method { order, .. }, grid) if grid.steps() < order => {
                let message = format!("order {order} needs as many steps, and there are {}", grid.steps());
                Err(Fault::new("order", message, "give more steps or a lower order"))
            }
            Family::Exponential(_, grid) => grid.check(),
        }
        .map_err(|fault| fault.within(name))
    }
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
