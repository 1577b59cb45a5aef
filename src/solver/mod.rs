//! Solvers: time grids; Runge-Kutta tableaus with one loop for fixed grids and one for adaptive steps; exponential multi-step methods; EDM's
//! Heun with churn; a method of high strong order and an adaptive one for dynamics with noise.

mod adaptive;
mod adaptive_sde;
mod control;
mod dop853;
mod edm;
mod exponential;
mod fixed;
mod grid;
mod sra;
mod tableau;
mod trajectory;

use serde::{Deserialize, Serialize};
use tch::Tensor;

pub use control::{Adaptive, Control};
pub use edm::Churn;
pub use exponential::UniPcVariant;
pub use grid::TimeGrid;
pub use tableau::Tableau;
pub use trajectory::{Step, Trajectory, Watch};

use crate::dynamics::{Dynamics, Reverse};
use crate::error::{Error, Fault, Result};
use crate::sde::Sde;
use crate::tensor::to_vec;
use exponential::Method;

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
    /// Dormand-Prince 8(5, 3).
    Dop853(Adaptive),
    /// Heun's method in σ/α, with churn; deterministic dynamics, to which the churn adds its own noise.
    Edm(Churn),
    /// Strong order 1.5, for stochastic dynamics only.
    Sra { grid: TimeGrid },
    /// Euler-Maruyama and stochastic Heun with step control for each example, for stochastic dynamics only.
    AdaptiveSde { rtol: f64, atol: f64 },
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
    Adaptive(&'static Tableau, Adaptive),
    Edm(&'a Churn),
    Sra(&'a TimeGrid),
    AdaptiveSde(f64, f64),
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

/// Standard normal draw n [B, ...] for the whole batch that was handed in. Asked for in ascending order; a step takes as many as its
/// method needs.
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
            SolverSpec::Dop853(_) => "dop853",
            SolverSpec::Edm(_) => "edm",
            SolverSpec::Sra { .. } => "sra",
            SolverSpec::AdaptiveSde { .. } => "adaptive-sde",
            SolverSpec::Ddim { .. } => "ddim",
            SolverSpec::DpmSolverPp { .. } => "dpm-solver-pp",
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
            SolverSpec::Dop853(adaptive) => Family::Adaptive(&dop853::DOP853, *adaptive),
            SolverSpec::Edm(churn) => Family::Edm(churn),
            SolverSpec::Sra { grid } => Family::Sra(grid),
            SolverSpec::AdaptiveSde { rtol, atol } => Family::AdaptiveSde(*rtol, *atol),
            SolverSpec::Ddim { grid } => Family::Exponential(Method { order: 1, corrector: None }, grid),
            SolverSpec::DpmSolverPp { order, grid } => Family::Exponential(Method { order: *order, corrector: None }, grid),
            SolverSpec::UniPc { order, variant, grid } => Family::Exponential(Method { order: *order, corrector: Some(*variant) }, grid),
        }
    }

    /// Solves the reverse process from `span.0` to `span.1` for x [B, ...]; `noise` is asked for where η > 0, or by churn.
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
        if let Family::Edm(churn) = self.family() {
            return finite(edm::solve(churn, &reverse, x, span, noise, watch), span.1);
        }
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
            Family::Edm(_) | Family::Exponential(..) => unreachable!("these know the reverse process alone; check() refuses others"),
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
            Family::Sra(_) | Family::AdaptiveSde(..) if task != Task::ReverseSde => {
                let message = format!("{name} is for dynamics with noise");
                return Err(Fault::new(name, message, "use a Runge-Kutta method without noise, such as heun or rk45"));
            }
            Family::Sra(grid) => grid.check(),
            Family::AdaptiveSde(rtol, atol) => control::check_tolerances(rtol, atol, "Jolicoeur-Martineau et al. use rtol = 0.01 to 0.5"),
            Family::Edm(_) | Family::Exponential(..) if task == Task::LogDensity => {
                let message = format!("{name} can't carry a log-density: it knows the state of the reverse process alone");
                return Err(Fault::new(name, message, "use a Runge-Kutta method, such as rk45 or heun"));
            }
            Family::Edm(_) if task == Task::ReverseSde => {
                let help = "use dynamics = \"probability-flow\", to which s_churn adds noise";
                return Err(Fault::new(name, "edm brings its own noise", help));
            }
            Family::Edm(churn) => churn.check(),
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
