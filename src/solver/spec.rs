//! `[sample.solver.*]` and `[likelihood.solver.*]`: every solver by its name and settings, and the loop that serves it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::control::{self, Adaptive};
use super::discrete_chain::DiscreteChain;
use super::dop853;
use super::edm::Churn;
use super::exponential::Integrand;
use super::general::{General, Stochastic};
use super::grid::TimeGrid;
use super::langevin::{AnnealedLangevin, Corrector};
use super::multi_step::{DeisVariable, GaussianStep, MultiStep, Scheme, UniPcVariant};
use super::predictor_corrector::{Constraint, PredictorCorrector};
use super::sampler::{Noise, Problem, Sampler, Solution, finite};
use super::single_step::SingleStep;
use super::tableau::{self, Tableau};
use super::trajectory::Watch;
use crate::dynamics::Reverse;
use crate::error::{Error, Fault};
use crate::sde::{Sde, Variance};

/// How to solve: `solver.euler.grid…`, `solver.rk45 = { rtol, atol, control }`, `solver.dpm-solver-pp = { order, grid }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    AdaptiveSde {
        /// Relative tolerance, in (0, 1); the paper uses 0.01 to 0.5.
        rtol: f64,
        /// Absolute tolerance in the unit of the state, in (0, 1).
        atol: f64,
    },
    /// DPM-Solver of order 1 to 3, single-step, as many evaluations a step as its order; its SDE form when the dynamics are stochastic.
    DpmSolver {
        /// 1 to 3.
        order: usize,
        grid: TimeGrid,
    },
    /// DPM-Solver++ multi-step of order 1 to 3; its SDE form when the dynamics are stochastic. One evaluation a step. Order 1 is DDIM in
    /// continuous time, and DDPM's ancestral chain with variance β̃ for the reverse SDE.
    DpmSolverPp {
        /// 1 to 3, and no more than the grid has steps.
        order: usize,
        grid: TimeGrid,
    },
    /// DPM-Solver++ single-step, as many evaluations a step as its order; its SDE form when the dynamics are stochastic.
    DpmSolverPpSingle {
        /// 1 to 3.
        order: usize,
        grid: TimeGrid,
    },
    /// DEIS through 1 to 4 noise predictions; its SDE form when the dynamics are stochastic. One evaluation a step.
    Deis {
        /// 1 to 4, and no more than the grid has steps.
        order: usize,
        variable: DeisVariable,
        grid: TimeGrid,
    },
    /// UniPC of order 1 to 3, one evaluation a step; deterministic dynamics only.
    UniPc {
        /// 1 to 3, and no more than the grid has steps.
        order: usize,
        variant: UniPcVariant,
        grid: TimeGrid,
    },
    /// Song et al.'s predictors and Langevin correctors.
    PredictorCorrector(PredictorCorrector),
    /// NCSN's sampler: Langevin dynamics at one noise level after the other.
    AnnealedLangevin(AnnealedLangevin),
    /// DDPM's and DDIM's chain with N levels.
    DiscreteChain(DiscreteChain),
}

impl SolverSpec {
    /// The solver's table.
    pub(super) fn name(&self) -> String {
        let value = toml::Value::try_from(self).expect("settings are TOML");
        value.as_table().and_then(|table| table.keys().next()).expect("a variant is a table of one key").clone()
    }

    /// The method of a Runge-Kutta solver on a grid.
    fn on_grid(&self) -> Option<(&'static Tableau, TimeGrid)> {
        match self {
            SolverSpec::Euler { grid } => Some((&tableau::EULER, *grid)),
            SolverSpec::Midpoint { grid } => Some((&tableau::MIDPOINT, *grid)),
            SolverSpec::Heun { grid } => Some((&tableau::HEUN, *grid)),
            SolverSpec::Rk4 { grid } => Some((&tableau::RK4, *grid)),
            _ => None,
        }
    }

    /// The method of a Runge-Kutta solver with step control.
    fn adaptive(&self) -> Option<(&'static Tableau, Adaptive)> {
        match self {
            SolverSpec::Rk23(adaptive) => Some((&tableau::RK23, *adaptive)),
            SolverSpec::Rk45(adaptive) => Some((&tableau::RK45, *adaptive)),
            SolverSpec::Tsit5(adaptive) => Some((&tableau::TSIT5, *adaptive)),
            SolverSpec::Dop853(adaptive) => Some((&dop853::DOP853, *adaptive)),
            _ => None,
        }
    }

    /// This as a solver of any ordinary differential equation. A fault's key is relative to `solver`: the solver knows the reverse process
    /// alone or needs noise, or its settings can't work.
    pub fn general(&self) -> Result<General, Fault> {
        let name = &*self.name();
        if let Some((tableau, grid)) = self.on_grid() {
            return grid.check().map(|()| General::Fixed(tableau, grid)).map_err(|fault| fault.within(name));
        }
        if let Some((tableau, adaptive)) = self.adaptive() {
            return adaptive.check().map(|()| General::Adaptive(tableau, adaptive)).map_err(|fault| fault.within(name));
        }
        Err(match self {
            SolverSpec::Sra { .. } | SolverSpec::AdaptiveSde { .. } => needs_noise(name),
            _ => {
                let message = format!("{name} can't carry a log-density: it solves the reverse process alone");
                Fault::new(name, message, "use a Runge-Kutta method, such as rk45 or heun")
            }
        })
    }

    /// This as a solver of any dynamics with noise. Faults as for [`general`](SolverSpec::general).
    pub fn stochastic(&self) -> Result<Stochastic, Fault> {
        let name = &*self.name();
        if let Some((tableau, grid)) = self.on_grid() {
            return grid.check().map(|()| Stochastic::Fixed(tableau, grid)).map_err(|fault| fault.within(name));
        }
        match *self {
            SolverSpec::Sra { grid } => grid.check().map(|()| Stochastic::Sra(grid)).map_err(|fault| fault.within(name)),
            SolverSpec::AdaptiveSde { rtol, atol } => {
                control::check_tolerances(rtol, atol, "Jolicoeur-Martineau et al. use rtol = 0.01 to 0.5")
                    .map_err(|fault| fault.within(name))?;
                Ok(Stochastic::Adaptive { rtol, atol })
            }
            _ => {
                let message = format!("{name} can't solve the reverse SDE: its error estimate knows no noise");
                Err(Fault::new(name, message, "use dynamics = \"probability-flow\", or a solver with a grid such as euler or heun"))
            }
        }
    }

    /// This as a solver of the reverse process of the family parameter η. Faults as for [`general`](SolverSpec::general), and of what can't
    /// serve η.
    pub fn sampler(&self, eta: f64) -> Result<Box<dyn Sampler + '_>, Fault> {
        let name = &*self.name();
        let noisy = eta > 0.0;
        let sampler: Result<Box<dyn Sampler>, Fault> = match self {
            SolverSpec::Edm(_) if noisy => {
                let help = "use dynamics = \"probability-flow\", to which s_churn adds noise";
                return Err(Fault::new(name, "edm brings its own noise", help));
            }
            SolverSpec::UniPc { .. } if noisy => {
                return Err(Fault::new(name, "uni-pc knows no noise", "use dynamics = \"probability-flow\", or dpm-solver-pp"));
            }
            SolverSpec::Edm(churn) => churn.check().map(|()| Box::new(churn.clone()) as _),
            SolverSpec::DpmSolver { order, grid } => SingleStep::new(Integrand::Noise, *order, *grid).map(|solver| Box::new(solver) as _),
            SolverSpec::DpmSolverPpSingle { order, grid } => {
                SingleStep::new(Integrand::Data, *order, *grid).map(|solver| Box::new(solver) as _)
            }
            SolverSpec::DpmSolverPp { order, grid } => {
                MultiStep::new(Scheme::DpmSolverPp, *order, *grid).map(|solver| Box::new(solver) as _)
            }
            SolverSpec::Deis { order, variable, grid } => {
                MultiStep::new(Scheme::Deis(*variable), *order, *grid).map(|solver| Box::new(solver) as _)
            }
            SolverSpec::UniPc { order, variant, grid } => {
                MultiStep::new(Scheme::UniPc(*variant), *order, *grid).map(|solver| Box::new(solver) as _)
            }
            SolverSpec::PredictorCorrector(sampler) => Ok(Box::new(sampler.clone())),
            SolverSpec::AnnealedLangevin(sampler) => Ok(Box::new(sampler.clone())),
            SolverSpec::DiscreteChain(sampler) => Ok(Box::new(sampler.clone())),
            SolverSpec::Sra { .. } | SolverSpec::AdaptiveSde { .. } if !noisy => return Err(needs_noise(name)),
            _ if noisy => return self.stochastic().map(|solver| Box::new(solver) as _),
            _ => return self.general().map(|solver| Box::new(solver) as _),
        };
        sampler.map_err(|fault| fault.within(name))
    }

    /// Solves a problem with states that are kept to a constraint. Error: this solver keeps none.
    pub fn sample_within(
        &self,
        constraint: &dyn Constraint,
        reverse: &Reverse,
        problem: &Problem,
        noise: &mut Noise,
        watch: &mut Watch,
    ) -> Result<Solution, Error> {
        match self {
            SolverSpec::PredictorCorrector(sampler) => {
                sampler.sample_within(reverse, &self.within_reach(reverse, problem), Some(constraint), noise, watch)
            }
            _ => Err(SolverSpec::no_constraint().into()),
        }
    }

    /// The fault of a constraint that no other solver keeps.
    pub fn no_constraint() -> Fault {
        Fault::new("solver", "replacement is between the steps of predictor and corrector", "use solver.predictor-corrector")
    }

    /// The times from 1, or the horizon, to t_min and the steps between them of a solver whose steps are Gaussians given all earlier states. A fault's key is
    /// relative to `[sample]`: those of the others are not, or take more than one evaluation.
    pub fn gaussian_steps(&self, reverse: &Reverse, t_min: f64) -> Result<(Vec<f64>, Vec<GaussianStep>), Fault> {
        let SolverSpec::DpmSolverPp { order, grid } = *self else { return Err(SolverSpec::not_gaussian()) };
        let times = grid.times(reverse.sde(), (reverse.sde().horizon(), t_min));
        let solver = MultiStep::new(Scheme::DpmSolverPp, order, grid).map_err(|fault| fault.within("solver.dpm-solver-pp"))?;
        let steps = solver.steps(reverse, &times);
        Ok((times, steps))
    }

    /// The fault of a solver that can't lead particles.
    pub fn not_gaussian() -> Fault {
        let help = "use solver.dpm-solver-pp, whose steps take an evaluation each; order = 1 has DDPM's, order = 2 needs fewer";
        Fault::new("solver", "the weights of particles are of Gaussian steps", help)
    }

    /// Whether this can sample the reverse process of a family parameter η from 1 to t_min. `network_levels` are the levels of noise of a
    /// network in discrete time.
    pub fn check(&self, sde: &dyn Sde, eta: f64, t_min: f64, network_levels: Option<usize>) -> Result<(), Fault> {
        let name = &*self.name();
        if eta > 0.0 || self.draws_noise() {
            let help = "use dynamics = \"probability-flow\" and a solver without noise, such as heun or dpm-solver-pp";
            sde.check_score(name, "steps with noise need the score of a process with normal noise", help)?;
        }
        self.sampler(eta)?.check(sde, eta, t_min, network_levels).map_err(|fault| fault.within(name))
    }

    /// Solves the reverse process.
    ///
    /// Errors: a solver that can't, as [`sampler`](SolverSpec::sampler) says; a solution that is not finite, or an adaptive step that shrinks
    /// to nothing.
    pub fn sample(&self, reverse: &Reverse, problem: &Problem, noise: &mut Noise, watch: &mut Watch) -> Result<Solution, Error> {
        let problem = &self.within_reach(reverse, problem);
        finite(self.sampler(reverse.eta)?.sample(reverse, problem, noise, watch)?, problem.span.1)
    }

    /// The problem from where this can begin: a start beyond it stands for one there.
    fn within_reach<'a>(&self, reverse: &Reverse, problem: &Problem<'a>) -> Problem<'a> {
        let (start, end) = problem.span;
        Problem { span: (start.min(self.last_start(reverse)), end), ..*problem }
    }

    /// Whether this draws noise on the probability flow, too.
    pub fn draws_noise(&self) -> bool {
        match self {
            SolverSpec::Edm(churn) => churn.s_churn > 0.0,
            SolverSpec::PredictorCorrector(sampler) => sampler.corrector != Corrector::None,
            SolverSpec::AnnealedLangevin(_) => true,
            _ => false,
        }
    }

    /// What speaks against this for data of D dimensions, though it works.
    pub fn doubt(&self, dimension: usize) -> Option<Fault> {
        match self {
            SolverSpec::PredictorCorrector(sampler) => sampler.doubt(dimension).map(|fault| fault.within(&self.name())),
            _ => None,
        }
    }

    /// The last time at which this can begin: the last one of the model, or, for a solver that divides by α, the horizon of the process.
    pub fn last_start(&self, reverse: &Reverse) -> f64 {
        match (self, self.general()) {
            // A chain has a signal at all of its levels.
            (SolverSpec::DiscreteChain(_), _) => 1.0,
            (SolverSpec::PredictorCorrector(sampler), _) => sampler.last_start(reverse),
            (_, Ok(general)) if reverse.eta == 0.0 => general.last_start(reverse.model),
            _ => reverse.sde().horizon(),
        }
    }

    /// The time at which a way from `start` to `t_min` really begins: a predictor walks from a time of its own, at or below that. None where
    /// it has none.
    pub fn begins_at(&self, reverse: &Reverse, (start, t_min): (f64, f64)) -> Option<f64> {
        let start = start.min(self.last_start(reverse));
        match self {
            SolverSpec::PredictorCorrector(sampler) => sampler.times(reverse, (start, t_min)).first().copied(),
            _ => Some(start),
        }
    }

    /// Of a chain's steps down.
    pub fn variance(&self) -> Option<Variance> {
        match self {
            SolverSpec::PredictorCorrector(sampler) => sampler.variance(),
            SolverSpec::DiscreteChain(sampler) => Some(sampler.variance),
            _ => None,
        }
    }

    /// Whether an example depends on its batch mates.
    pub fn couples_batch(&self) -> bool {
        match self {
            SolverSpec::PredictorCorrector(sampler) => sampler.couples_batch(),
            _ => self.adaptive().is_some_and(|(tableau, adaptive)| General::Adaptive(tableau, adaptive).couples_batch()),
        }
    }
}

fn needs_noise(name: &str) -> Fault {
    Fault::new(name, format!("{name} is for dynamics with noise"), "use a Runge-Kutta method without noise, such as heun or rk45")
}
