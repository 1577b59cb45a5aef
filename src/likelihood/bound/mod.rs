//! `[likelihood.bound.*]`: a bound of the same examples' negative log-likelihood, beside the exact number.

mod batch;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::no_grad;

use super::points::BelowTMin;
use super::{Job, Likelihood, MOST, Subject, check_finite, rest};
use crate::error::{Fault, Result};
use crate::model::Model;
use crate::progress::Terminal;
use crate::run::Journal;
use crate::sde::{Chain, Level, Sde, Variance};
use crate::solver::TimeGrid;
use batch::{Batch, Bound, Steps};

/// How -ln p is bounded. All of it is for the law of the reverse SDE from the prior; `below_t_min` leads from t_min to 0.
///
/// An example's error is that of the bound's own draws. Draws of dequantisation are gone through in turn; what they do is in the error of the
/// mean over examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum BoundSpec {
    /// In continuous time (see [`crate::bound::Elbo`]): `draws` of (t, z) for each example, two in each of draws / 2 equal parts of the log-SNR,
    /// so that their differences tell the error; one evaluation a draw.
    Elbo {
        form: Form,
        /// Even, 2 to 65536.
        draws: usize,
    },
    /// Of a chain of levels, term by term (see [`crate::bound::Vlb`]): `draws` of the noise of all levels; an evaluation for each level and draw.
    Vlb {
        levels: Levels,
        variance: Variance,
        /// 1 to 65536; 2 or more tell the error.
        draws: usize,
    },
    /// Of the chain, tightened by `paths` paths (see [`crate::bound::tightened`]); an evaluation for each level and path.
    Iwae {
        levels: Levels,
        variance: Variance,
        /// 1 to 65536; 1 is the VLB.
        paths: usize,
    },
}

/// The integrand of the bound in continuous time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// ‖z + σ s‖² - ‖z‖².
    Denoising,
    /// σ² (‖s‖² + 2 div s), the divergence exact: D backward passes.
    Implicit,
    /// The same, the divergence by one Rademacher probe for each draw.
    Sliced,
}

/// The levels of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Levels {
    /// Those of the chain with so many levels, 2 to 1,000,000, that the SDE is the limit of (DDPM's, NCSN's); its lowest level takes t_min's place. A
    /// network in continuous time is asked at the times with their log-SNR.
    Chain(usize),
    /// steps + 1 times from t_min to 1.
    Grid(TimeGrid),
}

impl BoundSpec {
    fn table(&self) -> &'static str {
        match self {
            BoundSpec::Elbo { .. } => "elbo",
            BoundSpec::Vlb { .. } => "vlb",
            BoundSpec::Iwae { .. } => "iwae",
        }
    }

    fn levels(&self) -> Option<&Levels> {
        match self {
            BoundSpec::Elbo { .. } => None,
            BoundSpec::Vlb { levels, .. } | BoundSpec::Iwae { levels, .. } => Some(levels),
        }
    }

    /// Of a chain's steps down.
    pub fn variance(&self) -> Option<Variance> {
        match self {
            BoundSpec::Elbo { .. } => None,
            BoundSpec::Vlb { variance, .. } | BoundSpec::Iwae { variance, .. } => Some(*variance),
        }
    }

    /// The fault of a bound that starts at t = 0 where nothing leads there.
    fn starts_at_zero(&self) -> Fault {
        let message = format!("{} starts at t = 0, and likelihood.below_t_min is \"ignored\"", self.table());
        Fault::new(self.table(), message, "give below_t_min = \"tweedie\" (or \"jensen\", \"discrete\"), or elbo.form = \"implicit\"")
    }

    /// The bound for a subject, once for all its batches; errors as of [`BoundSpec::check`].
    fn of(&self, spec: &Likelihood, subject: &Subject) -> Result<Bound, Fault> {
        let law = spec.below_t_min.law(subject.scale);
        let steps = |levels: &Levels, variance| {
            let levels = levels.build(subject.model, spec.t_min).map_err(|fault| fault.within(&format!("{}.levels", self.table())))?;
            Ok(Steps { levels, variance, law: law.ok_or_else(|| self.starts_at_zero())? })
        };
        Ok(match self {
            BoundSpec::Elbo { form, draws } => Bound::Elbo { form: *form, draws: *draws, law },
            BoundSpec::Vlb { levels, variance, draws } => Bound::Vlb { steps: steps(levels, *variance)?, draws: *draws },
            BoundSpec::Iwae { levels, variance, paths } => Bound::Iwae { steps: steps(levels, *variance)?, paths: *paths },
        })
    }

    /// A fault's key is relative to `[likelihood.bound]`. `chain` is the number of levels of a network in discrete time.
    pub(super) fn check(&self, below: BelowTMin, sde: &dyn Sde, chain: Option<usize>) -> Result<(), Fault> {
        let fault = |key: &str, message: String, help: &str| Err(Fault::new(key, message, help));
        let starts_at_t_min = matches!(self, BoundSpec::Elbo { form: Form::Implicit | Form::Sliced, .. });
        if below == BelowTMin::Ignored && !starts_at_t_min {
            return Err(self.starts_at_zero());
        }
        match self {
            BoundSpec::Elbo { draws, .. } if !draws.is_multiple_of(2) => {
                fault("elbo.draws", format!("draws is {draws}"), "give an even number: two in each part of the log-SNR tell the error")
            }
            BoundSpec::Elbo { draws, .. } => {
                Fault::unless_in("elbo.draws", *draws, 2..=MOST, "an even number: two in each part of the log-SNR tell the error")
            }
            BoundSpec::Vlb { draws, .. } => Fault::unless_in("vlb.draws", *draws, 1..=MOST, "2 or more tell the error"),
            BoundSpec::Iwae { paths, .. } => Fault::unless_in("iwae.paths", *paths, 1..=MOST, "1 is the VLB"),
        }?;
        let within = |fault: Fault| fault.within(&format!("{}.levels", self.table()));
        match (self.levels(), chain) {
            (None, _) => Ok(()),
            (Some(Levels::Chain(n)), Some(trained)) if *n != trained => {
                let message = format!("{n} levels, but the network was trained on {trained}");
                Err(within(Fault::new("chain", message, format!("give levels.chain = {trained}"))))
            }
            (Some(Levels::Chain(n)), _) => chain_of(sde, *n).map(drop).map_err(within),
            (Some(Levels::Grid(_)), Some(trained)) => {
                let message = "the network knows no times but those of its chain".to_owned();
                Err(within(Fault::new("grid", message, format!("give levels.chain = {trained}"))))
            }
            (Some(Levels::Grid(grid)), None) => grid.check().map_err(within),
        }
    }
}

impl Levels {
    /// From the lowest to the highest.
    fn build(&self, model: &dyn Model, t_min: f64) -> Result<Vec<Level>, Fault> {
        let sde = model.sde();
        Ok(match self {
            Levels::Grid(grid) => grid.times(sde, (t_min, sde.horizon())).into_iter().map(|t| sde.level(t)).collect(),
            Levels::Chain(n) => chain_of(sde, *n)?.levels().iter().map(|level| model.asked(level)).collect(),
        })
    }
}

/// The chain with so many levels; a fault's key is relative to `levels`.
fn chain_of(sde: &dyn Sde, levels: usize) -> Result<Chain, Fault> {
    sde.chain(levels).map_err(|fault| Fault { key: "chain".into(), ..fault })
}

/// A batch of examples with their bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounded {
    pub jobs: Vec<Job>,
    /// Nats, `[jobs]`.
    pub nats: Vec<f64>,
    /// The standard error of each that more draws would reduce; `None` from a single draw.
    pub errors: Vec<Option<f64>>,
    /// IWAE's bound of one path, the mean over all paths; empty for the others.
    pub one_path: Vec<f64>,
    /// The VLB's terms L_0 … L_N and their squares, summed over the examples; empty for the others.
    pub terms: Vec<[f64; 2]>,
}

impl Bounded {
    /// Keys of `[likelihood]` that bounds don't depend on.
    pub const FOREIGN: &[&str] = &["trace", "solver", "solver_check", "batch"];
}

/// The bounds of all examples.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// Nats, `[n]`.
    pub nats: Vec<f64>,
    pub errors: Vec<Option<f64>>,
    pub one_path: Vec<f64>,
    /// Mean and standard error over the examples of the terms L_0 … L_N, nats.
    pub terms: Vec<[f64; 2]>,
    pub seconds: f64,
}

/// Bounds -ln p of the first `spec.count` examples, in batches; what `journal` holds is not done again. An example's bound is a function of
/// (seed, example).
pub fn bounds(
    bound: &BoundSpec,
    spec: &Likelihood,
    subject: &Subject,
    journal: &mut Journal<Bounded>,
    terminal: &Terminal,
) -> Result<Bounds> {
    let bound = bound.of(spec, subject).map_err(|fault| fault.within("likelihood.bound"))?;
    let mut phase = terminal.phase("bound", "examples", spec.count as u64, 0);
    let mut result = Bounds::default();
    let all: Vec<Job> = (0..spec.count).map(|example| Job { example, draw: 0, probe: 0 }).collect();
    let mut left = &all[..];
    while !left.is_empty() {
        let round = journal.round(left.chunks(spec.batch), |jobs| {
            let given = subject.given(jobs);
            let batch = Batch { spec, subject: &Subject { model: &given, ..*subject }, jobs };
            let bounded = no_grad(|| batch.bounded(&bound))?;
            check_finite(batch.jobs, bounded.nats.iter().copied())?;
            Ok(bounded)
        })?;
        for batch in round {
            left = rest(left, &batch.jobs).ok_or_else(|| journal.stale())?;
            result.add(batch);
        }
        phase.earlier(journal.earlier());
        phase.set(result.nats.len() as u64, "");
    }
    result.terms = result.terms.iter().map(|&sums| mean_and_error(sums, spec.count as f64)).collect();
    result.seconds = journal.seconds();
    phase.finish("");
    Ok(result)
}

impl Bounds {
    fn add(&mut self, batch: Bounded) {
        self.nats.extend(batch.nats);
        self.errors.extend(batch.errors);
        self.one_path.extend(batch.one_path);
        self.terms.resize(batch.terms.len(), [0.0; 2]);
        for (all, one) in self.terms.iter_mut().zip(batch.terms) {
            *all = [all[0] + one[0], all[1] + one[1]];
        }
    }
}

/// From Σ y and Σ y² of n numbers y.
fn mean_and_error([sum, squares]: [f64; 2], n: f64) -> [f64; 2] {
    let mean = sum / n;
    [mean, ((squares / n - mean * mean).max(0.0) / (n - 1.0)).sqrt()]
}

#[cfg(test)]
mod tests;
