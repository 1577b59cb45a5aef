//! Records that several processes make together.

use std::rc::Rc;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Journal;
use crate::error::{Error, Result};
use crate::ranks::Ranks;

impl<R: Serialize + DeserializeOwned> Journal<R> {
    /// The same among the processes of a run, which all go through the same records: rank 0 keeps the file, the others a journal that keeps nothing.
    pub fn among(mut self, ranks: &Rc<Ranks>) -> Journal<R> {
        self.ranks = Some(ranks.clone()).filter(|ranks| ranks.world() > 1);
        self
    }

    /// The records of the first of some parts of the work: one as an earlier process left it, or else one that is made now, or one by each process, in
    /// the order of the parts. There is at least one part.
    pub fn round<P>(&mut self, mut parts: impl Iterator<Item = P>, make: impl FnOnce(P) -> Result<R>) -> Result<Vec<R>> {
        let Some(ranks) = self.ranks.clone() else {
            return Ok(vec![self.next(|| make(parts.next().expect("a part is left")))?]);
        };
        let old = self.recall()?.map(|record| written(&record)).unwrap_or_default();
        let told = ranks.tell_bytes(old)?;
        if !told.is_empty() {
            return Ok(vec![read(&told)?]);
        }
        let begun = Instant::now();
        let mine = parts.nth(ranks.rank()).map(make).transpose()?;
        let made = ranks.gather_bytes(mine.map(|record| written(&record)).unwrap_or_default())?;
        let made: Vec<Vec<u8>> = made.into_iter().filter(|bytes| !bytes.is_empty()).collect();
        let seconds = begun.elapsed().as_secs_f64() / made.len().max(1) as f64;
        made.iter().map(|bytes| self.keep(read(bytes)?, seconds)).collect()
    }
}

/// A byte before the record, so that no record is empty.
fn written(record: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(&(true, record)).expect("memory takes any record")
}

fn read<R: DeserializeOwned>(bytes: &[u8]) -> Result<R> {
    postcard::from_bytes(bytes).map(|(_, record): (bool, R)| record).map_err(|_| Error::Usage {
        message: "another process sent what is no record".into(),
        help: "start all ranks with the same version".into(),
    })
}
