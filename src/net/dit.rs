//! The diffusion transformer of Peebles & Xie 2023 (arXiv 2212.09748), with adaLN-Zero.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::condition::Classes;
use super::dropout::Dropout;
use super::embedding::{Embedding, EmbeddingSpec};
use super::layers::Linear;
use super::{Interface, Network, Told};
use crate::error::Fault;
use crate::optim::Builder;

/// `[network.dit]`: a transformer over patches of an image. The paper's sizes, with patch = 2, are S (depth 12, width 384, heads 6), B (12, 768, 12),
/// L (24, 1024, 16) and XL (28, 1152, 16).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Pixels on a side of a patch, which divide height and width; half of it takes four times the tokens.
    pub patch: usize,
    /// Numbers of a token, a multiple of 4 and of `heads`.
    pub width: usize,
    /// Blocks, at least 1.
    pub depth: usize,
    /// Of attention, at least 1.
    pub heads: usize,
    /// Of the noise label.
    pub embedding: EmbeddingSpec,
}

impl Spec {
    /// Whether this network can serve images [channels, height, width].
    pub fn check(&self, [_, height, width]: [usize; 3]) -> Result<(), Fault> {
        if self.patch == 0 || !height.is_multiple_of(self.patch) || !width.is_multiple_of(self.patch) {
            let message = format!("images of {height} x {width} are not made of patches of {0} x {0}", self.patch);
            return Err(Fault::new("patch", message, "give a number that divides both, such as 2 or 4"));
        }
        if self.heads == 0 || self.width == 0 || !self.width.is_multiple_of(4) || !self.width.is_multiple_of(self.heads) {
            let message = format!("width is {}, and heads is {}", self.width, self.heads);
            return Err(Fault::new("width", message, "give a multiple of 4 and of heads, such as 384 with 6 heads"));
        }
        Fault::unless_in("width", self.width, 4..=65536, "the paper has 384 to 1152")?;
        Fault::unless_in("depth", self.depth, 1..=1000, "the paper has 12 to 28")?;
        self.embedding.check()
    }
}

/// Images [B, C, H, W] -> [B, outputs C, H, W].
///
/// Tokens h [B, T, width], one for each patch in row-major order, are a linear map of their pixels and sines and cosines of their places. With c
/// of the noise label and the condition, every block is
///
/// ```text
/// h ← h + α₁ attention((1 + γ₁) norm(h) + β₁),   h ← h + α₂ mlp((1 + γ₂) norm(h) + β₂),
/// ```
///
/// where (β, γ, α) = A SiLU(c) + a, A and a starting at zero, so that a new block is the identity; and what comes out is a linear map of
/// (1 + γ) norm(h) + β, which starts at zero, too.
pub struct Dit {
    patch: i64,
    /// Of an image.
    size: [i64; 3],
    heads: i64,
    patches: Linear,
    /// [T, width]
    places: Tensor,
    embedding: Embedding,
    label: [Linear; 2],
    classes: Option<Classes>,
    blocks: Vec<Block>,
    modulation: Linear,
    output: Linear,
}

struct Block {
    modulation: Linear,
    /// Query, key and value.
    attended: Linear,
    joined: Linear,
    mlp: [Linear; 2],
}

/// Numbers of the embedded noise label, as in the paper.
const WAVES: i64 = 256;
/// The width of a block's hidden layer, in widths.
const EXPANSION: i64 = 4;

impl Dit {
    /// `spec` must have passed its check.
    pub fn new(spec: &Spec, interface: &Interface, builder: &Builder) -> Dit {
        let (patch, width) = (spec.patch as i64, spec.width as i64);
        let size: [i64; 3] = std::array::from_fn(|axis| interface.shape[axis] as i64);
        let pixels = patch * patch * size[0];
        let linear = |name: &str, inputs, outputs| Linear::new(&builder.part(name), inputs, outputs, 1.0);
        let zero = |name: &str, inputs, outputs| Linear::zero(&builder.part(name), inputs, outputs);
        let waves = match spec.embedding {
            EmbeddingSpec::Positional => WAVES,
            EmbeddingSpec::Fourier { .. } => WAVES / 2,
        };
        let embedding = Embedding::new(&spec.embedding, waves, &builder.part("embedding"));
        let label = [linear("label.0", embedding.width(), width), linear("label.1", width, width)];
        let block = |i: usize| {
            let name = |part: &str| format!("blocks.{i}.{part}");
            Block {
                modulation: zero(&name("modulation"), width, 6 * width),
                attended: linear(&name("attended"), width, 3 * width),
                joined: linear(&name("joined"), width, width),
                mlp: [linear(&name("mlp.0"), width, EXPANSION * width), linear(&name("mlp.1"), EXPANSION * width, width)],
            }
        };
        Dit {
            patch,
            size,
            heads: spec.heads as i64,
            patches: linear("patches", pixels, width),
            places: places(size[1] / patch, size[2] / patch, width, builder.options()),
            embedding,
            label,
            classes: Classes::new(interface.condition, width, &builder.part("classes")),
            blocks: (0..spec.depth).map(block).collect(),
            modulation: zero("modulation", width, 2 * width),
            output: zero("output", width, pixels * interface.outputs as i64),
        }
    }

    /// c [B or 1, width].
    fn told(&self, told: &Told) -> Tensor {
        let [first, second] = &self.label;
        let label = second.forward(&first.forward(&self.embedding.forward(told.noise)).silu());
        self.classes.iter().fold(label, |label, classes| classes.added(label, told.condition))
    }

    /// Images [B, C, H, W] -> the pixels of each patch [B, T, patch² C].
    fn split(&self, x: &Tensor) -> Tensor {
        let ([channels, height, width], patch) = (self.size, self.patch);
        let parts = x.reshape([-1, channels, height / patch, patch, width / patch, patch]);
        parts.permute([0, 2, 4, 3, 5, 1]).reshape([-1, (height / patch) * (width / patch), patch * patch * channels])
    }

    /// The inverse, of any number of channels.
    fn join(&self, tokens: &Tensor) -> Tensor {
        let ([_, height, width], patch) = (self.size, self.patch);
        let parts = tokens.reshape([-1, height / patch, width / patch, patch, patch, tokens.size()[2] / (patch * patch)]);
        parts.permute([0, 5, 1, 3, 2, 4]).reshape([tokens.size()[0], -1, height, width])
    }
}

/// norm(h), without parameters, scaled and shifted: (1 + γ) norm(h) + β of h [B, T, width] and β, γ [B or 1, 1, width].
fn modulated(h: &Tensor, shift: &Tensor, scale: &Tensor) -> Tensor {
    h.layer_norm(&h.size()[2..], None::<&Tensor>, None::<&Tensor>, 1e-6, false) * (scale + 1.0) + shift
}

impl Block {
    /// h [B, T, width] and SiLU(c) [B or 1, width].
    fn forward(&self, h: &Tensor, c: &Tensor, heads: i64) -> Tensor {
        let parts = self.modulation.forward(c).unsqueeze(1).chunk(6, -1);
        let [shift_1, scale_1, gate_1, shift_2, scale_2, gate_2] = &parts[..] else { unreachable!("six parts") };
        let h = h + self.attention(&modulated(h, shift_1, scale_1), heads) * gate_1;
        let [first, second] = &self.mlp;
        let hidden = first.forward(&modulated(&h, shift_2, scale_2)).gelu("tanh");
        h + second.forward(&hidden) * gate_2
    }

    /// softmax(qᵀ k / √d) v of each head, in plain products, which have second derivatives.
    fn attention(&self, h: &Tensor, heads: i64) -> Tensor {
        let (batch, tokens, width) = h.size3().expect("tokens [B, T, width]");
        let parts = self.attended.forward(h).view([batch, tokens, 3, heads, width / heads]).permute([2, 0, 3, 1, 4]);
        let (query, key, value) = (parts.get(0), parts.get(1), parts.get(2));
        let weights = (query * ((width / heads) as f64).powf(-0.5)).matmul(&key.transpose(-2, -1)).softmax(-1, None);
        self.joined.forward(&weights.matmul(&value).transpose(1, 2).reshape([batch, tokens, width]))
    }
}

impl Network for Dit {
    fn forward(&self, x: &Tensor, told: &Told, _dropout: Option<&Dropout>) -> Tensor {
        let c = self.told(told).silu();
        let start = self.patches.forward(&self.split(x)) + &self.places;
        let h = self.blocks.iter().fold(start, |h, block| block.forward(&h, &c, self.heads));
        let parts = self.modulation.forward(&c).unsqueeze(1).chunk(2, -1);
        self.join(&self.output.forward(&modulated(&h, &parts[0], &parts[1])))
    }
}

/// Sines and cosines of the row and the column of each patch [rows × columns, width]: a quarter of the width each, with geometrically spaced
/// frequencies from 1 to 1e-4 (Vaswani et al. 2017, sec. 3.5).
fn places(rows: i64, columns: i64, width: i64, options: (Kind, tch::Device)) -> Tensor {
    let quarter = width / 4;
    let frequencies = (Tensor::arange(quarter, (Kind::Double, options.1)) * (-1e4f64.ln() / quarter as f64)).exp();
    let along = |count: i64| {
        let angles = Tensor::arange(count, (Kind::Double, options.1)).outer(&frequencies);
        Tensor::cat(&[angles.sin(), angles.cos()], 1)
    };
    let of_row = along(rows).unsqueeze(1).expand([rows, columns, 2 * quarter], false);
    let of_column = along(columns).unsqueeze(0).expand([rows, columns, 2 * quarter], false);
    Tensor::cat(&[of_row, of_column], 2).reshape([rows * columns, 4 * quarter]).to_kind(options.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, normal};
    use crate::testing::largest;
    use tch::{Device, no_grad};

    fn spec(patch: usize, width: usize, depth: usize, heads: usize) -> Spec {
        Spec { patch, width, depth, heads, embedding: EmbeddingSpec::Positional }
    }

    /// Peebles & Xie 2023, table 1 and the models they published for latent images 4 x 32 x 32, of 1000 classes and with learnt variances.
    #[test]
    fn the_sizes_of_the_paper_have_its_parameters() {
        for (name, [width, depth, heads], millions) in
            [("S/2", [384, 12, 6], 33.0), ("B/2", [768, 12, 12], 130.0), ("L/2", [1024, 24, 16], 458.0), ("XL/2", [1152, 28, 16], 675.0)]
        {
            let builder = Builder::dry();
            Dit::new(&spec(2, width, depth, heads), &Interface { shape: &[4, 32, 32], outputs: 2, condition: 1000 }, &builder);
            let count = builder.trainable() as f64 / 1e6;
            assert!((count - millions).abs() < 0.5, "DiT-{name} has {count} million parameters, not {millions}");
        }
    }

    fn network(outputs: usize) -> (Dit, crate::optim::Parameters) {
        let builder = Builder::new(1, Kind::Double, Device::Cpu);
        let network = Dit::new(&spec(2, 16, 2, 4), &Interface { shape: &[3, 6, 4], outputs, condition: 5 }, &builder);
        (network, builder.finish())
    }

    fn random(parameters: &crate::optim::Parameters) {
        let flat = parameters.flat();
        no_grad(|| flat.shallow_clone().copy_(&(normal(5, Purpose::Init, 0, &flat.size(), Device::Cpu) * 0.3)));
    }

    #[test]
    fn it_starts_at_zero_and_every_parameter_has_a_gradient() {
        tch::set_num_threads(1);
        let (network, parameters) = network(2);
        let x = normal(6, Purpose::Data, 0, &[7, 3, 6, 4], Device::Cpu).to_kind(Kind::Double);
        let noise = normal(7, Purpose::Data, 0, &[7], Device::Cpu).to_kind(Kind::Double);
        let condition = Tensor::eye(7, (Kind::Double, Device::Cpu)).narrow(1, 0, 5);
        let ask = || network.forward(&x, &Told { noise: &noise, condition: Some(&condition) }, None);
        assert_eq!((ask().size(), largest(&ask())), (vec![7, 6, 6, 4], 0.0));
        random(&parameters);
        let gradient = parameters.gradient(&ask().square().sum(Kind::Double));
        // The bias of the keys adds the same to all of a row before its softmax.
        let without = parameters.count() as i64 - gradient.count_nonzero(None).int64_value(&[]);
        assert!(without <= 2 * 16, "{without} parameters have no gradient");
    }

    /// An example's output is its own, and a patch that is elsewhere is another one.
    #[test]
    fn examples_are_alone_and_places_count() {
        tch::set_num_threads(1);
        let (network, parameters) = network(1);
        random(&parameters);
        let x = normal(8, Purpose::Data, 0, &[3, 3, 6, 4], Device::Cpu).to_kind(Kind::Double);
        let noise = Tensor::from_slice(&[0.3, 1.0, 7.0]);
        no_grad(|| {
            let all = network.forward(&x, &Told::noise(&noise), None);
            let one = network.forward(&x.narrow(0, 1, 1), &Told::noise(&noise.narrow(0, 1, 1)), None);
            assert!(largest(&(all.narrow(0, 1, 1) - one)) < 1e-12);
            let rolled = |x: &Tensor| x.roll([2], [2]);
            assert!(largest(&(network.forward(&rolled(&x), &Told::noise(&noise), None) - rolled(&all))) > 1e-3);
            // Without places it would be the same.
            let _ = network.places.shallow_clone().fill_(0.0);
            let all = network.forward(&x, &Told::noise(&noise), None);
            assert!(largest(&(network.forward(&rolled(&x), &Told::noise(&noise), None) - rolled(&all))) < 1e-12);
            assert!(largest(&(network.join(&network.split(&x)) - &x)) == 0.0);
        });
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let key = |spec: Spec| spec.check([1, 28, 28]).unwrap_err().key;
        assert_eq!(key(spec(3, 16, 1, 4)), "patch");
        assert_eq!(key(spec(2, 16, 1, 3)), "width");
        assert_eq!(key(spec(2, 16, 0, 4)), "depth");
        assert!(spec(4, 16, 1, 4).check([1, 28, 28]).is_ok());
    }
}
