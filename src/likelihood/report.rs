//! `likelihood.json`: the number, its error bar and how it came about. What can't be known, such as a standard error from one example, is null.

use std::collections::BTreeMap;
use std::f64::consts::LN_2;

use serde::Serialize;
use statrs::statistics::Statistics as _;

use super::parts::error_of_mean;
use super::protocol::Comparison;
use super::unit::Unit;
use super::values::holds;
use super::{BelowTMin, Bounds, Likelihood, Likelihoods, Outcome};
use crate::solver::{Cost, Counts};
use crate::space::Scale;
use crate::train::Weights;

/// A measured likelihood.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Examples.
    pub count: usize,
    /// Of the two below, the one that the data's kind is said in: `nats` of vectors, `bits_per_dim` of pixels.
    pub unit: Unit,
    pub nats: Number,
    pub bits_per_dim: Number,
    pub estimates_per_example: Counts,
    pub probe_budget: Outcome,
    pub solves: usize,
    /// Of a solve.
    #[serde(flatten)]
    pub cost: Cost,
    pub seconds: f64,
    /// Where the prior stands for the law of x, if that is not t = 1 but where there is still some signal to divide by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizon: Option<f64>,
    pub protocol: Protocol<Likelihood>,
    /// Where the law of the data is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<Truth>,
    /// Of a model that is told of classes: each class that is among the examples.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<OfClass>,
    /// With a latent space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latent: Option<LatentParts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// The examples of one class, given that.
#[derive(Clone, Debug, Serialize)]
pub struct OfClass {
    pub class: usize,
    pub examples: usize,
    pub nats: Mean,
    pub bits_per_dim: Mean,
}

/// What the number in nats is the sum of, with a latent space.
#[derive(Clone, Debug, Serialize)]
pub struct LatentParts {
    /// E_q[-ln p(x | y)].
    pub reconstruction: Mean,
    /// E_q[ln q(y | x)].
    pub posterior: Mean,
    /// E_q[-ln p(y)], the score's.
    pub score: Mean,
}

/// A mean over examples with its standard error, in one unit.
#[derive(Clone, Debug, Serialize)]
pub struct Number {
    pub mean: f64,
    pub standard_error: f64,
    pub parts: ErrorParts,
    pub solver: Option<SolverError>,
}

/// Where the standard error comes from.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorParts {
    pub dataset: Option<f64>,
    pub dequantisation: Option<f64>,
    pub probes: Option<f64>,
}

/// What the solver's error does to the mean: this result minus a closer one, for the examples that were solved twice.
#[derive(Clone, Debug, Serialize)]
pub struct SolverError {
    #[serde(flatten)]
    pub difference: Difference,
    pub examples: usize,
}

/// How it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Protocol<S> {
    /// The table of the experiment.
    pub settings: S,
    pub weights: String,
    /// What the change of units between data and model space adds, bits/dim.
    pub offset_bits_per_dim: f64,
    /// D.
    pub dimension: usize,
    /// What must be known of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl<S: Clone> Protocol<S> {
    /// No weights for an exact score; no scale for probabilities, which have no unit; `data` is the split's [note](crate::data::Dataset::note).
    pub(super) fn new(
        settings: &S,
        weights: Option<&Weights>,
        scale: Option<Scale>,
        dimension: usize,
        data: &Option<String>,
    ) -> Protocol<S> {
        Protocol {
            settings: settings.clone(),
            weights: weights.map_or("exact score".into(), Weights::name),
            offset_bits_per_dim: scale.map_or(0.0, |scale| -scale.log_det_per_dim() / LN_2),
            dimension,
            data: data.clone(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Truth {
    /// The data's own law.
    pub nats: Mean,
    /// Measured minus true.
    pub excess_nats: Difference,
}

impl Truth {
    /// Of each example: the measured number, and the true one.
    pub(super) fn new(nats: &[f64], truth: &[f64]) -> Truth {
        let excess: Vec<f64> = nats.iter().zip(truth).map(|(got, truth)| got - truth).collect();
        Truth { nats: Mean::of(truth), excess_nats: Difference::of(&excess) }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Bound {
    pub nats: BoundNumber,
    pub bits_per_dim: BoundNumber,
    pub exact_at_most_bound: bool,
    pub seconds: f64,
}

/// A bound in one unit.
#[derive(Clone, Debug, Serialize)]
pub struct BoundNumber {
    #[serde(flatten)]
    pub mean: Mean,
    /// The part that more draws would reduce.
    pub standard_error_from_draws: Option<f64>,
    pub above_exact: Difference,
    /// IWAE's bound of one path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_path: Option<Mean>,
}

/// Of one number for each example.
#[derive(Clone, Debug, Serialize)]
pub struct Mean {
    pub mean: f64,
    pub standard_error: Option<f64>,
}

impl Mean {
    pub(super) fn of(values: &[f64]) -> Mean {
        Mean { mean: values.mean(), standard_error: error_of_mean(values) }
    }
}

/// Of one difference for each example.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    #[serde(flatten)]
    pub mean: Mean,
    /// The largest, without its sign.
    pub largest: f64,
}

impl Difference {
    fn of(values: &[f64]) -> Difference {
        Difference { mean: Mean::of(values), largest: values.iter().map(|value| value.abs()).fold(0.0, f64::max) }
    }
}

pub(super) fn times(factor: f64, values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

impl Likelihoods {
    /// No weights for an exact score.
    pub fn report(&self, weights: Option<&Weights>) -> Report {
        Report {
            count: self.estimates().len(),
            unit: self.unit(),
            nats: self.number(1.0),
            bits_per_dim: self.number(self.bits_per_nat()),
            estimates_per_example: Counts::of(&self.probes()),
            probe_budget: self.outcome,
            solves: self.solves(),
            cost: self.statistics.cost(),
            seconds: self.seconds,
            horizon: self.horizon,
            protocol: Protocol::new(
                &self.spec,
                weights,
                Some(self.scale).filter(|_| self.spec.below_t_min != BelowTMin::Discrete),
                self.dimension,
                &self.note,
            ),
            truth: self.truth.as_ref().map(|truth| Truth::new(&self.nats(), truth)),
            classes: self.of_classes(),
            latent: self.latent_parts(),
            bound: self.bounds.as_ref().map(|bounds| self.bound(bounds)),
            comparison: None,
        }
    }

    /// The means of each class.
    fn of_classes(&self) -> Vec<OfClass> {
        let mut of_class = BTreeMap::<usize, Vec<f64>>::new();
        let classes = self.classes.iter().flatten();
        classes.zip(self.nats()).for_each(|(class, nats)| of_class.entry(*class).or_default().push(nats));
        let report = |(class, nats): (usize, Vec<f64>)| {
            let bits = times(self.bits_per_nat(), &nats);
            OfClass { class, examples: nats.len(), nats: Mean::of(&nats), bits_per_dim: Mean::of(&bits) }
        };
        of_class.into_iter().map(report).collect()
    }

    /// What a number of latent variables is the sum of.
    pub fn latent_parts(&self) -> Option<LatentParts> {
        let [reconstruction, posterior] = self.latent.as_ref()?;
        let score = self.nats().iter().zip(reconstruction).zip(posterior).map(|((all, a), b)| all - a - b).collect::<Vec<_>>();
        Some(LatentParts { reconstruction: Mean::of(reconstruction), posterior: Mean::of(posterior), score: Mean::of(&score) })
    }

    fn number(&self, factor: f64) -> Number {
        let parts = self.parts().times(factor);
        let solver = (!self.refined.is_empty())
            .then(|| SolverError { difference: Difference::of(&times(-factor, &self.refined)), examples: self.refined.len() });
        Number {
            mean: parts.mean,
            standard_error: parts.standard_error(),
            parts: ErrorParts { dataset: parts.dataset, dequantisation: parts.dequantisation, probes: parts.probe },
            solver,
        }
    }

    fn bound(&self, bounds: &Bounds) -> Bound {
        let above = self.above(bounds);
        let in_unit = |factor: f64| {
            let squares: Option<f64> = bounds.errors.iter().map(|error| error.map(|error| error * error)).sum();
            BoundNumber {
                mean: Mean::of(&times(factor, &bounds.nats)),
                standard_error_from_draws: squares.map(|squares| factor * squares.sqrt() / bounds.nats.len() as f64),
                above_exact: Difference::of(&times(factor, &above)),
                one_path: (!bounds.one_path.is_empty()).then(|| Mean::of(&times(factor, &bounds.one_path))),
            }
        };
        Bound {
            nats: in_unit(1.0),
            bits_per_dim: in_unit(self.bits_per_nat()),
            exact_at_most_bound: holds(&above),
            seconds: bounds.seconds,
        }
    }
}
