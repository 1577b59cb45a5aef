//! How samples are led to what they have to fit.

use tch::Device;

use super::posterior::{Posterior, Solved};
use super::pseudo_inverse::PseudoInverse;
use super::{Method, Particles, Replacement};
use crate::error::Fault;
use crate::measurement::Measurement;
use crate::model::Model;
use crate::solver::Constraint;

/// A model and what a method makes of it and of a measurement.
pub enum Way<'a> {
    /// There is nothing to fit.
    Free(&'a dyn Model),
    Posterior(Posterior<'a>),
    Replacement(&'a dyn Model, Replacement<'a>),
    Particles(Particles<'a>),
}

impl<'a> Way<'a> {
    /// `measurement` is in model space; the method has passed its checks. Fault: the method needs an operator with
    /// orthogonal rows; its key is relative to `[sample.measurement]`.
    pub fn new(model: &'a dyn Model, measurement: &'a Measurement, method: &Method, device: Device) -> Result<Way<'a>, Fault> {
        let posterior = |solved| Way::Posterior(Posterior { model, measurement, solved });
        Ok(match *method {
            Method::Dps { strength } => posterior(Solved::Dps { strength }),
            Method::MomentMatching { iterations } => posterior(Solved::MomentMatching { iterations }),
            Method::PseudoInverse { data_std } => posterior(Solved::PseudoInverse(PseudoInverse::new(measurement, data_std, device))),
            Method::Particles { count, data_std } => Way::Particles(Particles::new(model, measurement, (count, data_std), device)),
            Method::Replacement => Way::Replacement(model, Replacement::new(measurement, 1)?),
            Method::Repaint { visits } => Way::Replacement(model, Replacement::new(measurement, visits)?),
        })
    }

    /// The model whose reverse process is solved.
    pub fn model(&self) -> &dyn Model {
        match self {
            Way::Free(model) | Way::Replacement(model, _) => *model,
            Way::Posterior(posterior) => posterior,
            Way::Particles(particles) => particles.model(),
        }
    }

    /// What the states are kept to.
    pub fn constraint(&self) -> Option<&dyn Constraint> {
        match self {
            Way::Replacement(_, replacement) => Some(replacement),
            Way::Free(_) | Way::Posterior(_) | Way::Particles(_) => None,
        }
    }
}
