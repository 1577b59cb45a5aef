//! Families that draw and measure by themselves: no score, no process between the data and the prior.

pub mod continuous;
pub mod hierarchical_vae;
pub mod nice;
pub mod vae;

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::bound::tightened;
use crate::error::Fault;
use crate::net::Held;
use crate::optim::{Builder, LossHistory, Losses, Parameters, Shown, Trained};
use crate::rng::{self, Law, Purpose};
use crate::space::Scale;

/// A law p of data in model space that is learnt as a whole.
pub trait Generator {
    /// What training lowers, for x₀ [B, ...] at these positions of the run of `seed`.
    fn losses(&self, x0: &Tensor, seed: u64, positions: Range<u64>) -> Losses;

    /// Samples [n, ...], without a graph: functions of (seed, row). The prior's draws are multiplied by `temperature`; 1 is p itself.
    fn draw(&self, seed: u64, rows: Range<u64>, temperature: f64) -> Tensor;

    /// Passes of the network for a sample.
    fn evaluations(&self) -> u32 {
        1
    }

    /// ln p(x), or of pixels ln P(x) if that is what the family gives, for x [B, ...] in any kind.
    fn log_density(&self, x: &Tensor, draws: &Draws) -> Estimate;

    /// What the curves of [`Losses::parts`] are called.
    fn parts(&self) -> &'static [&'static str] {
        &[]
    }
}

/// Where the random numbers of an estimate are.
pub struct Draws<'a> {
    pub seed: u64,
    /// Of each point: an example, and which of the points that stand for it.
    pub places: &'a [(u64, u64)],
    /// k, for each point; exact families draw nothing.
    pub count: usize,
}

impl Draws<'_> {
    /// Draw j of k, of N(0, I): [B, shape...].
    pub fn normal(&self, j: usize, purpose: Purpose, shape: &[i64], device: Device) -> Tensor {
        let place = |&(example, point): &(u64, u64)| (example, point * self.count as u64 + j as u64);
        rng::rows_at(Law::Gaussian, self.seed, purpose, &self.places.iter().map(place).collect::<Vec<_>>(), shape, device)
    }
}

/// Log-densities `[B]`, nats, f64.
pub struct Estimate {
    pub value: Tensor,
    pub sampled: Option<Sampled>,
}

/// What else is known of an estimate by draws, `[B]` each.
pub struct Sampled {
    /// The standard error of the value; `None` from one draw.
    pub error: Option<Tensor>,
    /// The mean of ln w, an estimate of the ELBO.
    pub elbo: Tensor,
}

impl Estimate {
    pub fn exact(value: Tensor) -> Estimate {
        Estimate { value, sampled: None }
    }

    /// ln of the mean of w from ln w [B, k], with the error of the mean of w relative to it.
    pub fn of_weights(log_weights: &Tensor) -> Estimate {
        let value = -tightened(log_weights);
        let k = log_weights.size()[1] as f64;
        let error = (k > 1.0).then(|| (log_weights - value.unsqueeze(1)).exp().std_dim(1i64, true, false) / k.sqrt());
        let elbo = log_weights.mean_dim(1i64, false, Kind::Double);
        Estimate { value, sampled: Some(Sampled { error, elbo }) }
    }
}

/// A generator with its parameters.
pub struct GeneratorNetwork {
    pub parameters: Parameters,
    pub law: Box<dyn Generator>,
}

impl GeneratorNetwork {
    /// For data of `shape` with fresh weights; the specification has passed its checks.
    pub fn new(spec: &GeneratorSpec, shape: &[usize], scale: Scale, seed: u64, device: Device) -> GeneratorNetwork {
        let builder = Builder::new(seed, Kind::Float, device);
        let law = spec.build(shape, scale, &builder);
        GeneratorNetwork { parameters: builder.finish(), law }
    }
}

/// What trains a generator, with the draws of a seed.
pub struct GeneratorTraining<'a> {
    pub network: &'a GeneratorNetwork,
    pub seed: u64,
}

impl Trained for GeneratorTraining<'_> {
    fn parameters(&self) -> &Parameters {
        &self.network.parameters
    }

    fn losses(&self, shown: &Shown, _history: &LossHistory) -> Losses {
        self.network.law.losses(&shown.x0, self.seed, shown.positions.clone())
    }

    fn parts(&self) -> Vec<&str> {
        self.network.law.parts().to_vec()
    }
}

/// `[flow.<name>]`: a map f of data to noise z = f(x) that can be inverted: ln p(x) = ln p(z) + ln |det ∂f/∂x|.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum FlowSpec {
    Nice(nice::Spec),
    Continuous(continuous::Spec),
}

/// Which family, and its size.
#[derive(Clone, Debug)]
pub enum GeneratorSpec {
    Flow(FlowSpec),
    Vae(vae::Spec),
    HierarchicalVae(hierarchical_vae::Spec),
}

impl GeneratorSpec {
    /// Its table.
    pub fn table(&self) -> &'static str {
        match self {
            GeneratorSpec::Flow(FlowSpec::Nice(_)) => "flow.nice",
            GeneratorSpec::Flow(FlowSpec::Continuous(_)) => "flow.continuous",
            GeneratorSpec::Vae(_) => "vae",
            GeneratorSpec::HierarchicalVae(spec) => spec.table(),
        }
    }

    /// Whether its densities are exact, or estimated by draws.
    pub fn is_exact(&self) -> bool {
        matches!(self, GeneratorSpec::Flow(_))
    }

    /// Whether it gives the probability of pixels, and not a density.
    pub fn of_pixels(&self) -> bool {
        match self {
            GeneratorSpec::Flow(_) => false,
            GeneratorSpec::Vae(spec) => spec.decoder.of_pixels(),
            GeneratorSpec::HierarchicalVae(spec) => spec.of_pixels(),
        }
    }

    /// Whether it can serve data of `shape` (without the batch). A fault's key is that in the experiment.
    pub fn check(&self, shape: &[usize], scale: Scale) -> Result<(), Fault> {
        match self {
            GeneratorSpec::Flow(FlowSpec::Nice(spec)) => spec.check(shape.iter().product()),
            GeneratorSpec::Flow(FlowSpec::Continuous(spec)) => spec.check(shape.iter().product()),
            GeneratorSpec::Vae(spec) => spec.check(shape, scale),
            GeneratorSpec::HierarchicalVae(spec) => spec.check(scale),
        }
        .map_err(|fault| fault.within(self.table()))
    }

    /// The family for data of `shape`, which [`GeneratorSpec::check`] has passed; its parameters come from `builder`.
    pub fn build(&self, shape: &[usize], scale: Scale, builder: &Builder) -> Box<dyn Generator> {
        match self {
            GeneratorSpec::Flow(FlowSpec::Nice(spec)) => Box::new(nice::Nice::new(spec, shape, builder)),
            GeneratorSpec::Flow(FlowSpec::Continuous(spec)) => Box::new(continuous::Continuous::new(spec, shape, builder)),
            GeneratorSpec::Vae(spec) => Box::new(vae::Vae::new(spec, shape, scale, builder)),
            GeneratorSpec::HierarchicalVae(spec) => Box::new(hierarchical_vae::HierarchicalVae::new(spec, shape, scale, builder)),
        }
    }

    /// The key that most decides how large it is.
    pub fn size_key(&self) -> String {
        format!("{}.width", self.table())
    }

    /// Trainable parameters for data of `shape`, counted without building it.
    pub fn parameter_count(&self, shape: &[usize]) -> usize {
        let builder = Builder::dry();
        self.build(shape, Scale::Vectors { scale: 1.0 }, &builder);
        builder.trainable()
    }

    /// Roughly what a pass holds for one example of `shape`.
    pub fn held(&self, shape: &[usize]) -> Held {
        let dimension = shape.iter().product();
        match self {
            GeneratorSpec::Flow(FlowSpec::Nice(spec)) => spec.held(dimension),
            GeneratorSpec::Flow(FlowSpec::Continuous(spec)) => spec.held(dimension),
            GeneratorSpec::Vae(spec) => spec.held(shape),
            GeneratorSpec::HierarchicalVae(spec) => spec.held(dimension),
        }
    }
}
