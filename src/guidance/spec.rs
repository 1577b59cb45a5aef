//! `[sample.measurement]`: what was measured, and how samples are made to fit it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::Split;
use crate::error::Fault;
use crate::measurement::OperatorSpec;
use crate::sde::Sde;
use crate::solver::{Predictor, SolverSpec};

/// `[sample.measurement]`: samples are of x given y = A x + σ_y n, all of them of one y.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// A.
    pub operator: OperatorSpec,
    /// σ_y, above 0, in the data's units: of pixels, 0 to 255.
    pub noise: f64,
    pub observation: Observation,
    pub method: Method,
}

/// Where y comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Observation {
    /// It is made of an example: y = A x + σ_y n, n a function of the seed. The example is kept with the samples.
    Example {
        split: Split,
        /// Counted from 0.
        index: usize,
    },
    /// An `.npy` file of M numbers, in the data's units.
    File(PathBuf),
}

/// How samples are made to fit: most by what they take for V, the covariance of x_0 given x_t.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Method {
    /// Diffusion posterior sampling (Chung et al. 2023, arXiv 2209.14687): V = 0, and in place of 1/σ_y² a strength ζ over ‖y - A x̂‖, as in the
    /// paper's algorithm 1 for a chain of 1000 steps: the term is -1000 ζ/g² ∇‖y - A x̂‖.
    Dps {
        /// ζ, above 0; the paper uses 0.3 to 1.
        strength: f64,
    },
    /// Pseudo-inverse guidance (Song et al. 2023, ICLR, "ΠGDM"): V = r² I with r² = s² σ² / (α² s² + σ²), right for x_0 ~ N(μ, s² I).
    PseudoInverse {
        /// s, above 0, in model space; the paper has 1.
        data_std: f64,
    },
    /// Moment matching (Rozet et al. 2024, arXiv 2405.13712, "MMPS"): V = σ²/α ∂x̂/∂x, Tweedie's covariance, right for any Gaussian. The system is
    /// solved by conjugate gradients, a backward pass each.
    MomentMatching {
        /// Of conjugate gradients, 1 to 1000; the paper uses 1 to 5, and M are exact.
        iterations: usize,
    },
    /// Particles (Wu et al. 2023, arXiv 2306.17775, "TDS"), which pseudo-inverse guidance leads, weighted by how well they fit: right for any
    /// law as they and the steps grow in number. With `solver.dpm-solver-pp` and the reverse SDE.
    Particles {
        /// Of each sample, 2 to 10,000; each costs what a sample costs.
        count: usize,
        /// s of what leads them, above 0, in model space; it decides how many are needed.
        data_std: f64,
    },
    /// What is measured is put into x after every move, at x's level of noise (Song et al. 2021, appendix I), as if there were no noise σ_y. With
    /// `solver.predictor-corrector`, for operators whose rows are orthogonal: mask, grey, downsampling.
    Replacement,
    /// The same, each time visited again and again (Lugmayr et al. 2022, arXiv 2201.09865), with a step of the forward process in between.
    Repaint {
        /// Of each time, 2 to 1000; the paper uses 10.
        visits: usize,
    },
}

impl Method {
    /// Whether it keeps the states of a walk, and is no model.
    pub fn replaces(&self) -> Option<usize> {
        match self {
            Method::Replacement => Some(1),
            Method::Repaint { visits } => Some(*visits),
            _ => None,
        }
    }

    /// Particles of each sample.
    pub fn particles(&self) -> usize {
        match self {
            Method::Particles { count, .. } => *count,
            _ => 1,
        }
    }

    /// Whether a solver of the family parameter η can serve this. A fault's key is relative to `[sample]`.
    pub fn check_solver(&self, solver: &SolverSpec, eta: f64) -> Result<(), Fault> {
        if let Method::Particles { .. } = self {
            if !matches!(solver, SolverSpec::DpmSolverPp { .. }) {
                return Err(SolverSpec::not_gaussian());
            }
            if eta != 1.0 {
                let help = "use dynamics = \"reverse-sde\"";
                return Err(Fault::new("dynamics", "particles follow the reverse SDE", help));
            }
        }
        match (self.replaces(), solver) {
            (Some(visits), SolverSpec::PredictorCorrector(walk)) if visits > 1 && walk.predictor == Predictor::None => {
                let help = "give a predictor, or the method \"replacement\"";
                Err(Fault::new("measurement.method", "repaint goes back after a predictor, and there is none", help))
            }
            (Some(_), SolverSpec::PredictorCorrector(_)) | (None, _) => Ok(()),
            (Some(_), _) => Err(SolverSpec::no_constraint()),
        }
    }
}

impl Spec {
    /// What can be known without the data. A fault's key is relative to `[sample.measurement]`.
    pub fn check(&self, sde: &dyn Sde, network_levels: Option<usize>) -> Result<(), Fault> {
        let above_0 = |key: &str, value: f64, help: &str| {
            if value > 0.0 && value.is_finite() { Ok(()) } else { Err(Fault::new(key, format!("it is {value}"), help)) }
        };
        above_0("noise", self.noise, "give a number above 0: without noise no density of x given y is to be had")?;
        sde.check_score("method", "the covariance of x_0 given x_t is that of normal noise", "use another process")?;
        if network_levels.is_some() && matches!(self.method, Method::Dps { .. }) {
            let help = "use pseudo-inverse or moment-matching, or a network in continuous time";
            return Err(Fault::new("method", "the strength of dps is of g², which levels of noise don't have", help));
        }
        match self.method {
            Method::Dps { strength } => above_0("method.dps.strength", strength, "the paper uses 0.3 to 1"),
            Method::PseudoInverse { data_std } => above_0("method.pseudo-inverse.data_std", data_std, "the paper has 1"),
            Method::MomentMatching { iterations } => {
                Fault::unless_in("method.moment-matching.iterations", iterations, 1..=1000, "the paper uses 1 to 5")
            }
            Method::Particles { count, data_std } => {
                Fault::unless_in("method.particles.count", count, 2..=10_000, "each costs what a sample costs")?;
                above_0("method.particles.data_std", data_std, "pseudo-inverse guidance has 1")
            }
            Method::Replacement => Ok(()),
            Method::Repaint { visits } => Fault::unless_in("method.repaint.visits", visits, 2..=1000, "the paper uses 10"),
        }
    }
}
