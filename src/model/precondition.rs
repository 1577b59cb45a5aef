//! From a network F(x, c_noise) to a score: what goes in, what comes out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{At, Model, Prediction, Quantity};
use crate::error::Fault;
use crate::net::{Dropout, Network, Told};
use crate::sde::{Chain, Level, Sde, Transition};
use crate::tensor::column_of;

/// `[precondition.*]`: how a network's output becomes a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Precondition {
    /// The reference's parametrisation (Song et al. 2021): VP and sub-VP use score = -F(x, 999 t) / σ, VE uses F(x, ln σ) / σ. Data that do
    /// not lie in [-1, 1] are mapped there on the way in.
    Reference {},
    /// The reference's discrete time, for the SDEs that are limits of chains with so many noise levels (see [`crate::sde::Chain`]); training
    /// then draws levels, not times. VP uses score = -F(x, t (N - 1)) / σ_i (DDPM), VE uses F(x, N - 1 - i) / σ_i (NCSN), σ_i of the chain.
    Discrete {
        /// N, 2 to 1,000,000; the reference uses 1000.
        levels: usize,
        /// What the network predicts; left out, what it does in the reference: `noise` under VP, `scaled-score` under VE.
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<Output>,
        /// What else the network says: the variance of the steps down, by as many outputs again. Left out, nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        variance: Option<NetworkVariance>,
    },
    /// As `reference`, but with any label and any meaning of F: VP and sub-VP there are `time` and `noise`, VE is `log-sigma` and
    /// `scaled-score`.
    Plain {
        /// What the network is told of the time.
        label: Label,
        /// What the network predicts.
        output: Output,
    },
    /// EDM's (Karras et al. 2022, arXiv 2206.00364, table 1) through (α, σ), for any SDE. With v = σ² + α² σ_data²:
    /// score = -x / v + (α σ_data / (σ √v)) F(x / √v, ¼ ln(σ / α)).
    Edm {
        /// The standard deviation of the data in model space.
        sigma_data: f64,
    },
}

/// How a network says the variance of its steps down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkVariance {
    /// By v = ½ (1 + F') for each number, F' the second half of its outputs: β^v β̃^(1-v), which the objectives hybrid and
    /// vlb = { variance = "learned" } train (Nichol & Dhariwal 2021, arXiv 2102.09672, sec. 3.1).
    Learned,
}

/// What a network is told of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// t itself, in [0, 1].
    T,
    /// 999 t, for embeddings that expect to count steps.
    Time,
    /// ln(999 t), what Fourier features see in the reference's VP.
    LogTime,
    /// σ(t)
    Sigma,
    /// ln σ(t)
    LogSigma,
    /// ¼ ln σ(t), EDM's under a process that keeps its signal (Karras et al. 2022, table 1).
    QuarterLogSigma,
}

/// What a network predicts. With the exact score each is a linear function of any other and of x_t, so that all have one minimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// The noise z: score = -F / σ.
    Noise,
    /// The score itself.
    Score,
    /// σ times the score: score = F / σ.
    ScaledScore,
    /// The data x_0: a denoiser.
    Data,
    /// dx/dt of the probability flow, α' x_0 + σ' z; in continuous time.
    Velocity,
    /// v = α z - σ x_0 (Salimans & Ho 2022, arXiv 2202.00512), of one scale at all times under VP.
    V,
    /// The mean of the step down the chain, of q(x_s | x_t, x_0) (Ho et al. 2020, eq. 8); in discrete time.
    Mean,
}

impl Precondition {
    /// This under `sde`. Error: it can't serve the process; the fault's key is relative to `[precondition]`.
    pub fn under(&self, sde: &dyn Sde) -> Result<Parametrisation, Fault> {
        Ok(match *self {
            Precondition::Reference {} => Parametrisation::Reference,
            Precondition::Discrete { output: Some(Output::Velocity), .. } => {
                let message = "a chain has no velocity: its levels are no function of time";
                return Err(Fault::new("discrete.output", message, "use \"v\", or another of its outputs"));
            }
            Precondition::Discrete { levels, output, variance } => {
                let chain = sde.chain(levels).map_err(|fault| fault.within("discrete"))?;
                Parametrisation::Discrete { chain, output, variance }
            }
            Precondition::Plain { output: Output::Mean, .. } => {
                let message = "there is no step down, whose mean it would be, in continuous time";
                return Err(Fault::new("plain.output", message, "use \"data\", or [precondition.discrete]"));
            }
            Precondition::Plain { label, output } => Parametrisation::Plain(label, output),
            Precondition::Edm { sigma_data } if !(sigma_data > 0.0 && sigma_data.is_finite()) => {
                return Err(Fault::new(
                    "edm.sigma_data",
                    format!("sigma_data is {sigma_data}"),
                    "give the standard deviation of the data in model space; EDM uses 0.5 for images in [-1, 1]",
                ));
            }
            Precondition::Edm { sigma_data } => Parametrisation::Edm { sigma_data },
        })
    }

    /// How many levels stand for the times, in discrete time.
    pub fn levels(&self) -> Option<usize> {
        match self {
            Precondition::Discrete { levels, .. } => Some(*levels),
            _ => None,
        }
    }

    /// Whether the network says the variance of its steps down.
    pub fn learns_variance(&self) -> bool {
        matches!(self, Precondition::Discrete { variance: Some(_), .. })
    }
}

/// [`Precondition`] under one process.
#[derive(Clone, Debug)]
pub enum Parametrisation {
    Reference,
    Discrete {
        chain: Chain,
        /// What F is, if it is not the reference's choice.
        output: Option<Output>,
        variance: Option<NetworkVariance>,
    },
    Plain(Label, Output),
    Edm {
        sigma_data: f64,
    },
}

impl Parametrisation {
    /// How many tensors of the shape of x the network gives, one after the other on the axis after the batch.
    pub fn outputs(&self) -> usize {
        if self.learns_variance() { 2 } else { 1 }
    }

    /// As [`Precondition::learns_variance`].
    pub fn learns_variance(&self) -> bool {
        matches!(self, Parametrisation::Discrete { variance: Some(_), .. })
    }
}

/// A network with its preconditioning under one process.
pub struct Preconditioned<'a> {
    pub sde: &'a dyn Sde,
    pub network: &'a dyn Network,
    /// Made for `sde`.
    pub parametrisation: &'a Parametrisation,
    /// (scale, shift) of the map from the data's model range to [-1, 1]; (1, 0) for vectors.
    pub to_unit: (f64, f64),
    /// The kind the network computes in.
    pub kind: Kind,
    /// For training.
    pub dropout: Option<&'a Dropout>,
}

impl Preconditioned<'_> {
    /// F(x, label), with one label per example, or one for all where they are at one time.
    fn network(&self, at: &At, label: impl Fn(f64) -> f64) -> Tensor {
        let (noise, condition) = (column_of(at.x, at.t, label).view(-1), at.known());
        self.network.forward(at.x, &Told { noise: &noise, condition: condition.as_ref() }, self.dropout)
    }

    /// F(x in [-1, 1], label).
    fn in_unit_range(&self, at: &At, label: impl Fn(f64) -> f64) -> Tensor {
        let (scale, shift) = self.to_unit;
        if self.to_unit == (1.0, 0.0) { self.network(at, label) } else { self.network(&at.moved(&(at.x * scale + shift)), label) }
    }

    /// The score by the network's F(x, label) on a chain, and the v of its variances.
    fn discrete(&self, at: &At, chain: &Chain, output: Option<Output>, variance: Option<NetworkVariance>) -> Prediction {
        let f = self.in_unit_range(at, |t| discrete_parametrisation(chain, t).0);
        let (f, interpolation) = match variance {
            None => (f, None),
            Some(NetworkVariance::Learned) => {
                let halves = f.chunk(2, 1);
                (halves[0].shallow_clone(), Some((&halves[1] + 1.0) * 0.5))
            }
        };
        let score = match output {
            None => f * column_of(at.x, at.t, |t| discrete_parametrisation(chain, t).1),
            // At the level of the chain, which is not the process's.
            Some(output) => {
                let level = |t: f64| discrete_level(chain, t);
                output.prediction(f, at, &|t| chain.step(level(t).t)).into_quantity(Quantity::Score, self.sde, &level, at)
            }
        };
        Prediction { interpolation, ..Prediction::of_score(score) }
    }

    fn edm(&self, at: &At, sigma_data: f64) -> Tensor {
        let (sde, At { x, t, .. }) = (self.sde, *at);
        let variance = |t: f64| sde.sigma(t).powi(2) + (sde.alpha(t) * sigma_data).powi(2);
        let input = x * column_of(x, t, |t| variance(t).sqrt().recip());
        let output = self.network(&at.moved(&input), |t| -0.125 * sde.log_snr(t));
        let gain = column_of(x, t, |t| sde.alpha(t) * sigma_data / (sde.sigma(t) * variance(t).sqrt()));
        output * gain - x * column_of(x, t, |t| variance(t).recip())
    }
}

impl Model for Preconditioned<'_> {
    fn sde(&self) -> &dyn Sde {
        self.sde
    }

    fn predict(&self, at: &At) -> Prediction {
        let sde = self.sde;
        let state = at.x.to_kind(self.kind);
        let inside = at.moved(&state);
        let to_data = |t| Transition::new(sde.level(t), Level::DATA);
        let plain = |label: Label, output: Output| output.prediction(self.in_unit_range(&inside, |t| label.at(sde, t)), &inside, &to_data);
        let Prediction { quantity, value, interpolation } = match self.parametrisation {
            Parametrisation::Reference => {
                let (label, output) = reference_parametrisation(sde);
                plain(label, output)
            }
            Parametrisation::Plain(label, output) => plain(*label, *output),
            Parametrisation::Discrete { chain, output, variance } => self.discrete(&inside, chain, *output, *variance),
            Parametrisation::Edm { sigma_data } => Prediction::of_score(self.edm(&inside, *sigma_data)),
        };
        Prediction { quantity, value: value.to_kind(at.x.kind()), interpolation }
    }

    fn last_time(&self) -> f64 {
        match self.parametrisation {
            Parametrisation::Plain(_, Output::Data | Output::Velocity | Output::V) => 1.0,
            _ => self.sde.horizon(),
        }
    }

    fn chain(&self) -> Option<&Chain> {
        match self.parametrisation {
            Parametrisation::Discrete { chain, .. } => Some(chain),
            _ => None,
        }
    }
}

/// The reference's parametrisation: a network under a process that shrinks its signal is told 999 t and predicts the noise; under one that
/// keeps it, VE, it is told ln σ and predicts σ times the score.
fn reference_parametrisation(sde: &dyn Sde) -> (Label, Output) {
    if keeps_signal(&sde.level(1.0)) { (Label::LogSigma, Output::ScaledScore) } else { (Label::Time, Output::Noise) }
}

/// (label, gain) on a chain, score = gain · F(x, label). DDPM numbers the levels with the noise; between two levels its label is not rounded but
/// σ is that of the level below. NCSN numbers them from the largest σ and takes the nearest level for both.
pub fn discrete_parametrisation(chain: &Chain, t: f64) -> (f64, f64) {
    let last = (chain.len() - 1) as f64;
    let sigma = discrete_level(chain, t).sigma;
    match keeps_signal(&chain.levels()[chain.len() - 1]) {
        true => (((1.0 - t) * last).round_ties_even(), 1.0 / sigma),
        false => (t * last, -1.0 / sigma),
    }
}

/// The level of a chain that a network's output at t is of: NCSN's the nearest one, DDPM's that at t or just before it.
fn discrete_level(chain: &Chain, t: f64) -> Level {
    let last = chain.len() - 1;
    match keeps_signal(&chain.levels()[last]) {
        true => chain.levels()[last - ((1.0 - t) * last as f64).round_ties_even() as usize],
        false => chain.level(t),
    }
}

fn keeps_signal(highest: &Level) -> bool {
    highest.alpha == 1.0
}

impl Label {
    fn at(self, sde: &dyn Sde, t: f64) -> f64 {
        match self {
            Label::T => t,
            Label::Time => 999.0 * t,
            Label::LogTime => (999.0 * t).ln(),
            Label::Sigma => sde.sigma(t),
            Label::LogSigma => sde.sigma(t).ln(),
            Label::QuarterLogSigma => 0.25 * sde.sigma(t).ln(),
        }
    }
}

impl Output {
    /// What F says; `step` is the one down from a time.
    fn prediction(self, f: Tensor, at: &At, step: &dyn Fn(f64) -> Transition) -> Prediction {
        match self {
            Output::Noise => Prediction::of(Quantity::Noise, f),
            Output::Score => Prediction::of(Quantity::Score, f),
            Output::ScaledScore => Prediction::of(Quantity::Noise, -f),
            Output::Data => Prediction::of(Quantity::Data, f),
            Output::Velocity => Prediction::of(Quantity::Velocity, f),
            Output::V => Prediction::of(Quantity::V, f),
            Output::Mean => Prediction::of_mean(f, at, step),
        }
    }
}

#[cfg(test)]
mod tests;
