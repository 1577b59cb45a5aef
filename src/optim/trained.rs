//! What is trained.

use std::ops::Range;

use tch::Tensor;

use super::{Drawn, LossHistory, Parameters};

/// Parameters, and a loss of every example that they are to lower on average.
pub trait Trained {
    fn parameters(&self) -> &Parameters;

    /// The losses of x₀ [B, ...], data in model space, at these positions of the run: all draws are functions of the positions, and of the
    /// losses before.
    fn losses(&self, x0: &Tensor, positions: Range<u64>, history: &LossHistory) -> Losses;

    /// What the curves of [`Losses::parts`] are called.
    fn parts(&self) -> &'static [&'static str] {
        &[]
    }
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
    /// What they were drawn by, where that is the losses before.
    pub drawn: Option<Drawn>,
}
