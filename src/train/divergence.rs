//! A training whose loss or gradient is not finite: what is written down, and how it goes on.

use std::ops::Range;

use super::gradient::Gradient;
use super::spec::{OnDivergence, Train};
use super::state::State;
use crate::data;
use crate::error::{Error, Result};
use crate::progress::warn;
use crate::ranks::Ranks;
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
pub(super) fn record(run: &Run, error: &Error, seed: u64, n: usize, positions: Range<u64>, batch: &Gradient) -> Result<()> {
    let Error::NotFinite { step, .. } = error else { return Ok(()) };
    let examples = data::examples_at(seed, n, positions);
    let (t, losses) = (batch.t.as_ref().map(|times| times.t.clone()), to_vec(&batch.of_examples));
    let divergence = Divergence { step: *step, reason: error.to_string(), examples, t, losses };
    let text = serde_json::to_string_pretty(&divergence).expect("a report is JSON");
    run.write(&format!("divergence-{step:08}.json"), text.as_bytes()).map(drop)
}

/// Goes back to the last checkpoint, if the experiment says so and there is one; else the error. The run is rank 0's, which the others follow.
pub(super) fn rewind(run: Option<&Run>, spec: &Train, state: &mut State, ranks: &Ranks, error: Error) -> Result<()> {
    let OnDivergence::Rewind { most, .. } = spec.on_divergence else { return Err(error) };
    let times = state.progress.rewinds + 1;
    if times > most || !matches!(error, Error::NotFinite { .. }) {
        return Err(error);
    }
    let checkpoint = run.map_or(Ok(None), checkpoint::latest)?;
    if !ranks.want(checkpoint.is_some())? {
        return Err(error);
    }
    if let Some(checkpoint) = checkpoint {
        state.load(&checkpoint)?;
    }
    state.take_first(ranks)?;
    state.progress.rewinds = times;
    let scale = spec.on_divergence.scale(times);
    warn(&format!("{error}; on from step {} with {scale} of the learning rate, for the {times}. of {most} times", state.step));
    Ok(())
}
