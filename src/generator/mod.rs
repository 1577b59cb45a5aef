//! Families that draw and measure by themselves: no score, no process between the data and the prior.

pub mod nice;

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::error::Fault;
use crate::net::Held;
use crate::optim::{Builder, Losses, Parameters, Trained};

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

    /// ln p(x) `[B]`, nats, f64, for x [B, ...] in any kind.
    fn log_density(&self, x: &Tensor) -> Tensor;
}

/// A generator with its parameters.
pub struct GeneratorNetwork {
    pub parameters: Parameters,
    pub law: Box<dyn Generator>,
    seed: u64,
}

impl GeneratorNetwork {
    /// For data of `shape` with fresh weights; the specification has passed its checks.
    pub fn new(spec: &FlowSpec, shape: &[usize], seed: u64, device: Device) -> GeneratorNetwork {
        let builder = Builder::new(seed, Kind::Float, device);
        let law = spec.build(shape, &builder);
        GeneratorNetwork { parameters: builder.finish(), law, seed }
    }
}

impl Trained for &GeneratorNetwork {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn losses(&self, x0: &Tensor, positions: Range<u64>) -> Losses {
        self.law.losses(x0, self.seed, positions)
    }
}

/// `[flow.<name>]`: a map f of data to noise z = f(x) that can be inverted: ln p(x) = ln p(z) + ln |det ∂f/∂x|.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum FlowSpec {
    Nice(nice::Spec),
}

impl FlowSpec {
    /// Its table.
    pub fn table(&self) -> &'static str {
        match self {
            FlowSpec::Nice(_) => "flow.nice",
        }
    }

    /// Whether it can serve data of `shape` (without the batch). A fault's key is that in the experiment.
    pub fn check(&self, shape: &[usize]) -> Result<(), Fault> {
        let dimension = shape.iter().product();
        match self {
            FlowSpec::Nice(spec) => spec.check(dimension),
        }
        .map_err(|fault| fault.within(self.table()))
    }

    /// The family for data of `shape`, which [`FlowSpec::check`] has passed; its parameters come from `builder`.
    pub fn build(&self, shape: &[usize], builder: &Builder) -> Box<dyn Generator> {
        match self {
            FlowSpec::Nice(spec) => Box::new(nice::Nice::new(spec, shape, builder)),
        }
    }

    /// The key that most decides how large it is.
    pub fn size_key(&self) -> String {
        format!("{}.width", self.table())
    }

    /// Trainable parameters for data of `shape`, counted without building it.
    pub fn parameter_count(&self, shape: &[usize]) -> usize {
        let builder = Builder::dry();
        self.build(shape, &builder);
        builder.trainable()
    }

    /// Roughly what a pass holds for one example of `shape`.
    pub fn held(&self, shape: &[usize]) -> Held {
        let dimension = shape.iter().product();
        match self {
            FlowSpec::Nice(spec) => spec.held(dimension),
        }
    }
}
