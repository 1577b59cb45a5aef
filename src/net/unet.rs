//! The U-Net that NCSN++, DDPM++ and DDPM have in common. Ronneberger et al. 2015; Song et al. 2021, app. H.
//!
//! Parameters have the names and the order of the reference's checkpoints: `all_modules.<i>.…`, i counting the top-level layers in the
//! order in which the forward pass meets them.

use tch::Tensor;

use super::attention::Attention;
use super::block::{BlockKind, ResidualBlock, Style};
use super::condition::Conditioning;
use super::dropout::Dropout;
use super::embedding::{Embedding, EmbeddingSpec};
use super::layers::{Conv2d, GroupNorm, Linear, merge};
use super::ncsnpp::{Combine, ProgressiveInput, ProgressiveOutput, Spec, Stage, UpAttention};
use super::resample::{Direction, Resample};
use super::{Interface, Network, Told};
use crate::optim::Builder;

/// The U-Net: images [B, C, H, W] -> [B, outputs C, H, W].
pub struct UNet {
    embedding: Embedding,
    /// Two layers that turn the embedded label into what the blocks add; none in an unconditional network.
    label: Option<[Linear; 2]>,
    /// Of a condition: what it adds between those two layers.
    conditioning: Option<Conditioning>,
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
    blocks: Vec<(ResidualBlock, Option<Attention>)>,
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
    fn forward(&self, h: &Tensor, embedding: Option<&Tensor>, dropout: Option<&Dropout>) -> Tensor {
        match self {
            Resize::Block(block) => block.forward(h, embedding, dropout),
            Resize::Layer(layer) => layer.forward(h),
        }
    }
}

impl UNet {
    /// For images [channels, height, width]; `spec` must have passed its check for them and for `groups`, the number of groups in which so
    /// many channels are normalised.
    pub(super) fn new(spec: &Spec, interface: &Interface, groups: fn(i64) -> i64, builder: &Builder) -> UNet {
        let Interface { shape, outputs, condition } = *interface;
        let (images, width) = (shape[0], shape[2]);
        let all_modules = builder.part("all_modules");
        let mut index = 0;
        let mut layer = || {
            index += 1;
            all_modules.part(index - 1)
        };
        let (images, outputs, channels) = (images as i64, (outputs * images) as i64, spec.channels as i64);
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
        let attends = |level: &Stage| spec.attention.contains(&level.size);
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
        let label = spec.conditional.then(|| {
            let first = Linear::new(&layer(), embedding.width(), style.embedding, 1.0);
            [first, Linear::new(&layer(), style.embedding, style.embedding, 1.0)]
        });
        let conditioning = Conditioning::new(condition, style.embedding, &builder.part("conditioning"));
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
            let mut blocks = Vec::new();
            for (j, &inputs) in level.up.iter().enumerate() {
                let block = ResidualBlock::new(inputs, level.width, &style, &layer());
                let attends = attends(level) && (spec.up_attention == UpAttention::Each || j + 1 == level.up.len());
                blocks.push((block, attends.then(|| Attention::new(level.width, &style, &layer()))));
            }
            let mut head = |outputs, scale| Head {
                norm: style.norm(&layer(), level.width),
                convolution: Conv2d::new(&layer(), level.width, outputs, 3, scale),
            };
            let output = match (spec.progressive_output, coarser.replace(level.width)) {
                (ProgressiveOutput::None, _) => OutputPyramid::None,
                (ProgressiveOutput::OutputSkip, None) => OutputPyramid::Start(head(outputs, spec.init_scale)),
                (ProgressiveOutput::OutputSkip, Some(_)) => {
                    OutputPyramid::Skip(Resample::plain(&spec.resample, Direction::Up, builder), head(outputs, spec.init_scale))
                }
                (ProgressiveOutput::Residual, None) => OutputPyramid::Start(head(level.width, 1.0)),
                (ProgressiveOutput::Residual, Some(inputs)) => {
                    OutputPyramid::Residual(Resample::convolved(&spec.resample, Direction::Up, inputs, level.width, &layer()))
                }
            };
            let exit = (i > 0).then(|| resize(Direction::Up, level.width, &layer()));
            up.push(UpLevel { blocks, output, exit });
        }

        let head = (spec.progressive_output != ProgressiveOutput::OutputSkip).then(|| Head {
            norm: style.norm(&layer(), levels[0].width),
            convolution: Conv2d::new(&layer(), levels[0].width, outputs, 3, spec.init_scale),
        });
        UNet { embedding, label, conditioning, input, down, middle, up, head, rescale: spec.skip_rescale }
    }

    /// The noise label as the blocks take it: embedded, through the two layers and the activation; with the condition between the layers.
    fn embed(&self, told: &Told, see: &mut dyn FnMut(&Tensor)) -> Option<Tensor> {
        let waves = self.embedding.forward(told.noise);
        if matches!(self.embedding, Embedding::Fourier { .. }) {
            see(&waves);
        }
        let [first, second] = self.label.as_ref()?;
        let h = first.forward(&waves);
        see(&h);
        let h = self.conditioning.iter().fold(h, |h, conditioning| conditioning.added(h, told.condition));
        let h = second.forward(&h.silu());
        see(&h);
        Some(h.silu())
    }
}

impl Network for UNet {
    fn forward(&self, x: &Tensor, told: &Told, dropout: Option<&Dropout>) -> Tensor {
        self.forward_showing(x, told, dropout, &mut |_| ())
    }

    fn forward_showing(&self, x: &Tensor, told: &Told, dropout: Option<&Dropout>, see: &mut dyn FnMut(&Tensor)) -> Tensor {
        fn seen(h: Tensor, see: &mut dyn FnMut(&Tensor)) -> Tensor {
            see(&h);
            h
        }
        let embedding = self.embed(told, see);
        let embedding = embedding.as_ref();

        let mut h = seen(self.input.forward(x), see);
        let mut kept = vec![h.shallow_clone()];
        let mut pyramid = x.shallow_clone();
        for level in &self.down {
            for (block, attention) in &level.blocks {
                h = seen(block.forward(&h, embedding, dropout), see);
                if let Some(attention) = attention {
                    h = seen(attention.forward(&h), see);
                }
                kept.push(h.shallow_clone());
            }
            let Some((resize, input)) = &level.exit else { continue };
            h = seen(resize.forward(&h, embedding, dropout), see);
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

        h = seen(self.middle.0.forward(&h, embedding, dropout), see);
        h = seen(self.middle.1.forward(&h), see);
        h = seen(self.middle.2.forward(&h, embedding, dropout), see);

        for level in &self.up {
            for (block, attention) in &level.blocks {
                let skip = kept.pop().expect("as many blocks up as tensors kept on the way down");
                h = seen(block.forward(&Tensor::cat(&[h, skip], 1), embedding, dropout), see);
                if let Some(attention) = attention {
                    h = seen(attention.forward(&h), see);
                }
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
                h = seen(resize.forward(&h, embedding, dropout), see);
            }
        }
        match &self.head {
            Some(head) => head.forward(&h, see),
            None => pyramid,
        }
    }
}

#[cfg(test)]
mod tests;
