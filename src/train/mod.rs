//! Training: batch -> losses -> gradient -> Adam -> average -> log -> checkpoint, in plain sight.

mod divergence;
mod score;
mod spec;
mod state;
mod times;

use std::sync::Arc;
use std::time::Instant;

pub use score::ScoreTraining;
pub use spec::{Curve, OnDivergence, ScoreMatching, Train};
use state::Progress;
pub use state::{State, Update, Weights, load_average};

use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::optim::Trained;
use crate::progress::Terminal;
use crate::run::checkpoint::Checkpoint;
use crate::run::{Run, log::Log};
use crate::space::Scale;

/// Where training writes and what it watches.
pub struct Surroundings<'a, 'r> {
    pub run: &'a Run,
    pub log: &'a mut Log<'r>,
    pub terminal: &'a Terminal,
}

/// The training data and how they become model space.
pub struct Source {
    pub dataset: Arc<dyn Dataset>,
    pub scale: Scale,
    pub flip: bool,
}

/// Trains `subject` from the checkpoint `newest`, or from scratch, to `spec.steps` steps; the last step is a checkpoint.
///
/// A function of (seed, experiment, thread count): interrupted anywhere and resumed, it ends with the same bits.
/// Errors: a loss or gradient that is not finite; the files; an interruption, after saving.
pub fn train(
    spec: &Train,
    seed: u64,
    subject: &dyn Trained,
    newest: Option<Checkpoint>,
    source: Source,
    around: Surroundings,
) -> Result<()> {
    let Surroundings { run, log, terminal } = around;
    let mut state = State::new(spec, subject.parameters());
    if let Some(checkpoint) = newest {
        state.load(&checkpoint)?;
    }
    let device = subject.parameters().flat().device();
    let Source { dataset, scale, flip } = source;
    let start = |step| Batches::start(dataset.clone(), scale, flip, seed, spec.batch, step);
    let mut batches = start(state.step);
    let mut phase = terminal.phase("train", "steps", spec.steps, state.step);
    let mut window = Window::after(&state.progress);
    let mut note = String::new();

    interrupt::will_save();
    while state.step < spec.steps {
        let x0 = batches.next().to_device(device);
        let positions = state.step * spec.batch as u64..(state.step + 1) * spec.batch as u64;
        let losses = subject.losses(&x0, positions.clone());
        let update = match state.update(spec, &losses) {
            Ok(update) => update,
            Err(error) => {
                divergence::record(run, &error, seed, dataset.len(), positions, &losses)?;
                divergence::rewind(run, spec, &mut state, error)?;
                (batches, window) = (start(state.step), Window::after(&state.progress));
                log.begin("train", state.step + 1)?;
                continue;
            }
        };

        window.add(&update);
        window.save(&mut state.progress);
        if state.step.is_multiple_of(spec.log_every) || state.step == spec.steps {
            let Means { loss, relative_std, norm, parts, rate } = window.close();
            window.save(&mut state.progress);
            state.progress.metric = spec.keep_best.map(|curve| curve.of(loss, relative_std, norm));
            note = format!("loss {loss:.4}");
            log.scalars(
                state.step,
                &[
                    ("train/loss", loss),
                    ("train/loss_relative_std", relative_std),
                    ("train/gradient_norm", norm),
                    ("train/learning_rate", update.lr),
                    ("train/examples_per_second", rate * spec.batch as f64),
                    ("train/ema_drift", state.ema.drift(state.parameters.flat()).double_value(&[])),
                ],
            );
            log.scalars(state.step, &subject.parts().iter().copied().zip(parts).collect::<Vec<_>>());
        }
        phase.set(state.step, &note);
        let stopped = interrupt::asked();
        let planned = state.step.is_multiple_of(spec.checkpoint_every) || state.step == spec.steps;
        if planned || stopped {
            log.sync()?;
            state.save(run, spec.keep(state.progress.metric.filter(|_| planned)))?;
        }
        if stopped {
            return Err(Error::Interrupted { at: format!("step {}", state.step) });
        }
    }
    interrupt::saved(format!("step {}", state.step));
    phase.finish(&note);
    Ok(())
}

/// Sums over the steps since the last point of the curves.
struct Window {
    loss: f64,
    square: f64,
    norm: f64,
    /// Of [`Losses::parts`](crate::optim::Losses::parts); empty before the first step.
    parts: Vec<f64>,
    steps: u64,
    /// Those of an earlier process, whose time is not known.
    before: u64,
    begun: Instant,
}

/// Means over a window.
struct Means {
    loss: f64,
    /// Standard deviation of an example's loss over the mean loss: what the law of t is chosen for.
    relative_std: f64,
    norm: f64,
    parts: Vec<f64>,
    /// Steps per second.
    rate: f64,
}

impl Window {
    fn new() -> Window {
        Window::after(&Progress::default())
    }

    /// Goes on with the sums that a checkpoint has.
    fn after(progress: &Progress) -> Window {
        let [loss, square, norm, steps] = progress.window;
        let steps = steps as u64;
        Window { loss, square, norm, parts: progress.parts.clone(), steps, before: steps, begun: Instant::now() }
    }

    fn save(&self, progress: &mut Progress) {
        progress.window = [self.loss, self.square, self.norm, self.steps as f64];
        progress.parts.clone_from(&self.parts);
    }

    fn add(&mut self, update: &Update) {
        self.loss += update.loss;
        self.square += update.square;
        self.norm += update.norm;
        self.parts.resize(update.parts.len(), 0.0);
        self.parts.iter_mut().zip(&update.parts).for_each(|(sum, part)| *sum += part);
        self.steps += 1;
    }

    /// Begins the next window.
    fn close(&mut self) -> Means {
        let n = self.steps as f64;
        let Window { loss, square, norm, parts, before, begun, .. } = std::mem::replace(self, Window::new());
        let variance = (square / n - (loss / n).powi(2)).max(0.0);
        Means {
            loss: loss / n,
            relative_std: variance.sqrt() / (loss / n).abs(),
            norm: norm / n,
            parts: parts.into_iter().map(|sum| sum / n).collect(),
            rate: (n - before as f64) / begun.elapsed().as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_the_spread_of_all_its_losses() {
        let mut window = Window::new();
        for losses in [[1.0, 3.0], [5.0, 7.0]] {
            let mean = |f: &dyn Fn(f64) -> f64| losses.iter().map(|loss| f(*loss)).sum::<f64>() / 2.0;
            window.add(&Update { loss: mean(&|x| x), square: mean(&|x| x * x), norm: 2.0, lr: 0.1, parts: vec![mean(&|x| 2.0 * x)] });
        }
        let Means { loss, relative_std, norm, parts, .. } = window.close();
        assert_eq!((loss, norm, &parts[..]), (4.0, 2.0, &[8.0][..]));
        assert!((relative_std - 5f64.sqrt() / 4.0).abs() < 1e-12, "{relative_std}");
        assert_eq!((window.steps, window.square), (0, 0.0));
    }
}
