//! Training: batch -> t, z -> loss -> gradient -> Adam -> average -> log -> checkpoint, in plain sight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use crate::data::{Batches, Dataset, Scale};
use crate::error::{Error, Fault, Result};
use crate::loss::{Reduction, Weighting, denoising_score_matching, discrete_score_matching};
use crate::model::Model;
use crate::optim::{Adam, Ema, clip_by_norm, warm_up};
use crate::progress::Terminal;
use crate::rng::{self, Purpose};
use crate::run::checkpoint::{self, Checkpoint};
use crate::run::{Run, log::Log};
use crate::sde::Sde;
use crate::tensor::to_vec;

/// `[train]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    pub steps: u64,
    /// Examples in one step.
    pub batch: usize,
    pub lr: f64,
    /// Steps until the learning rate reaches `lr`.
    pub warmup: u64,
    /// Largest norm of the whole gradient; `inf` for none.
    pub clip: f64,
    /// Adam's β₁, β₂.
    pub betas: [f64; 2],
    /// Adam's ε.
    pub eps: f64,
    /// λ of ½ λ ‖θ‖², whose gradient is added to the loss's after clipping; 0 for none.
    pub weight_decay: f64,
    /// Rate of the parameters' moving average.
    pub ema: f64,
    /// λ(t).
    pub weighting: Weighting,
    pub reduction: Reduction,
    /// Times are drawn from U(t_min, 1); in discrete time levels are drawn instead, all of them.
    pub t_min: f64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Newest checkpoints that are kept. Operational.
    #[serde(default = "default_keep")]
    pub keep: usize,
    /// Steps between points of the curves. Operational.
    #[serde(default = "default_log_every")]
    pub log_every: u64,
}

fn default_keep() -> usize {
    2
}

fn default_log_every() -> u64 {
    50
}

impl Train {
    pub fn check(&self) -> Result<(), Fault> {
        let at_least_one = |key: &str, value: u64| {
            if value == 0 { Err(Fault::new(key, format!("{key} is 0"), "give at least 1")) } else { Ok(()) }
        };
        at_least_one("steps", self.steps)?;
        at_least_one("batch", self.batch as u64)?;
        at_least_one("checkpoint_every", self.checkpoint_every)?;
        at_least_one("keep", self.keep as u64)?;
        at_least_one("log_every", self.log_every)?;
        let within =
            |key: &str, value: f64, ok: bool, help: &str| if ok { Ok(()) } else { Err(Fault::new(key, format!("{key} is {value}"), help)) };
        within("lr", self.lr, self.lr > 0.0 && self.lr.is_finite(), "give a number above 0; the reference uses 2e-4")?;
        within("clip", self.clip, self.clip > 0.0, "give a number above 0, or inf for no clipping; the reference uses 1.0")?;
        let beta = self.betas.into_iter().find(|beta| !(0.0..1.0).contains(beta));
        within("betas", beta.unwrap_or(0.0), beta.is_none(), "give two numbers in [0, 1); the reference uses [0.9, 0.999]")?;
        within("eps", self.eps, self.eps > 0.0 && self.eps.is_finite(), "give a number above 0; the reference uses 1e-8")?;
        let decay = self.weight_decay;
        within("weight_decay", decay, decay >= 0.0 && decay.is_finite(), "give 0 or more; the reference uses 0")?;
        within("ema", self.ema, (0.0..1.0).contains(&self.ema), "give a number in [0, 1); the reference uses 0.999 (VE) and 0.9999 (VP)")?;
        within("t_min", self.t_min, self.t_min > 0.0 && self.t_min < 1.0, "give a number between 0 and 1; the reference uses 1e-5")
    }
}

/// Everything that changes from step to step.
pub struct State<'a> {
    pub model: &'a Model,
    pub adam: Adam,
    pub ema: Ema,
    /// Steps done.
    pub step: u64,
}

/// What one step did.
pub struct Update {
    /// The mean loss over the batch, before the update.
    pub loss: f64,
    /// The norm of its gradient before clipping.
    pub norm: f64,
    /// The learning rate.
    pub lr: f64,
}

impl State<'_> {
    /// Before the first step of training.
    pub fn new<'a>(spec: &Train, model: &'a Model) -> State<'a> {
        let flat = model.parameters.flat();
        let adam = Adam::new(flat, spec.betas, spec.eps, spec.weight_decay);
        State { model, adam, ema: Ema::new(flat, spec.ema), step: 0 }
    }

    /// One step from the losses `[B]` of a batch at times t: gradient, clipping, Adam, average. Error: the loss or the gradient is not
    /// finite; nothing has changed then.
    pub fn update(&mut self, spec: &Train, losses: &Tensor, t: &[f64]) -> Result<Update> {
        let flat = self.model.parameters.flat();
        let loss = losses.mean(None);
        let mut gradient = self.model.parameters.gradient(&loss);
        let norm = clip_by_norm(&mut gradient, spec.clip);
        // The one look at the device's numbers in a step.
        let [loss, norm] = to_vec(&Tensor::stack(&[loss.detach(), norm], 0))[..] else { unreachable!("two numbers were stacked") };
        check_finite(self.step + 1, loss, norm, losses, t)?;
        let lr = warm_up(spec.lr, spec.warmup, self.step);
        self.step += 1;
        self.adam.update(flat, &gradient, lr, self.step);
        self.ema.update(flat, self.step);
        Ok(Update { loss, norm, lr })
    }

    /// Writes a checkpoint: `model.*` and `ema.*` by the parameters' names, Adam's moments as flat buffers in the same order.
    pub fn save(&self, run: &Run, keep: usize) -> Result<()> {
        let parameters = &self.model.parameters;
        let average = parameters.views_of(&self.ema.average);
        let weights = parameters.named().map(|(name, tensor, _)| (format!("model.{name}"), tensor));
        let averages = average.iter().map(|(name, tensor)| (format!("ema.{name}"), tensor));
        let moments = [("adam.first_moment", &self.adam.first_moment), ("adam.second_moment", &self.adam.second_moment)];
        let tensors: Vec<(String, &Tensor)> = weights.chain(averages).chain(moments.map(|(name, t)| (name.to_string(), t))).collect();
        let meta = [("version", env!("CARGO_PKG_VERSION").to_string()), ("threads", tch::get_num_threads().to_string())];
        checkpoint::save(run, self.step, &tensors, &meta, keep)?;
        Ok(())
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        no_grad(|| {
            for (name, mut tensor, _) in self.model.parameters.named().map(|(name, tensor, t)| (name, tensor.detach(), t)) {
                tensor.copy_(checkpoint.tensor(&format!("model.{name}"))?);
            }
            for (name, mut tensor) in self.model.parameters.views_of(&self.ema.average) {
                tensor.copy_(checkpoint.tensor(&format!("ema.{name}"))?);
            }
            self.adam.first_moment.copy_(checkpoint.tensor("adam.first_moment")?);
            self.adam.second_moment.copy_(checkpoint.tensor("adam.second_moment")?);
            self.step = checkpoint.step;
            Ok(())
        })
    }
}

/// Where training writes and what it watches.
pub struct Surroundings<'a> {
    pub run: &'a Run,
    pub log: &'a mut Log,
    pub terminal: &'a Terminal,
    /// Set by a signal: save and stop.
    pub stop: Arc<AtomicBool>,
}

/// The training data and how they become model space.
pub struct Source {
    pub dataset: Arc<dyn Dataset>,
    pub scale: Scale,
    pub flip: bool,
}

/// Trains `model` from the checkpoint `newest`, or from scratch, to `spec.steps` steps; the last step is a checkpoint.
///
/// A function of (seed, experiment, thread count): interrupted anywhere and resumed, it ends with the same bits.
/// Errors: a loss or gradient that is not finite; the files; an interruption, after saving.
pub fn train(
    spec: &Train,
    seed: u64,
    sde: &dyn Sde,
    model: &Model,
    newest: Option<Checkpoint>,
    source: Source,
    around: Surroundings,
) -> Result<()> {
    let Surroundings { run, log, terminal, stop } = around;
    let mut state = State::new(spec, model);
    if let Some(checkpoint) = newest {
        state.load(&checkpoint)?;
    }
    let score = model.score(sde, true);
    let chain = model.chain(sde);
    let mut batches = Batches::start(source.dataset, source.scale, source.flip, seed, spec.batch, state.step);
    let mut phase = terminal.phase("train", "steps", spec.steps, state.step);
    let mut window = Window::new();
    let mut note = String::new();

    while state.step < spec.steps {
        let step = state.step;
        let x0 = batches.next().to_device(model.device);
        let u = rng::uniform(seed, Purpose::Time, step, spec.batch).into_iter();
        let z = rng::normal(seed, Purpose::Noise, step, &x0.size(), model.device);
        rng::seed_torch(seed, Purpose::Dropout, step);
        let (t, losses) = match &chain {
            None => {
                let t: Vec<f64> = u.map(|u| spec.t_min + u * (1.0 - spec.t_min)).collect();
                let losses = denoising_score_matching(sde, &score, spec.weighting, spec.reduction, &x0, &t, &z);
                (t, losses)
            }
            Some(chain) => {
                let t: Vec<f64> = u.map(|u| chain.time((u * chain.levels() as f64) as usize)).collect();
                let losses = discrete_score_matching(chain, &score, spec.reduction, &x0, &t, &z);
                (t, losses)
            }
        };
        let Update { loss, norm, lr } = state.update(spec, &losses, &t)?;

        window.add(loss, norm);
        if state.step.is_multiple_of(spec.log_every) || state.step == spec.steps {
            let (loss, norm, rate) = window.close();
            note = format!("loss {loss:.4}");
            log.scalars(
                state.step,
                &[
                    ("train/loss", loss),
                    ("train/gradient_norm", norm),
                    ("train/learning_rate", lr),
                    ("train/examples_per_second", rate * spec.batch as f64),
                    ("train/ema_drift", state.ema.drift(model.parameters.flat()).double_value(&[])),
                ],
            );
        }
        phase.set(state.step, &note);
        let stopped = stop.load(Ordering::Relaxed);
        if stopped || state.step.is_multiple_of(spec.checkpoint_every) || state.step == spec.steps {
            state.save(run, spec.keep)?;
        }
        if stopped {
            return Err(Error::Interrupted { at: format!("step {}, which is saved", state.step) });
        }
    }
    phase.finish(&note);
    Ok(())
}

/// Means over the steps since the last point of the curves.
struct Window {
    loss: f64,
    norm: f64,
    steps: u64,
    begun: Instant,
}

impl Window {
    fn new() -> Window {
        Window { loss: 0.0, norm: 0.0, steps: 0, begun: Instant::now() }
    }

    fn add(&mut self, loss: f64, norm: f64) {
        self.loss += loss;
        self.norm += norm;
        self.steps += 1;
    }

    /// Mean loss, mean gradient norm, steps per second; begins the next window.
    fn close(&mut self) -> (f64, f64, f64) {
        let n = self.steps as f64;
        let closed = std::mem::replace(self, Window::new());
        (closed.loss / n, closed.norm / n, n / closed.begun.elapsed().as_secs_f64())
    }
}

/// Stops before a number that is not finite reaches the weights; the checkpoint on disk stays the last good one.
fn check_finite(step: u64, loss: f64, norm: f64, losses: &Tensor, t: &[f64]) -> Result<()> {
    let (what, value) = match (loss.is_finite(), norm.is_finite()) {
        (true, true) => return Ok(()),
        (false, _) => ("the loss", loss),
        (true, false) => ("the norm of the gradient", norm),
    };
    let losses = to_vec(losses);
    let rank = |loss: f64| if loss.is_finite() { loss } else { f64::INFINITY };
    let worst = (0..t.len()).max_by(|&a, &b| rank(losses[a]).total_cmp(&rank(losses[b]))).unwrap_or(0);
    Err(Error::NotFinite {
        what,
        value,
        step,
        t_min: t.iter().copied().fold(f64::INFINITY, f64::min),
        t_max: t.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        t_worst: t[worst],
        help: "what was saved before that step is intact; lower train.lr, lengthen train.warmup or raise train.t_min, in a new run (--out DIR)"
            .into(),
    })
}
