//! Where a model is asked.

use tch::Tensor;

/// Points, each at its own time.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// [B, ...].
    pub x: &'a Tensor,
    /// One time in [0, 1] per example.
    pub t: &'a [f64],
    /// Which examples of the batch that is solved for these are; `None` for all of them in their order. Whatever belongs to single examples,
    /// such as probes, follows the rows that an adaptive solver keeps.
    pub rows: Option<&'a [usize]>,
}

impl<'a> At<'a> {
    /// A whole batch.
    pub fn whole(x: &'a Tensor, t: &'a [f64]) -> At<'a> {
        At { x, t, rows: None }
    }

    /// The same examples at other points.
    pub fn moved<'b>(&self, x: &'b Tensor) -> At<'b>
    where
        'a: 'b,
    {
        At { x, t: self.t, rows: self.rows }
    }
}
