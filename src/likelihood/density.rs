//! `[density]`: the likelihood of a family that measures by itself.

use image::RgbImage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use statrs::statistics::Statistics as _;
use tch::{Device, Tensor};

use super::parts::Randomness;
use super::report::{ErrorParts, Mean, Protocol, Truth, times};
use super::values::line;
use super::{Dequantisation, MOST, MOST_EXAMPLES, Parts, check_examples, truth};
use crate::data::{Dataset, Split, Summary, chosen, dequantised};
use crate::error::{Error, Fault, Result};
use crate::generator::{Draws, Estimate, Generator, GeneratorSpec};
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
    /// Importance draws k for each point, 1 to 65536: of a VAE, and required there. -ln p is estimated by -ln of a mean of k weights, from
    /// above, the closer the more they are.
    pub draws: Option<usize>,
}

impl Density {
    pub fn check(&self, scale: Scale, family: &GeneratorSpec) -> Result<(), Fault> {
        Fault::unless_in("count", self.count, 1..=MOST_EXAMPLES, "leave [density] out for no likelihood")?;
        Fault::unless_in("batch", self.batch, 1..=1_000_000, "a smaller batch needs less memory")?;
        match (self.draws, family.is_exact()) {
            (None, true) => {}
            (Some(_), true) => {
                return Err(Fault::new("draws", format!("the density of [{}] is exact", family.table()), "remove draws"));
            }
            (None, false) => {
                let message = format!("the density of [{}] is estimated by draws, and their number is missing", family.table());
                return Err(Fault::new("", message, "give density.draws, such as 100"));
            }
            (Some(draws), false) => Fault::unless_in("draws", draws, 1..=MOST, "100 are usual")?,
        }
        let fault = |message: &str, help: &str| Err(Fault::new("dequantisation", message, help));
        match (self.dequantisation, scale) {
            (Dequantisation::None, Scale::Pixels { .. }) if family.of_pixels() => Ok(()),
            (Dequantisation::Uniform { .. }, Scale::Pixels { .. }) if family.of_pixels() => {
                fault("the decoder gives the probability of pixels without any noise", "use dequantisation = \"none\"")
            }
            (Dequantisation::None, Scale::Pixels { .. }) => {
                fault("the data are pixels, which are no points of a density", "use uniform = { draws = 1 }")
            }
            (Dequantisation::Uniform { .. }, Scale::Vectors { .. }) => {
                fault("this dequantisation does not fit the data", "the data are vectors: \"none\"")
            }
            (Dequantisation::Variational { .. }, _) => {
                let points = matches!(scale, Scale::Pixels { .. }) && !family.of_pixels();
                let help = if points { "use uniform = { draws = 1 }" } else { "use dequantisation = \"none\"" };
                fault("a law of dequantisation is trained with a score, and there is none", help)
            }
            (Dequantisation::Uniform { draws }, _) => {
                Fault::unless_in("dequantisation.uniform.draws", draws, 1..=MOST, "2 or more tell what the noise does to the result")
            }
            (Dequantisation::None, _) => Ok(()),
        }
    }

    /// Whether pixels are measured as they are, which have probabilities.
    fn is_of_pixels(&self, scale: Scale) -> bool {
        matches!((self.dequantisation, scale), (Dequantisation::None, Scale::Pixels { .. }))
    }

    /// What can only be known with the split at hand.
    pub fn check_against(&self, set: &Summary, trained: &[usize]) -> Result<(), Fault> {
        check_examples(self.count, set, trained)
    }

    /// All that the result depends on.
    pub fn subject(&self, seed: u64, weights: Option<&Weights>) -> Value {
        let Density { split, count, dequantisation, draws, .. } = self;
        let density = json!({ "split": split, "count": count, "dequantisation": dequantisation, "draws": draws });
        json!({ "seed": seed, "weights": weights, "density": density })
    }
}

/// Consecutive points, as a journal keeps them.
#[derive(Serialize, Deserialize)]
pub struct Evaluated {
    /// Minus ln p in data units, nats.
    nats: Vec<f64>,
    /// Of an estimate by draws: its standard error, if they are more than one, and minus the ELBO in data units.
    error: Vec<f64>,
    elbo: Vec<f64>,
}

/// Measures the first `spec.count` examples; what `journal` holds is not measured again. The points of an example are functions of
/// (seed, example, draw). Pixels without dequantisation have probabilities, all else has densities.
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
    let mut phase = terminal.phase("likelihood", "examples", spec.count as u64, 0);
    let mut all = Evaluated { nats: Vec::new(), error: Vec::new(), elbo: Vec::new() };
    while all.nats.len() < places.len() {
        let batch = &places[all.nats.len()..(all.nats.len() + spec.batch).min(places.len())];
        let evaluated = journal.next(|| evaluate(spec, seed, generator, (dataset, scale), device, batch))?;
        all.nats.extend(evaluated.nats);
        all.error.extend(evaluated.error);
        all.elbo.extend(evaluated.elbo);
        phase.earlier(journal.earlier());
        phase.set((all.nats.len() / draws) as u64, "");
    }
    let estimates = all.nats.chunks(draws).map(|draws| draws.iter().map(|&nats| vec![nats]).collect()).collect();
    let of_draws = |error: &[f64]| error.iter().map(|error| error * error).sum::<f64>().sqrt() / draws as f64;
    let errors = all.error.chunks(draws).map(of_draws).collect();
    let elbo = all.elbo.chunks(draws).map(|draws| draws.mean()).collect();
    let truth = truth(dataset, spec.count);
    let densities = Densities { spec: spec.clone(), scale, dimension, estimates, errors, elbo, truth, seconds: journal.seconds() };
    phase.finish(&densities.headline());
    Ok(densities)
}

/// One batch of points, an (example, draw) each.
fn evaluate(
    spec: &Density,
    seed: u64,
    generator: &dyn Generator,
    (dataset, scale): (&dyn Dataset, Scale),
    device: Device,
    batch: &[(usize, usize)],
) -> Result<Evaluated> {
    let (x, offset) = if spec.is_of_pixels(scale) {
        (scale.centres(&chosen(dataset, &batch.iter().map(|(example, _)| *example).collect::<Vec<_>>())), 0.0)
    } else {
        (dequantised(dataset, scale, batch, seed), dataset.shape().iter().product::<usize>() as f64 * scale.log_det_per_dim())
    };
    let places: Vec<(u64, u64)> = batch.iter().map(|&(example, draw)| (example as u64, draw as u64)).collect();
    let draws = Draws { seed, places: &places, count: spec.draws.unwrap_or_default() };
    let Estimate { value, sampled } = generator.log_density(&x.to_device(device), &draws);
    let in_data_units = |log_p: &Tensor| to_vec(log_p).into_iter().map(|log_p| -(log_p + offset)).collect::<Vec<f64>>();
    let nats = in_data_units(&value);
    let error = sampled.as_ref().and_then(|sampled| sampled.error.as_ref()).map_or_else(Vec::new, to_vec);
    let elbo = sampled.map_or_else(Vec::new, |sampled| in_data_units(&sampled.elbo));
    match batch.iter().zip(&nats).find(|(_, nats)| !nats.is_finite()) {
        None => Ok(Evaluated { nats, error, elbo }),
        Some(((example, _), _)) => Err(Error::Solver {
            message: format!("the density at example {example} is not finite"),
            help: "train longer, or with a lower train.lr".into(),
        }),
    }
}

/// Negative log-likelihoods, per example and in data units.
pub struct Densities {
    spec: Density,
    scale: Scale,
    /// D.
    dimension: usize,
    /// Nats, `[example][draw][1]`.
    estimates: Vec<Vec<Vec<f64>>>,
    /// Nats `[n]` each, where densities are estimated by draws: the standard errors, by more than one draw, and minus the ELBO.
    errors: Vec<f64>,
    elbo: Vec<f64>,
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

    /// The points of the curves.
    pub fn scalars(&self) -> Vec<(&'static str, f64)> {
        let (nats, bits) = (self.parts(), self.parts().times(self.bits_per_nat()));
        let mut scalars = vec![
            ("likelihood/bits_per_dim", bits.mean),
            ("likelihood/bits_per_dim_standard_error", bits.standard_error()),
            ("likelihood/nats", nats.mean),
        ];
        scalars.extend(self.importance(self.bits_per_nat()).map(|it| ("likelihood/negative_elbo_bits_per_dim", it.negative_elbo.mean)));
        scalars
    }

    pub fn report(&self, weights: Option<&Weights>) -> Report {
        let number = |factor: f64| {
            let parts = self.parts().times(factor);
            let errors = ErrorParts { dataset: parts.dataset, dequantisation: parts.dequantisation, probes: parts.probe };
            Number { mean: parts.mean, standard_error: parts.standard_error(), parts: errors, importance: self.importance(factor) }
        };
        Report {
            count: self.estimates.len(),
            nats: number(1.0),
            bits_per_dim: number(self.bits_per_nat()),
            seconds: self.seconds,
            protocol: Protocol::new(&self.spec, weights, Some(self.scale).filter(|scale| !self.spec.is_of_pixels(*scale)), self.dimension),
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
        let title = format!("negative log-likelihood of {} examples, {}", self.estimates.len(), self.unit().1);
        plot::histogram(&self.histogram(), &title, &self.headline())
    }

    /// The spread of the examples in the headline's unit.
    pub fn histogram(&self) -> Bins {
        let (factor, _) = self.unit();
        Bins::new(&self.nats().iter().map(|nats| nats * factor).collect::<Vec<_>>(), 30)
    }
}
