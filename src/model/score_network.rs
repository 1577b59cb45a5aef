//! A trainable score model: network, parameters and preconditioning together.

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use super::{At, Model, Parametrisation, Preconditioned};
use crate::net::torchscript::Inputs;
use crate::net::{Dropout, Interface, Network, NetworkSpec, Told};
use crate::optim::{Builder, Parameters};
use crate::rng::{Purpose, normal};
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
    /// The network for data of `shape` and conditions of so many numbers, with fresh weights, in its own kind. The specification has passed its
    /// checks.
    pub fn new(
        spec: &NetworkSpec,
        parametrisation: Parametrisation,
        scale: Scale,
        (shape, condition): (&[usize], usize),
        seed: u64,
        device: Device,
    ) -> ScoreNetwork {
        let kind = spec.kind(&Interface { shape, outputs: parametrisation.outputs(), condition });
        ScoreNetwork::of_kind(kind, spec, parametrisation, scale, (shape, condition), seed, device)
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
        let interface = Interface { shape, outputs: parametrisation.outputs(), condition };
        ScoreNetwork::of(kind, parametrisation.clone(), scale, seed, device, |builder| spec.build(&interface, builder))
    }

    /// A network of the caller's own, which takes its parameters from a builder.
    pub fn of(
        kind: Kind,
        parametrisation: Parametrisation,
        scale: Scale,
        seed: u64,
        device: Device,
        build: impl FnOnce(&Builder) -> Box<dyn Network>,
    ) -> ScoreNetwork {
        let builder = Builder::new(seed, kind, device);
        let network = build(&builder);
        ScoreNetwork { parameters: builder.finish(), device, network, parametrisation, kind, to_unit: to_unit(scale) }
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

/// (scale, shift) of the map to [-1, 1].
fn to_unit(scale: Scale) -> (f64, f64) {
    match scale {
        Scale::Pixels { range: [lo, hi], .. } => (2.0 / (hi - lo), -(hi + lo) / (hi - lo)),
        Scale::Vectors { .. } => (1.0, 0.0),
    }
}

/// What a network of this kind is asked for three examples of N(0, 1), noised, late, in the middle and early, and all of the first
/// class, if it is told a condition of so many numbers.
pub fn asked(sde: &dyn Sde, parametrisation: &Parametrisation, scale: Scale, kind: Kind, (shape, condition): (&[usize], usize)) -> Inputs {
    let times = [sde.horizon(), 0.5, 0.1];
    let shape: Vec<i64> = [times.len()].iter().chain(shape).map(|n| *n as i64).collect();
    let x = normal(0, Purpose::Init, 0, &shape, Device::Cpu).to_kind(kind);
    let condition =
        (condition > 0).then(|| Tensor::eye(condition as i64, (kind, Device::Cpu)).narrow(0, 0, 1).expand([times.len() as i64, -1], false));
    let ear = Ear { outputs: parametrisation.outputs(), heard: RefCell::default() };
    let model = Preconditioned { sde, network: &ear, parametrisation, to_unit: to_unit(scale), kind, dropout: None };
    model.predict(&At::whole(&x, &times));
    let (x, noise) = ear.heard.take().expect("a model asks its network");
    Inputs { x, noise, condition }
}

/// A network that remembers what it was asked.
struct Ear {
    outputs: usize,
    heard: RefCell<Option<(Tensor, Tensor)>>,
}

impl Network for Ear {
    fn forward(&self, x: &Tensor, told: &Told, _dropout: Option<&Dropout>) -> Tensor {
        self.heard.replace(Some((x.copy(), told.noise.copy())));
        Tensor::cat(&vec![&x.zeros_like(); self.outputs], 1)
    }
}
