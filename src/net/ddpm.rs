//! The U-Net of Ho et al. 2020, app. B, as the reference has it: the plain corner of the NCSN++ family.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::block::BlockKind;
use super::embedding::EmbeddingSpec;
use super::ncsnpp::{self, Combine, ProgressiveInput, ProgressiveOutput, UpAttention};
use super::resample::FilterSpec;
use crate::error::Fault;

/// `[network.ddpm]`: the U-Net of Ho et al. 2020; each key means what it means in `[network.ncsnpp]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// As in ncsnpp; a multiple of 32.
    pub channels: usize,
    /// As in ncsnpp.
    pub multipliers: Vec<usize>,
    /// As in ncsnpp.
    pub blocks: usize,
    /// As in ncsnpp.
    pub attention: Vec<usize>,
    /// As in ncsnpp.
    #[serde(default, skip_serializing_if = "UpAttention::is_last")]
    pub up_attention: UpAttention,
    /// As in ncsnpp.
    pub dropout: f64,
    /// As in ncsnpp.
    pub resample_with_convolution: bool,
    /// As in ncsnpp.
    pub conditional: bool,
}

impl Spec {
    /// Whether this network can serve images [channels, height, width].
    pub fn check(&self, shape: [usize; 3]) -> Result<(), Fault> {
        self.as_ncsnpp().check_with(shape, groups)
    }

    pub(super) fn as_ncsnpp(&self) -> ncsnpp::Spec {
        ncsnpp::Spec {
            channels: self.channels,
            multipliers: self.multipliers.clone(),
            blocks: self.blocks,
            attention: self.attention.clone(),
            up_attention: self.up_attention,
            dropout: self.dropout,
            block: BlockKind::Ddpm,
            resample: FilterSpec::Naive,
            resample_with_convolution: self.resample_with_convolution,
            progressive_output: ProgressiveOutput::None,
            progressive_input: ProgressiveInput::None,
            combine: Combine::Sum,
            embedding: EmbeddingSpec::Positional,
            conditional: self.conditional,
            skip_rescale: false,
            init_scale: 0.0,
        }
    }
}

/// Always 32, where NCSN++ has fewer for narrow layers.
pub(super) fn groups(_channels: i64) -> i64 {
    32
}
