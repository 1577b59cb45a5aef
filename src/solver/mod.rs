//! Solvers: time grids; Runge-Kutta tableaus with one loop for fixed grids and one for adaptive steps; exponential methods, multi-step and
//! single-step.

mod adaptive;
mod control;
mod exponential;
mod fixed;
mod grid;
mod multi_step;
mod refined;
mod single_step;
mod tableau;
mod trajectory;

use serde::{Deserialize, Serialize};
use statrs::statistics::Statistics as _;
use tch::Tensor;

pub use control::{Adaptive, Control};
pub use grid::TimeGrid;
pub use multi_step::{DeisVariable, UniPcVariant};
pub use tableau::Tableau;
pub use trajectory::{Step, Trajectory, Watch};

use crate::dynamics::{Dynamics, Reverse};
use crate::error::{Error, Fault, Result};
use crate::sde::Sde;
use crate::tensor::to_vec;
use exponential::Prediction;
use multi_step::Scheme;

/// How to solve: `solver.euler.grid…`, `solver.rk45 = { rtol, atol, control }`, `solver.dpm-solver-pp = { order, grid }`.
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
    /// Bogacki-Shampine 3(2) with step control; deterministic dynamics only, like the other adaptive ones.
    Rk23(Adaptive),
    /// Dormand-Prince 5(4).
    Rk45(Adaptive),
    /// Tsitouras 5(4).
    Tsit5(Adaptive),
    /// DDIM for the probability flow, DDPM's ancestral chain with variance β̃ for the reverse SDE; one evaluation a step.
    Ddim { grid: TimeGrid },
    /// DPM-Solver of order 1 to 3, single-step, as many evaluations a step as its order; its SDE form when the dynamics are stochastic.
    DpmSolver { order: usize, grid: TimeGrid },
    /// DPM-Solver++ multi-step of order 1 to 3; its SDE form when the dynamics are stochastic. One evaluation a step.
    DpmSolverPp { order: usize, grid: TimeGrid },
    /// DPM-Solver++ single-step, as many evaluations a step as its order; its SDE form when the dynamics are stochastic.
    DpmSolverPpSingle { order: usize, grid: TimeGrid },
    /// DEIS through 1 to 4 noise predictions; its SDE form when the dynamics are stochastic. One evaluation a step.
    Deis { order: usize, variable: DeisVariable, grid: TimeGrid },
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
    Adaptive(&'static Tableau, Adaptive),
    MultiStep(Scheme, usize, &'a TimeGrid),
    SingleStep(Prediction, usize, &'a TimeGrid),
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

/// The standard normal draws of step n [B, ...], asked for once per step and in order.
pub type Noise<'a> = dyn FnMut(usize) -> Tensor + 'a;

impl SolverSpec {
    /// The solver's table.
    fn name(&self) -> &'static str {
        match self {
            SolverSpec::Euler { .. } => "euler",
            SolverSpec::Midpoint { .. } => "midpoint",
            SolverSpec::Heun { .. } => "heun",
            SolverSpec::Rk4 { .. } => "rk4",
            SolverSpec::Rk23(_) => "rk23",
            SolverSpec::Rk45(_) => "rk45",
            SolverSpec::Tsit5(_) => "tsit5",
            SolverSpec::Ddim { .. } => "ddim",
            SolverSpec::DpmSolver { .. } => "dpm-solver",
            SolverSpec::DpmSolverPp { .. } => "dpm-solver-pp",
            SolverSpec::DpmSolverPpSingle { .. } => "dpm-solver-pp-single",
            SolverSpec::Deis { .. } => "deis",
            SolverSpec::UniPc { .. } => "uni-pc",
        }
    }

    fn family(&self) -> Family<'_> {
        match self {
            SolverSpec::Euler { grid } => Family::Fixed(&tableau::EULER, grid),
            SolverSpec::Midpoint { grid } => Family::Fixed(&tableau::MIDPOINT, grid),
            SolverSpec::Heun { grid } => Family::Fixed(&tableau::HEUN, grid),
            SolverSpec::Rk4 { grid } => Family::Fixed(&tableau::RK4, grid),
            SolverSpec::Rk23(adaptive) => Family::Adaptive(&tableau::RK23, *adaptive),
            SolverSpec::Rk45(adaptive) => Family::Adaptive(&tableau::RK45, *adaptive),
            SolverSpec::Tsit5(adaptive) => Family::Adaptive(&tableau::TSIT5, *adaptive),
            SolverSpec::Ddim { grid } => Family::MultiStep(Scheme::DpmSolverPp, 1, grid),
            SolverSpec::DpmSolver { order, grid } => Family::SingleStep(Prediction::Noise, *order, grid),
            SolverSpec::DpmSolverPp { order, grid } => Family::MultiStep(Scheme::DpmSolverPp, *order, grid),
            SolverSpec::DpmSolverPpSingle { order, grid } => Family::SingleStep(Prediction::Data, *order, grid),
            SolverSpec::Deis { order, variable, grid } => Family::MultiStep(Scheme::Deis(*variable), *order, grid),
            SolverSpec::UniPc { order, variant, grid } => Family::MultiStep(Scheme::UniPc(*variant), *order, grid),
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
        let solution = match self.family() {
            Family::MultiStep(scheme, order, grid) => multi_step::solve(scheme, order, &reverse, x, &grid.times(sde, span), noise, watch),
            Family::SingleStep(prediction, order, grid) => {
                single_step::solve(prediction, order, &reverse, x, &grid.times(sde, span), noise, watch)
            }
            _ => return self.solve(&mut reverse, sde, x, span, noise, watch),
        };
        finite(solution, span.1)
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
            Family::MultiStep(..) | Family::SingleStep(..) => {
                unreachable!("an exponential solver knows the reverse process alone; check() refuses others")
            }
        };
        finite(solution, span.1)
    }

    /// Whether a result depends on its batch mates.
    pub fn couples_batch(&self) -> bool {
        matches!(self.family(), Family::Adaptive(_, Adaptive { control: Control::BatchCoupled, .. }))
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
            Family::Adaptive(_, adaptive) => adaptive.check(),
            Family::MultiStep(..) | Family::SingleStep(..) if task == Task::LogDensity => {
                let message = format!("{name} can't carry a log-density: it solves the reverse process alone");
                return Err(Fault::new(name, message, "use a Runge-Kutta method, such as rk45 or heun"));
            }
            Family::MultiStep(Scheme::UniPc(_), ..) if task == Task::ReverseSde => {
                return Err(Fault::new(name, "uni-pc knows no noise", "use dynamics = \"probability-flow\", or dpm-solver-pp"));
            }
            Family::MultiStep(Scheme::Deis(_), order, grid) => check_order(order, 4, grid, grid.steps()),
            Family::MultiStep(_, order, grid) => check_order(order, 3, grid, grid.steps()),
            Family::SingleStep(_, order, grid) => check_order(order, 3, grid, usize::MAX),
        }
        .map_err(|fault| fault.within(name))
    }
}

/// An exponential method of order 1 to `highest` on a grid; a multi-step one needs as many steps as its order.
fn check_order(order: usize, highest: usize, grid: &TimeGrid, steps: usize) -> Result<(), Fault> {
    if !(1..=highest).contains(&order) {
        return Err(Fault::new("order", format!("there is no order {order}"), format!("give a whole number from 1 to {highest}")));
    }
    grid.check()?;
    if steps < order {
        let message = format!("order {order} needs as many steps, and there are {steps}");
        return Err(Fault::new("order", message, "give more steps or a lower order"));
    }
    Ok(())
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
