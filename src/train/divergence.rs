//! A training whose loss or gradient is not finite: what is written down, and how it goes on.

use std::ops::Range;

use super::spec::{OnDivergence, Train};
use super::state::State;
use crate::data;
use crate::error::{Error, Result};
use crate::optim::Losses;
use crate::progress::warn;
use crate::run::{Run, checkpoint};
use crate::tensor::to_vec;
use serde::Serialize;

/// `divergence-<step>.json`; numbers that are not finite are null.
#[derive(Serialize)]
struct Divergence {
    step: u64,
    reason: String,
    /// The batch: places in the training split, times where there are times, and losses.
    examples: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<Vec<f64>>,
    losses: Vec<f64>,
}

/// Writes down the batch at these positions of a run with `n` examples.
pub(super) fn record(run: &Run, error: &Error, seed: u64, n: usize, positions: Range<u64>, losses: &Losses) -> Result<()> {
    let Error::NotFinite { step, .. } = error else { return Ok(()) };
    let examples = data::examples_at(seed, n, positions);
    let Losses { of_examples, t, .. } = losses;
    let losses = to_vec(&of_examples.detach());
    let divergence = Divergence { step: *step, reason: error.to_string(), examples, t: t.as_ref().map(|times| times.t.clone()), losses };
    let text = serde_json::to_string_pretty(&divergence).expect("a report is JSON");
    run.write(&format!("divergence-{step:08}.json"), text.as_bytes()).map(drop)
}

/// Goes back to the last checkpoint, if the experiment says so and there is one; else the error.
pub(super) fn rewind(run: &Run, spec: &Train, state: &mut State, error: Error) -> Result<()> {
    let OnDivergence::Rewind { most, .. } = spec.on_divergence else { return Err(error) };
    let times = state.progress.rewinds + 1;
    let Some(checkpoint) = checkpoint::latest(run)?.filter(|_| times <= most && matches!(error, Error::NotFinite { .. })) else {
        return Err(error);
    };
    state.load(&checkpoint)?;
    state.progress.rewinds = times;
    let scale = spec.on_divergence.scale(times);
    warn(&format!("{error}; on from step {} with {scale} of the learning rate, for the {times}. of {most} times", state.step));
    Ok(())
}
