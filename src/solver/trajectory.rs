//! What a solver tells of its steps, and the states at requested times that can be known from it.

use tch::Tensor;

use crate::tensor::indices;

/// A step that some examples have taken.
pub struct Step<'a> {
    /// The examples, by their rows in the batch that was handed in.
    pub rows: Vec<usize>,
    /// Where each of them was, and where it is now.
    pub from: Vec<f64>,
    pub to: Vec<f64>,
    /// How much of the whole batch's way is done, in [0, 1].
    pub share: f64,
    /// Whether the states between `from` and `to` are known too. A path with noise is known where it ends.
    pub between: bool,
    /// The states [m, ...] of m of these examples, given by their places in `rows`, each at its own time of the step.
    pub state: &'a dyn Fn(&[usize], &[f64]) -> Tensor,
}

/// Is told of every step.
pub type Watch<'a> = dyn FnMut(&Step) + 'a;

impl<'a> Step<'a> {
    /// Step n of a whole batch along a grid.
    pub(super) fn on_grid(batch: usize, times: &[f64], n: usize, between: bool, state: &'a dyn Fn(&[usize], &[f64]) -> Tensor) -> Step<'a> {
        Step {
            rows: (0..batch).collect(),
            from: vec![times[n]; batch],
            to: vec![times[n + 1]; batch],
            share: (n + 1) as f64 / (times.len() - 1) as f64,
            between,
            state,
        }
    }
}

/// The states of a batch at requested times.
pub struct Trajectory {
    /// [T, B, ...], in the state's kind.
    pub states: Tensor,
    /// `[T][B]`: the times the states belong to, which are the requested ones but for a path with noise: there they are the first times
    /// of the grid that are as far.
    pub reached: Vec<Vec<f64>>,
    times: Vec<f64>,
}

impl Trajectory {
    /// For a solve that starts at time `start` in x [B, ...]. Times that it does not come by stay NaN.
    pub fn new(times: &[f64], x: &Tensor, start: f64) -> Trajectory {
        let states = Tensor::full([&[times.len() as i64], x.size().as_slice()].concat(), f64::NAN, (x.kind(), x.device()));
        let mut reached = vec![vec![f64::NAN; x.size()[0] as usize]; times.len()];
        for (j, _) in times.iter().enumerate().filter(|(_, t)| **t == start) {
            states.get(j as i64).copy_(x);
            reached[j].fill(start);
        }
        Trajectory { states, reached, times: times.to_vec() }
    }

    /// Takes what a step tells.
    pub fn record(&mut self, step: &Step) {
        for (j, &t) in self.times.iter().enumerate() {
            let reached = &self.reached[j];
            let passed = |i: &usize| (t - step.from[*i]) * (step.to[*i] - t) >= 0.0 && reached[step.rows[*i]].is_nan();
            let places: Vec<usize> = (0..step.rows.len()).filter(passed).collect();
            if places.is_empty() {
                continue;
            }
            let times: Vec<f64> = places.iter().map(|&i| if step.between { t } else { step.to[i] }).collect();
            let states = (step.state)(&places, &times);
            let rows: Vec<usize> = places.iter().map(|&i| step.rows[i]).collect();
            let rows = indices(&rows, states.device());
            let _ = self.states.get(j as i64).index_copy_(0, &rows, &states.to_kind(self.states.kind()));
            for (i, t) in places.iter().zip(times) {
                self.reached[j][step.rows[*i]] = t;
            }
        }
    }
}
