//! The analytic variance of a chain's steps (Bao et al. 2022a, arXiv 2201.06503; 2022b, arXiv 2206.07309): nothing is trained for it, the
//! error E‖z - ẑ‖² of the noise prediction is measured at every level over training data.
//!
//! For an exact score E‖z - ẑ‖² = D - E‖ẑ‖²; the error itself is right for a network that is not exact, too, and where hardly any signal is
//! left it is known to a part of itself, while D - E‖ẑ‖² drowns in what chance leaves of E‖ẑ‖².

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Kind, Tensor, no_grad};

use crate::data::{Batches, Conditions, Dataset};
use crate::error::{Error, Fault, Result};
use crate::latent::LatentSpace;
use crate::model::{At, Given, MeanSquares, Model};
use crate::progress::Terminal;
use crate::rng::{self, Law, Purpose};
use crate::run::{Found, Journal, Product, Run, difference, tensors};
use crate::sde::{Level, Sde};
use crate::space::Scale;
use crate::tensor::to_vec;

/// `[analytic_variance]`: what the variance `analytic` of samplers and bounds is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnalyticVariance {
    /// The levels of the chain that are measured, 2 to 1,000,000; the network's, if that lives in discrete time. Between them the mean
    /// square is taken to be a line in the log-SNR.
    pub levels: usize,
    /// Training examples at each level, 1 to 100,000,000; each costs an evaluation. The paper uses 10 to 1000 times its batch of images.
    pub examples: usize,
    /// Examples that are evaluated together, 1 to 1,000,000.
    pub batch: usize,
}

impl AnalyticVariance {
    /// The product of a run, and its file.
    pub const NAME: &str = "analytic_variance";
    pub const FILE: &str = "analytic_variance.safetensors";

    /// A fault's key is relative to `[analytic_variance]`; `network_levels` are those of a network in discrete time.
    pub fn check(&self, sde: &dyn Sde, network_levels: Option<usize>) -> Result<(), Fault> {
        sde.chain(self.levels)?;
        if let Some(levels) = network_levels.filter(|&levels| levels != self.levels) {
            let message = format!("{} levels, but the network knows {levels}", self.levels);
            return Err(Fault::new("levels", message, format!("give {levels}, as in [precondition.discrete]")));
        }
        Fault::unless_in("examples", self.examples, 1..=100_000_000, "10000 tell it to a few in a thousand")?;
        Fault::unless_in("batch", self.batch, 1..=1_000_000, "a smaller batch needs less memory")
    }
}

/// What is measured, and on what.
pub struct Subject<'a> {
    pub model: &'a dyn Model,
    pub dataset: Arc<dyn Dataset>,
    /// What the model is told of the examples.
    pub conditions: Option<Arc<Conditions>>,
    pub scale: Scale,
    pub flip: bool,
    /// Where the score lives, if that is not the data's own space.
    pub latent: Option<&'a LatentSpace>,
    pub device: tch::Device,
}

/// Sums of ‖z - ẑ‖² / D over a batch, one for each level.
pub type Measured = Vec<f64>;

/// E‖z - ẑ‖² / D at the chain's levels, over x_0 as training sees them, each with a noise of its own at each level: a function of (seed,
/// experiment). What `journal` holds is not done again.
///
/// Errors: there is no such chain; a prediction is not finite.
pub fn measure(
    spec: &AnalyticVariance,
    seed: u64,
    subject: Subject,
    journal: &mut Journal<Measured>,
    terminal: &Terminal,
) -> Result<MeanSquares> {
    let seed = rng::derive(seed, Purpose::AnalyticVariance, 0);
    let Subject { model, dataset, conditions, scale, flip, latent, device } = subject;
    let levels: Vec<Level> = model.sde().chain(spec.levels)?.levels().iter().map(|level| model.asked(level)).collect();
    let mut phase = terminal.phase("analytic variance", "examples", spec.examples as u64, 0);
    let mut sums = vec![0.0; levels.len()];
    let mut batches = None;
    for (step, first) in (0..spec.examples).step_by(spec.batch).enumerate() {
        let last = (first + spec.batch).min(spec.examples);
        let measured = journal.next(|| {
            let batches = batches.get_or_insert_with(|| Batches::start(dataset.clone(), scale, flip, seed, spec.batch, step as u64));
            let (x0, examples) = batches.shown()?;
            let x0 = x0.narrow(0, 0, (last - first) as i64).to_device(device);
            let condition = conditions.as_ref().map(|conditions| conditions.of(&examples[..last - first]).to_device(device));
            let model = &Given { model, condition };
            let x0 = latent.map_or_else(|| x0.copy(), |space| space.draw(&x0, &space.noise(seed, first as u64..last as u64)));
            let noise = |level: usize| {
                rng::rows(Law::Gaussian, seed, Purpose::Noise, first as u64..last as u64, level as u64, &x0.size()[1..], device)
            };
            let sums =
                no_grad(|| levels.iter().enumerate().map(|(i, level)| sum_of_squares(model, &x0, level, &noise(i))).collect::<Vec<_>>());
            check_finite(&sums, &levels)?;
            Ok(sums)
        })?;
        sums.iter_mut().zip(measured).for_each(|(sum, more)| *sum += more);
        phase.earlier(journal.earlier());
        phase.set(last as u64, "");
    }
    phase.finish("");
    Ok(MeanSquares::new(levels.iter().zip(sums).map(|(level, sum)| [level.log_snr(), sum / spec.examples as f64]).collect()))
}

/// Σ ‖z - ẑ(α x_0 + σ z)‖² / D over a batch.
fn sum_of_squares(model: &dyn Model, x0: &Tensor, level: &Level, z: &Tensor) -> f64 {
    let (x, rows) = (x0 * level.alpha + z * level.sigma, x0.size()[0] as usize);
    let error = z - model.noise(&At::whole(&x, &vec![level.t; rows]));
    error.square().mean(Kind::Double).double_value(&[]) * rows as f64
}

fn check_finite(sums: &[f64], levels: &[Level]) -> Result<()> {
    let Some(place) = sums.iter().position(|sum| !sum.is_finite()) else { return Ok(()) };
    let message = format!("a noise prediction at t = {} is not finite", levels[place].t);
    Err(Error::Solver { message, help: "train longer, or with a lower train.lr".into() })
}

/// Writes `analytic_variance.safetensors` of a product: `log_snr` and `mean_square_error`, one number a level, f64.
pub fn save(squares: &MeanSquares, product: &mut Product) -> Result<()> {
    let column = |i: usize| Tensor::from_slice(&squares.levels().iter().map(|level| level[i]).collect::<Vec<_>>());
    let (log_snr, error) = (column(0), column(1));
    let named = [("log_snr".to_owned(), &log_snr), ("mean_square_error".to_owned(), &error)];
    product.write(AnalyticVariance::FILE, &tensors::encode(&named, &[("version", env!("CARGO_PKG_VERSION").to_string())]))?;
    Ok(())
}

/// What a run has measured, `of` what it must depend on.
///
/// Errors: there is nothing, it is damaged, or depends on something else.
pub fn load(run: &Run, of: &Value) -> Result<MeanSquares> {
    let help = "remove analytic_variance.manifest, and score-sde run measures it again";
    let wrong = |what: String, help: &str| Error::run(run.folder().at(AnalyticVariance::FILE), what, help);
    match run.found(AnalyticVariance::NAME)? {
        Found::Nothing => {
            let help = "measure it first: score-sde run with this experiment";
            return Err(Error::run(run.path(), "holds no analytic variance yet", help));
        }
        Found::Damaged(what) => return Err(Error::run(run.path(), what, help)),
        Found::Whole(there) => {
            // It was measured once, with the run's own seed, whatever is drawn with it.
            let of = with_seed_of(&there, of);
            if let Some((key, there, here)) = difference("", &there, &of) {
                let help = "it was measured with the newest weights of its time: choose those, or another variance, such as \"beta-tilde\"";
                return Err(wrong(format!("was measured for something else: {key} is {there} there, {here} now"), help));
            }
        }
    }
    let (stored, _) = tensors::parse(&run.read(AnalyticVariance::FILE)?.unwrap_or_default()).map_err(|what| wrong(what, help))?;
    let column = |name: &str| stored.get(name).map(to_vec).ok_or_else(|| wrong(format!("holds no `{name}`"), help));
    Ok(MeanSquares::new(column("log_snr")?.into_iter().zip(column("mean_square_error")?).map(|(level, square)| [level, square]).collect()))
}

fn with_seed_of(there: &Value, of: &Value) -> Value {
    let mut of = of.clone();
    of["seed"] = there["seed"].clone();
    of
}

#[cfg(test)]
mod tests;
