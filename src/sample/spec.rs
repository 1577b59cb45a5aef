//! `[sample]` as written in an experiment, and whether it can work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GivenSpec;
use crate::error::Fault;
use crate::guidance::{self, Guidance};
use crate::sde::{Sde, SdeSpec};
use crate::solver::SolverSpec;
use crate::space::Scale;

/// `[sample]`: how many samples are drawn, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Samples, 1 to 100,000,000.
    pub count: usize,
    /// Samples that are solved for together, 1 to 1,000,000; sample i does not depend on it, unless the solver couples a batch.
    pub batch: usize,
    pub dynamics: DynamicsSpec,
    pub solver: SolverSpec,
    /// Where the solver stops, in (0, 1); the reference uses 1e-3 (VP, sub-VP) and 1e-5 (VE).
    pub t_min: f64,
    /// Whether the noise of t_min is taken off: the result is E[x_0 | x at t_min] instead of x at t_min.
    pub denoise: bool,
    /// Times at which the samples on their way are kept, too, at most 100; asking changes no sample.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trajectory: Vec<f64>,
    /// The path that samples come down, such as `path.linear = {}`: a network of one path serves any other by its signal-to-noise ratio, in
    /// continuous time. `t_min` and the solver's times are the path's. Left out, it is that of `[sde.*]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<SdeSpec>,
    /// Images: the denoised states on the way are kept within the range of the data. Left out, they are not.
    pub thresholding: Option<Thresholding>,
    /// What is known of the samples, of a model with `[condition.*]`; left out, nothing: they are of the law of all examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<GivenSpec>,
    /// Left out, samples are of the model's own law.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<guidance::Guidance>,
    /// What the samples have to fit; left out, they are of the data's whole law.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measurement: Option<guidance::Spec>,
}

/// Times of a trajectory: a picture shows them all.
const MOST_TIMES: usize = 100;

/// `[sample.thresholding]`: [`DynamicThresholding`](crate::model::DynamicThresholding).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Thresholding {
    /// In (0, 1]; 1 for the largest number.
    pub quantile: f64,
}

/// Which reverse process is solved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum DynamicsSpec {
    /// The reverse SDE, η = 1.
    ReverseSde,
    /// The probability-flow ODE, η = 0.
    ProbabilityFlow,
    /// The family between and beyond: noise of η g(t).
    Family {
        /// η, at least 0.
        eta: f64,
    },
}

impl DynamicsSpec {
    /// η of [`Reverse`](crate::dynamics::Reverse).
    pub fn eta(&self) -> f64 {
        match self {
            DynamicsSpec::ReverseSde => 1.0,
            DynamicsSpec::ProbabilityFlow => 0.0,
            DynamicsSpec::Family { eta } => *eta,
        }
    }
}

impl Sample {
    /// `network_levels` are the levels of noise of a network in discrete time.
    pub fn check(&self, scale: Scale, sde: &dyn Sde, network_levels: Option<usize>) -> Result<(), Fault> {
        let sde = self.path(sde, network_levels)?;
        Fault::unless_in("count", self.count, 1..=100_000_000, "leave [sample] out for no samples")?;
        Fault::unless_in("batch", self.batch, 1..=1_000_000, "a smaller batch needs less memory")?;
        if !(self.t_min > 0.0 && self.t_min < 1.0) {
            let help = "give a number between 0 and 1; the reference uses 1e-3 (VP, sub-VP) and 1e-5 (VE)";
            return Err(Fault::new("t_min", format!("t_min is {}", self.t_min), help));
        }
        if let Some(t) = self.trajectory.iter().find(|t| !(self.t_min..=1.0).contains(*t)) {
            let message = format!("there is no state at t = {t}");
            return Err(Fault::new("trajectory", message, format!("give times from t_min = {} to 1, such as [1.0, 0.5, 0.1]", self.t_min)));
        }
        if self.trajectory.len() > MOST_TIMES {
            let message = format!("{} times are more than a picture can show", self.trajectory.len());
            return Err(Fault::new("trajectory", message, format!("give at most {MOST_TIMES} times")));
        }
        let eta = self.dynamics.eta();
        if !(eta >= 0.0 && eta.is_finite()) {
            let help = "give a number of at least 0; 0 is the probability flow, 1 the reverse SDE";
            return Err(Fault::new("dynamics.family.eta", format!("eta is {eta}"), help));
        }
        if let Some(Thresholding { quantile }) = self.thresholding {
            if let Scale::Vectors { .. } = scale {
                let help = "remove [sample.thresholding]; it is for images";
                return Err(Fault::new("thresholding", "vectors have no range to be kept within", help));
            }
            if network_levels.is_some() {
                let help = "remove [sample.thresholding]; it is for networks in continuous time";
                return Err(Fault::new("thresholding", "a network in discrete time knows other levels of noise than the SDE", help));
            }
            if !(quantile > 0.0 && quantile <= 1.0) {
                let help = "give a number above 0 and at most 1, such as 0.995";
                return Err(Fault::new("thresholding.quantile", format!("quantile is {quantile}"), help));
            }
        }
        if let Some(guidance) = &self.guidance {
            guidance.check().map_err(|fault| fault.within("guidance"))?;
            if guidance.differentiates() {
                sde.check_score("guidance", "the covariance of x_0 given x_t is that of normal noise", "use another process")?;
            }
        }
        if let (Some(guidance), Some(measurement)) = (&self.guidance, &self.measurement)
            && guidance.is_detached()
            && measurement.method.replaces().is_none()
        {
            let message = "sample.measurement.method needs the gradient of the score, which that of this guidance is not part of";
            return Err(Fault::new("guidance", message, "remove one of the two, or use the methods replacement or repaint"));
        }
        if let Some(measurement) = &self.measurement {
            measurement.check(sde, network_levels).map_err(|fault| fault.within("measurement"))?;
            measurement.method.check_solver(&self.solver, eta)?;
            if measurement.method.particles() > 1 && !self.trajectory.is_empty() {
                let message = "particles are left behind on the way, and samples have no states there";
                return Err(Fault::new("trajectory", message, "remove it, or use another sample.measurement.method"));
            }
        }
        self.solver.check(sde, eta, self.t_min, network_levels).map_err(|fault| fault.within("solver"))
    }

    /// The process that samples come down, for a score of `sde`.
    fn path<'a>(&'a self, sde: &'a dyn Sde, network_levels: Option<usize>) -> Result<&'a dyn Sde, Fault> {
        let Some(path) = &self.path else { return Ok(sde) };
        path.check().map_err(|fault| fault.within("path"))?;
        let message = "another path is taken by the score of its signal-to-noise ratio";
        sde.check_score("path", message, "remove sample.path")?;
        path.get().check_score("path", message, "give another path, such as path.linear = {}")?;
        let fault = |message: &str, help: &str| Err(Fault::new("path", message, help));
        match &self.guidance {
            _ if network_levels.is_some() => {
                fault("a network in discrete time knows the levels of its own chain alone", "remove sample.path")
            }
            Some(Guidance::Classifier(_) | Guidance::Autoguidance(_)) => {
                fault("what guides these samples is of the path of [sde]", "remove sample.path, or use another guidance")
            }
            _ => Ok(path.get()),
        }
    }
}
