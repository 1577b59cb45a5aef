//! The solvers that the lab knows by name.

use crate::error::{Error, Result};
use crate::sample::DynamicsSpec;
use crate::sde::Variance;
use crate::solver::{
    Adaptive, AnnealedLangevin, Churn, Corrector, DeisVariable, DiscreteChain, Norms, Predictor, PredictorCorrector, SolverSpec, Spacing,
    StepFactor, TimeGrid, UniPcVariant,
};

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
    /// A grid and s_churn, two evaluations a step.
    Churn(fn(TimeGrid, f64) -> SolverSpec),
    /// A number of steps, with so many evaluations each.
    Number(usize, fn(usize) -> SolverSpec),
    /// A tolerance of an ordinary differential equation.
    Tolerance(fn(f64) -> SolverSpec),
    /// A tolerance of a path with noise, which is looser.
    NoisyTolerance(fn(f64) -> SolverSpec),
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

const fn song(name: &'static str, evaluations: usize, make: fn(usize) -> SolverSpec) -> Candidate {
    Candidate { name, dynamics: DynamicsSpec::ReverseSde, steps: Steps::Number(evaluations, make) }
}

/// The reference's predictors, and its corrector at the signal-to-noise ratio of its CIFAR-10 networks.
fn predictor_corrector(steps: usize, predictor: Predictor, corrected: bool) -> SolverSpec {
    let langevin = Corrector::Langevin { steps: 1, snr: 0.16, norms: Norms::Batch, alpha: StepFactor::Chain };
    let corrector = if corrected { langevin } else { Corrector::None };
    SolverSpec::PredictorCorrector(PredictorCorrector { steps, predictor, corrector })
}

/// Names are those of `[sample]`, of a predictor, or of a solver with its order; `-sde` marks the reverse SDE, the others solve the probability flow.
pub static CANDIDATES: &[Candidate] = &[
    ode("euler", 1, |grid| SolverSpec::Euler { grid }),
    ode("midpoint", 2, |grid| SolverSpec::Midpoint { grid }),
    ode("heun", 2, |grid| SolverSpec::Heun { grid }),
    ode("rk4", 4, |grid| SolverSpec::Rk4 { grid }),
    adaptive("rk23", |tolerance| SolverSpec::Rk23(Adaptive::new(tolerance, tolerance))),
    adaptive("rk45", |tolerance| SolverSpec::Rk45(Adaptive::new(tolerance, tolerance))),
    adaptive("tsit5", |tolerance| SolverSpec::Tsit5(Adaptive::new(tolerance, tolerance))),
    adaptive("dop853", |tolerance| SolverSpec::Dop853(Adaptive::new(tolerance, tolerance))),
    Candidate {
        name: "edm",
        dynamics: DynamicsSpec::ProbabilityFlow,
        steps: Steps::Churn(|grid, s_churn| SolverSpec::Edm(Churn { s_churn, s_min: 0.05, s_max: 50.0, s_noise: 1.0, grid })),
    },
    ode("dpm-solver-pp-1", 1, |grid| SolverSpec::DpmSolverPp { order: 1, grid }),
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
    sde("sra-sde", 2, |grid| SolverSpec::Sra { grid }),
    Candidate {
        name: "adaptive-sde",
        dynamics: DynamicsSpec::ReverseSde,
        steps: Steps::NoisyTolerance(|tolerance| SolverSpec::AdaptiveSde { rtol: tolerance, atol: tolerance }),
    },
    sde("dpm-solver-pp-1-sde", 1, |grid| SolverSpec::DpmSolverPp { order: 1, grid }),
    sde("dpm-solver-2-sde", 2, |grid| SolverSpec::DpmSolver { order: 2, grid }),
    sde("dpm-solver-pp-2-sde", 1, |grid| SolverSpec::DpmSolverPp { order: 2, grid }),
    sde("dpm-solver-pp-3-sde", 1, |grid| SolverSpec::DpmSolverPp { order: 3, grid }),
    sde("dpm-solver-pp-single-2-sde", 2, |grid| SolverSpec::DpmSolverPpSingle { order: 2, grid }),
    sde("deis-rho-2-sde", 1, |grid| SolverSpec::Deis { order: 2, variable: DeisVariable::NoiseToSignal, grid }),
    song("reverse-diffusion-sde", 1, |steps| predictor_corrector(steps, Predictor::ReverseDiffusion, false)),
    song("ancestral-sde", 1, |steps| predictor_corrector(steps, Predictor::Ancestral { variance: Variance::BetaTilde }, false)),
    song("euler-langevin-sde", 2, |steps| predictor_corrector(steps, Predictor::EulerMaruyama, true)),
    song("reverse-diffusion-langevin-sde", 2, |steps| predictor_corrector(steps, Predictor::ReverseDiffusion, true)),
    song("discrete-chain-sde", 1, |steps| {
        SolverSpec::DiscreteChain(DiscreteChain { levels: 1000, steps, spacing: Spacing::Linear, variance: Variance::Beta })
    }),
    Candidate {
        name: "discrete-chain",
        dynamics: DynamicsSpec::ProbabilityFlow,
        steps: Steps::Number(1, |steps| {
            SolverSpec::DiscreteChain(DiscreteChain { levels: 1000, steps, spacing: Spacing::Quadratic, variance: Variance::BetaTilde })
        }),
    },
    song("annealed-langevin-sde", 1, |steps| {
        SolverSpec::AnnealedLangevin(AnnealedLangevin { levels: steps / 5, steps_per_level: 5, epsilon: 2e-5 })
    }),
];

impl Candidate {
    /// What `[sample]` calls its solver, whatever its order, predictor and dynamics are.
    fn solver(&self) -> String {
        const GRID: TimeGrid = TimeGrid::Uniform { steps: 20 };
        let spec = match self.steps {
            Steps::Grid(_, make) => make(GRID),
            Steps::Churn(make) => make(GRID, 0.0),
            Steps::Number(_, make) => make(20),
            Steps::Tolerance(make) | Steps::NoisyTolerance(make) => make(0.1),
        };
        let value = toml::Value::try_from(spec).expect("a solver is TOML");
        value.as_table().and_then(|table| table.keys().next().cloned()).unwrap_or_default()
    }
}

/// The candidates of these names, each that of one, or that of a solver in `[sample]`, which stands for all its orders, predictors and dynamics;
/// `all` stands for all of them. Error: a name that is none.
pub fn candidates(names: &[String]) -> Result<Vec<&'static Candidate>> {
    if names.iter().any(|name| name == "all") {
        return Ok(CANDIDATES.iter().collect());
    }
    let mut found: Vec<&'static Candidate> = Vec::new();
    for name in names {
        let own: Vec<&Candidate> = CANDIDATES.iter().filter(|candidate| candidate.name == name).collect();
        let meant = if own.is_empty() { CANDIDATES.iter().filter(|candidate| candidate.solver() == *name).collect() } else { own };
        if meant.is_empty() {
            let known: Vec<&str> = CANDIDATES.iter().map(|candidate| candidate.name).collect();
            let help = match &name[..] {
                "ddim" => "give dpm-solver-pp-1, which is DDIM in continuous time, or discrete-chain, which is that of a chain".into(),
                _ => format!("give some of all, {}", known.join(", ")),
            };
            return Err(Error::Usage { message: format!("there is no solver `{name}` here"), help });
        }
        found.extend(meant.into_iter().filter(|candidate| !found.iter().any(|known| known.name == candidate.name)).collect::<Vec<_>>());
    }
    Ok(found)
}
