//! A session's law of dequantisation.

use serde_json::{Value, json};

use super::Session;
use crate::data::Split;
use crate::dequantisation::{self, Dequantiser, Variational};
use crate::error::{Error, Result};
use crate::run::log::Log;
use crate::run::{Journal, Run, journal};

impl Session {
    /// The dequantiser that the run has trained.
    pub(super) fn dequantiser(&self, run: &Run) -> Result<Option<Dequantiser>> {
        let Some((spec, dequantiser)) = self.new_dequantiser() else { return Ok(None) };
        match dequantiser.load(run, &self.trained_with(spec, run)?)? {
            true => Ok(Some(dequantiser)),
            false => Err(Error::run(run.path(), "holds no dequantiser yet", "train it first: score-sde run with this experiment")),
        }
    }

    fn new_dequantiser(&self) -> Option<(&Variational, Dequantiser)> {
        let spec = self.plan.dequantisation.as_ref()?;
        Some((spec, Dequantiser::new(spec, &self.shape, self.plan.seed, self.device())))
    }

    /// All that a dequantiser depends on.
    fn trained_with(&self, spec: &Variational, run: &Run) -> Result<Value> {
        Ok(json!({ "seed": self.plan.seed, "weights": self.average(run)?, "dequantisation": spec }))
    }

    /// Trains the dequantiser of the plan with the averaged weights fixed, and saves it; false where it is there already.
    pub fn dequantise(&self, run: &Run, log: &mut Log) -> Result<bool> {
        let Some((spec, dequantiser)) = self.new_dequantiser() else { return Ok(false) };
        let of = self.trained_with(spec, run)?;
        let kept = "dequantiser.journal";
        if run.is_done(Dequantiser::NAME, &of)? {
            journal::discard(run.folder(), kept)?;
            return Ok(false);
        }
        let mut journal = Journal::open(run.folder(), kept, &of)?;
        let first = self.average(run)?.map_or(0, |weights| weights.step);
        let model = &*self.model()?;
        let dataset = self.dataset(Split::Train)?;
        let subject = dequantisation::Subject { model, dataset, scale: self.scale(), flip: self.plan.data.flip() };
        dequantisation::train(spec, self.plan.seed, &dequantiser, subject, first, &mut journal, log, &self.terminal)?;
        let mut product = run.product(Dequantiser::NAME, of);
        dequantiser.save(&mut product)?;
        product.finish()?;
        journal.remove()?;
        Ok(true)
    }
}
