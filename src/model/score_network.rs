//! A trainable score model: network, parameters and preconditioning together.

use tch::{Device, Kind};

use super::{Parametrisation, Preconditioned};
use crate::net::{Dropout, Interface, Network, NetworkSpec};
use crate::optim::{Builder, Parameters};
use crate::sde::Sde;
use crate::space::Scale;

pub struct ScoreNetwork {
    pub parameters: Parameters,
    pub device: Device,
    pub network: Box<dyn Network>,
    pub parametrisation: Parametrisation,
    kind: Kind,
    to_unit: (f64, f64),
}

impl ScoreNetwork {
    /// The network for data of `shape` and conditions of so many numbers, with fresh weights, in f32. The specification has passed its checks.
    pub fn new(
        spec: &NetworkSpec,
        parametrisation: Parametrisation,
        scale: Scale,
        (shape, condition): (&[usize], usize),
        seed: u64,
        device: Device,
    ) -> ScoreNetwork {
        ScoreNetwork::of_kind(Kind::Float, spec, parametrisation, scale, (shape, condition), seed, device)
    }

    /// [`ScoreNetwork::new`] in f32 or f64.
    pub fn of_kind(
        kind: Kind,
        spec: &NetworkSpec,
        parametrisation: Parametrisation,
        scale: Scale,
        (shape, condition): (&[usize], usize),
        seed: u64,
        device: Device,
    ) -> ScoreNetwork {
        let builder = Builder::new(seed, kind, device);
        let network = spec.build(&Interface { shape, outputs: parametrisation.outputs(), condition }, &builder);
        let to_unit = match scale {
            Scale::Pixels { range: [lo, hi], .. } => (2.0 / (hi - lo), -(hi + lo) / (hi - lo)),
            Scale::Vectors { .. } => (1.0, 0.0),
        };
        ScoreNetwork { parameters: builder.finish(), device, network, parametrisation, kind, to_unit }
    }

    /// The kind the network computes in.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The model with the present weights under `sde`, which the parametrisation was made for.
    pub fn model<'a>(&'a self, sde: &'a dyn Sde) -> Preconditioned<'a> {
        let ScoreNetwork { network, parametrisation, to_unit, kind, .. } = self;
        Preconditioned { sde, network: &**network, parametrisation, to_unit: *to_unit, kind: *kind, dropout: None }
    }

    /// The same in training.
    pub fn in_training<'a>(&'a self, sde: &'a dyn Sde, dropout: &'a Dropout) -> Preconditioned<'a> {
        Preconditioned { dropout: Some(dropout), ..self.model(sde) }
    }
}
