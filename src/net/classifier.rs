//! Networks from x and its noise label to classes.

use tch::{Kind, Tensor};

use super::embedding::{Embedding, EmbeddingSpec};
use super::layers::{Conv2d, Linear};
use crate::optim::Builder;

/// Images [B, C, H, W] or vectors [B, D] -> logits [B, classes]. With e_l(c) an affine map of the sines and cosines of the noise label,
///
/// ```text
/// h = SiLU(A_0 x + e_0),   h ← P h + B_l SiLU(A_l P h + e_l)  (depth times),   logits = O SiLU(mean over places of h)
/// ```
///
/// where for images A_l and B_l are kernels of 3 x 3 and P the mean of 2 x 2 places, and else matrices and nothing.
pub struct Logits {
    embedding: Embedding,
    first: (Layer, Linear),
    blocks: Vec<(Layer, Linear, Layer)>,
    output: Linear,
}

enum Layer {
    Convolution(Conv2d),
    Matrix(Linear),
}

impl Layer {
    fn new(builder: &Builder, images: bool, inputs: i64, outputs: i64, scale: f64) -> Layer {
        match images {
            true => Layer::Convolution(Conv2d::new(builder, inputs, outputs, 3, scale)),
            false => Layer::Matrix(Linear::new(builder, inputs, outputs, scale)),
        }
    }

    fn forward(&self, h: &Tensor) -> Tensor {
        match self {
            Layer::Convolution(layer) => layer.forward(h),
            Layer::Matrix(layer) => layer.forward(h),
        }
    }
}

/// Of the noise label, in its inverse units: smooth over a range of about 10.
const EMBEDDING: EmbeddingSpec = EmbeddingSpec::Fourier { scale: 0.25 };

impl Logits {
    /// For examples of `shape`.
    pub fn new(shape: &[usize], classes: usize, width: usize, depth: usize, builder: &Builder) -> Logits {
        let (width, images) = (width as i64, shape.len() == 3);
        let embedding = Embedding::new(&EMBEDDING, (width / 2).max(4), &builder.part("embedding"));
        let told = |name: &str| Linear::new(&builder.part(name), embedding.width(), width, 1.0);
        let layer = |name: &str, inputs, scale| Layer::new(&builder.part(name), images, inputs, width, scale);
        let first = (layer("first", shape[0] as i64, 1.0), told("first.label"));
        let block = |l: usize| {
            let name = |part: &str| format!("blocks.{l}.{part}");
            (layer(&name("hidden"), width, 1.0), told(&name("label")), layer(&name("out"), width, 0.0))
        };
        let blocks = (0..depth).map(block).collect();
        Logits { first, blocks, output: Linear::new(&builder.part("output"), width, classes as i64, 1.0), embedding }
    }

    /// SiLU of the mean over places of h, [B, width]. `noise` is the label of each example, or `[1]` where they share it.
    pub fn features(&self, x: &Tensor, noise: &Tensor) -> Tensor {
        let waves = self.embedding.forward(noise);
        let images = x.dim() == 4;
        let told = |h: Tensor, label: &Linear| {
            let label = label.forward(&waves);
            (if images { h + label.unsqueeze(-1).unsqueeze(-1) } else { h + label }).silu()
        };
        let mut h = told(self.first.0.forward(x), &self.first.1);
        for (hidden, label, out) in &self.blocks {
            if images {
                h = h.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>);
            }
            h = out.forward(&told(hidden.forward(&h), label)) + h;
        }
        let h = if images { h.mean_dim([2i64, 3].as_slice(), false, None::<Kind>) } else { h };
        h.silu()
    }

    /// O of them.
    pub fn of_features(&self, features: &Tensor) -> Tensor {
        self.output.forward(features)
    }

    /// Roughly how many numbers a pass keeps for its gradient, for one example of `shape`.
    pub fn held(shape: &[usize], width: usize, depth: usize) -> f64 {
        let places = shape[1..].iter().product::<usize>() as f64;
        let level = |l: usize| 5.0 * width as f64 * if shape.len() == 3 { places / 4f64.powi(l as i32) } else { 1.0 };
        shape.iter().product::<usize>() as f64 + (0..=depth).map(level).sum::<f64>()
    }
}
