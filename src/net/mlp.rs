//! A residual network for vectors.

use std::f64::consts::TAU;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::condition::Conditioning;
use super::embedding::{Embedding, EmbeddingSpec};
use super::layers::Linear;
use super::{Dropout, Interface, Network, Told};
use crate::error::Fault;
use crate::optim::{Builder, Init};

/// `[network.mlp]`: a residual network for vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Features of every layer, 8 to 65536; the noise label is embedded with a quarter as many frequencies.
    pub width: usize,
    /// Residual blocks, of two layers each, 1 to 10,000.
    pub depth: usize,
    pub input: InputSpec,
    pub embedding: EmbeddingSpec,
}

/// How the network sees a vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum InputSpec {
    /// As it is.
    Plain,
    /// With sines and cosines of `count` random projections W x, W ~ N(0, scale²), never trained: for laws with edges and fine
    /// structure in few dimensions. Tancik et al. 2020.
    Fourier {
        /// Projections, 1 to 65536.
        count: usize,
        /// In inverse units of model space, above 0, such as 0.5.
        scale: f64,
    },
}

impl Spec {
    /// Whether this network can serve vectors `[dimension]`.
    pub fn check(&self, _dimension: usize) -> Result<(), Fault> {
        Fault::unless_in("width", self.width, 8..=65536, "64 serves two dimensions")?;
        Fault::unless_in("depth", self.depth, 1..=10_000, "3 serves two dimensions")?;
        if let InputSpec::Fourier { count, scale } = &self.input {
            Fault::unless_in("input.fourier.count", *count, 1..=65536, "input = \"plain\" has none")?;
            if !(*scale > 0.0 && scale.is_finite()) {
                return Err(Fault::new("input.fourier.scale", format!("scale is {scale}"), "give a positive number, such as 0.5"));
            }
        }
        self.embedding.check()
    }
}

/// Vectors [B, D] -> [B, outputs D]. With φ the sines and cosines of the noise label, and what the condition adds to them, and ψ(x) = x or
/// [x, sin 2πWx, cos 2πWx],
///
/// ```text
/// h = A ψ + A' φ,   h ← h + C SiLU(B h + B' φ)  (depth times),   F = O SiLU(h)
/// ```
///
/// and C and O start (as good as) at zero: a new network is F = 0, a new block the identity.
pub struct Mlp {
    projection: Option<Tensor>,
    embedding: Embedding,
    /// Of a condition.
    conditioning: Option<Conditioning>,
    input: Linear,
    condition: Linear,
    blocks: Vec<Block>,
    output: Linear,
}

struct Block {
    hidden: Linear,
    condition: Linear,
    out: Linear,
}

impl Mlp {
    /// `spec` must have passed its check.
    pub fn new(spec: &Spec, interface: &Interface, builder: &Builder) -> Mlp {
        let (width, dimension, outputs) = (spec.width as i64, interface.shape[0] as i64, interface.outputs as i64);
        let frequencies = width / 4;
        let size = match spec.embedding {
            EmbeddingSpec::Positional => 2 * frequencies,
            EmbeddingSpec::Fourier { .. } => frequencies,
        };
        let embedding = Embedding::new(&spec.embedding, size, &builder.part("embedding"));
        let waves = embedding.width();
        let conditioning = Conditioning::new(interface.condition, waves, &builder.part("conditioning"));
        let linear = |name: &str, inputs, outputs, scale| Linear::new(&builder.part(name), inputs, outputs, scale);
        let (projection, features) = match spec.input {
            InputSpec::Plain => (None, dimension),
            InputSpec::Fourier { count, scale } => {
                let count = count as i64;
                (Some(builder.part("input").frozen("W", &[dimension, count], Init::Normal(scale))), dimension + 2 * count)
            }
        };
        let input = linear("input", features, width, 1.0);
        let condition = linear("condition", waves, width, 1.0);
        let block = |i| Block {
            hidden: linear(&format!("blocks.{i}.hidden"), width, width, 1.0),
            condition: linear(&format!("blocks.{i}.condition"), waves, width, 1.0),
            out: linear(&format!("blocks.{i}.out"), width, width, 0.0),
        };
        let blocks = (0..spec.depth).map(block).collect();
        let output = linear("output", width, outputs * dimension, 0.0);
        Mlp { projection, embedding, conditioning, input, condition, blocks, output }
    }
}

impl Network for Mlp {
    fn forward(&self, x: &Tensor, told: &Told, _dropout: Option<&Dropout>) -> Tensor {
        let waves = self.embedding.forward(told.noise);
        let waves = self.conditioning.iter().fold(waves, |waves, conditioning| conditioning.added(waves, told.condition));
        let features = self.projection.as_ref().map(|w| {
            let angle = x.matmul(w) * TAU;
            Tensor::cat(&[x, &angle.sin(), &angle.cos()], 1)
        });
        let mut h = self.input.forward(features.as_ref().unwrap_or(x)) + self.condition.forward(&waves);
        for block in &self.blocks {
            let hidden = block.hidden.forward(&h) + block.condition.forward(&waves);
            h = block.out.forward(&hidden.silu()) + h;
        }
        self.output.forward(&h.silu())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, normal};
    use tch::{Device, Kind, no_grad};

    #[test]
    fn starts_at_zero_and_learns_a_function_of_both_arguments() {
        tch::set_num_threads(1);
        let spec = Spec { width: 32, depth: 2, input: InputSpec::Plain, embedding: EmbeddingSpec::Fourier { scale: 0.25 } };
        let builder = Builder::new(1, Kind::Float, Device::Cpu);
        let network = Mlp::new(&spec, &Interface::plain(&[2]), &builder);
        let parameters = builder.finish();
        let x = normal(2, Purpose::Data, 0, &[256, 2], Device::Cpu);
        let noise = normal(3, Purpose::Data, 0, &[256], Device::Cpu);
        assert!(network.forward(&x, &Told::noise(&noise), None).abs().max().double_value(&[]) < 1e-2);

        let truth = &x * noise.sin().unsqueeze(1);
        let loss = || (network.forward(&x, &Told::noise(&noise), None) - &truth).square().mean(Kind::Float);
        let start = loss().double_value(&[]);
        let mut momentum = parameters.flat().zeros_like();
        for _ in 0..300 {
            let gradient = parameters.gradient(&loss());
            no_grad(|| {
                momentum = &momentum * 0.9 + gradient;
                let _ = parameters.flat().shallow_clone().g_sub_(&(&momentum * 0.02));
            });
        }
        let end = loss().double_value(&[]);
        assert!(end < 0.05 * start, "the loss went from {start} to {end}");
    }

    #[test]
    fn every_parameter_and_the_input_have_a_gradient() {
        tch::set_num_threads(1);
        for (input, embedding) in [
            (InputSpec::Plain, EmbeddingSpec::Positional),
            (InputSpec::Fourier { count: 4, scale: 0.5 }, EmbeddingSpec::Fourier { scale: 1.0 }),
        ] {
            let builder = Builder::new(4, Kind::Double, Device::Cpu);
            let network =
                Mlp::new(&Spec { width: 9, depth: 2, input, embedding }, &Interface { shape: &[3], outputs: 2, condition: 4 }, &builder);
            let parameters = builder.finish();
            no_grad(|| parameters.flat().shallow_clone().copy_(&normal(5, Purpose::Init, 0, &parameters.flat().size(), Device::Cpu)));
            let x = normal(6, Purpose::Data, 0, &[5, 3], Device::Cpu).to_kind(Kind::Double).set_requires_grad(true);
            let noise = normal(7, Purpose::Data, 0, &[5], Device::Cpu).to_kind(Kind::Double);
            let condition = normal(8, Purpose::Data, 0, &[5, 4], Device::Cpu);
            let y = network.forward(&x, &Told { noise: &noise, condition: Some(&condition) }, None);
            assert_eq!(y.size(), [5, 6]);
            let loss = y.square().sum(Kind::Double);
            let gradient = Tensor::run_backward(&[&loss], &[&x], true, false).remove(0);
            assert_eq!(gradient.count_nonzero(None).int64_value(&[]), 15);
            let gradient = parameters.gradient(&loss);
            assert_eq!(gradient.count_nonzero(None).int64_value(&[]) as usize, parameters.count());
        }
    }
}
