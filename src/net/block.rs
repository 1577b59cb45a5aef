//! Residual blocks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::dropout::Dropout;
use super::layers::{Conv2d, GroupNorm, Linear, Nin, merge};
use super::resample::{Direction, Filter, FilterSpec};
use crate::optim::Builder;

/// The kind of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BlockKind {
    /// Ho et al. 2020: keeps the size; resampling is a layer between blocks.
    Ddpm,
    /// Brock et al. 2019: resamples inside the block, on both its ways.
    Biggan,
}

/// What all blocks of a network have in common.
pub struct Style {
    pub kind: BlockKind,
    pub filter: FilterSpec,
    /// Width of the noise embedding.
    pub embedding: i64,
    /// Groups of the normalisation of so many channels.
    pub groups: fn(i64) -> i64,
    pub dropout: f64,
    /// Scale of the last layer of each residual branch at the start.
    pub init_scale: f64,
    pub skip_rescale: bool,
}

impl Style {
    pub fn norm(&self, builder: &Builder, channels: i64) -> GroupNorm {
        GroupNorm::new(builder, channels, (self.groups)(channels))
    }
}

/// The way around a block whose input and output differ.
enum Shortcut {
    Identity,
    Nin(Nin),
    Convolution(Conv2d),
}

/// Two convolutions with the noise embedding added between them, and a way around.
pub struct ResidualBlock {
    norm_0: GroupNorm,
    conv_0: Conv2d,
    dense: Linear,
    norm_1: GroupNorm,
    conv_1: Conv2d,
    shortcut: Shortcut,
    resize: Option<(Filter, Direction)>,
    dropout: f64,
    rescale: bool,
}

impl ResidualBlock {
    /// A block that keeps the size of the image.
    pub fn new(inputs: i64, outputs: i64, style: &Style, builder: &Builder) -> ResidualBlock {
        ResidualBlock {
            norm_0: style.norm(&builder.part("GroupNorm_0"), inputs),
            conv_0: Conv2d::new(&builder.part("Conv_0"), inputs, outputs, 3, 1.0),
            dense: Linear::new(&builder.part("Dense_0"), style.embedding, outputs, 1.0),
            norm_1: style.norm(&builder.part("GroupNorm_1"), outputs),
            conv_1: Conv2d::new(&builder.part("Conv_1"), outputs, outputs, 3, style.init_scale),
            shortcut: match style.kind {
                _ if inputs == outputs => Shortcut::Identity,
                BlockKind::Ddpm => Shortcut::Nin(Nin::new(&builder.part("NIN_0"), inputs, outputs, 0.1)),
                BlockKind::Biggan => Shortcut::Convolution(Conv2d::new(&builder.part("Conv_2"), inputs, outputs, 1, 1.0)),
            },
            resize: None,
            dropout: style.dropout,
            rescale: style.skip_rescale,
        }
    }

    /// A block (`biggan`) that also halves or doubles the image; its way around always has a convolution.
    pub fn resizing(direction: Direction, channels: i64, style: &Style, builder: &Builder) -> ResidualBlock {
        let block = ResidualBlock::new(channels, channels, style, builder);
        let shortcut = Shortcut::Convolution(Conv2d::new(&builder.part("Conv_2"), channels, channels, 1, 1.0));
        ResidualBlock { shortcut, resize: Some((Filter::new(&style.filter, builder), direction)), ..block }
    }

    /// `x` [B, inputs, H, W]; `embedding` [B, width], already through its activation, or None in a network without noise label.
    pub fn forward(&self, x: &Tensor, embedding: Option<&Tensor>, dropout: Option<&Dropout>) -> Tensor {
        let resize = |x: Tensor| match &self.resize {
            Some((filter, direction)) => filter.apply(&x, *direction),
            None => x,
        };
        let mut h = self.conv_0.forward(&resize(self.norm_0.active(x, None)));
        if let Some(embedding) = embedding {
            h += self.dense.forward(embedding).unsqueeze(-1).unsqueeze(-1);
        }
        let mask = dropout.and_then(|dropout| dropout.mask(&h, self.dropout));
        let h = self.conv_1.forward(&self.norm_1.active(&h, mask.as_ref()));
        let x = resize(x.shallow_clone());
        match &self.shortcut {
            Shortcut::Identity => merge(&x, &h, self.rescale),
            Shortcut::Nin(nin) => merge(&nin.forward(&x), &h, self.rescale),
            Shortcut::Convolution(convolution) => merge(&convolution.forward(&x), &h, self.rescale),
        }
    }
}
