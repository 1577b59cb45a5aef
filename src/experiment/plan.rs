//! The experiment as it is checked: what one of several tables must give is there.

use super::written::Experiment;
use crate::data::{Data, Summary};
use crate::dequantisation::{DequantisationSpec, Variational};
use crate::error::Fault;
use crate::likelihood::{Dequantisation, Likelihood};
use crate::model::{Parametrisation, Precondition, ScoreSpec};
use crate::net::NetworkSpec;
use crate::sample::Sample;
use crate::sde::SdeSpec;
use crate::train::Train;

/// What a run does. The list of its phases is made of it by [`crate::phase::phases`], which stand above sessions, as these stand above plans.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub sde: SdeSpec,
    pub data: Data,
    pub family: Family,
    pub sample: Option<Sample>,
    pub dequantisation: Option<Variational>,
    pub likelihood: Option<Likelihood>,
}

/// What samples and has a density.
#[derive(Clone, Debug)]
pub enum Family {
    /// A score that is known.
    Known(ScoreSpec),
    /// A score network.
    Score(Box<Learned>),
}

/// A network, how it becomes a score of the plan's process, and how it is trained.
#[derive(Clone, Debug)]
pub struct Learned {
    pub network: NetworkSpec,
    pub parametrisation: Parametrisation,
    pub train: Train,
}

impl Plan {
    pub fn learned(&self) -> Option<&Learned> {
        match &self.family {
            Family::Known(_) => None,
            Family::Score(learned) => Some(learned),
        }
    }

    /// What speaks against the plan for data of this shape, though it works.
    pub fn doubt(&self, shape: &[usize]) -> Option<Fault> {
        let doubt = self.sample.as_ref()?.solver.doubt(shape.iter().product())?;
        Some(doubt.within("sample.solver"))
    }

    /// What can only be known of the data: their shape, and the split whose likelihood is asked for.
    pub fn check_against(&self, shape: &[usize], measured: Option<&Summary>) -> Result<(), Fault> {
        match &self.family {
            Family::Known(score) => score.check(shape).map_err(|fault| fault.within("score"))?,
            Family::Score(learned) => {
                learned.network.check(shape).map_err(|fault| fault.within("network"))?;
                let dimension = shape.iter().product();
                learned.train.objective.check_dimension(dimension).map_err(|fault| fault.within("train.objective"))?;
            }
        }
        match (&self.likelihood, measured) {
            (Some(likelihood), Some(split)) => likelihood.check_against(split, shape).map_err(|fault| fault.within("likelihood")),
            _ => Ok(()),
        }
    }
}

impl Experiment {
    /// Everything that can be wrong without the data at hand.
    pub fn plan(&self) -> Result<Plan, Fault> {
        let sde = self.sde.get();
        self.sde.check().map_err(|fault| fault.within("sde"))?;
        self.data.check().map_err(|fault| fault.within("data"))?;
        let family = self.family()?;
        let levels = self.precondition.as_ref().and_then(Precondition::levels);
        if let Some(sample) = &self.sample {
            sample.check(self.data.scale(), sde, levels).map_err(|fault| fault.within("sample"))?;
        }
        if let Some(likelihood) = &self.likelihood {
            likelihood.check(self.data.scale(), sde, levels).map_err(|fault| fault.within("likelihood"))?;
            if matches!(likelihood.dequantisation, Dequantisation::Variational { .. }) && self.dequantisation.is_none() {
                let help = "give [dequantisation.variational] with its keys, or use uniform = { draws = 1 }";
                return Err(Fault::new("likelihood.dequantisation", "nothing trains the law of this dequantisation", help));
            }
        }
        let dequantisation = match &self.dequantisation {
            None => None,
            Some(spec) => {
                spec.check(self.data.scale()).map_err(|fault| fault.within("dequantisation"))?;
                let DequantisationSpec::Variational(spec) = spec;
                Some(spec.clone())
            }
        };
        let (sample, likelihood) = (self.sample.clone(), self.likelihood.clone());
        Ok(Plan { seed: self.seed, sde: self.sde.clone(), data: self.data.clone(), family, sample, dequantisation, likelihood })
    }

    /// `[score]`, or else all of `[network]`, `[precondition]` and `[train]`.
    fn family(&self) -> Result<Family, Fault> {
        if let Some(score) = &self.score {
            let trained =
                [("network", self.network.is_some()), ("precondition", self.precondition.is_some()), ("train", self.train.is_some())];
            return match trained.into_iter().find(|(_, given)| *given) {
                None => Ok(Family::Known(score.clone())),
                Some((table, _)) => {
                    let help = format!("remove [score], or remove [{table}] and whatever else describes training");
                    Err(Fault::new(table, format!("[{table}] has nothing to do: [score] is known already"), help))
                }
            };
        }
        let missing = |table: &str| {
            let help = "give [network.*], [precondition.*] and [train] to train a score, or [score.gaussian-mixture] for an exact one";
            Fault::new("", format!("there is no [{table}]"), help)
        };
        let network = self.network.as_ref().ok_or_else(|| missing("network"))?;
        let precondition = self.precondition.as_ref().ok_or_else(|| missing("precondition"))?;
        let train = self.train.as_ref().ok_or_else(|| missing("train"))?;
        let parametrisation = precondition.under(self.sde.get()).map_err(|fault| fault.within("precondition"))?;
        train.check(self.sde.get()).map_err(|fault| fault.within("train"))?;
        if precondition.levels().is_some() {
            train.check_discrete().map_err(|fault| fault.within("train"))?;
        }
        Ok(Family::Score(Box::new(Learned { network: network.clone(), parametrisation, train: train.clone() })))
    }
}
