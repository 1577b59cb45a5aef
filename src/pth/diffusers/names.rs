//! What a `UNet2DModel` calls the parameters of our network.

use crate::net::ddpm;
use crate::net::ncsnpp::UpAttention;

/// Where a parameter is in the file.
pub struct Place {
    pub name: String,
    /// Whether it is a matrix [inputs, outputs] here and [outputs, inputs] there.
    pub transposed: bool,
}

/// The kinds of top-level layers that have parts.
#[derive(Clone, Copy)]
enum Layer {
    Whole,
    Block,
    Attention,
    Resize,
}

const BLOCK: [(&str, &str); 6] = [
    ("GroupNorm_0", "norm1"),
    ("Conv_0", "conv1"),
    ("Dense_0", "time_emb_proj"),
    ("GroupNorm_1", "norm2"),
    ("Conv_1", "conv2"),
    ("NIN_0", "conv_shortcut"),
];
const ATTENTION: [(&str, &str); 5] =
    [("GroupNorm_0", "group_norm"), ("NIN_0", "to_q"), ("NIN_1", "to_k"), ("NIN_2", "to_v"), ("NIN_3", "to_out.0")];
/// What models of 2022 call the parts of an attention.
const OLDER: [(&str, &str); 4] = [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")];

/// A name of the file as today's files have it.
pub fn today(name: &str) -> String {
    OLDER.into_iter().fold(name.to_owned(), |name, (older, today)| name.replace(older, today))
}

/// Where `all_modules.<i>.<part>` of the network for images of this width is; none for a parameter that only ours has.
pub fn of(spec: &ddpm::Spec, width: usize, ours: &str) -> Option<Place> {
    let (index, rest) = ours.strip_prefix("all_modules.")?.split_once('.')?;
    let (name, layer) = layers(spec, width).into_iter().nth(index.parse().ok()?)?;
    let (part, last) = rest.rsplit_once('.').unwrap_or(("", rest));
    let named = |parts: &[(&str, &str)]| parts.iter().find(|(ours, _)| *ours == part).map(|(_, theirs)| format!("{name}.{theirs}"));
    let name = match layer {
        Layer::Whole => name,
        Layer::Block => named(&BLOCK)?,
        Layer::Attention => named(&ATTENTION)?,
        Layer::Resize => format!("{name}.conv"),
    };
    let (last, transposed) = match last {
        "W" => ("weight", true),
        "b" => ("bias", false),
        other => (other, false),
    };
    Some(Place { name: format!("{name}.{last}"), transposed })
}

/// The top-level layers in the order in which the forward pass meets them.
fn layers(spec: &ddpm::Spec, width: usize) -> Vec<(String, Layer)> {
    let mut layers: Vec<(String, Layer)> =
        ["time_embedding.linear_1", "time_embedding.linear_2", "conv_in"].map(|name| (name.to_owned(), Layer::Whole)).into();
    let levels = spec.multipliers.len();
    let attends = |level: usize| spec.attention.contains(&(width >> level));
    for level in 0..levels {
        for j in 0..spec.blocks {
            layers.push((format!("down_blocks.{level}.resnets.{j}"), Layer::Block));
            layers.extend(attends(level).then(|| (format!("down_blocks.{level}.attentions.{j}"), Layer::Attention)));
        }
        layers.extend((level + 1 < levels).then(|| (format!("down_blocks.{level}.downsamplers.0"), Layer::Resize)));
    }
    layers.push(("mid_block.resnets.0".into(), Layer::Block));
    layers.push(("mid_block.attentions.0".into(), Layer::Attention));
    layers.push(("mid_block.resnets.1".into(), Layer::Block));
    for (up, level) in (0..levels).rev().enumerate() {
        for j in 0..=spec.blocks {
            layers.push((format!("up_blocks.{up}.resnets.{j}"), Layer::Block));
            let attends = attends(level) && (spec.up_attention == UpAttention::Each || j == spec.blocks);
            layers.extend(attends.then(|| (format!("up_blocks.{up}.attentions.{j}"), Layer::Attention)));
        }
        layers.extend((level > 0).then(|| (format!("up_blocks.{up}.upsamplers.0"), Layer::Resize)));
    }
    layers.extend(["conv_norm_out", "conv_out"].map(|name| (name.to_owned(), Layer::Whole)));
    layers
}
