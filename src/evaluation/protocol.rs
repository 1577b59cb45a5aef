//! Numbers as other programs publish them, and what is missing for them to be comparable.

use clap::ValueEnum;
use serde::Serialize;
use tch::Device;

use super::against::Against;
use super::compare::{Measure, Settings};
use super::table::FeatureTable;
use crate::error::{Error, Result};
use crate::metric::{Features, OfParts, Support, kid_of_blocks, kid_of_subsets};

/// Whose numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// The FID of EDM (Karras et al. 2022).
    Edm,
    /// FID and KID of score_sde_pytorch (Song et al. 2021).
    Reference,
    /// FID, KID, precision and recall of torch-fidelity.
    TorchFidelity,
}

/// What a protocol says of two sets.
#[derive(Debug, Serialize)]
pub struct Followed {
    pub protocol: Protocol,
    pub values: Vec<Value>,
    /// Why these numbers can't be compared with published ones; empty where they can, as far as this program knows.
    pub missing: Vec<String>,
}

/// A number by the formula of a protocol.
#[derive(Debug, Serialize)]
pub struct Value {
    pub metric: &'static str,
    pub value: f64,
    /// What the protocol gives beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
}

/// Samples that published numbers are of.
const SAMPLES: usize = 50_000;
/// Features of Inception, before its last layer.
const INCEPTION: usize = 2048;
/// Of torch-fidelity: subsets, their size, the seed, and the neighbour of precision and recall.
const SUBSETS: (usize, usize, u32) = (100, 1000, 2020);
const NEIGHBOUR: i64 = 3;
/// Of TF-GAN.
const LARGEST_BLOCK: i64 = 1024;

impl Protocol {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Edm => "EDM",
            Protocol::Reference => "score_sde_pytorch",
            Protocol::TorchFidelity => "torch-fidelity",
        }
    }

    /// The numbers of samples `a` and data `b`, of which these are measured. Error: their features say nothing.
    pub fn follow(self, a: &FeatureTable, b: &Against, measures: &[Measure], how: Settings, device: Device) -> Result<Followed> {
        // All three have the plain formula.
        let frechet = measures.iter().filter(|measure| measure.metric == "frechet_distance");
        let mut values: Vec<Value> =
            frechet.map(|Measure { metric, estimate, .. }| Value { metric, value: estimate.value, deviation: None }).collect();
        let Against::Examples(b) = b else {
            let mut missing = self.missing(a, None);
            missing.extend(self.needs_examples().map(|what| format!("{what} need examples of B, of which there are moments alone")));
            return Ok(Followed { protocol: self, values, missing });
        };
        let mut missing = self.missing(a, Some(b));
        let both = || Ok::<_, Error>((a.features(how.seed, device)?, b.features(how.seed, device)?));
        match self {
            Protocol::Edm => {}
            Protocol::Reference => {
                let (x, y) = both()?;
                let OfParts { mean, .. } = kid_of_blocks(&x, &y, LARGEST_BLOCK)?;
                values.push(Value { metric: "kid_of_blocks", value: mean, deviation: None });
            }
            Protocol::TorchFidelity => {
                let (x, y) = both()?;
                values.extend(torch_fidelity(&x, &y, &mut missing)?);
            }
        }
        Ok(Followed { protocol: self, values, missing })
    }

    /// What keeps the numbers of these samples from being this protocol's; `b` are the data, or none where only their moments are there.
    fn missing(self, a: &FeatureTable, b: Option<&FeatureTable>) -> Vec<String> {
        let mut missing = Vec::new();
        let (kind, count) = (&a.about.features, a.about.count);
        if kind.source.sha256.is_none() || kind.dimension != INCEPTION {
            missing.push(format!("features are {kind}, and not the {INCEPTION} of {}", self.network()));
        } else {
            missing.push(format!("whether {} is {} is for you to know", kind.source.name, self.network()));
        }
        if count != SAMPLES && self != Protocol::TorchFidelity {
            missing.push(format!("A has {count} samples, and not {SAMPLES}"));
        }
        if let (Some(b), true) = (b, self != Protocol::TorchFidelity)
            && b.about.count < SAMPLES
        {
            missing.push(format!("B has {} examples, and not all those of training", b.about.count));
        }
        missing.extend(self.besides().map(str::to_owned));
        missing
    }

    fn needs_examples(self) -> Option<&'static str> {
        match self {
            Protocol::Edm => None,
            Protocol::Reference => Some("blocks of KID"),
            Protocol::TorchFidelity => Some("KID, precision and recall"),
        }
    }

    fn network(self) -> &'static str {
        match self {
            Protocol::Edm => "inception-2015-12-05.pkl, images stretched to 299 x 299 within it",
            Protocol::Reference => "tfhub.dev/tensorflow/tfgan/eval/inception/1",
            Protocol::TorchFidelity => "inception-v3-compat",
        }
    }

    fn besides(self) -> Option<&'static str> {
        match self {
            Protocol::Edm => Some("EDM publishes the lowest of three such numbers, of seeds 0 to 149999; this is one"),
            Protocol::Reference | Protocol::TorchFidelity => Some("the inception score needs logits, which features don't have"),
        }
    }
}

fn torch_fidelity(x: &Features, y: &Features, missing: &mut Vec<String>) -> Result<Vec<Value>> {
    let (subsets, size, seed) = SUBSETS;
    let mut values = Vec::new();
    if x.count().min(y.count()) < size as i64 {
        missing.push(format!("KID is of subsets of {size} examples, and one of the sets has less"));
    } else {
        let OfParts { mean, deviation } = kid_of_subsets(x, y, subsets, size, seed)?;
        values.push(Value { metric: "kid_of_subsets", value: mean, deviation: Some(deviation) });
    }
    let Support { precision, recall, .. } = Support::new(x, y, NEIGHBOUR)?;
    let of_support = [("precision", precision), ("recall", recall)];
    values.extend(of_support.map(|(metric, estimate)| Value { metric, value: estimate.value, deviation: None }));
    Ok(values)
}
