//! The U-Net of Dhariwal & Nichol 2021 (arXiv 2105.05233), ADM: blocks that scale and shift by the label, resample themselves, and attend with
//! several heads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::block::BlockKind;
use super::condition::Classes;
use super::dropout::Dropout;
use super::embedding::{Embedding, EmbeddingSpec};
use super::layers::{Conv2d, GroupNorm, Linear};
use super::ncsnpp::{self, Combine, ProgressiveInput, ProgressiveOutput, UpAttention};
use super::resample::{Direction, Filter, FilterSpec};
use super::{Interface, Network, Told};
use crate::error::Fault;
use crate::optim::Builder;

/// `[network.adm]`: the U-Net of Dhariwal & Nichol 2021. Theirs for ImageNet at 64 x 64 has channels 192, multipliers [1, 2, 3, 4], blocks 3,
/// attention [32, 16, 8], head_channels 64 and dropout 0.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// As in ncsnpp; a multiple of 4.
    pub channels: usize,
    /// As in ncsnpp.
    pub multipliers: Vec<usize>,
    /// As in ncsnpp.
    pub blocks: usize,
    /// As in ncsnpp; the middle attends, too.
    pub attention: Vec<usize>,
    /// Channels of a head of attention, which divide those of every level that attends; the paper has 64.
    pub head_channels: usize,
    /// As in ncsnpp.
    pub dropout: f64,
    /// Of the noise label.
    pub embedding: EmbeddingSpec,
}

impl Spec {
    /// Whether this network can serve images [channels, height, width].
    pub fn check(&self, shape: [usize; 3]) -> Result<(), Fault> {
        self.as_ncsnpp().check(shape)?;
        let levels = self.as_ncsnpp().levels(shape[2]);
        let last = levels.len() - 1;
        let attends = levels.iter().enumerate().filter(|(i, level)| *i == last || self.attention.contains(&level.size));
        let heads = self.head_channels as i64;
        match attends.map(|(_, level)| level.width).find(|width| heads == 0 || width % heads != 0) {
            None => Ok(()),
            Some(width) => {
                let message = format!("{width} channels of a level that attends are not made of heads of {heads}");
                Err(Fault::new("head_channels", message, "give a number that divides the channels, such as 64, or 16 for small networks"))
            }
        }
    }

    /// The levels, and what is held for them, are those of that family.
    pub(super) fn as_ncsnpp(&self) -> ncsnpp::Spec {
        ncsnpp::Spec {
            channels: self.channels,
            multipliers: self.multipliers.clone(),
            blocks: self.blocks,
            attention: self.attention.clone(),
            up_attention: UpAttention::Each,
            dropout: self.dropout,
            block: BlockKind::Biggan,
            resample: FilterSpec::Naive,
            resample_with_convolution: false,
            progressive_output: ProgressiveOutput::None,
            progressive_input: ProgressiveInput::None,
            combine: Combine::Sum,
            embedding: self.embedding.clone(),
            conditional: true,
            skip_rescale: false,
            init_scale: 0.0,
        }
    }
}

/// Images [B, C, H, W] -> [B, outputs C, H, W].
pub struct Adm {
    embedding: Embedding,
    label: [Linear; 2],
    classes: Option<Classes>,
    input: Conv2d,
    down: Vec<Step>,
    middle: (Block, Attention, Block),
    up: Vec<Step>,
    norm: GroupNorm,
    output: Conv2d,
}

/// A block with what may follow it; all of one level, and the one that leads to the next.
struct Step {
    block: Block,
    attention: Option<Attention>,
    /// Whether what is kept on the way down is joined to its input.
    joins: bool,
}

struct Block {
    norm_0: GroupNorm,
    conv_0: Conv2d,
    /// Scale and shift.
    label: Linear,
    norm_1: GroupNorm,
    conv_1: Conv2d,
    shortcut: Option<Conv2d>,
    resize: Option<(Filter, Direction)>,
    dropout: f64,
}

struct Attention {
    norm: GroupNorm,
    /// Query, key and value.
    attended: Linear,
    joined: Linear,
    head_channels: i64,
}

/// What all parts of a network have in common.
struct Style<'a> {
    spec: &'a Spec,
    /// Numbers of the embedded label.
    label: i64,
    builder: &'a Builder,
}

impl Style<'_> {
    fn norm(&self, builder: &Builder, channels: i64) -> GroupNorm {
        GroupNorm::new(builder, channels, ncsnpp::groups(channels))
    }

    fn block(&self, name: &str, inputs: i64, outputs: i64, direction: Option<Direction>) -> Block {
        let builder = self.builder.part(name);
        Block {
            norm_0: self.norm(&builder.part("norm_0"), inputs),
            conv_0: Conv2d::new(&builder.part("conv_0"), inputs, outputs, 3, 1.0),
            label: Linear::new(&builder.part("label"), self.label, 2 * outputs, 1.0),
            norm_1: self.norm(&builder.part("norm_1"), outputs),
            conv_1: Conv2d::new(&builder.part("conv_1"), outputs, outputs, 3, 0.0),
            shortcut: (inputs != outputs).then(|| Conv2d::new(&builder.part("shortcut"), inputs, outputs, 1, 1.0)),
            resize: direction.map(|direction| (Filter::Naive, direction)),
            dropout: self.spec.dropout,
        }
    }

    fn attention(&self, name: &str, channels: i64) -> Attention {
        let builder = self.builder.part(name);
        Attention {
            norm: self.norm(&builder.part("norm"), channels),
            attended: Linear::new(&builder.part("attended"), channels, 3 * channels, 1.0),
            joined: Linear::new(&builder.part("joined"), channels, channels, 0.0),
            head_channels: self.spec.head_channels as i64,
        }
    }

    /// A block and, at a size that attends, what follows.
    fn step(&self, name: &str, [inputs, outputs]: [i64; 2], size: usize, joins: bool) -> Step {
        let attends = self.spec.attention.contains(&size);
        let attention = attends.then(|| self.attention(&format!("{name}.attention"), outputs));
        Step { block: self.block(name, inputs, outputs, None), attention, joins }
    }

    fn resizing(&self, name: &str, channels: i64, direction: Direction) -> Step {
        Step { block: self.block(name, channels, channels, Some(direction)), attention: None, joins: false }
    }
}

impl Adm {
    /// `spec` must have passed its check.
    pub fn new(spec: &Spec, interface: &Interface, builder: &Builder) -> Adm {
        let Interface { shape, outputs, condition } = *interface;
        let (images, channels) = (shape[0] as i64, spec.channels as i64);
        let style = Style { spec, label: 4 * channels, builder };
        let levels = spec.as_ncsnpp().levels(shape[2]);
        let waves = match spec.embedding {
            EmbeddingSpec::Positional => channels,
            EmbeddingSpec::Fourier { .. } => channels / 2,
        };
        let embedding = Embedding::new(&spec.embedding, waves, &builder.part("embedding"));
        let label = [
            Linear::new(&builder.part("label.0"), embedding.width(), style.label, 1.0),
            Linear::new(&builder.part("label.1"), style.label, style.label, 1.0),
        ];
        let (mut down, mut up) = (Vec::new(), Vec::new());
        let last = levels.len() - 1;
        for (i, level) in levels.iter().enumerate() {
            let blocks = level.down.iter().enumerate();
            down.extend(blocks.map(|(j, &inputs)| style.step(&format!("down.{i}.{j}"), [inputs, level.width], level.size, false)));
            down.extend((i < last).then(|| style.resizing(&format!("down.{i}.resize"), level.width, Direction::Down)));
        }
        let coarsest = levels[last].width;
        let block = |name| style.block(name, coarsest, coarsest, None);
        let middle = (block("middle.0"), style.attention("middle.1", coarsest), block("middle.2"));
        for (i, level) in levels.iter().enumerate().rev() {
            let blocks = level.up.iter().enumerate();
            up.extend(blocks.map(|(j, &inputs)| style.step(&format!("up.{i}.{j}"), [inputs, level.width], level.size, true)));
            up.extend((i > 0).then(|| style.resizing(&format!("up.{i}.resize"), level.width, Direction::Up)));
        }
        Adm {
            embedding,
            label,
            classes: Classes::new(condition, style.label, &builder.part("classes")),
            input: Conv2d::new(&builder.part("input"), images, channels, 3, 1.0),
            down,
            middle,
            up,
            norm: style.norm(&builder.part("norm"), levels[0].width),
            output: Conv2d::new(&builder.part("output"), levels[0].width, images * outputs as i64, 3, 0.0),
        }
    }
}

impl Block {
    /// x [B, inputs, H, W] and the active label [B or 1, features].
    fn forward(&self, x: &Tensor, label: &Tensor, dropout: Option<&Dropout>) -> Tensor {
        let resize = |x: Tensor| match &self.resize {
            Some((filter, direction)) => filter.apply(&x, *direction),
            None => x,
        };
        let h = self.conv_0.forward(&resize(self.norm_0.active(x, None)));
        let parts = self.label.forward(label).unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
        let h = (self.norm_1.forward(&h) * (&parts[0] + 1.0) + &parts[1]).silu();
        let h = match dropout.and_then(|dropout| dropout.mask(&h, self.dropout)) {
            Some(mask) => &h * mask.bytes.to_kind(h.kind()) * mask.kept,
            None => h,
        };
        let x = resize(x.shallow_clone());
        self.shortcut.as_ref().map_or(x.shallow_clone(), |shortcut| shortcut.forward(&x)) + self.conv_1.forward(&h)
    }
}

impl Attention {
    /// softmax(qᵀ k / √d) v of each head over the pixels of x [B, C, H, W], in plain products, which have second derivatives.
    fn forward(&self, x: &Tensor) -> Tensor {
        let (batch, channels, height, width) = x.size4().expect("an image batch [B, C, H, W]");
        let heads = channels / self.head_channels;
        let pixels = self.norm.forward(x).permute([0, 2, 3, 1]).flatten(1, 2);
        let parts = self.attended.forward(&pixels).view([batch, -1, 3, heads, self.head_channels]).permute([2, 0, 3, 1, 4]);
        let (query, key, value) = (parts.get(0), parts.get(1), parts.get(2));
        let weights = (query * (self.head_channels as f64).powf(-0.5)).matmul(&key.transpose(-2, -1)).softmax(-1, None);
        let h = self.joined.forward(&weights.matmul(&value).transpose(1, 2).reshape([batch, -1, channels]));
        x + h.unflatten(1, [height, width]).permute([0, 3, 1, 2])
    }
}

impl Step {
    fn forward(&self, h: &Tensor, label: &Tensor, dropout: Option<&Dropout>) -> Tensor {
        let h = self.block.forward(h, label, dropout);
        self.attention.as_ref().map_or(h.shallow_clone(), |attention| attention.forward(&h))
    }
}

impl Network for Adm {
    fn forward(&self, x: &Tensor, told: &Told, dropout: Option<&Dropout>) -> Tensor {
        let [first, second] = &self.label;
        let label = second.forward(&first.forward(&self.embedding.forward(told.noise)).silu());
        let label = self.classes.iter().fold(label, |label, classes| classes.added(label, told.condition)).silu();
        let mut h = self.input.forward(x);
        let mut kept = vec![h.shallow_clone()];
        for step in &self.down {
            h = step.forward(&h, &label, dropout);
            kept.push(h.shallow_clone());
        }
        let (first, attention, last) = &self.middle;
        h = last.forward(&attention.forward(&first.forward(&h, &label, dropout)), &label, dropout);
        for step in &self.up {
            if step.joins {
                h = Tensor::cat(&[h, kept.pop().expect("as many blocks up as tensors kept on the way down")], 1);
            }
            h = step.forward(&h, &label, dropout);
        }
        self.output.forward(&self.norm.active(&h, None))
    }
}

#[cfg(test)]
mod tests;
