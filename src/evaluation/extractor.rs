//! Features of the examples of a set.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use super::set::{Holds, Set};
use super::table::{About, FeatureKind, FeatureTable, Source};
use crate::data::{chosen, examples_at};
use crate::error::{Error, Result};
use crate::file::hex;
use crate::memory;
use crate::net::FeatureNetwork;
use crate::progress::Terminal;
use crate::rng::{self, Purpose};
use crate::run::tensors;

/// What makes features of examples.
pub struct Extractor {
    /// None where examples are their own features: pixels from 0 to 255, or the components of vectors.
    network: Option<Box<dyn FeatureNetwork>>,
    pub source: Source,
}

impl Extractor {
    /// Of examples as they are.
    pub fn data() -> Extractor {
        Extractor { network: None, source: Source { name: "data".into(), protocol: None, sha256: None } }
    }

    /// By a network.
    pub fn of(network: Box<dyn FeatureNetwork>, source: Source) -> Extractor {
        Extractor { network: Some(network), source }
    }

    fn features_of(&self, x: &Tensor) -> Result<Tensor> {
        self.network.as_ref().map_or_else(|| Ok(x.flatten(1, -1)), |network| network.of(x))
    }

    /// The features of a set, so many examples at once; of `count` of them, drawn by `seed`, or of all.
    ///
    /// Errors: the set has fewer, an example can't be read, or the network does not take it.
    pub fn features(&self, set: Set, count: Option<usize>, batch: usize, seed: u64, terminal: &Terminal) -> Result<FeatureTable> {
        let (examples, made_by) = match set.holds {
            Holds::Features(features) => return self.taken(*features, set.name, count),
            Holds::Examples(examples, made_by) => (examples, made_by),
        };
        let indices = indices(&set.name, examples.len(), count, seed)?;
        if let (Some(network), true) = (&self.network, indices.len() > 1) {
            network.try_out(&chosen(&*examples, &indices[..indices.len().min(3)])?)?;
        }
        let mut phase = terminal.phase("features", "examples", indices.len() as u64, 0);
        let (mut hash, mut rows) = (Sha256::new(), None);
        for (i, places) in indices.chunks(batch).enumerate() {
            let x = chosen(&*examples, places)?;
            hash.update(tensors::bytes(&x));
            let features = self.features_of(&x)?;
            let all = match &rows {
                Some(all) => all,
                None => rows.insert(room(&set.name, indices.len(), features.size()[1])?),
            };
            put(&set.name, &features, all, i * batch)?;
            phase.set((i * batch + places.len()) as u64, "");
        }
        phase.finish("");
        let x = rows.expect("a set has examples");
        let about = About {
            name: set.name,
            count: indices.len(),
            shape: examples.shape().to_vec(),
            sha256: hex(&hash.finalize()),
            note: examples.note().map(str::to_owned),
            made_by,
            features: FeatureKind { source: self.source.clone(), dimension: x.size()[1] as usize },
        };
        Ok(FeatureTable { x, places: indices.into_iter().map(|place| place as i64).collect(), about })
    }

    /// Kept features: all of them, since what they are of is known of all alone.
    fn taken(&self, features: FeatureTable, name: String, count: Option<usize>) -> Result<FeatureTable> {
        let FeatureTable { about, .. } = &features;
        if self.network.is_some() && !self.source.is(&about.features.source) {
            let message = format!("{name} keeps features of {}, not of {}", about.features, self.source.name);
            return Err(Error::Usage { message, help: "leave out --features, or make the file again: --features with --save".into() });
        }
        match count {
            Some(count) if count != about.count => {
                let message = format!("{name} keeps the features of {} examples, not of {count}", about.count);
                Err(Error::Usage { message, help: "leave out --count, or make the file again: --count with --save".into() })
            }
            _ => Ok(features),
        }
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

/// For n rows of features. Error: they need more memory than there is.
fn room(name: &str, n: usize, dimension: i64) -> Result<Tensor> {
    let bytes = 4 * n as u64 * dimension as u64;
    if memory::available().is_some_and(|available| bytes > available) {
        let message = format!("{name}: {n} examples of {dimension} features take {} of memory, more than there is", memory::bytes(bytes));
        return Err(Error::Memory { message, help: "give --count N for fewer examples".into() });
    }
    Ok(Tensor::empty([n as i64, dimension], (Kind::Float, Device::Cpu)))
}

/// Puts the features of a batch in their place. Error: they are not as many as before.
fn put(name: &str, features: &Tensor, rows: &Tensor, at: usize) -> Result<()> {
    let [found, expected] = [features, rows].map(|x| x.size()[1]);
    if found != expected {
        let message = format!("{name}: the module gives {expected} features for one batch and {found} for another");
        return Err(Error::Usage { message, help: "give a module whose features are as many for every x".into() });
    }
    rows.narrow(0, at as i64, features.size()[0]).copy_(features);
    Ok(())
}
