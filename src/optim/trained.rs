//! What is trained.

use std::ops::Range;

use tch::Tensor;

use super::{Drawn, LossHistory, Parameters};

/// Parameters, and a loss of every example that they are to lower on average.
pub trait Trained {
    fn parameters(&self) -> &Parameters;

    /// The losses of what a step shows: all draws are functions of the positions, and of the losses before.
    fn losses(&self, shown: &Shown, history: &LossHistory) -> Losses;

    /// What the curves of [`Losses::parts`] are called.
    fn parts(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// The examples of a step.
pub struct Shown<'a> {
    /// Data in model space [B, ...].
    pub x0: &'a Tensor,
    /// Their places in the run.
    pub positions: Range<u64>,
    /// Their numbers in the split.
    pub examples: &'a [usize],
}

/// What one step descends; all numbers of one kind.
pub struct Losses {
    /// `[B]`, with a graph.
    pub of_examples: Tensor,
    /// When the examples were asked for, where there are times.
    pub t: Option<BatchTimes>,
    /// What the losses are made of, or what else is worth a curve: `[B]` each.
    pub parts: Vec<Tensor>,
}

/// The times of a batch.
pub struct BatchTimes {
    /// One an example.
    pub t: Vec<f64>,
    /// ln α²/σ² there.
    pub log_snr: Vec<f64>,
    /// What they were drawn by, where that is the losses before.
    pub drawn: Option<Drawn>,
}
