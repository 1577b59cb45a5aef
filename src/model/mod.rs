//! Models of the law of x_t: the exact one of a Gaussian mixture, a preconditioned network, and decorators. Each may be told a condition, a
//! class or other numbers ([`Given`]), and is of the law given that.

mod at;
mod decorator;
mod exact;
mod given;
mod measured;
mod points;
mod precondition;
mod prediction;
mod rescheduled;
mod score_network;
mod thresholded;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

pub use at::At;
pub use decorator::Decorator;
pub use exact::ExactScore;
pub use given::Given;
pub use measured::{MeanSquares, Measured};
pub use points::ExactPoints;
pub use precondition::{Label, NetworkVariance, Output, Parametrisation, Precondition, Preconditioned, discrete_parametrisation};
pub use prediction::{Prediction, Quantity};
pub use rescheduled::Rescheduled;
pub use score_network::{ScoreNetwork, asked};
pub use thresholded::DynamicThresholding;

use crate::error::Fault;
use crate::law::GaussianMixture;
use crate::sde::{Chain, Level, Sde, Transition, Variance};
use crate::tensor::column_of_kind;

/// A model of x_t under its own process: it answers with one of four quantities, each of which the process turns into the others.
pub trait Model {
    /// The process whose x_t this is a model of.
    fn sde(&self) -> &dyn Sde;
    /// What the model says of x_t, in the kind of `at.x`.
    fn predict(&self, at: &At) -> Prediction;
    /// The chain whose levels stand for the times, if the model lives in discrete time.
    fn chain(&self) -> Option<&Chain> {
        None
    }

    /// The last time at which it can be asked: 1 for a model that says a quantity which becomes any other without a division by α, else the
    /// horizon of its process.
    fn last_time(&self) -> f64 {
        self.sde().horizon()
    }

    /// The level of noise that the model takes t for: the process's, or the chain's at or just before t.
    fn level(&self, t: f64) -> Level {
        self.chain().map_or_else(|| self.sde().level(t), |chain| chain.level(t))
    }
    /// A level of a chain with the time at which the model is to be asked: its own in discrete time, in continuous time that with its log-SNR.
    fn asked(&self, level: &Level) -> Level {
        let t = if self.chain().is_some() { level.t } else { self.sde().time_of_log_snr(level.log_snr()) };
        Level { t, ..*level }
    }
    /// E‖z - ẑ‖² / D of the noise prediction at a log-SNR, over the data; 0, as if x_0 were known, where it was not measured ([`Measured`]).
    fn mean_square_error(&self, _log_snr: f64) -> f64 {
        0.0
    }
    /// The variance of a step down from any x; of a learnt one its middle, v = ½.
    fn variance(&self, step: &Transition, variance: Variance) -> f64 {
        step.variance(variance, self.mean_square_error(step.above().log_snr()))
    }
    /// What the model says of x as `wanted` [B, ...], and the variance of its steps down from there, by one evaluation. The steps are one an
    /// example or one for all; the variance is f64, [steps, 1, ...], and where it is learnt [B, ...]. Panics where it is not, but asked for.
    fn with_variance(&self, wanted: Quantity, at: &At, steps: &[Transition], variance: Variance) -> (Tensor, Tensor) {
        let mut said = self.predict(at);
        let v = said.interpolation.take();
        let value = said.into_quantity(wanted, self.sde(), &|t| self.level(t), at);
        let of = |number: &dyn Fn(&Transition) -> f64| column_of_kind(Kind::Double, at.x, steps.iter().map(number));
        let variance = match variance {
            Variance::Learned => {
                let v = v.expect("a model that has learnt its variances").to_kind(Kind::Double);
                of(&|step| step.beta) * ((v - 1.0) * of(&Transition::span)).exp()
            }
            of_the_step => of(&|step| self.variance(step, of_the_step)),
        };
        (value, variance)
    }

    /// ∇ₓ ln p_t(x) [B, ...].
    fn score(&self, at: &At) -> Tensor {
        self.predict(at).into_quantity(Quantity::Score, self.sde(), &|t| self.level(t), at)
    }
    /// The denoised state `E[x_0 | x_t]` [B, ...].
    fn data(&self, at: &At) -> Tensor {
        self.predict(at).into_quantity(Quantity::Data, self.sde(), &|t| self.level(t), at)
    }
    /// `E[z | x_t]` [B, ...].
    fn noise(&self, at: &At) -> Tensor {
        self.predict(at).into_quantity(Quantity::Noise, self.sde(), &|t| self.level(t), at)
    }
    /// dx/dt of the probability flow [B, ...].
    fn velocity(&self, at: &At) -> Tensor {
        self.predict(at).into_quantity(Quantity::Velocity, self.sde(), &|t| self.level(t), at)
    }
}

/// `[score.*]`: a score that is known and not trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum ScoreSpec {
    #[serde(alias = "gaussian_mixture")]
    GaussianMixture(GaussianMixture),
}

impl ScoreSpec {
    pub fn check(&self, shape: &[usize]) -> Result<(), Fault> {
        let ScoreSpec::GaussianMixture(mixture) = self;
        mixture.check().map_err(|fault| fault.within("gaussian-mixture"))?;
        if shape != [mixture.dimension()] {
            return Err(Fault::new(
                "gaussian-mixture.means",
                format!("the mixture has dimension {} but the data have shape {shape:?}", mixture.dimension()),
                "give means and covariances of the data's dimension; an exact score serves vectors only",
            ));
        }
        Ok(())
    }
}
