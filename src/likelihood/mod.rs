//! Likelihood: the probability flow with its change of log-density, from the data to the prior -> nats -> bits/dim with an error bar.

mod bound;
mod budget;
mod densities;
mod density;
mod exact;
mod parts;
mod points;
pub mod protocol;
mod report;
mod trace;
mod unit;
mod values;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use statrs::statistics::Statistics as _;
use tch::Device;

pub use bound::{BoundSpec, Bounded, Bounds, Form, Levels, bounds};
pub use budget::Outcome;
pub use densities::Densities;
pub use density::{Density, Evaluated, density};
pub use exact::{Job, Solved};
pub use parts::Parts;
pub use points::BelowTMin;
pub use report::Report;
pub use trace::{Budget, Probing, Trace};
pub use unit::Unit;
pub use values::Likelihoods;

use crate::data::{Conditions, Dataset, Split, Summary};
use crate::dequantisation::Dequantiser;
use crate::error::{Error, Fault, Result};
use crate::latent::LatentSpace;
use crate::model::{Given, Model};
use crate::progress::Terminal;
use crate::run::Journal;
use crate::sde::Sde;
use crate::solver::{General, SolverSpec, Step};
use crate::space::Scale;
use crate::train::Weights;
use budget::Next;

/// `[likelihood]`: whose likelihood is measured, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Likelihood {
    pub split: Split,
    /// The first `count` examples of the split are measured, all of them, 1 to as many as it has.
    pub count: usize,
    /// Solves that are done together, 1 to 1,000,000; a solve's result does not depend on it, unless the solver couples a batch.
    pub batch: usize,
    /// Where the flow starts, in (0, 1); the reference uses 1e-5.
    pub t_min: f64,
    /// What becomes of the mass between 0 and t_min.
    pub below_t_min: BelowTMin,
    pub solver: SolverSpec,
    /// So many of the first examples are solved again more closely, with the same probes, to see what the solver's error does; 0 for none.
    pub solver_check: usize,
    pub trace: Trace,
    pub dequantisation: Dequantisation,
    /// A bound of the same examples, beside the exact number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<BoundSpec>,
}

/// How discrete pixels become points of a density.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Dequantisation {
    /// Vectors: the data are points already.
    None,
    /// Pixels: `draws` of u ~ U[0, 1) for each example; the mean over u bounds ln P(pixels) from below (Theis et al. 2016).
    Uniform {
        /// Of each example, 1 to 65536; 2 or more tell what the noise does to the result.
        draws: usize,
    },
    /// Pixels: `draws` of u for each example from the law that `[dequantisation.variational]` trains (see [`crate::dequantisation`]).
    Variational {
        /// Of each example, 1 to 65536.
        draws: usize,
    },
    /// With `[space.latent]`: `draws` of y ~ q(y | x) for each example, each of its own u ~ U[0, 1) if the decoder gives a density of
    /// pixels; the mean over them bounds ln p(x), or ln P(pixels), from below (see [`crate::latent`]).
    Latent {
        /// Of each example, 1 to 65536; 2 or more tell what the draw does to the result.
        draws: usize,
    },
}

impl Dequantisation {
    /// Points for each example.
    pub fn draws(&self) -> usize {
        match self {
            Dequantisation::None => 1,
            Dequantisation::Uniform { draws } | Dequantisation::Variational { draws } | Dequantisation::Latent { draws } => *draws,
        }
    }
}

/// Draws or probes of one example that have random numbers of their own.
const MOST: usize = 1 << 16;

/// Examples, whatever the split has.
const MOST_EXAMPLES: usize = 1_000_000_000;

impl Likelihood {
    /// `chain` is the number of levels of a network in discrete time; `latent`, whether the score is of latent variables, which are vectors.
    pub fn check(&self, scale: Scale, latent: bool, sde: &dyn Sde, chain: Option<usize>) -> Result<(), Fault> {
        Fault::unless_in("count", self.count, 1..=MOST_EXAMPLES, "leave [likelihood] out for no likelihood")?;
        Fault::unless_in("batch", self.batch, 1..=1_000_000, "a smaller batch needs less memory")?;
        if !(self.t_min > 0.0 && self.t_min < 1.0) {
            return Err(Fault::new("t_min", format!("t_min is {}", self.t_min), "give a number between 0 and 1; the reference uses 1e-5"));
        }
        if self.solver_check > self.count {
            let message = format!("{} examples are to be checked, but {} are measured", self.solver_check, self.count);
            return Err(Fault::new("solver_check", message, format!("give at most {}", self.count)));
        }
        self.trace.check().map_err(|fault| fault.within("trace"))?;
        match (latent, self.dequantisation) {
            (true, Dequantisation::Latent { .. }) => {}
            (true, _) => {
                let message = "the score is of latent variables, [space.latent]";
                return Err(Fault::new("dequantisation", message, "use latent = { draws = 1 }"));
            }
            (false, Dequantisation::Latent { .. }) => {
                let message = "there is no latent space, and the data are their own points";
                return Err(Fault::new("dequantisation", message, "use \"none\" for vectors, uniform = { draws = 1 } for pixels"));
            }
            (false, _) => {}
        }
        self.below_t_min.check(scale, self.dequantisation)?;
        let draws = self.dequantisation.draws();
        let key = match self.dequantisation {
            Dequantisation::None | Dequantisation::Uniform { .. } => "dequantisation.uniform.draws",
            Dequantisation::Variational { .. } => "dequantisation.variational.draws",
            Dequantisation::Latent { .. } => "dequantisation.latent.draws",
        };
        Fault::unless_in(key, draws, 1..=MOST, "2 or more tell what the noise does to the result")?;
        if self.below_t_min != BelowTMin::Ignored {
            let message = "this way from 0 to t_min has normal noise";
            sde.check_score("below_t_min", message, "use \"ignored\"")?;
        }
        if let Some(bound) = &self.bound {
            sde.check_score("bound", "bounds are of processes with normal noise", "remove [likelihood.bound]")?;
            bound.check(self.below_t_min, sde, chain).map_err(|fault| fault.within("bound"))?;
        }
        self.solver.general().map(drop).map_err(|fault| fault.within("solver"))
    }

    /// What can only be known with the split at hand.
    pub fn check_against(&self, set: &Summary, trained: &[usize]) -> Result<(), Fault> {
        check_examples(self.count, set, trained)
    }
}

/// Whether a split has so many examples, of the shape of those for training.
fn check_examples(count: usize, set: &Summary, trained: &[usize]) -> Result<(), Fault> {
    if set.shape != trained {
        let message = format!("its examples have shape {:?}, those for training {trained:?}", set.shape);
        return Err(Fault::new("split", message, "both splits must be of one shape"));
    }
    if count > set.len {
        let message = format!("{count} examples are asked for, but the split has {}", set.len);
        return Err(Fault::new("count", message, format!("give at most {}", set.len)));
    }
    Ok(())
}

/// Whose likelihood is measured, of which data, and where.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub model: &'a dyn Model,
    pub dataset: &'a dyn Dataset,
    /// What the model is told of the examples.
    pub conditions: Option<&'a Conditions>,
    pub scale: Scale,
    /// Draws the noise of variational dequantisation.
    pub dequantiser: Option<&'a Dequantiser>,
    /// Where the score lives, if that is not the data's own space.
    pub latent: Option<&'a LatentSpace>,
    pub seed: u64,
    pub device: Device,
}

impl<'a> Subject<'a> {
    /// The model of x given what is known of each of these examples.
    fn given(&self, jobs: &[Job]) -> Given<'a> {
        let examples = || jobs.iter().map(|job| job.example).collect::<Vec<_>>();
        Given { model: self.model, condition: self.conditions.map(|conditions| conditions.of(&examples()).to_device(self.device)) }
    }

    /// D of the data.
    pub fn dimension(&self) -> usize {
        self.dataset.shape().iter().product()
    }

    /// The shape of the points that the score is asked for.
    pub fn shape(&self) -> Vec<i64> {
        self.latent.map_or_else(|| self.dataset.shape().iter().map(|&n| n as i64).collect(), |space| space.shape().to_vec())
    }
}

/// Measures the first `spec.count` examples, in rounds of solves: the first round has one for each point, and where the probes have a
/// target, the second has more where they matter. The estimates of a solve are a function of (seed, example, draw, number of its first
/// probe). What `journal` holds already is not solved again.
pub fn likelihood(spec: &Likelihood, subject: &Subject, journal: &mut Journal<Solved>, terminal: &Terminal) -> Result<Likelihoods> {
    let solver = spec.solver.general().map_err(|fault| fault.within("likelihood.solver"))?;
    let mut result = Likelihoods::new(spec, subject);
    if let Some(t) = result.horizon {
        terminal.say(&format!("ln p is measured up to t = {t:.4}, where the prior stands for the law of x: t = 1 has no signal"));
    }
    let mut phase = terminal.phase("likelihood", "examples", spec.count as u64, 0);
    let mut rounds = 0..;
    result.outcome = loop {
        let (round, note) = match budget::next(spec, rounds.next().unwrap_or_default(), &result) {
            Next::Round { jobs, note } => (jobs, note),
            Next::Done(outcome) => break outcome,
        };
        let mut watch = |share: f64, earlier: f64| {
            phase.earlier(earlier);
            phase.set((share * spec.count as f64) as u64, &note);
        };
        all(&round, spec, &solver, subject, journal, &mut watch, |solved| result.add(solved))?;
    };
    let again = budget::first_round(spec.solver_check, 1);
    all(&again, spec, &solver.refined(), subject, journal, &mut |_, _| {}, |solved| result.compare(solved))?;
    if subject.conditions.is_none() {
        result.truth = truth(subject.dataset, spec.count)?;
    }
    result.latent = points::latent_parts(spec, subject)?;
    result.seconds = journal.seconds();
    phase.set(spec.count as u64, "");
    phase.finish(&result.headline());
    Ok(result)
}

/// Solves for all `jobs`, in order and in batches, each in the journal before the next. `watch` is told of the share that is done and of the
/// seconds of earlier processes.
fn all(
    jobs: &[Job],
    spec: &Likelihood,
    solver: &General,
    subject: &Subject,
    journal: &mut Journal<Solved>,
    watch: &mut dyn FnMut(f64, f64),
    mut take: impl FnMut(Solved),
) -> Result<()> {
    let mut left = jobs;
    while !left.is_empty() {
        let (done, earlier) = ((jobs.len() - left.len()) as f64, journal.earlier());
        let round = journal.round(left.chunks(spec.batch), |batch| {
            let mut watch = |step: &Step| watch((done + step.share * batch.len() as f64) / jobs.len() as f64, earlier);
            let solved = exact::solve(spec, solver, subject, batch, &mut watch)?;
            check_finite(batch, solved.nats.iter().map(|estimates| estimates.mean()))?;
            Ok(solved)
        })?;
        for solved in round {
            left = rest(left, &solved.jobs).ok_or_else(|| journal.stale())?;
            take(solved);
        }
    }
    Ok(())
}

/// What is left of `jobs` after the first ones; `None` where these are others, or none.
fn rest<'a>(jobs: &'a [Job], first: &[Job]) -> Option<&'a [Job]> {
    jobs.strip_prefix(first).filter(|_| !first.is_empty())
}

fn check_finite(jobs: &[Job], nats: impl IntoIterator<Item = f64>) -> Result<()> {
    match jobs.iter().zip(nats).find(|(_, nats)| !nats.is_finite()) {
        None => Ok(()),
        Some((job, _)) => Err(Error::Solver {
            message: format!("the result for example {} is not finite", job.example),
            help: "the score is not finite somewhere; train longer, or raise likelihood.t_min".into(),
        }),
    }
}

/// All that the solves depend on, or the bounds; no weights where the score is known. Of `[likelihood]` the bounds need not the solver
/// nor the solves the bound.
pub fn dependence(spec: &Likelihood, seed: u64, weights: Option<&Weights>, foreign: &[&str]) -> Value {
    let mut likelihood = json!(spec);
    let table = likelihood.as_object_mut().expect("a table");
    if !spec.solver.couples_batch() {
        table.remove("batch");
    }
    foreign.iter().for_each(|key| drop(table.remove(*key)));
    json!({ "seed": seed, "weights": weights, "likelihood": likelihood })
}

/// Minus ln p of the examples in nats, where the law of the data is known. Error: an example can't be read.
fn truth(dataset: &dyn Dataset, count: usize) -> Result<Option<Vec<f64>>> {
    let mut values = vec![0f32; dataset.shape().iter().product()];
    let mut of_example = |i| {
        dataset.read(i, &mut values)?;
        let x: Vec<f64> = values.iter().copied().map(f64::from).collect();
        Ok(dataset.log_density(&x).map(|log_p| -log_p))
    };
    (0..count).map(&mut of_example).collect()
}

#[cfg(test)]
mod tests;
