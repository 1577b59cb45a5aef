//! `[density]`: the likelihood of a family that measures by itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use statrs::statistics::Statistics as _;
use tch::{Device, Tensor};

use super::points::in_model_space;
use super::{Densities, Dequantisation, MOST, MOST_EXAMPLES, check_examples, truth};
use crate::data::{Dataset, Split, Summary};
use crate::error::{Error, Fault, Result};
use crate::generator::{Draws, Estimate, Generator, GeneratorSpec};
use crate::progress::Terminal;
use crate::run::Journal;
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
            (Dequantisation::Variational { .. } | Dequantisation::Latent { .. }, _) => {
                let points = matches!(scale, Scale::Pixels { .. }) && !family.of_pixels();
                let help = if points { "use uniform = { draws = 1 }" } else { "use dequantisation = \"none\"" };
                fault("this dequantisation is for scores, and there is none", help)
            }
            (Dequantisation::Uniform { draws }, _) => {
                Fault::unless_in("dequantisation.uniform.draws", draws, 1..=MOST, "2 or more tell what the noise does to the result")
            }
            (Dequantisation::None, _) => Ok(()),
        }
    }

    /// Whether pixels are measured as they are, which have probabilities.
    pub(super) fn is_of_pixels(&self, scale: Scale) -> bool {
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
/// Error: a density is not finite, or an example can't be read.
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
        let batches = places[all.nats.len()..].chunks(spec.batch);
        for evaluated in journal.round(batches, |batch| evaluate(spec, seed, generator, (dataset, scale), device, batch))? {
            all.nats.extend(evaluated.nats);
            all.error.extend(evaluated.error);
            all.elbo.extend(evaluated.elbo);
        }
        phase.earlier(journal.earlier());
        phase.set((all.nats.len() / draws) as u64, "");
    }
    let estimates = all.nats.chunks(draws).map(|draws| draws.iter().map(|&nats| vec![nats]).collect()).collect();
    let of_draws = |error: &[f64]| error.iter().map(|error| error * error).sum::<f64>().sqrt() / draws as f64;
    let errors = all.error.chunks(draws).map(of_draws).collect();
    let elbo = all.elbo.chunks(draws).map(|draws| draws.mean()).collect();
    let truth = truth(dataset, spec.count)?;
    let (spec, note, seconds) = (spec.clone(), dataset.note().map(str::to_owned), journal.seconds());
    let densities = Densities { spec, scale, dimension, note, estimates, errors, elbo, truth, seconds };
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
    let (x, offset) = in_model_space((dataset, scale), spec.is_of_pixels(scale), batch, seed)?;
    let places: Vec<(u64, u64)> = batch.iter().map(|&(example, draw)| (example as u64, draw as u64)).collect();
    let draws = Draws { seed, places: &places, count: spec.draws.unwrap_or_default() };
    let Estimate { value, sampled } = generator.log_density(&x.to_device(device), &draws);
    let in_data_units = |log_p: &Tensor| to_vec(log_p).into_iter().map(|log_p| offset - log_p).collect::<Vec<f64>>();
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
