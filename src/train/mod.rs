//! Training: batch -> losses -> gradient -> Adam -> average -> log -> checkpoint, in plain sight.

mod curves;
mod divergence;
mod matching;
mod of_examples;
mod score;
mod spec;
mod state;
mod times;
mod weights;
mod window;

use std::sync::Arc;

use curves::Curves;
pub use matching::ScoreMatching;
pub use score::ScoreTraining;
pub use spec::{Curve, OnDivergence, Train, Validation};
pub use state::{State, Update};
pub use weights::{Average, Weights, load_weights};
use window::Window;

use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::optim::{Shown, Trained};
use crate::progress::Terminal;
use crate::run::checkpoint::Checkpoint;
use crate::run::{Run, log::Log};
use crate::space::Scale;

/// Where training writes and what it watches.
pub struct Surroundings<'a, 'r> {
    pub run: &'a Run,
    pub log: &'a mut Log<'r>,
    pub terminal: &'a Terminal,
    /// Who looks at every checkpoint that was planned but the last, by its step, before training goes on.
    pub checkpoint: &'a mut dyn FnMut(u64, &mut Log<'r>) -> Result<()>,
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
/// Errors: a loss or gradient that is not finite; the files, those of the data, too; an interruption, after saving.
pub fn train(
    spec: &Train,
    seed: u64,
    subject: &dyn Trained,
    newest: Option<Checkpoint>,
    source: Source,
    around: Surroundings,
) -> Result<()> {
    let Surroundings { run, log, terminal, checkpoint } = around;
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
    let curves = Curves::of(subject);
    let mut note = String::new();

    interrupt::will_save();
    while state.step < spec.steps {
        let (x0, examples) = window.waiting(|| batches.shown())?;
        let positions = state.step * spec.batch as u64..(state.step + 1) * spec.batch as u64;
        let shown = Shown { x0: &x0.to_device(device), positions: positions.clone(), examples: &examples };
        let losses = subject.losses(&shown, &state.history);
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

        window.add(&update, losses.t.as_ref().map(|times| &times.log_snr[..]));
        if state.step.is_multiple_of(spec.log_every) || state.step == spec.steps {
            let means = window.close();
            state.progress.metric = spec.keep_best.map(|curve| curve.of(means.loss, means.relative_std, means.norm));
            note = format!("loss {:.4}", means.loss);
            window.writing(|| curves.log(spec, &state, &update, means, log))?;
        }
        phase.set(state.step, &note);
        let stopped = interrupt::asked();
        let planned = state.step.is_multiple_of(spec.checkpoint_every) || state.step == spec.steps;
        if planned || stopped {
            window.save(&mut state.progress);
            let keep = spec.keep(state.progress.metric.filter(|_| planned));
            window.writing(|| log.sync().and_then(|()| state.save(run, keep)))?;
        }
        if stopped {
            return Err(Error::Interrupted { at: format!("step {}", state.step) });
        }
        if planned && state.step < spec.steps {
            interrupt::saved(format!("step {}", state.step));
            window.writing(|| checkpoint(state.step, log))?;
            interrupt::will_save();
        }
    }
    interrupt::saved(format!("step {}", state.step));
    phase.finish(&note);
    Ok(())
}
