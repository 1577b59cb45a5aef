//! The solvers that the lab knows by name.

use crate::error::{Error, Result};
use crate::sample::DynamicsSpec;
use crate::solver::{Adaptive, DeisVariable, SolverSpec, TimeGrid, UniPcVariant};

/// A solver but for its steps.
pub struct Candidate {
    pub name: &'static str,
    pub dynamics: DynamicsSpec,
    pub steps: Steps,
}

/// What decides the number of evaluations.
pub enum Steps {
    /// A grid, with so many evaluations a step.
    Grid(usize, fn(TimeGrid) -> SolverSpec),
    /// A tolerance.
    Tolerance(fn(f64) -> SolverSpec),
}

const fn ode(name: &'static str, evaluations: usize, make: fn(TimeGrid) -> SolverSpec) -> Candidate {
    Candidate { name, dynamics: DynamicsSpec::ProbabilityFlow, steps: Steps::Grid(evaluations, make) }
}

const fn sde(name: &'static str, evaluations: usize, make: fn(TimeGrid) -> SolverSpec) -> Candidate {
    Candidate { name, dynamics: DynamicsSpec::ReverseSde, steps: Steps::Grid(evaluations, make) }
}

const fn adaptive(name: &'static str, make: fn(f64) -> SolverSpec) -> Candidate {
    Candidate { name, dynamics: DynamicsSpec::ProbabilityFlow, steps: Steps::Tolerance(make) }
}

/// Numbers at the end of a name are orders; `-sde` marks the reverse SDE, the others solve the probability flow.
pub static CANDIDATES: [Candidate; 32] = [
    ode("euler", 1, |grid| SolverSpec::Euler { grid }),
    ode("midpoint", 2, |grid| SolverSpec::Midpoint { grid }),
    ode("heun", 2, |grid| SolverSpec::Heun { grid }),
    ode("rk4", 4, |grid| SolverSpec::Rk4 { grid }),
    adaptive("rk23", |tolerance| SolverSpec::Rk23(Adaptive::new(tolerance, tolerance))),
    adaptive("rk45", |tolerance| SolverSpec::Rk45(Adaptive::new(tolerance, tolerance))),
    adaptive("tsit5", |tolerance| SolverSpec::Tsit5(Adaptive::new(tolerance, tolerance))),
    ode("ddim", 1, |grid| SolverSpec::DpmSolverPp { order: 1, grid }),
    ode("dpm-solver-2", 2, |grid| SolverSpec::DpmSolver { order: 2, grid }),
    ode("dpm-solver-3", 3, |grid| SolverSpec::DpmSolver { order: 3, grid }),
    ode("dpm-solver-pp-2", 1, |grid| SolverSpec::DpmSolverPp { order: 2, grid }),
    ode("dpm-solver-pp-3", 1, |grid| SolverSpec::DpmSolverPp { order: 3, grid }),
    ode("dpm-solver-pp-single-2", 2, |grid| SolverSpec::DpmSolverPpSingle { order: 2, grid }),
    ode("dpm-solver-pp-single-3", 3, |grid| SolverSpec::DpmSolverPpSingle { order: 3, grid }),
    ode("deis-time-2", 1, |grid| SolverSpec::Deis { order: 2, variable: DeisVariable::Time, grid }),
    ode("deis-time-3", 1, |grid| SolverSpec::Deis { order: 3, variable: DeisVariable::Time, grid }),
    ode("deis-time-4", 1, |grid| SolverSpec::Deis { order: 4, variable: DeisVariable::Time, grid }),
    ode("deis-rho-2", 1, |grid| SolverSpec::Deis { order: 2, variable: DeisVariable::NoiseToSignal, grid }),
    ode("deis-rho-3", 1, |grid| SolverSpec::Deis { order: 3, variable: DeisVariable::NoiseToSignal, grid }),
    ode("deis-rho-4", 1, |grid| SolverSpec::Deis { order: 4, variable: DeisVariable::NoiseToSignal, grid }),
    ode("uni-pc-1", 1, |grid| SolverSpec::UniPc { order: 1, variant: UniPcVariant::Bh2, grid }),
    ode("uni-pc-2", 1, |grid| SolverSpec::UniPc { order: 2, variant: UniPcVariant::Bh2, grid }),
    ode("uni-pc-3", 1, |grid| SolverSpec::UniPc { order: 3, variant: UniPcVariant::Bh2, grid }),
    sde("euler-sde", 1, |grid| SolverSpec::Euler { grid }),
    sde("midpoint-sde", 2, |grid| SolverSpec::Midpoint { grid }),
    sde("heun-sde", 2, |grid| SolverSpec::Heun { grid }),
    sde("ancestral-sde", 1, |grid| SolverSpec::DpmSolverPp { order: 1, grid }),
    sde("dpm-solver-2-sde", 2, |grid| SolverSpec::DpmSolver { order: 2, grid }),
    sde("dpm-solver-pp-2-sde", 1, |grid| SolverSpec::DpmSolverPp { order: 2, grid }),
    sde("dpm-solver-pp-3-sde", 1, |grid| SolverSpec::DpmSolverPp { order: 3, grid }),
    sde("dpm-solver-pp-single-2-sde", 2, |grid| SolverSpec::DpmSolverPpSingle { order: 2, grid }),
    sde("deis-rho-2-sde", 1, |grid| SolverSpec::Deis { order: 2, variable: DeisVariable::NoiseToSignal, grid }),
];

/// The candidates of these names; `all` stands for all of them. Error: a name that is none.
pub fn candidates(names: &[String]) -> Result<Vec<&'static Candidate>> {
    if names.iter().any(|name| name == "all") {
        return Ok(CANDIDATES.iter().collect());
    }
    let find = |name: &String| {
        CANDIDATES.iter().find(|candidate| candidate.name == name).ok_or_else(|| {
            let known: Vec<&str> = CANDIDATES.iter().map(|candidate| candidate.name).collect();
            Error::Usage { message: format!("there is no solver `{name}` here"), help: format!("give some of all, {}", known.join(", ")) }
        })
    };
    names.iter().map(find).collect()
}
