//! Samples of a latent space as samples of the data.

use tch::Tensor;

use super::{OnTheWay, Samples};
use crate::latent::LatentSpace;

impl Samples {
    /// With a draw of p(x | y) in place of each y, and for states on the way the same draws' noise; `batch` at once.
    pub fn decoded(self, space: &LatentSpace, seed: u64, batch: usize) -> Samples {
        let decode = |y: &Tensor| {
            let parts = y.split(batch as i64, 0);
            let first = |i: usize| (i * batch) as u64;
            let parts: Vec<Tensor> = parts.iter().enumerate().map(|(i, y)| space.decode(y, seed, first(i)).to_device(y.device())).collect();
            Tensor::cat(&parts, 0)
        };
        let trajectory = self.trajectory.map(|OnTheWay { states, times }| {
            let of_time = |j: i64| decode(&states.get(j));
            OnTheWay { states: Tensor::stack(&(0..states.size()[0]).map(of_time).collect::<Vec<_>>(), 0), times }
        });
        Samples { x: decode(&self.x), trajectory, ..self }
    }
}
