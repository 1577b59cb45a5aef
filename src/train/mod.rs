//! Training: batch -> t, z -> loss -> gradient -> Adam -> average -> log -> checkpoint, in plain sight.

mod divergence;
mod spec;
mod state;
mod times;

use std::sync::Arc;
use std::time::Instant;

use tch::Tensor;

pub use spec::{Curve, OnDivergence, Train};
pub use state::{State, Update, Weights, load_average};
use times::Times;

use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::loss::{Batch, Objective, denoising_score_matching, implicit_score_matching, sliced_score_matching};
use crate::model::ScoreNetwork;
use crate::net::Dropout;
use crate::progress::Terminal;
use crate::rng::{self, Law, Purpose};
use crate::run::checkpoint::Checkpoint;
use crate::run::{Run, log::Log};
use crate::sde::Sde;
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

/// Trains `network` under `sde` from the checkpoint `newest`, or from scratch, to `spec.steps` steps; the last step is a checkpoint.
///
/// A function of (seed, experiment, thread count): interrupted anywhere and resumed, it ends with the same bits.
/// Errors: a loss or gradient that is not finite; the files; an interruption, after saving.
pub fn train(
    spec: &Train,
    seed: u64,
    sde: &dyn Sde,
    network: &ScoreNetwork,
    newest: Option<Checkpoint>,
    source: Source,
    around: Surroundings,
) -> Result<()> {
    let Surroundings { run, log, terminal } = around;
    let mut state = State::new(spec, network);
    if let Some(checkpoint) = newest {
        state.load(&checkpoint)?;
    }
    let model = network.model(sde);
    let times = Times::new(spec, &model);
    let shape: Vec<i64> = source.dataset.shape().iter().map(|&n| n as i64).collect();
    let Source { dataset, scale, flip } = source;
    let start = |step| Batches::start(dataset.clone(), scale, flip, seed, spec.batch, step);
    let mut batches = start(state.step);
    let mut phase = terminal.phase("train", "steps", spec.steps, state.step);
    let mut window = Window::after(state.progress.window);
    let mut note = String::new();

    interrupt::will_save();
    while state.step < spec.steps {
        let x0 = batches.next().to_device(network.device);
        // The examples' positions in the run, whose functions all draws are.
        let positions = state.step * spec.batch as u64..(state.step + 1) * spec.batch as u64;
        let (t, w) = times.draw(&rng::uniform_rows(seed, Purpose::Time, positions.clone()));
        let z = rng::rows(Law::Gaussian, seed, Purpose::Noise, positions.clone(), 0, &shape, network.device);
        let dropout = Dropout::new(seed, positions.clone());
        let score = network.in_training(sde, &dropout);
        let batch = Batch { x0: &x0, t: &t, z: &z, w: &w };
        let losses = match &spec.objective {
            Objective::Denoising => denoising_score_matching(&score, spec.reduction, &batch),
            Objective::Implicit { curvature } => implicit_score_matching(&score, spec.reduction, *curvature, &batch),
            Objective::Sliced { projections, law, variance_reduced } => {
                let dimension = shape.iter().product();
                let draw = |j| rng::rows(*law, seed, Purpose::Projection, positions.clone(), j, &[dimension], network.device);
                let projections = Tensor::stack(&(0..*projections as u64).map(draw).collect::<Vec<_>>(), 0);
                sliced_score_matching(&score, spec.reduction, *variance_reduced, &projections, &batch)
            }
        };
        let update = match state.update(spec, &losses, &t) {
            Ok(update) => update,
            Err(error) => {
                divergence::record(run, &error, seed, dataset.len(), positions, &t, &losses)?;
                divergence::rewind(run, spec, &mut state, error)?;
                (batches, window) = (start(state.step), Window::after(state.progress.window));
                log.begin("train", state.step + 1)?;
                continue;
            }
        };

        window.add(&update);
        state.progress.window = window.sums();
        if state.step.is_multiple_of(spec.log_every) || state.step == spec.steps {
            let Means { loss, relative_std, norm, rate } = window.close();
            state.progress.window = window.sums();
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
                    ("train/ema_drift", state.ema.drift(network.parameters.flat()).double_value(&[])),
                ],
            );
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
    /// Steps per second.
    rate: f64,
}

impl Window {
    fn new() -> Window {
        Window::after([0.0; 4])
    }

    /// Goes on with the sums that a checkpoint has.
    fn after([loss, square, norm, steps]: [f64; 4]) -> Window {
        let steps = steps as u64;
        Window { loss, square, norm, steps, before: steps, begun: Instant::now() }
    }

    fn sums(&self) -> [f64; 4] {
        [self.loss, self.square, self.norm, self.steps as f64]
    }

    fn add(&mut self, update: &Update) {
        self.loss += update.loss;
        self.square += update.square;
        self.norm += update.norm;
        self.steps += 1;
    }

    /// Begins the next window.
    fn close(&mut self) -> Means {
        let n = self.steps as f64;
        let Window { loss, square, norm, before, begun, .. } = std::mem::replace(self, Window::new());
        let variance = (square / n - (loss / n).powi(2)).max(0.0);
        Means {
            loss: loss / n,
            relative_std: variance.sqrt() / (loss / n).abs(),
            norm: norm / n,
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
            window.add(&Update { loss: mean(&|x| x), square: mean(&|x| x * x), norm: 2.0, lr: 0.1 });
        }
        let Means { loss, relative_std, norm, .. } = window.close();
        assert_eq!((loss, norm), (4.0, 2.0));
        assert!((relative_std - 5f64.sqrt() / 4.0).abs() < 1e-12, "{relative_std}");
        assert_eq!((window.steps, window.square), (0, 0.0));
    }
}
