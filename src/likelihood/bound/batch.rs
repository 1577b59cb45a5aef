//! The bounds of a batch of examples.

use statrs::statistics::Statistics as _;
use tch::{Kind, Tensor};

use super::{Bounded, Form};
use crate::bound::{Decoder, DecoderLaw, Elbo, Start, Vlb, tightened};
use crate::divergence::Probes;
use crate::error::Result;
use crate::likelihood::parts::error_of_mean;
use crate::likelihood::points::{Points, at_zero};
use crate::likelihood::{Job, Likelihood, Subject};
use crate::rng::{self, Law, Purpose};
use crate::sde::{Level, Variance};
use crate::tensor::to_vec;

/// A [`BoundSpec`](super::BoundSpec) for one subject; `law` is that of the decoder from t_min.
pub(super) enum Bound {
    /// Without a decoder it starts at t_min.
    Elbo {
        form: Form,
        draws: usize,
        law: Option<DecoderLaw>,
    },
    Vlb {
        steps: Steps,
        draws: usize,
    },
    Iwae {
        steps: Steps,
        paths: usize,
    },
}

/// A chain's levels, the decoder's first, and the steps down.
pub(super) struct Steps {
    pub levels: Vec<Level>,
    pub variance: Variance,
    pub law: DecoderLaw,
}

/// Examples whose bounds are made together.
pub(super) struct Batch<'a> {
    pub spec: &'a Likelihood,
    pub subject: &'a Subject<'a>,
    pub jobs: &'a [Job],
}

impl Batch<'_> {
    /// Error: an example can't be read.
    pub fn bounded(&self, bound: &Bound) -> Result<Bounded> {
        let (mut one_path, mut terms) = (Vec::new(), Vec::new());
        let mean_of = |draws: &Tensor| to_vec(&draws.mean_dim(1i64, false, None::<Kind>));
        let (nats, errors) = match bound {
            Bound::Elbo { form, draws, law } => {
                let draws = self.elbo(*form, *draws, *law)?;
                (mean_of(&draws), rows(&draws).map(error_of_pairs).collect())
            }
            Bound::Vlb { steps, draws } => {
                let drawn = self.vlb(steps, *draws)?;
                let mean = drawn.mean_dim(2i64, false, None::<Kind>);
                let sum = |terms: Tensor| to_vec(&terms.sum_dim_intlist(0i64, false, None::<Kind>));
                terms = sum(mean.copy()).into_iter().zip(sum(mean.square())).map(|(sum, squares)| [sum, squares]).collect();
                let sums = drawn.sum_dim_intlist(1i64, false, None::<Kind>);
                (mean_of(&sums), rows(&sums).map(|draws| error_of_mean(&draws)).collect())
            }
            Bound::Iwae { steps, paths } => {
                let log_weights = self.log_weights(steps, *paths)?;
                one_path = mean_of(&-&log_weights);
                (to_vec(&tightened(&log_weights)), rows(&log_weights).map(|row| jackknife(&row)).collect())
            }
        };
        Ok(Bounded { jobs: self.jobs.to_vec(), nats, errors, one_path, terms })
    }

    /// The points x_0 of draw j: the bound goes through the draws of the dequantisation in turn.
    fn points(&self) -> impl Fn(usize) -> Result<Points> {
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

    /// [jobs, draws]: pairs of draws in the same part of the log-SNR and of the same point.
    fn elbo(&self, form: Form, draws: usize, law: Option<DecoderLaw>) -> Result<Tensor> {
        let model = self.subject.model;
        let elbo = Elbo { model, t_min: self.spec.t_min };
        let decoder = law.map(|law| Decoder { model, level: model.sde().level(self.spec.t_min), law });
        let start = if decoder.is_some() { Start::Zero } else { Start::TMin };
        let points = self.points();
        let shares: Vec<Vec<f64>> =
            self.jobs.iter().map(|job| rng::uniform(self.seed(), Purpose::Time, job.example as u64, draws)).collect();
        let draw = |k: usize| {
            let Points { x, offsets } = points(k / 2)?;
            let shape = &x.size()[1..];
            let u: Vec<f64> = shares.iter().map(|shares| ((k / 2) as f64 + shares[k]) / (draws / 2) as f64).collect();
            let z = self.random(Law::Gaussian, Purpose::Noise, 2 * k, shape);
            let probes = || match form {
                Form::Sliced => {
                    Probes::Random(self.random(Law::Rademacher, Purpose::Probe, k, &[self.subject.shape().iter().product()]).unsqueeze(0))
                }
                Form::Denoising | Form::Implicit => Probes::Exact,
            };
            let path = match form {
                Form::Denoising => elbo.denoising(&x, &u, &z),
                Form::Implicit | Form::Sliced => elbo.implicit(start, &x, &u, &z, &probes()),
            };
            let path = path + Tensor::from_slice(&offsets).to_device(x.device());
            Ok(match &decoder {
                Some(decoder) => path + decoder.offset(&x, &self.random(Law::Gaussian, Purpose::Noise, 2 * k + 1, shape)),
                None => path,
            })
        };
        Ok(Tensor::stack(&(0..draws).map(draw).collect::<Result<Vec<_>>>()?, 1))
    }

    fn chain(&self, Steps { levels, variance, law }: &Steps) -> Vlb<'_> {
        let model = self.subject.model;
        Vlb { model, levels: levels.clone(), variance: *variance, decoder: Decoder { model, level: levels[0], law: *law } }
    }

    /// L_0 … L_N in data units [jobs, N + 1, draws].
    fn vlb(&self, steps: &Steps, draws: usize) -> Result<Tensor> {
        let vlb = self.chain(steps);
        let n = vlb.levels.len();
        let points = self.points();
        let draw = |k: usize| {
            let Points { x, offsets } = points(k)?;
            let shape = &x.size()[1..];
            let terms = vlb.terms(&x, &mut |i| self.random(Law::Gaussian, Purpose::Noise, k * n + i, shape));
            let _ = terms.select(1, 0).g_add_(&Tensor::from_slice(&offsets).to_device(x.device()));
            Ok(terms)
        };
        Ok(Tensor::stack(&(0..draws).map(draw).collect::<Result<Vec<_>>>()?, 2))
    }

    /// ln w [jobs, paths] for the law of data units.
    fn log_weights(&self, steps: &Steps, paths: usize) -> Result<Tensor> {
        let vlb = self.chain(steps);
        let n = vlb.levels.len();
        let points = self.points();
        let path = |k: usize| {
            let Points { x, offsets } = points(k)?;
            let shape = &x.size()[1..];
            let log_weight = vlb.log_weight(&x, &mut |i| self.random(Law::Gaussian, Purpose::Noise, k * n + i, shape));
            Ok(log_weight - Tensor::from_slice(&offsets).to_device(x.device()))
        };
        Ok(Tensor::stack(&(0..paths).map(path).collect::<Result<Vec<_>>>()?, 1))
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

/// The standard error of ln (1/k) Σ w from ln w, by leaving out one path at a time.
fn jackknife(log_weights: &[f64]) -> Option<f64> {
    let k = log_weights.len();
    let without = |i: usize| {
        let others = || (0..k).filter(|&j| j != i).map(|j| log_weights[j]);
        let largest = others().fold(f64::NEG_INFINITY, f64::max);
        largest + others().map(|w| (w - largest).exp()).sum::<f64>().ln()
    };
    let values: Vec<f64> = (0..k).map(without).collect();
    (k > 1).then(|| (values.population_variance() * (k - 1) as f64).sqrt())
}
