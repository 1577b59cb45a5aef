//! What is shown of a checkpoint while training goes on.

use super::evaluate;
use crate::error::Result;
use crate::run::Run;
use crate::run::log::{Log, Points};
use crate::session::Session;
use crate::train::Train;

/// Shows what is to be seen of the checkpoint of a step, once; what the phases after training show of the last one is left to them. False where
/// nothing was left to show.
pub fn at_checkpoint(train: &Train, session: &Session, folder: &Run, step: u64, log: &mut Log) -> Result<bool> {
    let last = step == train.steps;
    if !last {
        evaluate::during_training(session, folder, step, log)?;
    }
    let due = |every: Option<u64>| every.is_some_and(|every| last || step.is_multiple_of(every));
    let shown = due(train.sample_every);
    // A comparison has shown its own.
    let samples = shown && !last && !log.shows("samples", step)?;
    let denoised = shown && session.network().is_some() && !log.shows("denoised", step)?;
    let validation = train.validation.filter(|validation| due(Some(validation.every)));
    let validation = if validation.is_some() && log.shows("validation", step)? { None } else { validation };
    if !samples && !denoised && validation.is_none() {
        return Ok(false);
    }
    let session = session.of_checkpoint(folder, step)?;
    if let Some(drawn) = samples.then(|| session.first_samples(folder)).transpose()?.flatten() {
        log.show(&drawn.points(step, session.pictures(&drawn)))?;
    }
    if let Some(picture) = denoised.then(|| session.denoised()).transpose()?.flatten() {
        log.show(&Points { group: "denoised", step, pictures: vec![("denoised".into(), picture)], ..Points::default() })?;
    }
    if let Some([loss, error]) = validation.map(|validation| session.validation_loss(validation.count)).transpose()?.flatten() {
        let scalars = vec![("validation/loss".into(), loss), ("validation/loss_standard_error".into(), error)];
        log.show(&Points { group: "validation", step, scalars, ..Points::default() })?;
    }
    Ok(true)
}
