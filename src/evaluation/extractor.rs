//! Features of the examples of a set.

use std::collections::BTreeSet;
use std::path::Path;

use sha2::{Digest, Sha256};
use tch::{Device, Tensor};

use super::set::{Holds, Set};
use super::table::{About, FeatureKind, FeatureTable};
use crate::data::{chosen, examples_at};
use crate::error::{Error, Result};
use crate::net::torchscript::FeatureModule;
use crate::progress::Terminal;
use crate::rng::{self, Purpose};
use crate::run::tensors;

/// What makes features of examples.
pub enum Extractor {
    /// They are their own features: pixels from 0 to 255, or the components of vectors.
    Data,
    Module(FeatureModule, String),
}

impl Extractor {
    /// Of a TorchScript file, or of none.
    pub fn new(file: Option<&Path>, device: Device) -> Result<Extractor> {
        Ok(match file {
            None => Extractor::Data,
            Some(file) => Extractor::Module(FeatureModule::load(file, device)?, file.display().to_string()),
        })
    }

    fn kind(&self, dimension: usize) -> FeatureKind {
        match self {
            Extractor::Data => FeatureKind { name: "data".into(), dimension, sha256: None },
            Extractor::Module(module, name) => FeatureKind { name: name.clone(), dimension, sha256: Some(module.sha256.clone()) },
        }
    }

    fn of(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Extractor::Data => Ok(x.flatten(1, -1)),
            Extractor::Module(module, _) => module.of(x),
        }
    }

    /// The features of a set, so many examples at once; of `count` of them, drawn by `seed`, or of all.
    ///
    /// Errors: the set has fewer, an example can't be read, or the module fails.
    pub fn features(&self, set: Set, count: Option<usize>, batch: usize, seed: u64, terminal: &Terminal) -> Result<FeatureTable> {
        let (examples, made_by) = match set.holds {
            Holds::Features(features) => return taken(*features, set.name, count),
            Holds::Examples(examples, made_by) => (examples, made_by),
        };
        let indices = indices(&set.name, examples.len(), count, seed)?;
        if let (Extractor::Module(module, _), true) = (self, indices.len() > 1) {
            module.try_out(&chosen(&*examples, &indices[..indices.len().min(3)])?)?;
        }
        let mut phase = terminal.phase("features", "examples", indices.len() as u64, 0);
        let (mut hash, mut parts) = (Sha256::new(), Vec::new());
        for places in indices.chunks(batch) {
            let x = chosen(&*examples, places)?;
            hash.update(tensors::bytes(&x));
            parts.push(self.of(&x)?);
            phase.set((parts.len() * batch).min(indices.len()) as u64, "");
        }
        phase.finish("");
        let x = Tensor::cat(&parts, 0);
        let about = About {
            name: set.name,
            count: indices.len(),
            shape: examples.shape().to_vec(),
            sha256: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            note: examples.note().map(str::to_owned),
            made_by,
            features: self.kind(x.size()[1] as usize),
        };
        Ok(FeatureTable { x, places: indices.into_iter().map(|place| place as i64).collect(), about })
    }
}

/// Kept features: all of them, since what they are of is known of all alone.
fn taken(features: FeatureTable, name: String, count: Option<usize>) -> Result<FeatureTable> {
    match count {
        Some(count) if count != features.about.count => {
            let message = format!("{name} keeps the features of {} examples, not of {count}", features.about.count);
            Err(Error::Usage { message, help: "leave out --count, or make the file again: --count with --save".into() })
        }
        _ => Ok(features),
    }
}

/// In increasing order.
fn indices(name: &str, len: usize, count: Option<usize>, seed: u64) -> Result<Vec<usize>> {
    match count {
        None => Ok((0..len).collect()),
        Some(count) if count > len => {
            let message = format!("{name} holds {len} examples, and --count is {count}");
            Err(Error::Usage { message, help: format!("give --count {len} or less, or leave it out") })
        }
        Some(count) => {
            let seed = rng::derive(seed, Purpose::Evaluation, 0);
            Ok(examples_at(seed, len, 0..count as u64).into_iter().collect::<BTreeSet<_>>().into_iter().collect())
        }
    }
}
