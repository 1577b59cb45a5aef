//! Features of the examples of a set.

use tch::{Device, Tensor};

use super::cache::Cache;
use super::drawn::Drawn;
use super::set::{Holds, Set};
use super::table::{About, FeatureKind, FeatureTable, Source};
use crate::error::{Error, Result};
use crate::file::sha256;
use crate::net::FeatureNetwork;
use crate::progress::Terminal;
use crate::run::tensors;

/// What makes features of examples.
pub struct Extractor {
    /// None where examples are their own features: pixels from 0 to 255, or the components of vectors.
    network: Option<Network>,
    pub source: Source,
}

/// A network, where it computes, and where its features are kept.
struct Network {
    network: Box<dyn FeatureNetwork>,
    device: Device,
    cache: Option<Cache>,
}

/// How a set is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Examples that are read, and handed to what makes features, at once.
    pub batch: usize,
    /// What draws some of them.
    pub seed: u64,
    /// Whether their classes are read, too, where there are some.
    pub classes: bool,
}

impl Extractor {
    /// Of examples as they are.
    pub fn data() -> Extractor {
        Extractor { network: None, source: Source { name: "data".into(), protocol: None, sha256: None } }
    }

    /// By a network on a device; what it made of the same examples before is taken from `cache`.
    pub fn of(network: Box<dyn FeatureNetwork>, device: Device, cache: Option<Cache>, source: Source) -> Extractor {
        Extractor { network: Some(Network { network, device, cache }), source }
    }

    /// The features of a set, so many examples at once; of `count` of them, drawn by `seed`, or of all; with their classes, if they are asked for and there are some.
    ///
    /// Errors: the set has fewer, an example can't be read, or the network does not take it.
    pub fn features(&self, set: Set, count: Option<usize>, how: &Reading, terminal: &Terminal) -> Result<FeatureTable> {
        let Reading { batch, seed, classes } = *how;
        let labels = set.labels.filter(|_| classes).map(|read| read()).transpose()?;
        let (examples, made_by) = match set.holds {
            Holds::Features(features) => return self.taken(*features, set.name, count),
            Holds::Examples(examples, made_by) => (examples, made_by),
        };
        let drawn = Drawn::new((&set.name, &*examples), count, batch, seed)?;
        let table = |x: Tensor, sha256: String| {
            let features = FeatureKind { source: self.source.clone(), dimension: x.size()[1] as usize };
            let (count, shape, note) = (drawn.places.len(), examples.shape().to_vec(), examples.note().map(str::to_owned));
            let places = drawn.places.iter().map(|place| *place as i64).collect();
            let classes = labels.map(|labels| drawn.places.iter().map(|&place| i64::from(labels[place])).collect());
            let about = About { name: set.name.clone(), count, shape, sha256, note, made_by, features };
            FeatureTable { x, places, classes, examples: Some(examples.clone()), about }
        };
        let Some(Network { network, device, cache }) = &self.network else {
            let x = drawn.rows(|x| Ok(x.flatten(1, -1)), terminal)?;
            let hash = sha256([tensors::bytes(&x)]);
            return Ok(table(x, hash));
        };
        let hash = drawn.sha256()?;
        if let Some(x) = cache.as_ref().and_then(|cache| cache.get((&hash, examples.shape()), &self.source, *device)) {
            return Ok(table(x, hash));
        }
        if drawn.places.len() > 1 {
            network.try_out(&drawn.few()?)?;
        }
        let table = table(drawn.rows(|x| network.of(x), terminal)?, hash);
        if let Some(cache) = cache {
            cache.put(&table, *device);
        }
        Ok(table)
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
