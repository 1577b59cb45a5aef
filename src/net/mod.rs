//! Networks F(x, c_noise), and networks from x to features: they know tensors, nothing of SDEs.
//!
//! Preconditioning stands outside: a network neither scales its input or output by σ, nor turns a time into its noise label.

pub mod adm;
mod attention;
pub mod block;
pub mod classifier;
mod condition;
pub mod convolutional;
pub mod coupling;
pub mod ddpm;
pub mod dit;
mod dropout;
pub mod efficientnet;
pub mod embedding;
mod held;
mod layers;
pub mod mlp;
mod native;
pub mod ncsnpp;
pub mod perceptron;
pub mod reference;
pub mod resample;
pub mod tied_autoencoder;
pub mod torchscript;
mod unet;

pub use condition::Told;
pub use dropout::Dropout;
pub use embedding::EmbeddingSpec;
pub use held::Held;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use unet::UNet;

use crate::error::{Fault, Result};
use crate::optim::Builder;

/// A noise-conditional network.
pub trait Network {
    /// `x` [B, ...] in the network's kind and on its device; the result has the shape of `x`, or several such tensors one after the other on
    /// the axis after the batch. `dropout` is for training.
    fn forward(&self, x: &Tensor, told: &Told, dropout: Option<&Dropout>) -> Tensor;

    /// [`Network::forward`] that shows `see` the output of each top-level layer, in the order of their parameters. A network without
    /// numbered layers shows nothing.
    fn forward_showing(&self, x: &Tensor, told: &Told, dropout: Option<&Dropout>, _see: &mut dyn FnMut(&Tensor)) -> Tensor {
        self.forward(x, told, dropout)
    }
}

/// A network from examples to features.
pub trait FeatureNetwork {
    /// The features [B, D] of x [B, ...], f32 and in data units, both on the CPU; an example's are the same in every batch. Error: it does not
    /// take such x.
    fn of(&self, x: &Tensor) -> Result<Tensor>;

    /// Tries a network of others on a few examples. Error: an example's features are not its own.
    fn try_out(&self, _x: &Tensor) -> Result<()> {
        Ok(())
    }
}

/// What a network is built for.
#[derive(Clone, Copy)]
pub struct Interface<'a> {
    /// Of one example: `[D]` or [C, H, W].
    pub shape: &'a [usize],
    /// Tensors of that shape which it gives.
    pub outputs: usize,
    /// Numbers of a condition; 0 for none.
    pub condition: usize,
}

impl<'a> Interface<'a> {
    /// One tensor for x of this shape, without a condition.
    pub fn plain(shape: &'a [usize]) -> Interface<'a> {
        Interface { shape, outputs: 1, condition: 0 }
    }
}

/// `[network.<name>]`: which network, and its size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum NetworkSpec {
    Mlp(mlp::Spec),
    Ncsnpp(ncsnpp::Spec),
    Ddpm(ddpm::Spec),
    Adm(adm::Spec),
    Dit(dit::Spec),
    TiedAutoencoder(tied_autoencoder::Spec),
    Torchscript(torchscript::Spec),
}

impl NetworkSpec {
    /// Whether this network can serve data of `shape` (without the batch: `[D]` or [C, H, W]). A fault's key is relative to `[network]`.
    pub fn check(&self, shape: &[usize]) -> Result<(), Fault> {
        match self {
            NetworkSpec::Mlp(spec) => spec.check(vector(shape, "mlp")?).map_err(|fault| fault.within("mlp")),
            NetworkSpec::Ncsnpp(spec) => spec.check(image(shape, "ncsnpp")?).map_err(|fault| fault.within("ncsnpp")),
            NetworkSpec::Ddpm(spec) => spec.check(image(shape, "ddpm")?).map_err(|fault| fault.within("ddpm")),
            NetworkSpec::Adm(spec) => spec.check(image(shape, "adm")?).map_err(|fault| fault.within("adm")),
            NetworkSpec::Dit(spec) => spec.check(image(shape, "dit")?).map_err(|fault| fault.within("dit")),
            NetworkSpec::TiedAutoencoder(spec) => spec.check().map_err(|fault| fault.within("tied-autoencoder")),
            NetworkSpec::Torchscript(spec) => spec.check().map_err(|fault| fault.within("torchscript")),
        }
    }

    /// Whether this network can be told of conditions. A fault's key is relative to `[network]`.
    pub fn check_conditions(&self) -> Result<(), Fault> {
        let (key, of) = match self {
            NetworkSpec::Mlp(_) | NetworkSpec::Adm(_) | NetworkSpec::Dit(_) | NetworkSpec::Torchscript(_) => return Ok(()),
            NetworkSpec::Ncsnpp(ncsnpp::Spec { conditional, .. }) => ("ncsnpp.conditional", conditional),
            NetworkSpec::Ddpm(ddpm::Spec { conditional, .. }) => ("ddpm.conditional", conditional),
            NetworkSpec::TiedAutoencoder(_) => ("tied-autoencoder", &false),
        };
        let message = "a condition is added to the embedded noise label, and this network has none";
        let help = "use [network.mlp] for vectors, adm, dit, or ncsnpp or ddpm with conditional = true for images, or remove [condition]";
        if *of { Ok(()) } else { Err(Fault::new(key, message, help)) }
    }

    /// Whether this network can give so many tensors of the shape of its input. A fault's key is relative to `[network]`.
    pub fn check_outputs(&self, outputs: usize) -> Result<(), Fault> {
        match self {
            NetworkSpec::TiedAutoencoder(_) if outputs > 1 => {
                let message = "its outputs are its inputs, and it has none left to say variances by";
                Err(Fault::new("tied-autoencoder", message, "use [network.mlp], or leave out precondition.discrete.variance"))
            }
            _ => Ok(()),
        }
    }

    /// The network for this, which has passed the checks; its parameters come from `builder`.
    pub fn build(&self, interface: &Interface, builder: &Builder) -> Box<dyn Network> {
        let u_net = |spec: &ncsnpp::Spec, groups| UNet::new(spec, interface, groups, builder);
        match self {
            NetworkSpec::Mlp(spec) => Box::new(mlp::Mlp::new(spec, interface, builder)),
            NetworkSpec::Ncsnpp(spec) => Box::new(u_net(spec, ncsnpp::groups)),
            NetworkSpec::Ddpm(spec) => Box::new(u_net(&spec.as_ncsnpp(), ddpm::groups)),
            NetworkSpec::Adm(spec) => Box::new(adm::Adm::new(spec, interface, builder)),
            NetworkSpec::Dit(spec) => Box::new(dit::Dit::new(spec, interface, builder)),
            NetworkSpec::TiedAutoencoder(spec) => {
                Box::new(tied_autoencoder::TiedAutoencoder::new(spec, interface.shape.iter().product(), builder))
            }
            NetworkSpec::Torchscript(spec) => Box::new(spec.build(interface, builder)),
        }
    }

    /// With what changes no weights left out: where a file is, whose content counts.
    pub fn without_operational(&self) -> NetworkSpec {
        match self {
            NetworkSpec::Torchscript(spec) => NetworkSpec::Torchscript(spec.without_operational()),
            ours => ours.clone(),
        }
    }

    /// The kind that it computes in: f32, or that of a program of others.
    pub fn kind(&self, interface: &Interface) -> Kind {
        match self {
            NetworkSpec::Torchscript(spec) => spec.kind(interface),
            _ => Kind::Float,
        }
    }

    /// Whether it begins with weights that were trained elsewhere, and so needs no training here.
    pub fn is_trained(&self) -> bool {
        matches!(self, NetworkSpec::Torchscript(_))
    }

    /// The key that most decides how large the network is, relative to `[network]`.
    pub fn size_key(&self) -> &'static str {
        match self {
            NetworkSpec::Mlp(_) => "mlp.width",
            NetworkSpec::Ncsnpp(_) => "ncsnpp.channels",
            NetworkSpec::Ddpm(_) => "ddpm.channels",
            NetworkSpec::Adm(_) => "adm.channels",
            NetworkSpec::Dit(_) => "dit.width",
            NetworkSpec::TiedAutoencoder(_) => "tied-autoencoder.hidden",
            NetworkSpec::Torchscript(_) => "torchscript.file",
        }
    }

    /// Trainable parameters of the network that [`NetworkSpec::build`] would make, counted without building it.
    pub fn parameter_count(&self, interface: &Interface) -> usize {
        let builder = Builder::dry();
        self.build(interface, &builder);
        builder.trainable()
    }
}

fn vector(shape: &[usize], network: &str) -> Result<usize, Fault> {
    match shape {
        [dimension] => Ok(*dimension),
        _ => Err(Fault::new(
            network,
            format!("{network} is a network for vectors, but the data are of shape {shape:?}"),
            "use a network for images: [network.ncsnpp], [network.ddpm], [network.adm] or [network.dit]",
        )),
    }
}

fn image(shape: &[usize], network: &str) -> Result<[usize; 3], Fault> {
    match shape {
        [channels, height, width] => Ok([*channels, *height, *width]),
        _ => Err(Fault::new(
            network,
            format!("{network} is a network for images [channels, height, width], but the data are of shape {shape:?}"),
            "use a network for vectors: [network.mlp]",
        )),
    }
}
