//! Training: batch -> losses -> gradient -> Adam -> average -> log -> checkpoint, in plain sight.

mod curves;
mod divergence;
mod gradient;
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
pub use gradient::Gradient;
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
use crate::ranks::Ranks;
use crate::run::checkpoint::Checkpoint;
use crate::run::{Run, log::Log};
use crate::space::Scale;

/// Who trains, and where that is written.
pub struct Surroundings<'a, 'r> {
    pub ranks: &'a Ranks,
    pub terminal: &'a Terminal,
    /// None but for rank 0.
    pub writer: Option<Writer<'a, 'r>>,
}

/// What training writes and who watches it.
pub struct Writer<'a, 'r> {
    pub run: &'a Run,
    pub log: &'a mut Log<'r>,
    /// Who looks at every checkpoint that was planned but the last, by its step, before training goes on.
    pub checkpoint: &'a mut dyn FnMut(u64, &mut Log<'r>) -> Result<()>,
}

/// The training data and how they become model space.
pub struct Source {
    pub dataset: Arc<dyn Dataset>,
    pub scale: Scale,
    pub flip: bool,
}

/// Trains `subject` from the checkpoint `newest` of rank 0, or from scratch, to `spec.steps` steps; the last step is a checkpoint.
///
/// A function of (seed, experiment, thread count, micro-batch): interrupted anywhere and resumed, it ends with the same bits.
/// Errors: a loss or gradient that is not finite; the files, those of the data, too; an interruption, after saving; another rank's end.
pub fn train(
    spec: &Train,
    seed: u64,
    subject: &dyn Trained,
    newest: Option<Checkpoint>,
    source: Source,
    around: Surroundings,
) -> Result<()> {
    let Surroundings { ranks, terminal, mut writer } = around;
    let micro_batch = micro_batch(spec, subject, ranks)?;
    let mut state = State::new(spec, subject.parameters());
    if let Some(checkpoint) = newest {
        state.load(&checkpoint)?;
    }
    state.take_first(ranks)?;
    let device = subject.parameters().flat().device();
    let Source { dataset, scale, flip } = source;
    let part = ranks.share(spec.batch);
    let start = |step| Batches::start_part(dataset.clone(), scale, flip, seed, (spec.batch, part.clone()), step);
    let mut batches = start(state.step);
    let mut phase = terminal.phase("train", "steps", spec.steps, state.step);
    let mut window = Window::after(&state.progress);
    let curves = Curves::of(subject);
    let mut note = String::new();

    interrupt::will_save();
    while state.step < spec.steps {
        let (x0, examples) = window.waiting(|| batches.shown())?;
        let batch = state.step * spec.batch as u64..(state.step + 1) * spec.batch as u64;
        let positions = batch.start + part.start as u64..batch.start + part.end as u64;
        let shown = Shown { x0: x0.to_device(device), positions, examples: &examples, batch: batch.clone() };
        let share = 1.0 / ranks.world() as f64;
        let gradient = Gradient::of_shown(subject, &shown, micro_batch, share, &state.history).over(ranks, interrupt::asked())?;
        let update = match state.update(spec, &gradient) {
            Ok(update) => update,
            Err(error) => {
                if let Some(writer) = &writer {
                    divergence::record(writer.run, &error, seed, dataset.len(), batch, &gradient)?;
                }
                divergence::rewind(writer.as_ref().map(|writer| writer.run), spec, &mut state, ranks, error)?;
                (batches, window) = (start(state.step), Window::after(&state.progress));
                writer.as_mut().map_or(Ok(()), |writer| writer.log.begin("train", state.step + 1))?;
                continue;
            }
        };

        window.add(&update, gradient.t.as_ref().map(|times| &times.log_snr[..]));
        if state.step.is_multiple_of(spec.log_every) || state.step == spec.steps {
            let means = window.close();
            state.progress.metric = spec.keep_best.map(|curve| curve.of(means.loss, means.relative_std, means.norm));
            note = format!("loss {:.4}", means.loss);
            if let Some(writer) = &mut writer {
                window.writing(|| curves.log(spec, &state, &update, means, writer.log))?;
            }
        }
        phase.set(state.step, &note);
        let planned = state.step.is_multiple_of(spec.checkpoint_every) || state.step == spec.steps;
        if let Some(writer) = writer.as_mut().filter(|_| planned || gradient.stop) {
            window.save(&mut state.progress);
            let keep = spec.keep(state.progress.metric.filter(|_| planned));
            window.writing(|| writer.log.sync().and_then(|()| state.save(writer.run, keep)))?;
        }
        if gradient.stop {
            return Err(Error::Interrupted { at: format!("step {}", state.step) });
        }
        if let Some(writer) = writer.as_mut().filter(|_| planned && state.step < spec.steps) {
            interrupt::saved(format!("step {}", state.step));
            window.writing(|| (writer.checkpoint)(state.step, writer.log))?;
            interrupt::will_save();
        }
    }
    if ranks.is_first() {
        interrupt::saved(format!("step {}", state.step));
    }
    phase.finish(&note);
    Ok(())
}

/// Error: these ranks can't share a batch, or it can't be parted.
fn micro_batch(spec: &Train, subject: &dyn Trained, ranks: &Ranks) -> Result<usize> {
    let micro_batch = spec.micro_batch_of(ranks.world()).map_err(|fault| fault.within("train"))?;
    match subject.couples_batch() {
        Some(why) if micro_batch < spec.batch => {
            let help = "train by one process, without train.micro_batch; or leave out the pairing";
            Err(Error::Usage { message: format!("{why}, and so it can't be parted"), help: help.into() })
        }
        _ => Ok(micro_batch),
    }
}
