//! Comparing samples with examples of the data.

use super::{Done, Phase};
use crate::error::Result;
use crate::evaluation::{DuringTraining, Evaluate};
use crate::plot;
use crate::run::Run;
use crate::run::log::{Curves, Log};
use crate::session::{Session, open_features};

pub struct Comparing(pub Evaluate);

impl Phase for Comparing {
    fn name(&self) -> &'static str {
        "evaluation"
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<Done> {
        let step = session.step(folder)?;
        let worked = compare(&self.0, session, (folder, "samples"), (self.name(), self.name()), (log, step))?;
        Ok(Done { worked, shows: Some("evaluation.json") })
    }
}

/// The samples of a checkpoint, where this one is to be compared while training goes on.
pub fn during_training(session: &Session, folder: &Run, step: u64, log: &mut Log) -> Result<()> {
    let Some(spec) = &session.plan().evaluate else { return Ok(()) };
    let Some(DuringTraining { count, .. }) = spec.during_training.filter(|during| step.is_multiple_of(during.every)) else { return Ok(()) };
    let session = session.again();
    let name = session.sample_checkpoint(step, count, folder, Curves::OfRun(log))?;
    let product = format!("evaluation/{name}");
    compare(spec, &session, (folder, &name), (&product, "evaluation_during_training"), (log, step)).map(drop)
}

/// Saves the comparison of some samples as a product; false where it is there already.
fn compare(
    spec: &Evaluate,
    session: &Session,
    (folder, samples): (&Run, &str),
    (name, group): (&str, &'static str),
    (log, step): (&mut Log, u64),
) -> Result<bool> {
    let extractor = open_features(&spec.features, session.device())?;
    let of = session.evaluation_subject(spec, &extractor, folder, samples)?;
    if folder.is_done(name, &of)? {
        return Ok(false);
    }
    let report = session.evaluate(spec, &extractor, folder, samples)?;
    log.show(&report.points(group, step))?;
    let mut product = folder.product(name, of);
    product.write_json(&format!("{name}.json"), &report)?;
    if let Some(picture) = report.picture() {
        product.write(&format!("{name}.png"), &plot::png(picture))?;
    }
    product.finish()?;
    Ok(true)
}
