//! What a family measured by itself: each example's numbers, a line for people, the report, `.npz` and a histogram.

use image::RgbImage;
use serde::Serialize;

use super::parts::Randomness;
use super::report::{ErrorParts, Mean, Protocol, Truth, times};
use super::unit::Unit;
use super::values::{line, picture, spread};
use super::{Density, Dequantisation, Parts};
use crate::error::Result;
use crate::metric::Estimate;
use crate::plot::{self, Bins};
use crate::run::log::Points;
use crate::run::{Npz, Product};
use crate::space::Scale;
use crate::train::Weights;

/// Negative log-likelihoods, per example and in data units.
pub struct Densities {
    pub(super) spec: Density,
    pub(super) scale: Scale,
    /// D.
    pub(super) dimension: usize,
    /// Of the split.
    pub(super) note: Option<String>,
    /// Nats, `[example][draw][1]`.
    pub(super) estimates: Vec<Vec<Vec<f64>>>,
    /// Nats `[n]` each, where densities are estimated by draws: the standard errors, by more than one draw, and minus the ELBO.
    pub(super) errors: Vec<f64>,
    pub(super) elbo: Vec<f64>,
    /// Nats `[n]`, minus the true ln p of the data where the law of the data is known.
    pub truth: Option<Vec<f64>>,
    pub seconds: f64,
}

/// `likelihood.json` of a family that measures by itself.
#[derive(Serialize)]
pub struct Report {
    /// Examples.
    pub count: usize,
    /// Of the two below, the one that the data's kind is said in: `nats` of vectors, `bits_per_dim` of pixels.
    pub unit: Unit,
    pub nats: Number,
    pub bits_per_dim: Number,
    pub seconds: f64,
    pub protocol: Protocol<Density>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<Truth>,
}

/// A mean over examples with its standard error, in one unit.
#[derive(Serialize)]
pub struct Number {
    pub mean: f64,
    pub standard_error: f64,
    pub parts: ErrorParts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<Importance>,
}

/// Of densities that are estimated by draws.
#[derive(Serialize)]
pub struct Importance {
    /// The part of the mean's standard error that more draws would reduce; `None` with one draw.
    pub standard_error: Option<f64>,
    /// Minus the ELBO.
    pub negative_elbo: Mean,
}

impl Densities {
    /// Mean and errors, nats.
    pub fn parts(&self) -> Parts {
        Parts::new(self.random(), &self.estimates)
    }

    /// Of each example.
    fn examples(&self) -> Vec<Parts> {
        self.estimates.iter().map(|draws| Parts::of_example(self.random(), draws)).collect()
    }

    fn random(&self) -> Randomness {
        let Density { dequantisation, .. } = self.spec;
        Randomness { draws: (dequantisation != Dequantisation::None).then(|| dequantisation.draws()), probes: self.spec.draws.is_some() }
    }

    /// Nats `[n]`: the mean over draws.
    pub fn nats(&self) -> Vec<f64> {
        self.examples().iter().map(|example| example.mean).collect()
    }

    /// 1 / (D ln 2).
    pub fn bits_per_nat(&self) -> f64 {
        1.0 / (self.dimension as f64 * std::f64::consts::LN_2)
    }

    /// The mean over examples, with its interval, in [`unit`](Self::unit).
    pub fn estimate(&self) -> Estimate {
        let number = self.parts().times(self.unit().per_nat(self.dimension));
        Estimate::of_error(number.mean, number.standard_error())
    }

    /// What the number is said in.
    pub fn unit(&self) -> Unit {
        Unit::of(self.scale)
    }

    /// One line for people.
    pub fn headline(&self) -> String {
        let (factor, unit) = (self.unit().per_nat(self.dimension), self.unit().name());
        let importance = self.importance(factor).into_iter();
        let notes = importance.map(|Importance { standard_error, negative_elbo }| {
            let error = standard_error.map_or(String::new(), |error| format!("importance draws {error:.2e}, "));
            format!("{error}-ELBO {:.4}", negative_elbo.mean)
        });
        line(self.parts().times(factor), unit, notes.collect(), self.truth.as_deref())
    }

    fn importance(&self, factor: f64) -> Option<Importance> {
        let squares: f64 = self.errors.iter().map(|error| error * error).sum();
        let standard_error = (!self.errors.is_empty()).then(|| factor * squares.sqrt() / self.errors.len() as f64);
        (!self.elbo.is_empty()).then(|| Importance { standard_error, negative_elbo: Mean::of(&times(factor, &self.elbo)) })
    }

    /// What it adds to the curves, at this step of the weights.
    pub fn points(&self, step: u64) -> Points {
        let factor = self.unit().per_nat(self.dimension);
        let number = self.parts().times(factor);
        let [mean, error, bound, of_examples] = self.unit().tags();
        let mut scalars = vec![(mean.into(), number.mean), (error.into(), number.standard_error())];
        scalars.extend(self.importance(factor).map(|it| (bound.into(), it.negative_elbo.mean)));
        let histograms = vec![(of_examples.into(), self.histogram())];
        Points { group: "likelihood", step, scalars, histograms, pictures: vec![("likelihood".into(), self.picture())] }
    }

    pub fn report(&self, weights: Option<&Weights>) -> Report {
        let number = |factor: f64| {
            let parts = self.parts().times(factor);
            let errors = ErrorParts { dataset: parts.dataset, dequantisation: parts.dequantisation, probes: parts.probe };
            Number { mean: parts.mean, standard_error: parts.standard_error(), parts: errors, importance: self.importance(factor) }
        };
        Report {
            count: self.estimates.len(),
            unit: self.unit(),
            nats: number(1.0),
            bits_per_dim: number(self.bits_per_nat()),
            seconds: self.seconds,
            protocol: Protocol::new(
                &self.spec,
                weights,
                Some(self.scale).filter(|scale| !self.spec.is_of_pixels(*scale)),
                self.dimension,
                &self.note,
            ),
            truth: self.truth.as_ref().map(|truth| Truth::new(&self.nats(), truth)),
        }
    }

    /// Writes `<name>.npz`, `<name>.png` and `<name>.json` of a product.
    ///
    /// The archive holds one number for each example: `index`, `nats`, `bits_per_dim`, the standard error `dequantisation_error` of its
    /// nats (not a number where it is not known), and `truth` where known; of an estimate by draws `importance_error` and `negative_elbo`, in
    /// nats.
    pub fn save(&self, product: &mut Product, name: &str, weights: Option<&Weights>) -> Result<()> {
        let mut archive = Npz::new();
        archive.column("index", &(0..self.estimates.len() as u64).collect::<Vec<_>>());
        let mut numbers = |key: &str, values: Vec<f64>| archive.column(key, &values);
        numbers("nats", self.nats());
        numbers("bits_per_dim", self.nats().iter().map(|nats| nats * self.bits_per_nat()).collect());
        numbers("dequantisation_error", self.examples().iter().map(|example| example.dequantisation.unwrap_or(f64::NAN)).collect());
        for (key, values) in [("importance_error", &self.errors), ("negative_elbo", &self.elbo)] {
            if !values.is_empty() {
                numbers(key, values.clone());
            }
        }
        if let Some(truth) = &self.truth {
            numbers("truth", truth.clone());
        }
        product.write(&format!("{name}.npz"), &archive.finish())?;
        product.write(&format!("{name}.png"), &plot::png(&self.picture()))?;
        product.write_json(&format!("{name}.json"), &self.report(weights))
    }

    /// The histogram as a picture.
    pub fn picture(&self) -> RgbImage {
        picture(&self.histogram(), self.estimates.len(), self.unit().name(), &self.headline())
    }

    /// The spread of the examples in the headline's unit.
    pub fn histogram(&self) -> Bins {
        spread(&self.nats(), self.unit().per_nat(self.dimension))
    }
}
