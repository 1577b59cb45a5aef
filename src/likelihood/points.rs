//! From examples to points of the density at t_min: dequantisation, and the way from 0 to t_min.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::statistics::Statistics as _;
use tch::{Kind, Tensor, no_grad};

use super::{Dequantisation, Job, Likelihood, Subject};
use crate::bound::{Bins, Decoder, DecoderLaw, noised};
use crate::data::{Dataset, chosen, dequantised};
use crate::error::{Fault, Result};
use crate::latent::Encoded;
use crate::rng::{self, Law, Purpose};
use crate::space::Scale;
use crate::tensor::to_vec;

/// What becomes of the mass between 0 and t_min; the laws but the first make the result a bound of -ln p at 0 (see [`DecoderLaw`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BelowTMin {
    /// Nothing: the density at t_min is taken for that at 0, as in Song et al. 2021.
    Ignored,
    /// x_{t_min} is divided by α and gets the encoder's noise once more; Jensen's inequality.
    Jensen,
    /// x_0 is drawn around Tweedie's mean: the offset of Song et al. 2021b (score_flow).
    Tweedie,
    /// The mass of each pixel's bin around Tweedie's mean (DDPM's L_0): the probability of the pixels, without dequantisation. It is close
    /// where σ/α at t_min is not far below half a bin.
    Discrete,
}

impl BelowTMin {
    /// How x_0 comes back from t_min; none where t_min is taken for 0.
    pub fn law(self, scale: Scale) -> Option<DecoderLaw> {
        match self {
            BelowTMin::Ignored => None,
            BelowTMin::Jensen => Some(DecoderLaw::Jensen),
            BelowTMin::Tweedie => Some(DecoderLaw::Tweedie),
            BelowTMin::Discrete => Some(DecoderLaw::Discrete(Bins::of(scale))),
        }
    }

    pub(super) fn check(self, scale: Scale, dequantisation: Dequantisation) -> Result<(), Fault> {
        let pixels = matches!(scale, Scale::Pixels { .. });
        let fault = |key: &str, message: &str, help: &str| Err(Fault::new(key, message, help));
        match (self, dequantisation) {
            (BelowTMin::Discrete, _) if !pixels => {
                fault("below_t_min", "the data are vectors, which lie in no bins", "use \"ignored\", \"jensen\" or \"tweedie\"")
            }
            (BelowTMin::Discrete, Dequantisation::None) => Ok(()),
            (BelowTMin::Discrete, _) => {
                let message = "below_t_min = \"discrete\" gives the probability of pixels without any noise";
                fault("dequantisation", message, "use dequantisation = \"none\", or below_t_min = \"tweedie\"")
            }
            (_, Dequantisation::None) if pixels => {
                let help = "use uniform = { draws = 1 }, or variational = { draws = 1 }; below_t_min = \"discrete\" needs no noise";
                fault("dequantisation", "the data are pixels, which are no points of a density", help)
            }
            (_, Dequantisation::Uniform { .. } | Dequantisation::Variational { .. }) if !pixels => {
                fault("dequantisation", "this dequantisation does not fit the data", "the data are vectors: \"none\"")
            }
            _ => Ok(()),
        }
    }
}

/// Points whose density is asked for.
pub struct Points {
    /// [jobs, ...] in model space, f64.
    pub x: Tensor,
    /// `[jobs]`, nats: what turns -ln of the density at x into -ln of the example's probability or density in data units.
    pub offsets: Vec<f64>,
}

/// The points x_0 of the jobs' (example, draw) with the offsets that lead from model space to data units. Error: an example can't be read.
pub fn at_zero(spec: &Likelihood, subject: &Subject, jobs: &[Job]) -> Result<Points> {
    let Subject { dataset, scale, seed, device, .. } = *subject;
    Ok(match spec.dequantisation {
        Dequantisation::None | Dequantisation::Uniform { .. } => {
            let whole = spec.dequantisation == Dequantisation::None && spec.below_t_min == BelowTMin::Discrete;
            let (x, offset) = in_model_space((dataset, scale), whole, &examples_and_draws(jobs), seed)?;
            Points { x: x.to_device(device), offsets: vec![offset; jobs.len()] }
        }
        Dequantisation::Latent { .. } => {
            let (Encoded { y, reconstruction, posterior }, offset) = encoded(subject, jobs)?;
            let offsets = to_vec(&(reconstruction + posterior)).into_iter().map(|parts| parts + offset).collect();
            Points { x: y, offsets }
        }
        Dequantisation::Variational { .. } => {
            let dequantiser = subject.dequantiser.expect("an experiment with variational dequantisation has its dequantiser");
            let pixels = chosen(dataset, &jobs.iter().map(|job| job.example).collect::<Vec<_>>())?.to_device(device);
            let noise = rng::rows_at(Law::Gaussian, seed, Purpose::Dequantise, &places(jobs), &pixels.size()[1..], device);
            let (u, log_q) = no_grad(|| dequantiser.draw(&pixels, &noise));
            let uniform = subject.dimension() as f64 * scale.log_det_per_dim();
            let offsets = to_vec(&log_q).iter().map(|log_q| log_q - uniform).collect();
            Points { x: scale.dequantised(&pixels.to_kind(Kind::Double), &u), offsets }
        }
    })
}

/// The points of (example, draw) in the data's model space, f64, and what turns -ln of a density there into one in data units; of `whole`
/// pixels, which have probabilities, the middles of their bins and 0.
pub(super) fn in_model_space(
    (dataset, scale): (&dyn Dataset, Scale),
    whole: bool,
    places: &[(usize, usize)],
    seed: u64,
) -> Result<(Tensor, f64)> {
    if whole {
        return Ok((scale.centres(&chosen(dataset, &places.iter().map(|(example, _)| *example).collect::<Vec<_>>())?), 0.0));
    }
    let d = dataset.shape().iter().product::<usize>() as f64;
    Ok((dequantised(dataset, scale, places, seed)?, -d * scale.log_det_per_dim()))
}

/// The points y of the jobs' (example, draw) in the latent space, and what turns a density of the data's model space into one of data units.
fn encoded(subject: &Subject, jobs: &[Job]) -> Result<(Encoded, f64)> {
    let Subject { dataset, scale, seed, device, .. } = *subject;
    let space = subject.latent.expect("an experiment with a latent space has it read");
    let (x, offset) = in_model_space((dataset, scale), space.of_pixels(), &examples_and_draws(jobs), seed)?;
    let noise = rng::rows_at(Law::Gaussian, seed, Purpose::Importance, &places(jobs), space.shape(), device);
    Ok((space.encode(&x.to_device(device), &noise), offset))
}

/// The parts of the bound of each example that are not the score's, in data units: the means over its draws of -ln p(x | y) and of
/// ln q(y | x), nats; none without a latent space.
pub fn latent_parts(spec: &Likelihood, subject: &Subject) -> Result<Option<[Vec<f64>; 2]>> {
    if subject.latent.is_none() {
        return Ok(None);
    }
    let draws = spec.dequantisation.draws();
    let jobs: Vec<Job> = (0..spec.count).flat_map(|example| (0..draws).map(move |draw| Job { example, draw, probe: 0 })).collect();
    let mut parts = [Vec::new(), Vec::new()];
    for jobs in jobs.chunks(spec.batch) {
        let (Encoded { reconstruction, posterior, .. }, offset) = encoded(subject, jobs)?;
        parts[0].extend(to_vec(&reconstruction).into_iter().map(|part| part + offset));
        parts[1].extend(to_vec(&posterior));
    }
    Ok(Some(parts.map(|part| part.chunks(draws).map(|draws| draws.mean()).collect())))
}

/// The points x_{t_min} of the jobs, with the offsets that lead from there to data units.
pub fn at_t_min(spec: &Likelihood, subject: &Subject, jobs: &[Job]) -> Result<Points> {
    let zero = at_zero(spec, subject, jobs)?;
    let Some(law) = spec.below_t_min.law(subject.scale) else { return Ok(zero) };
    Ok(no_grad(|| {
        let level = subject.model.sde().level(spec.t_min);
        let decoder = Decoder { model: subject.model, level, law };
        let z = rng::rows_at(Law::Gaussian, subject.seed, Purpose::Encoder, &places(jobs), &zero.x.size()[1..], subject.device);
        let z = z.to_kind(Kind::Double);
        let offsets = to_vec(&decoder.offset(&zero.x, &z)).iter().zip(&zero.offsets).map(|(a, b)| a + b).collect();
        Points { x: noised(&level, &zero.x, &z), offsets }
    }))
}

fn examples_and_draws(jobs: &[Job]) -> Vec<(usize, usize)> {
    jobs.iter().map(|job| (job.example, job.draw)).collect()
}

/// Where the jobs' random numbers are.
fn places(jobs: &[Job]) -> Vec<(u64, u64)> {
    jobs.iter().map(|job| (job.example as u64, job.draw as u64)).collect()
}
