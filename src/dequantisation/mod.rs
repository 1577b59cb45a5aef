//! Variational dequantisation (Ho et al. 2019, arXiv 1902.00275, Flow++, sec. 3.1): the noise that makes pixels a point of a density is
//! drawn from a law q(u | pixels) that is trained for the bound
//!
//! ```text
//! -ln P(pixels) <= E_u[-ln p(pixels + u) + ln q(u | pixels)],   u in (0, 1)^D.
//! ```
//!
//! It is trained with the score fixed. A gradient of the exact -ln p would cost a backward pass through a whole solve, so its bound in
//! continuous time stands for it (Song et al. 2021b, arXiv 2101.09258, sec. 5): the gradient goes through x_0 of the denoising integral.

mod training;

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Device, Kind, Tensor, no_grad};

use crate::bound::Elbo;
use crate::error::{Error, Fault, Result};
use crate::net::coupling::CouplingFlow;
use crate::optim::{Builder, Parameters};
use crate::rng::{self, Purpose};
use crate::run::{Found, Product, Run, difference, tensors};
use crate::space::Scale;
use crate::tensor::sum_per_example;
pub use training::{Subject, Trained, train};

/// `[dequantisation.*]`: a law of dequantisation noise that is trained after the score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum DequantisationSpec {
    Variational(Variational),
}

/// `[dequantisation.variational]`: u = sigmoid(h) with h from a [`CouplingFlow`], trained by Adam (β = 0.9, 0.999, ε = 1e-8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variational {
    /// Steps in all, 1 to 1,000,000,000.
    pub steps: u64,
    /// Examples in one step, 1 to 1,000,000.
    pub batch: usize,
    /// Adam's learning rate, above 0, such as 1e-3.
    pub lr: f64,
    /// Largest norm of the gradient of the bound in nats/dim, above 0; `inf` for none.
    pub clip: f64,
    /// Where the bound's integral over time begins, in (0, 1), such as likelihood.t_min.
    pub t_min: f64,
    /// Coupling layers, 1 to 1,000.
    pub layers: usize,
    /// Channels of each layer's small network, 1 to 8192.
    pub channels: usize,
}

impl DequantisationSpec {
    pub fn check(&self, scale: Scale) -> Result<(), Fault> {
        let DequantisationSpec::Variational(spec) = self;
        if let Scale::Vectors { .. } = scale {
            return Err(Fault::new(
                "variational",
                "the data are vectors, which need no dequantisation",
                "remove [dequantisation.variational]",
            ));
        }
        spec.check().map_err(|fault| fault.within("variational"))
    }
}

impl Variational {
    fn check(&self) -> Result<(), Fault> {
        Fault::unless_in("steps", self.steps, 1..=1_000_000_000, "a few thousand are usual")?;
        Fault::unless_in("batch", self.batch, 1..=1_000_000, "a smaller batch needs less memory")?;
        Fault::unless_in("layers", self.layers, 1..=1000, "a few are enough")?;
        Fault::unless_in("channels", self.channels, 1..=8192, "32 are enough for small images")?;
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return Err(Fault::new("lr", format!("lr is {}", self.lr), "give a number above 0, such as 1e-3"));
        }
        if self.clip.is_nan() || self.clip <= 0.0 {
            return Err(Fault::new("clip", format!("clip is {}", self.clip), "give a number above 0, or inf for no clipping"));
        }
        if !(self.t_min > 0.0 && self.t_min < 1.0) {
            return Err(Fault::new("t_min", format!("t_min is {}", self.t_min), "give a number between 0 and 1, such as likelihood.t_min"));
        }
        Ok(())
    }
}

/// q(u | pixels).
pub struct Dequantiser {
    flow: CouplingFlow,
    parameters: Parameters,
    device: Device,
}

impl Dequantiser {
    /// The product of a run, and its file.
    pub const NAME: &str = "dequantiser";
    pub const FILE: &str = "dequantiser.safetensors";

    /// A new one for images of `shape` [C, H, W], whose law is nearly uniform.
    pub fn new(spec: &Variational, shape: &[usize], seed: u64, device: Device) -> Dequantiser {
        let builder = Builder::new(rng::derive(seed, Purpose::Dequantiser, 0), Kind::Float, device);
        let flow = CouplingFlow::new([shape[0], shape[1], shape[2]], spec.layers, spec.channels, &builder);
        Dequantiser { flow, parameters: builder.finish(), device }
    }

    /// u [B, C, H, W] and ln q(u | pixels) `[B]` in nats, both f64: `pixels` and the normal `noise` are f32 [B, C, H, W].
    ///
    /// ln q = ln N(ε; 0, I) - ln |det ∂h/∂ε| - Σ ln(u (1 - u)).
    pub fn draw(&self, pixels: &Tensor, noise: &Tensor) -> (Tensor, Tensor) {
        let (h, log_det) = self.flow.forward(noise, &(pixels / 127.5 - 1.0));
        let h = h.to_kind(Kind::Double);
        let d = noise.size()[1..].iter().product::<i64>() as f64;
        let log_normal = (sum_per_example(&noise.to_kind(Kind::Double).square()) + d * (2.0 * PI).ln()) * -0.5;
        let log_slope = sum_per_example(&(h.log_sigmoid() + (-&h).log_sigmoid()));
        (h.sigmoid(), log_normal - log_det - log_slope)
    }

    /// One draw of the bound on -ln P(pixels) `[B]`, nats, with the score's bound at t_min in place of -ln p, each example at its share of the
    /// way in log-SNR ([`Elbo::levels`]); it can be differentiated.
    pub fn bound(&self, elbo: &Elbo, scale: Scale, pixels: &Tensor, noise: &Tensor, shares: &[f64], z: &Tensor) -> Tensor {
        let (u, log_q) = self.draw(pixels, noise);
        let x0 = scale.dequantised(&pixels.to_kind(Kind::Double), &u);
        let d = noise.size()[1..].iter().product::<i64>() as f64;
        elbo.denoising(&x0, shares, z) + log_q - d * scale.log_det_per_dim()
    }

    /// Writes `dequantiser.safetensors` of a product.
    pub fn save(&self, product: &mut Product) -> Result<()> {
        let named: Vec<(String, &Tensor)> = self.parameters.named().map(|(name, tensor, _)| (name.to_owned(), tensor)).collect();
        product.write(Dequantiser::FILE, &tensors::encode(&named, &[("version", env!("CARGO_PKG_VERSION").to_string())]))
    }

    /// Takes the weights that a run has saved, `of` what they must depend on, and ends training; false if it has none.
    ///
    /// Errors: the file is damaged, depends on something else, or was written for another network.
    pub fn load(&self, run: &Run, of: &Value) -> Result<bool> {
        let help = "remove dequantiser.manifest, and score-sde run trains it again";
        let wrong = |what: String| Error::run(run.folder().at(Dequantiser::FILE), what, help);
        match run.found(Dequantiser::NAME)? {
            Found::Nothing => return Ok(false),
            Found::Damaged(what) => return Err(Error::run(run.path(), what, help)),
            Found::Whole(there) => match difference("", &there, of) {
                None => {}
                Some((key, there, here)) => {
                    return Err(wrong(format!("was trained for something else: {key} is {there} there, {here} now")));
                }
            },
        }
        let (stored, _) = tensors::parse(&run.read(Dequantiser::FILE)?.unwrap_or_default()).map_err(wrong)?;
        for (name, parameter, _) in self.parameters.named() {
            let source = stored.get(name).filter(|source| source.size() == parameter.size());
            let source = source.ok_or_else(|| wrong(format!("holds no `{name}` of shape {:?}", parameter.size())))?;
            no_grad(|| parameter.detach().copy_(source));
        }
        self.parameters.freeze();
        Ok(true)
    }
}
