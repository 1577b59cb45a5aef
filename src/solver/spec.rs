//! `[sample.solver.*]` and `[likelihood.solver.*]`: every solver by its name and settings, and the loop that serves it.

use serde::{Deserialize, Serialize};

use super::exponential::Prediction;
use super::multi_step::Scheme;
use super::{
    Adaptive, AnnealedLangevin, Churn, Control, DeisVariable, DiscreteChain, PredictorCorrector, Sampler, Tableau, TimeGrid, UniPcVariant,
    dop853, tableau,
};

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

/// The loop that serves a solver.
pub(super) enum Family<'a> {
    Fixed(&'static Tableau, &'a TimeGrid),
    Adaptive(&'static Tableau, Adaptive),
    Sra(&'a TimeGrid),
    AdaptiveSde(f64, f64),
    Edm(&'a Churn),
    MultiStep(Scheme, usize, &'a TimeGrid),
    SingleStep(Prediction, usize, &'a TimeGrid),
    Sampler(&'a dyn Sampler),
}

impl SolverSpec {
    /// The solver's table.
    pub(super) fn name(&self) -> String {
        let value = toml::Value::try_from(self).expect("settings are TOML");
        value.as_table().and_then(|table| table.keys().next()).expect("a variant is a table of one key").clone()
    }

    pub(super) fn family(&self) -> Family<'_> {
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
}
