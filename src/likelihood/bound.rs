//! `[likelihood.bound.*]`: a bound of the same examples' negative log-likelihood, beside the exact number.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use statrs::statistics::Statistics as _;
use tch::{Kind, Tensor, no_grad};

use super::points::{BelowTMin, Points, at_zero};
use super::{Job, Likelihood, Record, Store, Subject};
use crate::bound::{Decoder, Elbo, Level, Start, Variance, Vlb, tightened};
use crate::error::{Fault, Result};
use crate::progress::Terminal;
use crate::rng::{self, Law, Purpose};
use crate::sde::{Chain, Sde};
use crate::solver::TimeGrid;
use crate::tensor::to_vec;
use crate::trace::Probes;

/// How -ln p is bounded. All of it is for the law of the reverse SDE from the prior; `below_t_min` leads from t_min to 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum BoundSpec {
    /// In continuous time (see [`Elbo`]): `draws` of (t, z) for each example, two in each of draws / 2 equal parts of the log-SNR, so that
    /// their differences tell the error; one evaluation a draw.
    Elbo { form: Form, draws: usize },
    /// Of a chain of levels, term by term (see [`Vlb`]): `draws` of the noise of all levels; an evaluation for each level and draw.
    Vlb { levels: Levels, variance: Variance, draws: usize },
    /// Of the chain, tightened by `paths` paths (see [`tightened`]); an evaluation for each level and path.
    Iwae { levels: Levels, variance: Variance, paths: usize },
}

/// The integrand of the bound in continuous time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Levels {
    /// Those of the chain with so many levels that the SDE is the limit of (DDPM's, NCSN's); its lowest level takes t_min's place. A
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

    /// A fault's key is relative to `[likelihood.bound]`. `chain` is the number of levels of a network in discrete time.
    pub(super) fn check(&self, below: BelowTMin, sde: &dyn Sde, chain: Option<usize>) -> Result<(), Fault> {
        let fault = |key: &str, message: String, help: &str| Err(Fault::new(key, message, help));
        let starts_at_t_min = matches!(self, BoundSpec::Elbo { form: Form::Implicit | Form::Sliced, .. });
        if below == BelowTMin::Ignored && !starts_at_t_min {
            let message = format!("{} starts at t = 0, and likelihood.below_t_min is \"ignored\"", self.table());
            return fault(
                self.table(),
                message,
                "give below_t_min = \"tweedie\" (or \"jensen\", \"discrete\"), or elbo.form = \"implicit\"",
            );
        }
        match self {
            BoundSpec::Elbo { draws, .. } if *draws == 0 || !draws.is_multiple_of(2) => {
                fault("elbo.draws", format!("draws is {draws}"), "give an even number: two in each part of the log-SNR tell the error")
            }
            BoundSpec::Vlb { draws: 0, .. } => fault("vlb.draws", "draws is 0".into(), "give at least 1; 2 or more tell the error"),
            BoundSpec::Iwae { paths: 0, .. } => fault("iwae.paths", "paths is 0".into(), "give at least 1, which is the VLB"),
            _ => Ok(()),
        }?;
        let within = |fault: Fault| fault.within(&format!("{}.levels", self.table()));
        match (self.levels(), chain) {
            (None, _) => Ok(()),
            (Some(Levels::Chain(n)), Some(trained)) if *n != trained => {
                let message = format!("{n} levels, but the network was trained on {trained}");
                Err(within(Fault::new("chain", message, format!("give levels.chain = {trained}"))))
            }
            (Some(Levels::Chain(n)), _) => sde.chain(*n).map(drop).map_err(|fault| within(Fault { key: "chain".into(), ..fault })),
            (Some(Levels::Grid(_)), Some(trained)) => {
                let message = "the network knows no times but those of its chain".to_owned();
                Err(within(Fault::new("grid", message, format!("give levels.chain = {trained}"))))
            }
            (Some(Levels::Grid(grid)), None) => grid.check().map_err(within),
        }
    }
}

impl Levels {
    /// From the lowest to the highest. They have passed their check.
    fn build(&self, subject: &Subject, t_min: f64) -> Vec<Level> {
        let sde = subject.sde;
        match self {
            Levels::Grid(grid) => grid.times(sde, (t_min, 1.0)).into_iter().map(|t| Level::of(sde, t)).collect(),
            Levels::Chain(n) => {
                let chain = sde.chain(*n).expect("a checked number of levels");
                (0..*n).map(|i| of_chain(&chain, chain.time(i), subject)).collect()
            }
        }
    }
}

/// The chain's level at its own time `t`, with the time at which the model is to be asked.
fn of_chain(chain: &Chain, t: f64, subject: &Subject) -> Level {
    let level = Level { t, alpha: chain.alpha(t), sigma: chain.sigma(t) };
    if subject.discrete { level } else { Level { t: subject.sde.time_of_log_snr(level.log_snr()), ..level } }
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

impl Record for Bounded {
    fn jobs(&self) -> &[Job] {
        &self.jobs
    }
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

/// Bounds -ln p of the first `spec.count` examples, in batches; what `store` holds is not done again. An example's bound is a function of
/// (seed, example).
pub fn bounds(bound: &BoundSpec, spec: &Likelihood, subject: &Subject, store: &mut Store<Bounded>, terminal: &Terminal) -> Result<Bounds> {
    let begun = Instant::now();
    let mut phase = terminal.phase("bound", "examples", spec.count as u64, 0);
    let mut result = Bounds::default();
    let all: Vec<Job> = (0..spec.count).map(|example| Job { example, draw: 0, probe: 0 }).collect();
    while result.nats.len() < spec.count {
        let left = &all[result.nats.len()..];
        let batch = match store.recall(left)? {
            Some(batch) => batch,
            None => {
                let batch = Batch { spec, subject, jobs: &left[..spec.batch.min(left.len())] };
                let bounded = no_grad(|| batch.bounded(bound));
                store.keep(&bounded)?;
                bounded
            }
        };
        result.add(batch);
        phase.set(result.nats.len() as u64, "");
    }
    result.terms = result.terms.iter().map(|&sums| mean_and_error(sums, spec.count as f64)).collect();
    result.seconds = begun.elapsed().as_secs_f64();
    phase.finish(&format!("{:.4} nats", (&result.nats).mean()));
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

/// Examples whose bounds are made together.
struct Batch<'a> {
    spec: &'a Likelihood,
    subject: &'a Subject<'a>,
    jobs: &'a [Job],
}

impl Batch<'_> {
    fn bounded(&self, bound: &BoundSpec) -> Bounded {
        let (mut one_path, mut terms) = (Vec::new(), Vec::new());
        let mean_of = |draws: &Tensor| to_vec(&draws.mean_dim(1i64, false, None::<Kind>));
        let (nats, errors) = match bound {
            BoundSpec::Elbo { form, draws } => {
                let draws = self.elbo(*form, *draws);
                (mean_of(&draws), rows(&draws).map(error_of_pairs).collect())
            }
            BoundSpec::Vlb { levels, variance, draws } => {
                let drawn = self.vlb(levels, *variance, *draws);
                let mean = drawn.mean_dim(2i64, false, None::<Kind>);
                let sum = |terms: Tensor| to_vec(&terms.sum_dim_intlist(0i64, false, None::<Kind>));
                terms = sum(mean.copy()).into_iter().zip(sum(mean.square())).map(|(sum, squares)| [sum, squares]).collect();
                let sums = drawn.sum_dim_intlist(1i64, false, None::<Kind>);
                (mean_of(&sums), rows(&sums).map(|draws| error_of_mean(&draws)).collect())
            }
            BoundSpec::Iwae { levels, variance, paths } => {
                let log_weights = self.log_weights(levels, *variance, *paths);
                one_path = mean_of(&-&log_weights);
                (to_vec(&tightened(&log_weights)), rows(&log_weights).map(|row| jackknife(&row)).collect())
            }
        };
        Bounded { jobs: self.jobs.to_vec(), nats, errors, one_path, terms }
    }

    /// The points x_0 of draw j: the bound goes through the draws of the dequantisation in turn.
    fn points(&self) -> impl Fn(usize) -> Points {
        let draws = self.spec.dequantisation.draws();
        move |j| {
            let jobs: Vec<Job> = self.jobs.iter().map(|job| Job { draw: j % draws, ..*job }).collect();
            at_zero(self.spec, self.subject, &jobs)
        }
    }

    /// Draw `draw` of normal noise [jobs, ...], f64; its random numbers have their own seed.
    fn random(&self, law: Law, purpose: Purpose, draw: usize, shape: &[i64]) -> Tensor {
        let places: Vec<(u64, u64)> = self.jobs.iter().map(|job| (job.example as u64, draw as u64)).collect();
        rng::rows_at(law, self.seed(), purpose, &places, shape, self.subject.device).to_kind(Kind::Double)
    }

    fn seed(&self) -> u64 {
        rng::derive(self.subject.seed, Purpose::Bound, 0)
    }

    fn decoder(&self, level: Level) -> Option<Decoder<'_>> {
        let law = self.spec.below_t_min.law(self.subject.scale)?;
        Some(Decoder { model: self.subject.model, level, law })
    }

    /// [jobs, draws]: pairs of draws in the same part of the log-SNR and of the same point.
    fn elbo(&self, form: Form, draws: usize) -> Tensor {
        let Subject { sde, model, .. } = *self.subject;
        let elbo = Elbo { sde, model, t_min: self.spec.t_min };
        let decoder = self.decoder(Level::of(sde, self.spec.t_min));
        let start = if decoder.is_some() { Start::Zero } else { Start::TMin };
        let points = self.points();
        let shares: Vec<Vec<f64>> =
            self.jobs.iter().map(|job| rng::uniform(self.seed(), Purpose::Time, job.example as u64, draws)).collect();
        let draw = |k: usize| {
            let Points { x, offsets } = points(k / 2);
            let shape = &x.size()[1..];
            let u: Vec<f64> = shares.iter().map(|shares| ((k / 2) as f64 + shares[k]) / (draws / 2) as f64).collect();
            let z = self.random(Law::Gaussian, Purpose::Noise, 2 * k, shape);
            let probes = || match form {
                Form::Sliced => {
                    Probes::Random(self.random(Law::Rademacher, Purpose::Probe, k, &[self.subject.dimension() as i64]).unsqueeze(0))
                }
                Form::Denoising | Form::Implicit => Probes::Exact,
            };
            let path = match form {
                Form::Denoising => elbo.denoising(&x, &u, &z),
                Form::Implicit | Form::Sliced => elbo.implicit(start, &x, &u, &z, &probes()),
            };
            let path = path + Tensor::from_slice(&offsets).to_device(x.device());
            match &decoder {
                Some(decoder) => path + decoder.offset(&x, &self.random(Law::Gaussian, Purpose::Noise, 2 * k + 1, shape)),
                None => path,
            }
        };
        Tensor::stack(&(0..draws).map(draw).collect::<Vec<_>>(), 1)
    }

    fn chain(&self, levels: &Levels, variance: Variance) -> Vlb<'_> {
        let Subject { sde, model, .. } = *self.subject;
        let levels = levels.build(self.subject, self.spec.t_min);
        let decoder = self.decoder(levels[0]).expect("a checked bound of a chain has a decoder");
        Vlb { sde, model, levels, variance, decoder }
    }

    /// L_0 … L_N in data units [jobs, N + 1, draws].
    fn vlb(&self, levels: &Levels, variance: Variance, draws: usize) -> Tensor {
        let vlb = self.chain(levels, variance);
        let n = vlb.levels.len();
        let points = self.points();
        let draw = |k: usize| {
            let Points { x, offsets } = points(k);
            let shape = &x.size()[1..];
            let terms = vlb.terms(&x, &mut |i| self.random(Law::Gaussian, Purpose::Noise, k * n + i, shape));
            let _ = terms.select(1, 0).g_add_(&Tensor::from_slice(&offsets).to_device(x.device()));
            terms
        };
        Tensor::stack(&(0..draws).map(draw).collect::<Vec<_>>(), 2)
    }

    /// ln w [jobs, paths] for the law of data units.
    fn log_weights(&self, levels: &Levels, variance: Variance, paths: usize) -> Tensor {
        let vlb = self.chain(levels, variance);
        let n = vlb.levels.len();
        let points = self.points();
        let path = |k: usize| {
            let Points { x, offsets } = points(k);
            let shape = &x.size()[1..];
            let log_weight = vlb.log_weight(&x, &mut |i| self.random(Law::Gaussian, Purpose::Noise, k * n + i, shape));
            log_weight - Tensor::from_slice(&offsets).to_device(x.device())
        };
        Tensor::stack(&(0..paths).map(path).collect::<Vec<_>>(), 1)
    }
}

/// The rows of a matrix.
fn rows(matrix: &Tensor) -> impl Iterator<Item = Vec<f64>> + use<> {
    let width = matrix.size()[1] as usize;
    let values = to_vec(matrix);
    (0..values.len() / width).map(move |i| values[i * width..(i + 1) * width].to_vec())
}

/// The standard error of the mean of m draws of which the 2j-th and the next are of one law: √(Σ (y - y')²) / m.
fn error_of_pairs(draws: Vec<f64>) -> Option<f64> {
    let squares: f64 = draws.chunks_exact(2).map(|pair| (pair[0] - pair[1]).powi(2)).sum();
    Some(squares.sqrt() / draws.len() as f64)
}

fn error_of_mean(draws: &[f64]) -> Option<f64> {
    (draws.len() > 1).then(|| draws.std_dev() / (draws.len() as f64).sqrt())
}

/// The standard error of ln (1/k) Σ w from ln w, by leaving out one path at a time.
fn jackknife(log_weights: &[f64]) -> Option<f64> {
    let k = log_weights.len();
    let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = log_weights.iter().map(|w| (w - largest).exp()).collect();
    let without = |i: usize| (0..k).filter(|&j| j != i).map(|j| weights[j]).sum::<f64>().ln();
    let values: Vec<f64> = (0..k).map(without).collect();
    (k > 1).then(|| (values.population_variance() * (k - 1) as f64).sqrt())
}
