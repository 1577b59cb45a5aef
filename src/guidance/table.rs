//! `[sample.guidance.*]`: what else samples should be.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Factor;
use crate::error::Fault;
use crate::model::Model;

/// `[sample.guidance.*]`: samples that are more of what they are given than the law itself, closer to the data than the model, or of another
/// law that is made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Guidance {
    /// Away from the same model without what is given (Ho & Salimans 2022, arXiv 2207.12598): [`Contrast`](super::Contrast).
    ClassifierFree(Strength),
    /// Towards what the classifier of `[classifier]` takes for the class: [`Classified`](super::Classified).
    Classifier(Strength),
    /// Away from a worse model of the same, smaller or trained less (Karras et al. 2024, arXiv 2406.02507): [`Contrast`](super::Contrast).
    Autoguidance(Autoguidance),
    /// Of the law times a factor: [`Product`](super::Product).
    Product(Factor),
}

/// How strongly, and where.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Strength {
    /// w, at least 0, which is no guidance; others write 1 + w for it.
    pub weight: f64,
    /// The least and the largest σ/α that are guided (Kynkäänniemi et al. 2024, arXiv 2404.07724); left out, all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<[f64; 2]>,
}

/// `[sample.guidance.autoguidance]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Autoguidance {
    /// w, at least 0, which is no guidance.
    pub weight: f64,
    /// The least and the largest σ/α that are guided; left out, all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<[f64; 2]>,
    /// The folder of the run that guides, of the same process and data; left out, the run itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<PathBuf>,
    /// The step of the checkpoint that guides; left out, the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
}

impl Strength {
    /// w at t.
    pub(super) fn at(&self, model: &dyn Model, t: f64) -> f64 {
        let level = model.level(t);
        let within = self.noise.is_none_or(|[least, most]| (least..=most).contains(&(level.sigma / level.alpha)));
        if within { self.weight } else { 0.0 }
    }

    fn check(&self) -> Result<(), Fault> {
        let Strength { weight, noise } = *self;
        if !(weight >= 0.0 && weight.is_finite()) {
            return Err(Fault::new("weight", format!("weight is {weight}"), "give a number of at least 0, such as 1.0"));
        }
        match noise {
            Some([least, most]) if !(least >= 0.0 && least < most) => {
                let message = format!("there is no σ/α from {least} to {most}");
                Err(Fault::new("noise", message, "give the least and the largest σ/α, such as [0.2, 5.0]"))
            }
            _ => Ok(()),
        }
    }
}

impl Autoguidance {
    pub fn strength(&self) -> Strength {
        Strength { weight: self.weight, noise: self.noise }
    }

    fn check(&self) -> Result<(), Fault> {
        if self.run.is_none() && self.step.is_none() {
            let help = "give run, the folder of a worse run, or step, of an earlier checkpoint";
            return Err(Fault::new("", "the guide would be the model itself", help));
        }
        self.strength().check()
    }
}

impl Guidance {
    /// A fault's key is relative to `[sample.guidance]`.
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            Guidance::ClassifierFree(strength) => strength.check().map_err(|fault| fault.within("classifier-free")),
            Guidance::Classifier(strength) => strength.check().map_err(|fault| fault.within("classifier")),
            Guidance::Autoguidance(spec) => spec.check().map_err(|fault| fault.within("autoguidance")),
            Guidance::Product(factor) => factor.check().map_err(|fault| fault.within("product")),
        }
    }

    /// Whether its own part of the score has no gradient.
    pub fn is_detached(&self) -> bool {
        matches!(self, Guidance::Product(_) | Guidance::Classifier(_))
    }

    /// Whether it asks for the score's gradient.
    pub fn differentiates(&self) -> bool {
        matches!(self, Guidance::Product(_))
    }
}
