//! `[density]`: the likelihood of a family that measures by itself.

use image::RgbImage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::Device;

use super::parts::Randomness;
use super::report::{ErrorParts, Protocol, Truth};
use super::values::line;
use super::{Dequantisation, MOST, MOST_EXAMPLES, Parts, check_examples, truth};
use crate::data::{Dataset, Split, Summary, dequantised};
use crate::error::{Error, Fault, Result};
use crate::generator::Generator;
use crate::plot::{self, Bins};
use crate::progress::Terminal;
use crate::run::{Journal, Npz, Product};
use crate::space::Scale;
use crate::tensor::to_vec;
use crate::train::Weights;

/// `[density]`: whose likelihood a flow or a VAE measures, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Density {
    pub split: Split,
    /// The first `count` examples of the split are measured, 1 to as many as it has.
    pub count: usize,
    /// Points that are measured together, 1 to 1,000,000; a result does not depend on it. Operational.
    pub batch: usize,
    pub dequantisation: Dequantisation,
}

impl Density {
    pub fn check(&self, scale: Scale) -> Result<(), Fault> {
        Fault::unless_in("count", self.count, 1..=MOST_EXAMPLES, "leave [density] out for no likelihood")?;
        Fault::unless_in("batch", self.batch, 1..=1_000_000, "a smaller batch needs less memory")?;
        let fault = |message: &str, help: &str| Err(Fault::new("dequantisation", message, help));
        match (self.dequantisation, scale) {
            (Dequantisation::None, Scale::Pixels { .. }) => {
                fault("the data are pixels, which are no points of a density", "use uniform = { draws = 1 }")
            }
            (Dequantisation::Uniform { .. }, Scale::Vectors { .. }) => {
                fault("this dequantisation does not fit the data", "the data are vectors: \"none\"")
            }
            (Dequantisation::Variational { .. }, _) => {
                fault("a law of dequantisation is trained with a score, and there is none", "use uniform = { draws = 1 }")
            }
            (Dequantisation::Uniform { draws }, _) => {
                Fault::unless_in("dequantisation.uniform.draws", draws, 1..=MOST, "2 or more tell what the noise does to the result")
            }
            (Dequantisation::None, _) => Ok(()),
        }
    }

    /// What can only be known with the split at hand.
    pub fn check_against(&self, set: &Summary, trained: &[usize]) -> Result<(), Fault> {
        check_examples(self.count, set, trained)
    }

    /// All that the result depends on.
    pub fn subject(&self, seed: u64, weights: Option<&Weights>) -> Value {
        let Density { split, count, dequantisation, .. } = self;
        json!({ "seed": seed, "weights": weights, "density": { "split": split, "count": count, "dequantisation": dequantisation } })
    }
}

/// Consecutive points, as a journal keeps them.
#[derive(Serialize, Deserialize)]
pub struct Evaluated {
    /// Minus ln p in data units, nats.
    nats: Vec<f64>,
}

/// Measures the first `spec.count` examples; what `journal` holds is not measured again. The points of an example are functions of
/// (seed, example, draw).
///
/// Error: a density is not finite.
pub fn density(
    spec: &Density,
    seed: u64,
    generator: &dyn Generator,
    (dataset, scale): (&dyn Dataset, Scale),
    device: Device,
    journal: &mut Journal<Evaluated>,
    terminal: &Terminal,
) -> Result<Densities> {
    let (dimension, draws) = (dataset.shape().iter().product::<usize>(), spec.dequantisation.draws());
    let places: Vec<(usize, usize)> = (0..spec.count).flat_map(|example| (0..draws).map(move |draw| (example, draw))).collect();
    let offset = dimension as f64 * scale.log_det_per_dim();
    let mut phase = terminal.phase("likelihood", "examples", spec.count as u64, 0);
    let mut nats: Vec<f64> = Vec::with_capacity(places.len());
    while nats.len() < places.len() {
        let batch = &places[nats.len()..(nats.len() + spec.batch).min(places.len())];
        let Evaluated { nats: more } = journal.next(|| {
            let x = dequantised(dataset, scale, batch, seed).to_device(device);
            let nats: Vec<f64> = to_vec(&generator.log_density(&x)).into_iter().map(|log_p| -(log_p + offset)).collect();
            match batch.iter().zip(&nats).find(|(_, nats)| !nats.is_finite()) {
                None => Ok(Evaluated { nats }),
                Some(((example, _), _)) => Err(Error::Solver {
                    message: format!("the density at example {example} is not finite"),
                    help: "train longer, or with a lower train.lr".into(),
                }),
            }
        })?;
        nats.extend(more);
        phase.earlier(journal.earlier());
        phase.set((nats.len() / draws) as u64, "");
    }
    let estimates = nats.chunks(draws).map(|draws| draws.iter().map(|&nats| vec![nats]).collect()).collect();
    let truth = truth(dataset, spec.count);
    let densities = Densities { spec: spec.clone(), scale, dimension, estimates, truth, seconds: journal.seconds() };
    phase.finish(&densities.headline());
    Ok(densities)
}

/// Negative log-likelihoods, per example and in data units.
pub struct Densities {
    spec: Density,
    scale: Scale,
    /// D.
    dimension: usize,
    /// Nats, `[example][draw][1]`.
    estimates: Vec<Vec<Vec<f64>>>,
    /// Nats `[n]`, minus the true ln p of the data where the law of the data is known.
    pub truth: Option<Vec<f64>>,
    pub seconds: f64,
}

/// `likelihood.json` of a family that measures by itself.
#[derive(Serialize)]
pub struct Report {
    /// Examples.
    pub count: usize,
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
        Randomness { draws: (dequantisation != Dequantisation::None).then(|| dequantisation.draws()), probes: false }
    }

    /// Nats `[n]`: the mean over draws.
    pub fn nats(&self) -> Vec<f64> {
        self.examples().iter().map(|example| example.mean).collect()
    }

    /// 1 / (D ln 2).
    pub fn bits_per_nat(&self) -> f64 {
        1.0 / (self.dimension as f64 * std::f64::consts::LN_2)
    }

    /// The headline's unit with what nats are multiplied by: bits/dim for pixels, nats for vectors.
    fn unit(&self) -> (f64, &'static str) {
        match self.scale {
            Scale::Pixels { .. } => (self.bits_per_nat(), "bits/dim"),
            Scale::Vectors { .. } => (1.0, "nats"),
        }
    }

    /// One line for people.
    pub fn headline(&self) -> String {
        let (factor, unit) = self.unit();
        line(self.parts().times(factor), unit, Vec::new(), self.truth.as_deref())
    }

    /// The points of the curves.
    pub fn scalars(&self) -> Vec<(&'static str, f64)> {
        let (nats, bits) = (self.parts(), self.parts().times(self.bits_per_nat()));
        vec![
            ("likelihood/bits_per_dim", bits.mean),
            ("likelihood/bits_per_dim_standard_error", bits.standard_error()),
            ("likelihood/nats", nats.mean),
        ]
    }

    pub fn report(&self, weights: Option<&Weights>) -> Report {
        let number = |factor: f64| {
            let parts = self.parts().times(factor);
            let errors = ErrorParts { dataset: parts.dataset, dequantisation: parts.dequantisation, probes: parts.probe };
            Number { mean: parts.mean, standard_error: parts.standard_error(), parts: errors }
        };
        Report {
            count: self.estimates.len(),
            nats: number(1.0),
            bits_per_dim: number(self.bits_per_nat()),
            seconds: self.seconds,
            protocol: Protocol::new(&self.spec, weights, self.scale, self.dimension),
            truth: self.truth.as_ref().map(|truth| Truth::new(&self.nats(), truth)),
        }
    }

    /// Writes `<name>.npz`, `<name>.png` and `<name>.json` of a product.
    ///
    /// The archive holds one number for each example: `index`, `nats`, `bits_per_dim`, the standard error `dequantisation_error` of its
    /// nats (not a number where it is not known), and `truth` where known.
    pub fn save(&self, product: &mut Product, name: &str, weights: Option<&Weights>) -> Result<()> {
        let mut archive = Npz::new();
        archive.column("index", &(0..self.estimates.len() as u64).collect::<Vec<_>>());
        let mut numbers = |key: &str, values: Vec<f64>| archive.column(key, &values);
        numbers("nats", self.nats());
        numbers("bits_per_dim", self.nats().iter().map(|nats| nats * self.bits_per_nat()).collect());
        numbers("dequantisation_error", self.examples().iter().map(|example| example.dequantisation.unwrap_or(f64::NAN)).collect());
        if let Some(truth) = &self.truth {
            numbers("truth", truth.clone());
        }
        product.write(&format!("{name}.npz"), &archive.finish())?;
        product.write(&format!("{name}.png"), &plot::png(&self.picture()))?;
        product.write_json(&format!("{name}.json"), &self.report(weights))
    }

    /// The histogram as a picture.
    pub fn picture(&self) -> RgbImage {
        let title = format!("negative log-likelihood of {} examples, {}", self.estimates.len(), self.unit().1);
        plot::histogram(&self.histogram(), &title, &self.headline())
    }

    /// The spread of the examples in the headline's unit.
    pub fn histogram(&self) -> Bins {
        let (factor, _) = self.unit();
        Bins::new(&self.nats().iter().map(|nats| nats * factor).collect::<Vec<_>>(), 30)
    }
}
