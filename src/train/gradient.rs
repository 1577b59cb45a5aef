//! The gradient of a batch, part by part: micro-batches of one process, and those of many.

use tch::{Tensor, no_grad};

use crate::error::Result;
use crate::optim::{BatchTimes, LossHistory, Losses, Parameters, Shown, Trained};
use crate::ranks::Ranks;

/// The gradient of a batch's mean loss, or a part's share of it, and what else a step is told of its losses.
pub struct Gradient {
    /// `[P]`
    pub(super) flat: Tensor,
    /// The mean loss, the mean squared loss, and the means of [`Losses::parts`].
    pub(super) means: Tensor,
    /// The losses, one an example.
    pub(super) of_examples: Tensor,
    /// The times of the whole batch, where there are times.
    pub(super) t: Option<BatchTimes>,
    /// Whether a process of the run was asked to stop.
    pub(super) stop: bool,
}

impl Gradient {
    /// Of losses that are this share of a batch: 1 for all of it.
    pub fn of(parameters: &Parameters, losses: Losses, share: f64) -> Gradient {
        let mean = |x: &Tensor| if share == 1.0 { x.mean(None) } else { x.mean(None) * share };
        let loss = mean(&losses.of_examples);
        let flat = parameters.gradient(&loss);
        let of_examples = losses.of_examples.detach();
        let means = [loss.detach(), mean(&of_examples.square())].into_iter().chain(losses.parts.iter().map(|part| mean(&part.detach())));
        let means = Tensor::stack(&means.collect::<Vec<_>>(), 0);
        Gradient { flat, means, of_examples, t: losses.t, stop: false }
    }

    /// Of what is shown, which is this share of a batch, in micro-batches of so many examples, which divide it. They are added as a balanced tree has
    /// them, as ranks are: two halves by themselves, and then to each other.
    pub(super) fn of_shown(subject: &dyn Trained, shown: &Shown, micro_batch: usize, share: f64, history: &LossHistory) -> Gradient {
        let parts = shown.examples.len() / micro_batch;
        if parts <= 1 {
            return Gradient::of(subject.parameters(), subject.losses(shown, history), share);
        }
        let first = parts / 2;
        let share_of = |n: usize| share * n as f64 / parts as f64;
        let [one, other] = shown.split_at(first * micro_batch);
        let one = Gradient::of_shown(subject, &one, micro_batch, share_of(first), history);
        one.and(Gradient::of_shown(subject, &other, micro_batch, share_of(parts - first), history))
    }

    /// With the examples that come after these.
    fn and(self, next: Gradient) -> Gradient {
        no_grad(|| Gradient {
            flat: self.flat.shallow_clone().g_add_(&next.flat),
            means: self.means + next.means,
            of_examples: Tensor::cat(&[self.of_examples, next.of_examples], 0),
            ..self
        })
    }

    /// The sum over all ranks, by the one exchange of a step, and whether any of them was asked to stop.
    pub(super) fn over(self, ranks: &Ranks, asked: bool) -> Result<Gradient> {
        if ranks.world() == 1 {
            return Ok(Gradient { stop: asked, ..self });
        }
        no_grad(|| {
            let (size, means, each) = (self.flat.size()[0], self.means.size()[0], self.of_examples.size()[0]);
            let before = ranks.rank() as i64 * each;
            let losses = self.of_examples.constant_pad_nd([before, each * ranks.world() as i64 - each - before]);
            let asked = self.means.new_full([1], f64::from(u8::from(asked)), (self.means.kind(), self.means.device()));
            let kind = self.flat.kind();
            let sum = ranks.sum(Tensor::cat(&[self.flat, self.means, asked, losses].map(|x| x.to_kind(kind)), 0))?;
            let part = |begin: i64, length: i64| sum.narrow(0, begin, length);
            let stop = part(size + means, 1).double_value(&[0]) > 0.0;
            let of_examples = part(size + means + 1, each * ranks.world() as i64);
            Ok(Gradient { flat: part(0, size), means: part(size, means), of_examples, t: self.t, stop })
        })
    }
}
