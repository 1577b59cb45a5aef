//! EfficientNet-Lite0: a classifier of images, whose last layer but one gives features.

use tch::{Kind, Tensor};

use crate::error::Result;

/// EfficientNet-B0 (Tan & Le 2019, arXiv 1905.11946, table 1) without squeeze-and-excitation and with min(max(x, 0), 6) for SiLU, as Google
/// published it in 2020 for small devices: images [B, 3, H, W] → features [B, 1280] → logits [B, 1000] of ImageNet's classes.
///
/// ```text
/// stem    3 x 3, every second place, to 32 channels
/// blocks  to E times as many channels, one filter of k x k for each, back to fewer; plus what came in, where that has the shape of what goes out
/// head    to 1280 channels, and their mean over all places
/// ```
///
/// A convolution is followed by the normalisation that it was trained with, whose statistics are part of its weights here, and, but for the
/// last of a block, by the clamp. Images are kept with their channels innermost.
pub struct EfficientNetLite0 {
    stem: Layer,
    blocks: Vec<Block>,
    head: Layer,
    output: (Tensor, Tensor),
}

/// E, k, stride, channels, how often: the stages of blocks.
const STAGES: [[i64; 5]; 7] =
    [[1, 3, 1, 16, 1], [6, 3, 2, 24, 2], [6, 5, 2, 40, 2], [6, 3, 2, 80, 3], [6, 5, 1, 112, 3], [6, 5, 2, 192, 4], [6, 3, 1, 320, 1]];

const STEM: i64 = 32;

/// Of the features.
pub const FEATURES: i64 = 1280;

const CLASSES: i64 = 1000;

/// Added to the variances of the normalisations.
const EPSILON: f64 = 1e-3;

/// Gives a tensor by its name and shape.
pub type State<'a> = dyn FnMut(&str, &[i64]) -> Result<Tensor> + 'a;

impl EfficientNetLite0 {
    /// Of the tensors that `state` gives, in f32. Error: what it says of one that it has not.
    pub fn new(state: &mut State) -> Result<EfficientNetLite0> {
        let stem = Layer::new(state, ["_conv_stem", "_bn0"], [STEM, 3, 3], 2)?;
        let (mut blocks, mut channels) = (Vec::new(), STEM);
        for [expansion, size, stride, outputs, times] in STAGES {
            for i in 0..times {
                let name = format!("_blocks.{}", blocks.len());
                let stride = if i == 0 { stride } else { 1 };
                blocks.push(Block::new(state, &name, [channels, expansion * channels, outputs], size, stride)?);
                channels = outputs;
            }
        }
        let head = Layer::new(state, ["_conv_head", "_bn1"], [FEATURES, channels, 1], 1)?;
        let output = (state("_fc.weight", &[CLASSES, FEATURES])?, state("_fc.bias", &[CLASSES])?);
        Ok(EfficientNetLite0 { stem, blocks, head, output })
    }

    /// The features [B, 1280] of images [B, 3, H, W], (pixel - 127) / 128.
    pub fn features(&self, x: &Tensor) -> Tensor {
        let h = self.blocks.iter().fold(self.stem.clamped(&channels_last(x)), |h, block| block.forward(h));
        self.head.clamped(&h).mean_dim([2i64, 3].as_slice(), false, None::<Kind>)
    }

    /// Of features.
    pub fn logits(&self, features: &Tensor) -> Tensor {
        features.linear(&self.output.0, Some(&self.output.1))
    }
}

struct Block {
    expand: Option<Layer>,
    depthwise: Layer,
    project: Layer,
    /// Whether it is added to what came in.
    residual: bool,
}

impl Block {
    fn new(state: &mut State, name: &str, [inputs, inner, outputs]: [i64; 3], size: i64, stride: i64) -> Result<Block> {
        let mut layer = |parts: [&str; 2], shape, stride| -> Result<Layer> {
            let [convolution, norm] = parts.map(|part| format!("{name}.{part}"));
            Layer::new(state, [&convolution, &norm], shape, stride)
        };
        Ok(Block {
            expand: if inner > inputs { Some(layer(["_expand_conv", "_bn0"], [inner, inputs, 1], 1)?) } else { None },
            depthwise: layer(["_depthwise_conv", "_bn1"], [inner, 1, size], stride)?,
            project: layer(["_project_conv", "_bn2"], [outputs, inner, 1], 1)?,
            residual: stride == 1 && inputs == outputs,
        })
    }

    fn forward(&self, x: Tensor) -> Tensor {
        let expanded = self.expand.as_ref().map(|expand| expand.clamped(&x));
        let mut h = self.project.forward(&self.depthwise.clamped(expanded.as_ref().unwrap_or(&x)));
        if self.residual { h.g_add_(&x) } else { h }
    }
}

/// A convolution; of one filter for each channel, where its kernels have one input.
struct Layer {
    /// [outputs, inputs, k, k].
    weight: Tensor,
    bias: Tensor,
    stride: i64,
}

impl Layer {
    /// Of a kernel K without bias and the normalisation γ (y - μ) / √(v + ε) + β after it: γ K / √(v + ε) and β - γ μ / √(v + ε).
    fn new(state: &mut State, names: [&str; 2], [outputs, inputs, size]: [i64; 3], stride: i64) -> Result<Layer> {
        let [convolution, norm] = names;
        let kernel = state(&format!("{convolution}.weight"), &[outputs, inputs, size, size])?;
        let mut of_norm = |part: &str| -> Result<Tensor> { Ok(state(&format!("{norm}.{part}"), &[outputs])?.to_kind(Kind::Double)) };
        let (gamma, beta, mean, variance) = (of_norm("weight")?, of_norm("bias")?, of_norm("running_mean")?, of_norm("running_var")?);
        let factor = gamma / (variance + EPSILON).sqrt();
        let weight = (kernel.to_kind(Kind::Double) * factor.view([-1, 1, 1, 1])).to_kind(Kind::Float);
        Ok(Layer { weight: channels_last(&weight), bias: (beta - mean * factor).to_kind(Kind::Float), stride })
    }

    /// Zeros around x make it ⌈H / stride⌉ x ⌈W / stride⌉ places; where their number is odd, one more stands behind than before.
    fn forward(&self, x: &Tensor) -> Tensor {
        let ([outputs, inputs, size, _], [_, _, height, width]) = (self.weight.size4().unwrap().into(), x.size4().unwrap().into());
        let zeros = |side: i64| ((side - 1) / self.stride * self.stride + size - side).max(0);
        let groups = if inputs == 1 { outputs } else { 1 };
        let convolved = |x: &Tensor, padding| x.conv2d(&self.weight, Some(&self.bias), [self.stride; 2], padding, [1, 1], groups);
        match [zeros(height), zeros(width)] {
            [h, w] if h % 2 == 0 && w % 2 == 0 => convolved(x, [h / 2, w / 2]),
            [h, w] => convolved(&x.constant_pad_nd([w / 2, w - w / 2, h / 2, h - h / 2]), [0, 0]),
        }
    }

    fn clamped(&self, x: &Tensor) -> Tensor {
        self.forward(x).relu6_()
    }
}

/// The same tensor with its second axis innermost in memory.
fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, no_grad};

    const REAL: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// Random numbers for every tensor that is asked for; kernels keep the size of what they see.
    fn random(name: &str, shape: &[i64]) -> Tensor {
        let inputs = shape[1..].iter().product::<i64>().max(1) as f64;
        match name.rsplit('.').next().unwrap() {
            "weight" if shape.len() == 1 => Tensor::rand(shape, REAL) + 0.5,
            "weight" => Tensor::randn(shape, REAL) * (2.0 / inputs).sqrt(),
            "running_var" => Tensor::rand(shape, REAL) + 0.5,
            _ => Tensor::randn(shape, REAL) * 0.1,
        }
    }

    fn distance(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn it_has_the_published_size_and_an_example_is_the_same_alone_and_in_a_batch() {
        tch::set_num_threads(1);
        tch::manual_seed(1);
        let mut trained = 0;
        let network = EfficientNetLite0::new(&mut |name, shape| {
            trained += if name.contains("running") { 0 } else { shape.iter().product::<i64>() };
            Ok(random(name, shape))
        });
        assert_eq!(trained, 4_652_008);
        let (network, x) = (network.unwrap(), Tensor::randn([2, 3, 70, 64], REAL));
        no_grad(|| {
            let features = network.features(&x);
            assert_eq!((features.size(), network.logits(&features).size()), (vec![2, 1280], vec![2, 1000]));
            assert!(distance(&network.features(&x.narrow(0, 1, 1)), &features.narrow(0, 1, 1)) < 1e-5);
            let others = features.std_dim([0i64].as_slice(), false, false).max().double_value(&[]);
            assert!(others > 1e-2, "no feature tells the images apart: {others}");
        });
    }

    #[test]
    fn a_layer_is_a_convolution_and_its_normalisation() {
        tch::manual_seed(2);
        let mut given = std::collections::BTreeMap::new();
        let mut state = |name: &str, shape: &[i64]| {
            let tensor = random(name, shape);
            given.insert(name.to_owned(), tensor.shallow_clone());
            Ok(tensor)
        };
        let layer = Layer::new(&mut state, ["kernel", "norm"], [6, 1, 5], 1).unwrap();
        let x = Tensor::randn([2, 6, 9, 8], REAL);
        let part = |name: &str| Some(&given[name]);
        let convolved = x.conv2d(&given["kernel.weight"], None::<&Tensor>, [1, 1], [2, 2], [1, 1], 6);
        let [gamma, beta, mean, variance] = ["norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"].map(part);
        let expected = convolved.batch_norm(gamma, beta, mean, variance, false, 0.0, EPSILON, false);
        assert!(distance(&layer.forward(&x), &expected) < 1e-5);
        let clamped = layer.clamped(&(&x * 10.0));
        assert_eq!((clamped.min().double_value(&[]), clamped.max().double_value(&[])), (0.0, 6.0));
    }

    /// A kernel of a single 1 shows where a place of the output looks.
    #[test]
    fn an_odd_number_of_zeros_has_one_more_behind() {
        let x = Tensor::arange(36, REAL).view([1, 1, 6, 6]);
        for (size, at) in [(3, 0), (5, 1)] {
            let weight = Tensor::zeros([1, 1, size, size], REAL);
            weight.narrow(2, at, 1).narrow(3, at, 1).copy_(&Tensor::ones([1, 1, 1, 1], REAL));
            let layer = Layer { weight, bias: Tensor::zeros([1], REAL), stride: 2 };
            assert_eq!(layer.forward(&x), x.slice(2, 0, 6, 2).slice(3, 0, 6, 2), "{size} x {size}");
        }
    }
}
