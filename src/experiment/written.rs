//! The experiment file as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::paths;
use crate::analytic::AnalyticVariance;
use crate::classifier;
use crate::data::{ConditionSpec, Data};
use crate::dequantisation::DequantisationSpec;
use crate::evaluation::Evaluate;
use crate::generator::{FlowSpec, hierarchical_vae, vae};
use crate::latent::SpaceSpec;
use crate::likelihood::{Density, Likelihood};
use crate::model::{Precondition, ScoreSpec};
use crate::net::NetworkSpec;
use crate::sample::{Draw, Sample};
use crate::sde::SdeSpec;
use crate::train::Train;

/// An experiment: a score under `[sde.*]`, either known, `[score.*]`, or learnt, `[network.*]`, `[precondition.*]` and `[train]`, that
/// `[sample]` and `[likelihood]` ask, of the data or of latent variables of them, `[space.latent]`, and given what is known of an example where
/// there is `[condition.*]`; or a family without a process,
/// `[flow.*]`, `[vae]` or `[hierarchical_vae.*]` and `[train]`, that `[draw]` and `[density]` ask; or a classifier under `[sde.*]`,
/// `[classifier]`, which may also stand beside a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Every random number is a function of it.
    pub seed: u64,
    pub sde: Option<SdeSpec>,
    pub data: Data,
    pub condition: Option<ConditionSpec>,
    pub space: Option<SpaceSpec>,
    pub score: Option<ScoreSpec>,
    pub network: Option<NetworkSpec>,
    pub precondition: Option<Precondition>,
    pub flow: Option<FlowSpec>,
    pub vae: Option<vae::Spec>,
    pub hierarchical_vae: Option<hierarchical_vae::Spec>,
    pub train: Option<Train>,
    pub classifier: Option<classifier::Spec>,
    pub analytic_variance: Option<AnalyticVariance>,
    pub sample: Option<Sample>,
    pub dequantisation: Option<DequantisationSpec>,
    pub likelihood: Option<Likelihood>,
    pub draw: Option<Draw>,
    pub density: Option<Density>,
    pub evaluate: Option<Evaluate>,
}

impl Experiment {
    /// Nothing but a seed and data.
    pub(super) fn bare(seed: u64, data: Data) -> Experiment {
        Experiment {
            seed,
            data,
            sde: None,
            condition: None,
            space: None,
            score: None,
            network: None,
            precondition: None,
            flow: None,
            vae: None,
            hierarchical_vae: None,
            train: None,
            classifier: None,
            analytic_variance: None,
            sample: None,
            dequantisation: None,
            likelihood: None,
            draw: None,
            density: None,
            evaluate: None,
        }
    }

    /// The whole experiment as TOML, defaults included.
    pub fn resolved(&self) -> String {
        toml::to_string(self).expect("an experiment is a TOML document")
    }

    /// A mark of all that trained weights depend on: equal for experiments that differ in what is done with them, or in operational keys,
    /// or where their files are.
    pub fn mark(&self) -> String {
        let train = self.train.as_ref().map(Train::without_operational);
        let space = self.space.as_ref().map(|SpaceSpec::Latent(spec)| SpaceSpec::Latent(spec.without_operational()));
        // What a classifier is beside depends on nothing of it.
        let alone = self.score.is_none() && self.network.is_none();
        let classifier = self.classifier.as_ref().filter(|_| alone).map(classifier::Spec::without_operational);
        let asked = Experiment {
            analytic_variance: None,
            sample: None,
            dequantisation: None,
            likelihood: None,
            draw: None,
            density: None,
            evaluate: None,
            ..self.clone()
        };
        let network = self.network.as_ref().map(NetworkSpec::without_operational);
        let trained = Experiment { train, space, network, classifier, ..asked };
        format!("{:08x}", crc32fast::hash(paths::without(trained).resolved().as_bytes()))
    }
}
