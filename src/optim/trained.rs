//! What is trained.

use std::ops::Range;

use tch::Tensor;

use super::{Drawn, LossHistory, Parameters};

/// Parameters, and a loss of every example that they are to lower on average.
pub trait Trained {
    fn parameters(&self) -> &Parameters;

    /// The losses of what a step shows: all draws are functions of the positions, and of the losses before. Those of an example depend on its place in
    /// the batch, but not on the part that it is shown with.
    fn losses(&self, shown: &Shown, history: &LossHistory) -> Losses;

    /// Why all examples of a batch must be shown at once, where they must.
    fn couples_batch(&self) -> Option<&'static str> {
        None
    }

    /// What the curves of [`Losses::parts`] are called.
    fn parts(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// The examples of a step, or a part of them that is computed at once.
pub struct Shown<'a> {
    /// Data in model space [B, ...].
    pub x0: Tensor,
    /// Their places in the run.
    pub positions: Range<u64>,
    /// Their numbers in the split.
    pub examples: &'a [usize],
    /// The places of the whole batch.
    pub batch: Range<u64>,
}

impl<'a> Shown<'a> {
    /// A whole batch.
    pub fn whole(x0: Tensor, positions: Range<u64>, examples: &'a [usize]) -> Shown<'a> {
        Shown { x0, positions: positions.clone(), examples, batch: positions }
    }

    /// The first `n` examples, and the others.
    pub fn split_at(&self, n: usize) -> [Shown<'a>; 2] {
        let (first, second) = self.examples.split_at(n);
        let middle = self.positions.start + n as u64;
        let part = |positions: Range<u64>, examples: &'a [usize]| {
            let x0 = self.x0.narrow(0, (positions.start - self.positions.start) as i64, examples.len() as i64);
            Shown { x0, positions, examples, batch: self.batch.clone() }
        };
        [part(self.positions.start..middle, first), part(middle..self.positions.end, second)]
    }

    /// Where these examples are in their batch.
    pub fn places(&self) -> Range<usize> {
        let place = |position: u64| (position - self.batch.start) as usize;
        place(self.positions.start)..place(self.positions.end)
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

/// The times of a whole batch, whatever part of it is shown.
pub struct BatchTimes {
    /// One an example.
    pub t: Vec<f64>,
    /// ln α²/σ² there.
    pub log_snr: Vec<f64>,
    /// What they were drawn by, where that is the losses before.
    pub drawn: Option<Drawn>,
}
