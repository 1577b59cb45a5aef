//! A residual network for vectors.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::Network;
use super::embedding::{Embedding, EmbeddingSpec};
use super::layers::Linear;
use crate::error::Fault;
use crate::optim::Builder;

/// `[network.mlp]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Features of every hidden layer, and frequencies of the noise embedding.
    pub width: usize,
    /// Residual blocks, of two layers each.
    pub depth: usize,
    pub embedding: EmbeddingSpec,
}

impl Spec {
    /// Whether this network can serve vectors [dimension].
    pub fn check(&self, _dimension: usize) -> Result<(), Fault> {
        if self.width < 4 {
            return Err(Fault::new("width", format!("width is {}, fewer than 4", self.width), "give 64 or more"));
        }
        if self.depth == 0 {
            return Err(Fault::new("depth", "depth is 0", "give a positive number of blocks"));
        }
        self.embedding.check()
    }
}

/// Vectors [B, D] -> [B, D]. With e = SiLU(E φ(c)) the embedded noise label,
///
/// ```text
/// h = A x + e,   h ← h + C SiLU(B h + B' e)   (depth times),   F = O SiLU(h)
/// ```
///
/// and O, C start at zero.
pub struct Mlp {
    embedding: Embedding,
    condition: Linear,
    input: Linear,
    blocks: Vec<Block>,
    output: Linear,
}

struct Block {
    hidden: Linear,
    condition: Linear,
    out: Linear,
}

impl Mlp {
    pub fn new(spec: &Spec, dimension: usize, builder: &Builder) -> Mlp {
        let (width, dimension) = (spec.width as i64, dimension as i64);
        let embedding = Embedding::new(&spec.embedding, width, &builder.part("embedding"));
        let linear = |name: &str, inputs, outputs, scale| Linear::new(&builder.part(name), inputs, outputs, scale);
        let condition = linear("condition", embedding.width(), width, 1.0);
        let input = linear("input", dimension, width, 1.0);
        let blocks = (0..spec.depth)
            .map(|i| {
                let linear = |name: &str, scale| linear(&format!("blocks.{i}.{name}"), width, width, scale);
                Block { hidden: linear("hidden", 1.0), condition: linear("condition", 1.0), out: linear("out", 0.0) }
            })
            .collect();
        Mlp { embedding, condition, input, blocks, output: linear("output", width, dimension, 0.0) }
    }
}

impl Network for Mlp {
    fn forward(&self, x: &Tensor, noise: &Tensor, _train: bool) -> Tensor {
        let condition = self.condition.forward(&self.embedding.forward(noise)).silu();
        let mut h = self.input.forward(x) + &condition;
        for block in &self.blocks {
            h = &h + block.out.forward(&(block.hidden.forward(&h) + block.condition.forward(&condition)).silu());
        }
        self.output.forward(&h.silu())
    }
}
