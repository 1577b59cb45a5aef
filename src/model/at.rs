//! Where a model is asked.

use tch::Tensor;

use crate::tensor::select;

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
    /// What is known of each example of that whole batch [B, M], or of all alike [1, M], a row of zeros for nothing; `None` where nothing is
    /// known of any.
    pub condition: Option<&'a Tensor>,
}

impl<'a> At<'a> {
    /// A whole batch, of which nothing is known.
    pub fn whole(x: &'a Tensor, t: &'a [f64]) -> At<'a> {
        At { x, t, rows: None, condition: None }
    }

    /// The same examples at other points.
    pub fn moved<'b>(&self, x: &'b Tensor) -> At<'b>
    where
        'a: 'b,
    {
        At { x, ..*self }
    }

    /// What is known of these examples [rows, M], or [1, M].
    pub fn known(&self) -> Option<Tensor> {
        let condition = self.condition?;
        Some(match self.rows {
            Some(rows) if condition.size()[0] > 1 => select(condition, rows),
            _ => condition.shallow_clone(),
        })
    }
}
