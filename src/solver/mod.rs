//! Solvers: time grids; Runge-Kutta tableaus with one loop for fixed grids and one for adaptive steps; exponential methods, multi-step and
//! single-step.

mod adaptive;
mod adaptive_sde;
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
mod sra;
mod tableau;
mod trajectory;

use serde::{Deserialize, Serialize};
use statrs::statistics::Statistics as _;
use tch::Tensor;

pub use control::{Adaptive, Control};
pub use discrete_chain::{DiscreteChain, Spacing, Variance};
pub use edm::Churn;
pub use grid::TimeGrid;
pub use langevin::{AnnealedLangevin, Corrector, Norms, StepFactor};
pub use multi_step::{DeisVariable, UniPcVariant};
pub use predictor_corrector::{Predictor, PredictorCorrector, Visit};
pub use tableau::Tableau;
pub use trajectory::{Step, Trajectory, Watch};

use crate::dynamics::{Dynamics, Reverse, denoise};
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
    /// Dormand-Prince 8(5, 3).
    Dop853(Adaptive),
    /// Heun's method in σ/α, with churn; deterministic dynamics, to which the churn adds its own noise.
    Edm(Churn),
    /// Strong order 1.5, for stochastic dynamics only.
    Sra { grid: TimeGrid },
    /// Euler-Maruyama and stochastic Heun with step control for each example, for stochastic dynamics only.
    AdaptiveSde { rtol: f64, atol: f64 },
    /// DPM-Solver of order 1 to 3, single-step, as many evaluations a step as its order; its SDE form when the dynamics are stochastic.
    DpmSolver { order: usize, grid: TimeGrid },
    /// DPM-Solver++ multi-step of order 1 to 3; its SDE form when the dynamics are stochastic. One evaluation a step. Order 1 is DDIM in
    /// continuous time, and DDPM's ancestral chain with variance β̃ for the reverse SDE.
    DpmSolverPp { order: usize, grid: TimeGrid },
    /// DPM-Solver++ single-step, as many evaluations a step as its order; its SDE form when the dynamics are stochastic.
    DpmSolverPpSingle { order: usize, grid: TimeGrid },
    /// DEIS through 1 to 4 noise predictions; its SDE form when the dynamics are stochastic. One evaluation a step.
    Deis { order: usize, variable: DeisVariable, grid: TimeGrid },
    /// UniPC of order 1 to 3, one evaluation a step; deterministic dynamics only.
    UniPc { order: usize, variant: UniPcVariant, grid: TimeGrid },
    /// Song et al.'s predictors and Langevin correctors.
    PredictorCorrector(PredictorCorrector),
    /// NCSN's sampler: Langevin dynamics at one noise level after the other.
    AnnealedLangevin(AnnealedLangevin),
    /// DDPM's and DDIM's chain with N levels.
    DiscreteChain(DiscreteChain),
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
    Sra(&'a TimeGrid),
    AdaptiveSde(f64, f64),
    Edm(&'a Churn),
    MultiStep(Scheme, usize, &'a TimeGrid),
    SingleStep(Prediction, usize, &'a TimeGrid),
    Sampler(&'a dyn Sampler),
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

/// The n-th standard normal draw [B, ...] of a solve, asked for once and in order; most solvers take one a step.
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
            SolverSpec::DpmSolver { .. } => "dpm-solver",
            SolverSpec::DpmSolverPp { .. } => "dpm-solver-pp",
            SolverSpec::DpmSolverPpSingle { .. } => "dpm-solver-pp-single",
            SolverSpec::Deis { .. } => "deis",
            SolverSpec::UniPc { .. } => "uni-pc",
            SolverSpec::PredictorCorrector(_) => "predictor-corrector",
            SolverSpec::AnnealedLangevin(_) => "annealed-langevin",
            SolverSpec::DiscreteChain(_) => "discrete-chain",
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
            SolverSpec::DpmSolver { order, grid } => Family::SingleStep(Prediction::Noise, *order, grid),
            SolverSpec::DpmSolverPp { order, grid } => Family::MultiStep(Scheme::DpmSolverPp, *order, grid),
            SolverSpec::DpmSolverPpSingle { order, grid } => Family::SingleStep(Prediction::Data, *order, grid),
            SolverSpec::Deis { order, variable, grid } => Family::MultiStep(Scheme::Deis(*variable), *order, grid),
            SolverSpec::UniPc { order, variant, grid } => Family::MultiStep(Scheme::UniPc(*variant), *order, grid),
            SolverSpec::PredictorCorrector(sampler) => Family::Sampler(sampler),
            SolverSpec::AnnealedLangevin(sampler) => Family::Sampler(sampler),
            SolverSpec::DiscreteChain(sampler) => Family::Sampler(sampler),
        }
    }

    /// Whether an example depends on its batch mates.
    pub fn couples_batch(&self) -> bool {
        match self.family() {
            Family::Adaptive(_, adaptive) => adaptive.control == Control::BatchCoupled,
            _ => matches!(self, SolverSpec::PredictorCorrector(sampler) if sampler.couples_batch()),
        }
    }

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

    /// Whether this can sample a reverse process: what [`check`](SolverSpec::check) can't know without the process. `network_levels` are the
    /// levels of noise of a network in discrete time.
    pub fn check_process(&self, sde: &dyn Sde, eta: f64, t_min: f64, network_levels: Option<usize>) -> Result<(), Fault> {
        match self.family() {
            Family::Sampler(sampler) => sampler.check(sde, eta, t_min, network_levels).map_err(|fault| fault.within(self.name())),
            _ => Ok(()),
        }
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
            Family::Edm(_) | Family::MultiStep(..) | Family::SingleStep(..) | Family::Sampler(_) if task == Task::LogDensity => {
                let message = format!("{name} can't carry a log-density: it solves the reverse process alone");
                return Err(Fault::new(name, message, "use a Runge-Kutta method, such as rk45 or heun"));
            }
            Family::Edm(_) if task == Task::ReverseSde => {
                let help = "use dynamics = \"probability-flow\", to which s_churn adds noise";
                return Err(Fault::new(name, "edm brings its own noise", help));
            }
            Family::Edm(churn) => churn.check(),
            Family::MultiStep(Scheme::UniPc(_), ..) if task == Task::ReverseSde => {
                return Err(Fault::new(name, "uni-pc knows no noise", "use dynamics = \"probability-flow\", or dpm-solver-pp"));
            }
            Family::MultiStep(Scheme::Deis(_), order, grid) => check_order(order, 4, grid, grid.steps()),
            Family::MultiStep(_, order, grid) => check_order(order, 3, grid, grid.steps()),
            Family::SingleStep(_, order, grid) => check_order(order, 3, grid, usize::MAX),
            Family::Sampler(_) => Ok(()),
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
