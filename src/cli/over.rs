//! `score-sde evaluate --over checkpoints`: the samples of every checkpoint that a run keeps, compared with the same examples.

use std::path::Path;

use super::Machine;
use crate::error::{Error, Result};
use crate::evaluation::{Against, Comparison, Curve, FeatureTable, OfCheckpoint, Set};
use crate::experiment::{self, Plan};
use crate::plot;
use crate::run::log::Curves;
use crate::run::{Run, checkpoint, reserve};
use crate::session::Session;

/// The picture, relative to the run.
const PICTURE: &str = "evaluation/checkpoints.png";

/// `count` samples of each checkpoint, or as many as the experiment draws; those that are there already are not drawn again.
pub fn checkpoints(
    run: &str,
    count: Option<usize>,
    against: &Against,
    train: Option<&FeatureTable>,
    comparison: &Comparison,
    machine: &Machine,
) -> Result<Curve> {
    let run = Run::reading(Path::new(run))?;
    let loaded = experiment::load_run(&run, &[], &[], false)?;
    let Plan { sample, draw, .. } = &loaded.plan;
    let drawn = sample.as_ref().map(|sample| sample.count).or(draw.as_ref().map(|draw| draw.count));
    let Some(count) = count.or(drawn) else {
        return Err(Error::run(run.path(), "its experiment draws no samples", "give it [sample], or [draw]"));
    };
    machine.holds(&loaded.needs(&["sample", "draw"])?)?;
    let steps = checkpoint::steps(&run)?;
    if steps.is_empty() {
        return Err(Error::run(run.path(), "holds no checkpoint", "train first: score-sde run with this experiment"));
    }
    let session = Session::new(&loaded, machine.clone().into());
    let of = |step: u64| {
        let _reserved = reserve(run.folder(), &format!("samples/step-{step:08}-{count}"))?.ok_or_else(|| {
            let message = format!("another process draws the samples of step {step}");
            Error::Usage { message, help: "wait until it ends".into() }
        })?;
        let samples = session.again().sample_checkpoint(step, count, &run, Curves::OfResult)?;
        let a = comparison.features(Set::of_run(&run, &samples)?, None)?;
        Ok(OfCheckpoint { step, report: comparison.report(&a, against, None, train)? })
    };
    let curve = Curve { checkpoints: steps.into_iter().map(of).collect::<Result<_>>()? };
    run.write(PICTURE, &plot::png(&curve.picture()))?;
    session.terminal().say(&format!("picture: {}", run.folder().at(PICTURE).display()));
    Ok(curve)
}
