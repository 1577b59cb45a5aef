//! `[train]`: the keys of training and what is wrong with them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::matching::ScoreMatching;
use crate::error::Fault;
use crate::loss::{Objective, Reduction, TimeSpec, Weighting};
use crate::optim::Schedule;
use crate::run::checkpoint::Keep;

/// `[train]`: how a score or another family is learnt. Scores need all of `objective`, `weighting`, `reduction`, `time`, `importance`,
/// `stratified` and `t_min`; other families have none of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Steps in all, 1 to 1,000,000,000.
    pub steps: u64,
    /// Examples in one step, 1 to 1,000,000.
    pub batch: usize,
    /// Examples whose gradients are computed at once, a divisor of `batch`; those of a step's micro-batches are added, which takes less memory and
    /// gives the same training but for rounding. Several processes share the micro-batches evenly (docs/cluster.md): with the same micro-batches, one
    /// process and two, four or eight train the same weights to the bit. Left out: each process computes its part of the batch at once. It may change while a run goes on. Operational.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Adam's learning rate, above 0; the reference uses 2e-4.
    pub lr: f64,
    /// Steps until the learning rate reaches `lr`, 0 to 1,000,000,000; the reference uses 5000.
    pub warmup: u64,
    /// How the rate goes on from there; left out, `constant`.
    #[serde(default, skip_serializing_if = "Schedule::is_constant")]
    pub schedule: Schedule,
    /// Largest norm of the whole gradient, above 0; `inf` for none. The reference uses 1.
    // JSON has no infinity: what reads TOML as JSON has null there.
    #[schemars(extend("type" = ["number", "null"]))]
    pub clip: f64,
    /// Adam's β₁, β₂, each in [0, 1); the reference uses [0.9, 0.999].
    pub betas: [f64; 2],
    /// Adam's ε, above 0; the reference uses 1e-8.
    pub eps: f64,
    /// λ of ½ λ ‖θ‖², at least 0, whose gradient is added to the loss's after clipping; 0 for none.
    pub weight_decay: f64,
    /// Rate of the parameters' moving average, in [0, 1); the reference uses 0.999 (VE) and 0.9999 (VP).
    pub ema: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// λ(t) of a score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weighting: Option<Weighting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduction: Option<Reduction>,
    /// The law of a score's t; in discrete time levels are drawn instead, all of them alike (`uniform`) or by their losses (`loss-aware`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeSpec>,
    /// Whether each loss is divided by the density of its t against the uniform law's. With it the mean loss, and what is learnt, is that
    /// of λ(t) under U(t_min, 1) whatever the law, which changes the variance alone. Without it the law is a part of the weighting, as in
    /// EDM: log-normal times with the weighting `edm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<bool>,
    /// Whether each t of a batch comes from its own of `batch` equal parts of the law, or all are independent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stratified: Option<bool>,
    /// The least time that is trained at, in (0, 1); the reference uses 1e-5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub t_min: Option<f64>,
    /// Steps between checkpoints, 1 to 1,000,000,000. Operational.
    pub checkpoint_every: u64,
    /// Newest checkpoints that are kept, 1 to 1,000,000. Operational.
    #[serde(default = "default_keep")]
    pub keep: usize,
    /// Checkpoints whose step is a multiple of this one stay, too; 1 to 1,000,000,000, or left out. Operational.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_every: Option<u64>,
    /// The checkpoint with the lowest value of this curve, at its last point before the checkpoint, stays, too; or left out. Operational.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_best: Option<Curve>,
    /// What becomes of a training whose loss or gradient is not finite; either way `divergence-<step>.json` of the run says which examples,
    /// times and losses the step had.
    #[serde(default, skip_serializing_if = "OnDivergence::is_stop")]
    pub on_divergence: OnDivergence,
    /// Steps between points of the curves, 1 to 1,000,000,000. Operational.
    #[serde(default = "default_log_every")]
    pub log_every: u64,
    /// Steps from one look at samples to the next, a multiple of `checkpoint_every`, or left out. TensorBoard shows the first samples that
    /// `[sample]` or `[draw]` asks for, up to 64 images or 1000 vectors, of the averaged weights, from the same noise each time; and of a
    /// score the first test examples, denoised from three levels of noise. Operational.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_every: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
}

/// `[train.validation]`: the loss of the averaged weights on the first test examples, with its standard error, as curves. Times, noise and what
/// is hidden are the same each time, so that differences along training are those of the weights; nothing is dropped in the network.
/// Operational.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Steps from one validation to the next, a multiple of `train.checkpoint_every`. The last step has one, too.
    pub every: u64,
    /// Examples, at least 2.
    pub count: usize,
}

/// A curve of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Curve {
    #[serde(rename = "train/loss")]
    Loss,
    #[serde(rename = "train/loss_relative_std")]
    LossRelativeStd,
    #[serde(rename = "train/gradient_norm")]
    GradientNorm,
}

impl Curve {
    /// Its value among those of a point.
    pub(super) fn of(self, loss: f64, relative_std: f64, norm: f64) -> f64 {
        match self {
            Curve::Loss => loss,
            Curve::LossRelativeStd => relative_std,
            Curve::GradientNorm => norm,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Curve::Loss => "train/loss",
            Curve::LossRelativeStd => "train/loss_relative_std",
            Curve::GradientNorm => "train/gradient_norm",
        }
    }
}

/// What becomes of a training that diverges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum OnDivergence {
    /// It ends; what was saved before is whole.
    #[default]
    Stop,
    /// It goes on from the last checkpoint with a lower learning rate.
    Rewind {
        /// Of the learning rate, once for each time, in (0, 1), such as 0.5.
        factor: f64,
        /// Times in all, 1 to 1000; then it ends.
        most: u32,
    },
}

impl OnDivergence {
    fn is_stop(&self) -> bool {
        *self == OnDivergence::Stop
    }

    /// What the learning rate is multiplied by after so many times.
    pub fn scale(&self, times: u32) -> f64 {
        match self {
            OnDivergence::Rewind { factor, .. } if times > 0 => factor.powf(f64::from(times)),
            _ => 1.0,
        }
    }
}

fn default_keep() -> usize {
    2
}

fn default_log_every() -> u64 {
    50
}

impl Train {
    /// With what changes no weights left out.
    pub fn without_operational(&self) -> Train {
        Train {
            micro_batch: None,
            checkpoint_every: 0,
            keep: 0,
            keep_every: None,
            keep_best: None,
            log_every: 0,
            sample_every: None,
            validation: None,
            ..self.clone()
        }
    }

    /// Which checkpoints stay beside one with this value of the curve of `keep_best`.
    pub(super) fn keep(&self, value: Option<f64>) -> Keep<'static> {
        let best = self.keep_best.map(|curve| (curve.name(), value.unwrap_or(f64::NAN)));
        Keep { newest: self.keep, every: self.keep_every, best }
    }

    /// Examples of a micro-batch where so many processes share a batch. A fault's key is relative to `[train]`: they can't share it evenly.
    pub fn micro_batch_of(&self, processes: usize) -> Result<usize, Fault> {
        let batch = self.batch;
        if !batch.is_multiple_of(processes) {
            let help = format!("give a batch that is a multiple of {processes}, or start another number of processes");
            return Err(Fault::new("batch", format!("{processes} processes can't share a batch of {batch} evenly"), help));
        }
        let part = batch / processes;
        match self.micro_batch {
            None => Ok(part),
            Some(micro) if micro > 0 && part.is_multiple_of(micro) => Ok(micro),
            Some(micro) => {
                let message = match processes {
                    1 => format!("micro_batch is {micro}, and the batch {batch}"),
                    _ => format!("micro_batch is {micro}, and each of {processes} processes has {part} examples of a batch"),
                };
                Err(Fault::new("micro_batch", message, format!("give a divisor of {part}, or leave it out")))
            }
        }
    }

    /// The keys of scores. A fault's key is relative to `[train]`: one of them is missing.
    pub fn score_matching(&self) -> Result<ScoreMatching, Fault> {
        fn needed<T: Clone>(key: &str, value: &Option<T>) -> Result<T, Fault> {
            value.clone().ok_or_else(|| {
                let help = "every number that changes a result is given in the file; the files in experiments/ show all keys";
                Fault::new("", format!("a score is trained by `{key}`, which is missing"), help)
            })
        }
        Ok(ScoreMatching {
            objective: needed("objective", &self.objective)?,
            weighting: needed("weighting", &self.weighting)?,
            reduction: needed("reduction", &self.reduction)?,
            time: needed("time", &self.time)?,
            importance: needed("importance", &self.importance)?,
            stratified: needed("stratified", &self.stratified)?,
            t_min: needed("t_min", &self.t_min)?,
        })
    }

    /// Error: a key of scores is there. A fault's key is relative to `[train]`.
    pub fn check_without_score(&self) -> Result<(), Fault> {
        let given = [
            ("objective", self.objective.is_some()),
            ("weighting", self.weighting.is_some()),
            ("reduction", self.reduction.is_some()),
            ("time", self.time.is_some()),
            ("importance", self.importance.is_some()),
            ("stratified", self.stratified.is_some()),
            ("t_min", self.t_min.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((key, _)) => Err(Fault::new(key, format!("{key} is for scores, and no score is trained here"), format!("remove {key}"))),
        }
    }

    /// Whether test examples are looked at.
    pub fn watches(&self) -> bool {
        self.sample_every.is_some() || self.validation.is_some()
    }

    /// Error: there are fewer test examples than are validated. A fault's key is relative to `[train]`.
    pub fn check_against(&self, test: usize) -> Result<(), Fault> {
        let count = self.validation.map_or(2, |validation| validation.count);
        Fault::unless_in("validation.count", count, 2..=test.max(2), &format!("the test split has {test} examples"))
    }

    /// Error: samples are asked for, and none are drawn of what is trained here. A fault's key is relative to `[train]`.
    pub fn check_without_samples(&self) -> Result<(), Fault> {
        match self.sample_every {
            None => Ok(()),
            Some(_) => Err(Fault::new("sample_every", "no samples are drawn of what is trained here", "remove sample_every")),
        }
    }

    /// What scores and other families share. A fault's key is relative to `[train]`.
    pub fn check(&self) -> Result<(), Fault> {
        const MOST_STEPS: u64 = 1_000_000_000;
        Fault::unless_in("steps", self.steps, 1..=MOST_STEPS, "the reference uses 1300001")?;
        Fault::unless_in("batch", self.batch, 1..=1_000_000, "the reference uses 128")?;
        self.micro_batch_of(1)?;
        Fault::unless_in("warmup", self.warmup, 0..=MOST_STEPS, "the reference uses 5000")?;
        Fault::unless_in(
            "checkpoint_every",
            self.checkpoint_every,
            1..=MOST_STEPS,
            "what lies between two checkpoints is lost in a crash",
        )?;
        Fault::unless_in("keep", self.keep, 1..=1_000_000, "2 survive a damaged one")?;
        Fault::unless_in("log_every", self.log_every, 1..=MOST_STEPS, "50 make a smooth curve")?;
        Fault::unless_in("keep_every", self.keep_every.unwrap_or(1), 1..=MOST_STEPS, "leave it out to keep the newest alone")?;
        self.schedule.check().map_err(|fault| fault.within("schedule"))?;
        let watched = [("sample_every", self.sample_every), ("validation.every", self.validation.map(|validation| validation.every))];
        for (key, every) in watched.into_iter().filter_map(|(key, every)| Some((key, every?))) {
            if every == 0 || !every.is_multiple_of(self.checkpoint_every) {
                let message = format!("{every} is no multiple of train.checkpoint_every = {}", self.checkpoint_every);
                return Err(Fault::new(key, message, "what is looked at are checkpoints; give a multiple"));
            }
        }
        let count = self.validation.map_or(2, |validation| validation.count);
        Fault::unless_in("validation.count", count, 2..=100_000_000, "an error needs two examples")?;
        if let OnDivergence::Rewind { factor, most } = self.on_divergence {
            Fault::unless_in("on_divergence.rewind.most", most, 1..=1000, "3 tell whether it helps")?;
            if !(factor > 0.0 && factor < 1.0) {
                let help = "give a number between 0 and 1, such as 0.5";
                return Err(Fault::new("on_divergence.rewind.factor", format!("factor is {factor}"), help));
            }
        }
        let within =
            |key: &str, value: f64, ok: bool, help: &str| if ok { Ok(()) } else { Err(Fault::new(key, format!("{key} is {value}"), help)) };
        within("lr", self.lr, self.lr > 0.0 && self.lr.is_finite(), "give a number above 0; the reference uses 2e-4")?;
        within("clip", self.clip, self.clip > 0.0, "give a number above 0, or inf for no clipping; the reference uses 1.0")?;
        let beta = self.betas.into_iter().find(|beta| !(0.0..1.0).contains(beta));
        within("betas", beta.unwrap_or(0.0), beta.is_none(), "give two numbers in [0, 1); the reference uses [0.9, 0.999]")?;
        within("eps", self.eps, self.eps > 0.0 && self.eps.is_finite(), "give a number above 0; the reference uses 1e-8")?;
        let decay = self.weight_decay;
        within("weight_decay", decay, decay >= 0.0 && decay.is_finite(), "give 0 or more; the reference uses 0")?;
        within("ema", self.ema, (0.0..1.0).contains(&self.ema), "give a number in [0, 1); the reference uses 0.999 (VE) and 0.9999 (VP)")
    }
}
