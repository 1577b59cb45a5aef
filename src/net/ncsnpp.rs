//! NCSN++ and DDPM++: the U-Nets of Song et al. 2021, app. C and H, with every choice of that family.
//!
//! Parameters have the names and the order of the reference's checkpoints: `all_modules.<i>.…`, i counting the top-level layers in the
//! order in which the forward pass meets them.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::Network;
use super::attention::Attention;
use super::block::{BlockKind, ResidualBlock, Style};
use super::embedding::{Embedding, EmbeddingSpec};
use super::layers::{Conv2d, GroupNorm, Linear, merge};
use super::resample::{Direction, FilterSpec, Resample};
use crate::error::Fault;
use crate::optim::parameters::Builder;

/// `[network.ncsnpp]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Channels of the first level; also the size of the noise embedding.
    pub channels: usize,
    /// Channels of each level as multiples of `channels`; each level has half the size of the one before.
    pub multipliers: Vec<usize>,
    /// Residual blocks in each level on the way down; one more on the way up.
    pub blocks: usize,
    /// Image sizes at which attention follows the blocks.
    pub attention: Vec<usize>,
    /// Probability that a feature is dropped in training.
    pub dropout: f64,
    pub block: BlockKind,
    pub resample: FilterSpec,
    /// Whether the resampling layers between `ddpm` blocks have a convolution.
    pub resample_with_convolution: bool,
    pub progressive_output: ProgressiveOutput,
    pub progressive_input: ProgressiveInput,
    /// How `input-skip` joins the image to the features.
    pub combine: Combine,
    pub embedding: EmbeddingSpec,
    /// Whether the network sees its noise label at all.
    pub conditional: bool,
    /// Whether each sum of a residual branch and its shortcut is divided by √2.
    pub skip_rescale: bool,
    /// Scale of the last layer of each residual branch at the start; 0 makes every block start as its shortcut.
    pub init_scale: f64,
}

/// How the levels on the way up build the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgressiveOutput {
    /// By the last level alone.
    None,
    /// As a sum of images, one from each level, the coarser ones upsampled. Karras et al. 2020.
    OutputSkip,
    /// As a residual network over the levels, with learned upsampling.
    Residual,
}

/// How the levels on the way down see the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgressiveInput {
    /// Through the first level alone.
    None,
    /// Downsampled, at every level.
    InputSkip,
    /// As a residual network over the levels, with learned downsampling.
    Residual,
}

/// How two feature maps become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    Sum,
    Cat,
}

/// The channels of one level.
struct Level {
    /// Channels inside.
    width: i64,
    /// Channels that enter each block on the way down.
    down: Vec<i64>,
    /// Channels that enter each block on the way up: those from below and those kept on the way down.
    up: Vec<i64>,
    /// Image width.
    size: usize,
}

impl Spec {
    /// Whether this network can serve images [channels, height, width].
    pub fn check(&self, shape: [usize; 3]) -> Result<(), Fault> {
        self.check_with(shape, groups)
    }

    pub fn network(&self, shape: [usize; 3], builder: &Builder) -> UNet {
        UNet::new(self, shape, groups, builder)
    }

    pub(super) fn check_with(&self, [_, height, width]: [usize; 3], groups: fn(i64) -> i64) -> Result<(), Fault> {
        let positive = |key: &str, value: usize| match value {
            0 => Err(Fault::new(key, format!("{key} is 0"), "give a positive number")),
            _ => Ok(()),
        };
        if self.channels < 4 {
            return Err(Fault::new(
                "channels",
                format!("channels is {}, fewer than 4", self.channels),
                "give a multiple of 32, such as 128",
            ));
        }
        positive("blocks", self.blocks)?;
        positive("multipliers", self.multipliers.len())?;
        self.multipliers.iter().try_for_each(|&multiplier| positive("multipliers", multiplier))?;
        let halvings = self.multipliers.len() - 1;
        if [height, width].iter().any(|size| size.trailing_zeros() < halvings as u32) {
            return Err(Fault::new(
                "multipliers",
                format!("{} levels halve the image {halvings} times, but {height}x{width} can't be halved so often", halvings + 1),
                "give fewer multipliers, or pad the images",
            ));
        }
        let sizes: Vec<usize> = (0..=halvings).map(|level| width >> level).collect();
        if let Some(size) = self.attention.iter().find(|size| !sizes.contains(size)) {
            return Err(Fault::new("attention", format!("no level has size {size}"), format!("the sizes of the levels are {sizes:?}")));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Fault::new("dropout", format!("dropout is {}", self.dropout), "give a probability, 0 or more and below 1"));
        }
        if !(self.init_scale.is_finite() && self.init_scale >= 0.0) {
            return Err(Fault::new("init_scale", format!("init_scale is {}", self.init_scale), "give 0 (the reference's choice) or more"));
        }
        self.resample.check()?;
        self.embedding.check()?;
        let mut normalised = self.levels(width).into_iter().flat_map(|level| level.down.into_iter().chain(level.up).chain([level.width]));
        if let Some(channels) = normalised.find(|&channels| channels % groups(channels) != 0) {
            return Err(Fault::new(
                "channels",
                format!("{channels} channels, which one of the blocks has, can't be normalised in {} equal groups", groups(channels)),
                "choose channels, and multipliers, so that every level has a multiple of 32",
            ));
        }
        Ok(())
    }

    /// The channels of each level, from fine to coarse, for images of this width.
    fn levels(&self, size: usize) -> Vec<Level> {
        let mut channels = self.channels as i64;
        let mut kept = vec![channels];
        let last = self.multipliers.len() - 1;
        let mut levels = Vec::new();
        for (i, &multiplier) in self.multipliers.iter().enumerate() {
            let width = (self.channels * multiplier) as i64;
            let mut down = Vec::new();
            for _ in 0..self.blocks {
                down.push(std::mem::replace(&mut channels, width));
                kept.push(channels);
            }
            if i < last {
                if self.progressive_input == ProgressiveInput::InputSkip && self.combine == Combine::Cat {
                    channels *= 2;
                }
                kept.push(channels);
            }
            levels.push(Level { width, down, up: Vec::new(), size: size >> i });
        }
        for level in levels.iter_mut().rev() {
            for _ in 0..=self.blocks {
                let skip = kept.pop().expect("as many blocks up as tensors kept on the way down");
                level.up.push(std::mem::replace(&mut channels, level.width) + skip);
            }
        }
        levels
    }
}

/// Groups of the normalisation: 32, or fewer so that each has at least 4 channels.
fn groups(channels: i64) -> i64 {
    (channels / 4).min(32)
}

/// The U-Net: images [B, C, H, W] -> [B, C, H, W].
pub struct UNet {
    embedding: Embedding,
    /// Two layers that turn the embedded label into what the blocks add; none in an unconditional network.
    conditioning: Option<[Linear; 2]>,
    input: Conv2d,
    down: Vec<DownLevel>,
    middle: (ResidualBlock, Attention, ResidualBlock),
    /// From coarse to fine.
    up: Vec<UpLevel>,
    /// The output layers; with `output-skip` each level has its own instead.
    head: Option<Head>,
    rescale: bool,
}

struct DownLevel {
    blocks: Vec<(ResidualBlock, Option<Attention>)>,
    exit: Option<(Resize, InputPyramid)>,
}

struct UpLevel {
    blocks: Vec<ResidualBlock>,
    attention: Option<Attention>,
    output: OutputPyramid,
    exit: Option<Resize>,
}

/// What changes the size between levels.
enum Resize {
    Block(ResidualBlock),
    Layer(Resample),
}

enum InputPyramid {
    None,
    Skip(Resample, Conv2d, Combine),
    Residual(Resample),
}

enum OutputPyramid {
    None,
    Start(Head),
    Skip(Resample, Head),
    Residual(Resample),
}

/// Normalisation, activation, convolution.
struct Head {
    norm: GroupNorm,
    convolution: Conv2d,
}

impl Head {
    fn forward(&self, h: &Tensor, see: &mut dyn FnMut(&Tensor)) -> Tensor {
        let h = self.norm.forward(h);
        see(&h);
        let h = self.convolution.forward(&h.silu());
        see(&h);
        h
    }
}

impl Resize {
    fn forward(&self, h: &Tensor, embedding: Option<&Tensor>, train: bool) -> Tensor {
        match self {
            Resize::Block(block) => block.forward(h, embedding, train),
            Resize::Layer(layer) => layer.forward(h),
        }
    }
}

impl UNet {
    /// `spec` must have passed its check for these images and groups.
    pub(super) fn new(spec: &Spec, [images, _, width]: [usize; 3], groups: fn(i64) -> i64, builder: &Builder) -> UNet {
        let all_modules = builder.part("all_modules");
        let mut index = 0..;
        let mut layer = || all_modules.part(index.next().expect("endless"));
        let (images, channels) = (images as i64, spec.channels as i64);
        let style = Style {
            kind: spec.block,
            filter: spec.resample.clone(),
            embedding: 4 * channels,
            groups,
            dropout: spec.dropout,
            init_scale: spec.init_scale,
            skip_rescale: spec.skip_rescale,
        };
        let levels = spec.levels(width);
        let attends = |level: &Level| spec.attention.contains(&level.size);
        let resize = |direction, width, builder: &Builder| match spec.block {
            BlockKind::Biggan => Resize::Block(ResidualBlock::resizing(direction, width, &style, builder)),
            BlockKind::Ddpm if spec.resample_with_convolution => {
                Resize::Layer(Resample::convolved(&spec.resample, direction, width, width, builder))
            }
            BlockKind::Ddpm => Resize::Layer(Resample::plain(&spec.resample, direction, builder)),
        };

        let embedding = match spec.embedding {
            EmbeddingSpec::Fourier { .. } => Embedding::new(&spec.embedding, channels, &layer()),
            EmbeddingSpec::Positional => Embedding::new(&spec.embedding, channels, builder),
        };
        let conditioning = spec.conditional.then(|| {
            let first = Linear::new(&layer(), embedding.width(), style.embedding, 1.0);
            [first, Linear::new(&layer(), style.embedding, style.embedding, 1.0)]
        });
        let input = Conv2d::new(&layer(), images, channels, 3, 1.0);

        let mut pyramid = images;
        let mut down = Vec::new();
        for (i, level) in levels.iter().enumerate() {
            let mut blocks = Vec::new();
            for &inputs in &level.down {
                let block = ResidualBlock::new(inputs, level.width, &style, &layer());
                blocks.push((block, attends(level).then(|| Attention::new(level.width, &style, &layer()))));
            }
            let exit = (i + 1 < levels.len()).then(|| {
                let resize = resize(Direction::Down, level.width, &layer());
                let input = match spec.progressive_input {
                    ProgressiveInput::None => InputPyramid::None,
                    ProgressiveInput::InputSkip => {
                        let convolution = Conv2d::new(&layer().part("Conv_0"), pyramid, level.width, 1, 1.0);
                        InputPyramid::Skip(Resample::plain(&spec.resample, Direction::Down, builder), convolution, spec.combine)
                    }
                    ProgressiveInput::Residual => {
                        let inputs = std::mem::replace(&mut pyramid, level.width);
                        InputPyramid::Residual(Resample::convolved(&spec.resample, Direction::Down, inputs, level.width, &layer()))
                    }
                };
                (resize, input)
            });
            down.push(DownLevel { blocks, exit });
        }

        let coarsest = levels[levels.len() - 1].width;
        let middle = (
            ResidualBlock::new(coarsest, coarsest, &style, &layer()),
            Attention::new(coarsest, &style, &layer()),
            ResidualBlock::new(coarsest, coarsest, &style, &layer()),
        );

        let mut up = Vec::new();
        let mut coarser = None;
        for (i, level) in levels.iter().enumerate().rev() {
            let blocks = level.up.iter().map(|&inputs| ResidualBlock::new(inputs, level.width, &style, &layer())).collect();
            let attention = attends(level).then(|| Attention::new(level.width, &style, &layer()));
            let mut head = |outputs, scale| Head {
                norm: style.norm(&layer(), level.width),
                convolution: Conv2d::new(&layer(), level.width, outputs, 3, scale),
            };
            let output = match (spec.progressive_output, coarser.replace(level.width)) {
                (ProgressiveOutput::None, _) => OutputPyramid::None,
                (ProgressiveOutput::OutputSkip, None) => OutputPyramid::Start(head(images, spec.init_scale)),
                (ProgressiveOutput::OutputSkip, Some(_)) => {
                    OutputPyramid::Skip(Resample::plain(&spec.resample, Direction::Up, builder), head(images, spec.init_scale))
                }
                (ProgressiveOutput::Residual, None) => OutputPyramid::Start(head(level.width, 1.0)),
                (ProgressiveOutput::Residual, Some(inputs)) => {
                    OutputPyramid::Residual(Resample::convolved(&spec.resample, Direction::Up, inputs, level.width, &layer()))
                }
            };
            let exit = (i > 0).then(|| resize(Direction::Up, level.width, &layer()));
            up.push(UpLevel { blocks, attention, output, exit });
        }

        let head = (spec.progressive_output != ProgressiveOutput::OutputSkip).then(|| Head {
            norm: style.norm(&layer(), levels[0].width),
            convolution: Conv2d::new(&layer(), levels[0].width, images, 3, spec.init_scale),
        });
        UNet { embedding, conditioning, input, down, middle, up, head, rescale: spec.skip_rescale }
    }

    /// The noise label as the blocks take it: embedded, through the two layers and the activation.
    fn embed(&self, noise: &Tensor, see: &mut dyn FnMut(&Tensor)) -> Option<Tensor> {
        let waves = self.embedding.forward(noise);
        if matches!(self.embedding, Embedding::Fourier { .. }) {
            see(&waves);
        }
        let [first, second] = self.conditioning.as_ref()?;
        let h = first.forward(&waves);
        see(&h);
        let h = second.forward(&h.silu());
        see(&h);
        Some(h.silu())
    }
}

impl Network for UNet {
    fn forward(&self, x: &Tensor, noise: &Tensor, train: bool) -> Tensor {
        self.trace(x, noise, train, &mut |_| ())
    }

    fn trace(&self, x: &Tensor, noise: &Tensor, train: bool, see: &mut dyn FnMut(&Tensor)) -> Tensor {
        fn seen(h: Tensor, see: &mut dyn FnMut(&Tensor)) -> Tensor {
            see(&h);
            h
        }
        let embedding = self.embed(noise, see);
        let embedding = embedding.as_ref();

        let mut h = seen(self.input.forward(x), see);
        let mut kept = vec![h.shallow_clone()];
        let mut pyramid = x.shallow_clone();
        for level in &self.down {
            for (block, attention) in &level.blocks {
                h = seen(block.forward(&h, embedding, train), see);
                if let Some(attention) = attention {
                    h = seen(attention.forward(&h), see);
                }
                kept.push(h.shallow_clone());
            }
            let Some((resize, input)) = &level.exit else { continue };
            h = seen(resize.forward(&h, embedding, train), see);
            match input {
                InputPyramid::None => {}
                InputPyramid::Skip(resample, convolution, combine) => {
                    pyramid = resample.forward(&pyramid);
                    let image = convolution.forward(&pyramid);
                    h = match combine {
                        Combine::Sum => image + h,
                        Combine::Cat => Tensor::cat(&[image, h], 1),
                    };
                    see(&h);
                }
                InputPyramid::Residual(resample) => {
                    pyramid = merge(&seen(resample.forward(&pyramid), see), &h, self.rescale);
                    h = pyramid.shallow_clone();
                }
            }
            kept.push(h.shallow_clone());
        }

        h = seen(self.middle.0.forward(&h, embedding, train), see);
        h = seen(self.middle.1.forward(&h), see);
        h = seen(self.middle.2.forward(&h, embedding, train), see);

        for level in &self.up {
            for block in &level.blocks {
                let skip = kept.pop().expect("as many blocks up as tensors kept on the way down");
                h = seen(block.forward(&Tensor::cat(&[h, skip], 1), embedding, train), see);
            }
            if let Some(attention) = &level.attention {
                h = seen(attention.forward(&h), see);
            }
            match &level.output {
                OutputPyramid::None => {}
                OutputPyramid::Start(head) => pyramid = head.forward(&h, see),
                OutputPyramid::Skip(resample, head) => pyramid = resample.forward(&pyramid) + head.forward(&h, see),
                OutputPyramid::Residual(resample) => {
                    pyramid = merge(&seen(resample.forward(&pyramid), see), &h, self.rescale);
                    h = pyramid.shallow_clone();
                }
            }
            if let Some(resize) = &level.exit {
                h = seen(resize.forward(&h, embedding, train), see);
            }
        }
        match &self.head {
            Some(head) => head.forward(&h, see),
            None => pyramid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetworkSpec;

    const VE_CIFAR: &str = r#"
        channels = 128
        multipliers = [1, 2, 2, 2]
        blocks = 4
        attention = [16]
        dropout = 0.1
        block = "biggan"
        resample = { fir = [1, 3, 3, 1] }
        resample_with_convolution = true
        progressive_output = "none"
        progressive_input = "residual"
        combine = "sum"
        embedding = { fourier = { scale = 16.0 } }
        conditional = true
        skip_rescale = true
        init_scale = 0.0
    "#;

    fn spec() -> Spec {
        toml::from_str(VE_CIFAR).unwrap()
    }

    #[test]
    fn reads_the_experiment_file_and_writes_it_back() {
        let spec = spec();
        assert_eq!(spec.resample, FilterSpec::Fir(vec![1.0, 3.0, 3.0, 1.0]));
        assert_eq!(toml::from_str::<Spec>(&toml::to_string(&spec).unwrap()).unwrap(), spec);
        let named = Spec { resample: FilterSpec::Naive, embedding: EmbeddingSpec::Positional, ..spec };
        let text = toml::to_string(&named).unwrap();
        assert!(text.contains("resample = \"naive\"") && text.contains("embedding = \"positional\""), "{text}");
        assert_eq!(toml::from_str::<Spec>(&text).unwrap(), named);
    }

    #[test]
    fn has_the_published_number_of_parameters() {
        assert_eq!(NetworkSpec::Ncsnpp(spec()).parameter_count(&[3, 32, 32]), 62_758_787);
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let good = spec();
        assert_eq!(good.check([3, 32, 32]), Ok(()));
        assert_eq!(good.check([1, 16, 32]), Ok(()));
        let cases: [(&str, [usize; 3], Spec); 11] = [
            ("channels", [3, 32, 32], Spec { channels: 0, ..good.clone() }),
            ("channels", [3, 32, 32], Spec { channels: 144, ..good.clone() }),
            ("multipliers", [3, 32, 32], Spec { multipliers: vec![], ..good.clone() }),
            ("multipliers", [3, 32, 32], Spec { multipliers: vec![1, 0], ..good.clone() }),
            ("multipliers", [3, 28, 28], good.clone()),
            ("blocks", [3, 32, 32], Spec { blocks: 0, ..good.clone() }),
            ("attention", [3, 32, 32], Spec { attention: vec![16, 12], ..good.clone() }),
            ("dropout", [3, 32, 32], Spec { dropout: 1.0, ..good.clone() }),
            ("init_scale", [3, 32, 32], Spec { init_scale: -1.0, ..good.clone() }),
            ("resample.fir", [3, 32, 32], Spec { resample: FilterSpec::Fir(vec![1.0]), ..good.clone() }),
            ("embedding.fourier.scale", [3, 32, 32], Spec { embedding: EmbeddingSpec::Fourier { scale: 0.0 }, ..good.clone() }),
        ];
        for (key, shape, spec) in cases {
            assert_eq!(spec.check(shape).unwrap_err().key, key, "{spec:?}");
        }
        assert_eq!(NetworkSpec::Ncsnpp(good).check(&[2]).unwrap_err().key, "ncsnpp");
    }
}
