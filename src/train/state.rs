//! The state of training, one update of it, and its checkpoints.

use tch::{Device, Kind, Tensor, no_grad};

use super::gradient::Gradient;
use super::of_examples::OfExamples;
use super::spec::Train;
use crate::error::{Error, Result};
use crate::optim::{Adam, BatchTimes, Ema, LossHistory, Parameters, clip_by_norm, warm_up};
use crate::ranks::Ranks;
use crate::run::Run;
use crate::run::checkpoint::{self, Checkpoint, Keep};
use crate::tensor::to_vec;

const PROGRESS: &str = "train.progress";
const OF_EXAMPLES: &str = "train.losses";
const HISTORY: &str = "train.level_losses";
const MOMENTS: [&str; 2] = ["adam.first_moment", "adam.second_moment"];

/// Everything that changes from step to step.
pub struct State<'a> {
    pub parameters: &'a Parameters,
    pub adam: Adam,
    pub ema: Ema,
    /// Steps done.
    pub step: u64,
    pub progress: Progress,
    /// What levels are drawn by, where that is their losses.
    pub history: LossHistory,
}

/// What else a checkpoint must know for training to go on as if nothing had been.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Sums over the steps since the last point of the curves.
    pub window: [f64; 4],
    /// Those of the curves that a family has of its own.
    pub parts: Vec<f64>,
    /// What these steps showed of single examples.
    pub of_examples: OfExamples,
    /// The value by which the best checkpoint is chosen, at the last point.
    pub metric: Option<f64>,
    /// How often training went back and on with a lower learning rate.
    pub rewinds: u32,
}

impl Progress {
    fn to_tensor(&self) -> Tensor {
        let rest = [self.metric.unwrap_or(f64::INFINITY), f64::from(self.rewinds)];
        Tensor::from_slice(&[&self.window[..], &rest, &self.parts].concat())
    }

    fn from_tensor(tensor: &Tensor) -> Progress {
        let numbers = to_vec(tensor);
        let Some((&[a, b, c, d, metric, rewinds], parts)) = numbers.split_first_chunk() else { return Progress::default() };
        let metric = Some(metric).filter(|metric| metric.is_finite());
        Progress { window: [a, b, c, d], parts: parts.to_vec(), metric, rewinds: rewinds as u32, ..Progress::default() }
    }
}

/// What one step did.
pub struct Update {
    /// The mean loss over the batch, before the update.
    pub loss: f64,
    /// The mean of the squared losses.
    pub square: f64,
    /// The norm of its gradient before clipping.
    pub norm: f64,
    /// The learning rate.
    pub lr: f64,
    /// The means of [`Losses::parts`](crate::optim::Losses::parts).
    pub parts: Vec<f64>,
    /// The losses themselves.
    pub of_examples: Vec<f64>,
    /// The gradient before clipping `[P]`.
    pub gradient: Tensor,
}

impl State<'_> {
    /// Before the first step of training.
    pub fn new<'a>(spec: &Train, parameters: &'a Parameters) -> State<'a> {
        let flat = parameters.flat();
        let adam = Adam::new(flat, spec.betas, spec.eps, spec.weight_decay);
        let (progress, history) = (Progress::default(), LossHistory::default());
        State { parameters, adam, ema: Ema::new(flat, spec.ema), step: 0, progress, history }
    }

    /// One step from the gradient of a batch, of all its parts: clipping, Adam, average. Error: the loss or the gradient is not finite; nothing has
    /// changed then.
    pub fn update(&mut self, spec: &Train, gradient: &Gradient) -> Result<Update> {
        let flat = self.parameters.flat();
        let (norm, shrink) = clip_by_norm(&gradient.flat, spec.clip);
        // The one look at the device's numbers in a step.
        let norm = norm.to_kind(gradient.means.kind()).view(1);
        let mut numbers = to_vec(&Tensor::cat(&[&norm, &gradient.means, &gradient.of_examples], 0));
        let of_examples = numbers.split_off(1 + gradient.means.size()[0] as usize);
        let parts = numbers.split_off(3);
        let (norm, loss, square) = (numbers[0], numbers[1], numbers[2]);
        check_finite(self.step + 1, loss, norm, &of_examples, gradient.t.as_ref())?;
        let lr = warm_up(spec.lr, spec.warmup, self.step) * spec.schedule.factor(self.step, spec.batch);
        let lr = lr * spec.on_divergence.scale(self.progress.rewinds);
        self.step += 1;
        if let Some(drawn) = gradient.t.as_ref().and_then(|times| times.drawn.as_ref()) {
            self.history.add(drawn, &of_examples);
        }
        let (ema, step) = (&self.ema, self.step);
        self.adam.update(flat, (&gradient.flat, &shrink), lr, step, |block, parameters| ema.update(&block, parameters, step));
        Ok(Update { loss, square, norm, lr, parts, of_examples, gradient: gradient.flat.shallow_clone() })
    }

    /// Takes rank 0's state.
    pub(super) fn take_first(&mut self, ranks: &Ranks) -> Result<()> {
        if ranks.world() == 1 {
            return Ok(());
        }
        let frozen = self.parameters.named().filter(|(_, _, trainable)| !trainable).map(|(_, tensor, _)| tensor);
        let buffers = [self.parameters.flat(), &self.ema.average, &self.adam.first_moment, &self.adam.second_moment];
        buffers.into_iter().chain(frozen).try_for_each(|buffer| ranks.tell(&mut buffer.detach()))?;
        let told = |tensor: Tensor| Ok::<_, Error>(Tensor::from_slice(&ranks.tell_numbers(to_vec(&tensor))?));
        self.step = told(Tensor::from(self.step as f64).view(1))?.double_value(&[0]) as u64;
        let of_examples = OfExamples::from_tensor(&told(self.progress.of_examples.to_tensor())?);
        self.progress = Progress { of_examples, ..Progress::from_tensor(&told(self.progress.to_tensor())?) };
        let history = self.history.to_tensor().unwrap_or_else(|| Tensor::zeros([0], (Kind::Double, Device::Cpu)));
        self.history = LossHistory::from_tensor(&told(history.view(-1))?);
        Ok(())
    }

    /// Ends training with the averaged weights: no gradient of the weights is asked for any more.
    pub fn take_average(self) {
        no_grad(|| self.parameters.flat().shallow_clone().copy_(&self.ema.average));
        self.parameters.freeze();
    }

    /// Writes a checkpoint: `model.*` and `ema.*` by the parameters' names, Adam's moments as flat buffers in the same order, and what else
    /// training goes on with.
    pub fn save<'k>(&self, run: &Run, keep: impl Into<Keep<'k>>) -> Result<()> {
        let parameters = self.parameters;
        let average = parameters.views_of(&self.ema.average);
        let weights = parameters.named().map(|(name, tensor, _)| (format!("model.{name}"), tensor));
        let averages = average.iter().map(|(name, tensor)| (format!("ema.{name}"), tensor));
        let moments = [&self.adam.first_moment, &self.adam.second_moment].map(|moment| parameters.by_axes(moment));
        let (progress, of_examples) = (self.progress.to_tensor(), self.progress.of_examples.to_tensor());
        let others = MOMENTS.into_iter().zip(&moments).chain([(PROGRESS, &progress), (OF_EXAMPLES, &of_examples)]);
        let others = others.map(|(name, tensor)| (name.to_owned(), tensor));
        let history = self.history.to_tensor();
        let history = history.iter().map(|history| (HISTORY.to_owned(), history));
        let tensors: Vec<(String, &Tensor)> = weights.chain(averages).chain(others).chain(history).collect();
        let meta = [("version", env!("CARGO_PKG_VERSION").to_string()), ("threads", tch::get_num_threads().to_string())];
        checkpoint::save(run, self.step, &tensors, &meta, keep)?;
        Ok(())
    }

    /// Takes the weights of a checkpoint, raw and averaged, and nothing else.
    pub fn load_weights(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        no_grad(|| {
            for (name, mut tensor, _) in self.parameters.named().map(|(name, tensor, t)| (name, tensor.detach(), t)) {
                tensor.copy_(checkpoint.tensor(&format!("model.{name}"))?);
            }
            for (name, mut tensor) in self.parameters.views_of(&self.ema.average) {
                tensor.copy_(checkpoint.tensor(&format!("ema.{name}"))?);
            }
            Ok(())
        })
    }

    pub(super) fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.load_weights(checkpoint)?;
        no_grad(|| {
            for (name, moment) in MOMENTS.into_iter().zip([&self.adam.first_moment, &self.adam.second_moment]) {
                self.parameters.fill_by_axes(moment, checkpoint.tensor(name)?);
            }
            self.step = checkpoint.step;
            let found = |wanted| checkpoint.names().any(|name| name == wanted).then(|| checkpoint.tensor(wanted)).transpose();
            // Format 0 had none.
            self.progress = found(PROGRESS)?.map(Progress::from_tensor).unwrap_or_default();
            self.progress.of_examples = found(OF_EXAMPLES)?.map(OfExamples::from_tensor).unwrap_or_default();
            self.history = found(HISTORY)?.map(LossHistory::from_tensor).unwrap_or_default();
            Ok(())
        })
    }
}

/// Stops before a number that is not finite reaches the weights; the checkpoint on disk stays the last good one.
fn check_finite(step: u64, loss: f64, norm: f64, of_examples: &[f64], times: Option<&BatchTimes>) -> Result<()> {
    let (what, value) = match (loss.is_finite(), norm.is_finite()) {
        (true, true) => return Ok(()),
        (false, _) => ("the loss", loss),
        (true, false) => ("the norm of the gradient", norm),
    };
    let rank = |loss: f64| if loss.is_finite() { loss } else { f64::INFINITY };
    let worst = (0..of_examples.len()).max_by(|&a, &b| rank(of_examples[a]).total_cmp(&rank(of_examples[b]))).unwrap_or(0);
    let (place, cure) = match times {
        None => (String::new(), "lower train.lr or lengthen train.warmup"),
        Some(BatchTimes { t, .. }) => {
            let least = t.iter().copied().fold(f64::INFINITY, f64::min);
            let most = t.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let worst = t[worst];
            let place = format!(" (t of the batch between {least:.3e} and {most:.3e}; worst example at t = {worst:.3e})");
            (place, "lower train.lr, lengthen train.warmup or raise train.t_min")
        }
    };
    let help = format!(
        "what was saved before that step is intact; {cure}, in a new run (--out DIR), \
         or have it go back and on by itself: train.on_divergence"
    );
    Err(Error::NotFinite { what, value, step, place, help })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_tells_how_far_the_curves_are() {
        let (window, parts) = ([1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0]);
        let progress = Progress { window, parts, metric: Some(7.0), rewinds: 8, ..Progress::default() };
        let again = Progress::from_tensor(&progress.to_tensor());
        assert_eq!((again.window, &again.parts[..], again.metric, again.rewinds), (progress.window, &[5.0, 6.0][..], Some(7.0), 8));
        let older = Progress::from_tensor(&Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, f64::INFINITY, 0.0]));
        assert_eq!((older.window, older.parts.len(), older.metric, older.rewinds), (progress.window, 0, None, 0));
    }
}
