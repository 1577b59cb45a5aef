//! Examples that were drawn from a set, read so many at once.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::data::{Dataset, chosen, examples_at};
use crate::error::{Error, Result};
use crate::file::hex;
use crate::memory;
use crate::progress::Terminal;
use crate::rng::{self, Purpose};
use crate::run::tensors;

pub(super) struct Drawn<'a> {
    name: &'a str,
    examples: &'a dyn Dataset,
    /// In increasing order.
    pub places: Vec<usize>,
    batch: usize,
}

impl<'a> Drawn<'a> {
    /// `count` examples, drawn by `seed`, or all. Error: there are fewer.
    pub fn new((name, examples): (&'a str, &'a dyn Dataset), count: Option<usize>, batch: usize, seed: u64) -> Result<Drawn<'a>> {
        let len = examples.len();
        let places = match count {
            None => (0..len).collect(),
            Some(count) if count > len => {
                let message = format!("{name} holds {len} examples, and --count is {count}");
                return Err(Error::Usage { message, help: format!("give --count {len} or less, or leave it out") });
            }
            Some(count) => {
                let seed = rng::derive(seed, Purpose::Evaluation, 0);
                examples_at(seed, len, 0..count as u64).into_iter().collect::<BTreeSet<_>>().into_iter().collect()
            }
        };
        Ok(Drawn { name, examples, places, batch })
    }

    /// The first few, to try a network on.
    pub fn few(&self) -> Result<Tensor> {
        chosen(self.examples, &self.places[..self.places.len().min(3)])
    }

    /// Of all their numbers, as little-endian f32.
    pub fn sha256(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for places in self.places.chunks(self.batch) {
            hash.update(tensors::bytes(&chosen(self.examples, places)?));
        }
        Ok(hex(&hash.finalize()))
    }

    /// A row [D] of each, [N, D], f32: what `features` makes of a batch. Error: it fails, or gives other than the same D for every batch.
    pub fn rows(&self, features: impl Fn(&Tensor) -> Result<Tensor>, terminal: &Terminal) -> Result<Tensor> {
        let mut phase = terminal.phase("features", "examples", self.places.len() as u64, 0);
        let mut rows = None;
        for (i, places) in self.places.chunks(self.batch).enumerate() {
            let features = features(&chosen(self.examples, places)?)?;
            let all = match &rows {
                Some(all) => all,
                None => rows.insert(self.room(features.size()[1])?),
            };
            self.put(&features, all, i * self.batch)?;
            phase.set((i * self.batch + places.len()) as u64, "");
        }
        phase.finish("");
        Ok(rows.expect("a set has examples"))
    }

    /// For rows of features. Error: they need more memory than there is.
    fn room(&self, dimension: i64) -> Result<Tensor> {
        let n = self.places.len();
        let bytes = 4 * n as u64 * dimension as u64;
        if memory::available().is_some_and(|available| bytes > available) {
            let (name, memory) = (self.name, memory::bytes(bytes));
            let message = format!("{name}: {n} examples of {dimension} features take {memory} of memory, more than there is");
            return Err(Error::Memory { message, help: "give --count N for fewer examples".into() });
        }
        Ok(Tensor::empty([n as i64, dimension], (Kind::Float, Device::Cpu)))
    }

    /// Puts the features of a batch in their place. Error: they are not as many as before.
    fn put(&self, features: &Tensor, rows: &Tensor, at: usize) -> Result<()> {
        let [found, expected] = [features, rows].map(|x| x.size()[1]);
        if found != expected {
            let message = format!("{}: the module gives {expected} features for one batch and {found} for another", self.name);
            return Err(Error::Usage { message, help: "give a module whose features are as many for every x".into() });
        }
        rows.narrow(0, at as i64, features.size()[0]).copy_(features);
        Ok(())
    }
}
