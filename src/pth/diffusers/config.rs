//! What a `UNet2DModel` is beside what `[network.ddpm]` is.

use serde_json::{Map, Value, json};

use crate::net::ddpm;
use crate::net::ncsnpp::UpAttention;

/// What is wrong, and its cure.
pub type Difference = (String, String);

/// The keys that have one value in every network of ours: that, and what it is where the key is left out.
fn fixed() -> [(&'static str, Value, Value); 19] {
    let same = |key, value: Value| (key, value.clone(), value);
    [
        ("_class_name", json!("UNet2DModel"), Value::Null),
        same("center_input_sample", json!(false)),
        same("time_embedding_type", json!("positional")),
        ("freq_shift", json!(1), json!(0)),
        ("flip_sin_to_cos", json!(false), json!(true)),
        same("mid_block_type", json!("UNetMidBlock2D")),
        same("mid_block_scale_factor", json!(1)),
        ("downsample_padding", json!(0), json!(1)),
        same("downsample_type", json!("conv")),
        same("upsample_type", json!("conv")),
        same("act_fn", json!("silu")),
        ("attention_head_dim", Value::Null, json!(8)),
        same("norm_num_groups", json!(32)),
        same("attn_norm_num_groups", Value::Null),
        ("norm_eps", json!(1e-6), json!(1e-5)),
        same("resnet_time_scale_shift", json!("default")),
        same("add_attention", json!(true)),
        same("class_embed_type", Value::Null),
        same("num_class_embeds", Value::Null),
    ]
}

/// The first difference, of our keys by what would make them the same.
pub fn check(
    config: &Map<String, Value>,
    spec: &ddpm::Spec,
    [channels, height, width]: [usize; 3],
    outputs: usize,
) -> Result<(), Difference> {
    let cure = "such a network is not [network.ddpm]; export it as a program instead, for [network.torchscript]: scripts/torchscript/export_diffusers.py";
    for (key, ours, left_out) in fixed() {
        let theirs = config.get(key).unwrap_or(&left_out);
        if !same(theirs, &ours) {
            return Err((format!("{key} is {theirs}, and {ours} in [network.ddpm]"), cure.into()));
        }
    }
    let images = [("in_channels", channels), ("out_channels", outputs * channels)];
    for (key, ours) in images {
        let theirs = config.get(key).cloned().unwrap_or(json!(3));
        if !same(&theirs, &json!(ours)) {
            return Err((format!("{key} is {theirs}, and the experiment's images need {ours}"), "give the data of the model".into()));
        }
    }
    let size = config.get("sample_size").unwrap_or(&Value::Null);
    if !(size.is_null() || height == width && same(size, &json!(width)) || same(size, &json!([height, width]))) {
        return Err((
            format!("sample_size is {size}, and the experiment's images are {height}x{width}"),
            "give the data of the model".into(),
        ));
    }
    let theirs = described(config, spec, width).ok_or_else(|| {
        let message = "down_block_types, up_block_types, block_out_channels and layers_per_block describe no network of ours";
        (message.to_owned(), cure.to_owned())
    })?;
    match theirs == *spec {
        true => Ok(()),
        false => Err((
            format!("is another network: {}", line(&theirs)),
            format!("make [network.ddpm] what the model is, where the experiment has {}", line(spec)),
        )),
    }
}

/// The keys of a network but for its dropout, which changes no weights.
fn line(spec: &ddpm::Spec) -> String {
    let ddpm::Spec { channels, multipliers, blocks, attention, up_attention, resample_with_convolution, conditional, .. } = spec;
    let up = if *up_attention == UpAttention::Each { "each" } else { "last" };
    format!(
        "channels = {channels}, multipliers = {multipliers:?}, blocks = {blocks}, attention = {attention:?}, up_attention = \"{up}\", \
         resample_with_convolution = {resample_with_convolution}, conditional = {conditional}"
    )
}

/// The network of a configuration, with the dropout of ours; none where its levels are of kinds that we don't have.
fn described(config: &Map<String, Value>, ours: &ddpm::Spec, width: usize) -> Option<ddpm::Spec> {
    let list = |key: &str| config.get(key)?.as_array();
    let widths: Vec<usize> = list("block_out_channels")?.iter().map(|n| Some(n.as_u64()? as usize)).collect::<Option<_>>()?;
    let channels = *widths.first().filter(|channels| **channels > 0)?;
    let attends = |key: &str, plain: &str, attending: &str| -> Option<Vec<bool>> {
        let kinds = list(key)?.iter().map(|kind| match kind.as_str()? {
            kind if kind == plain => Some(false),
            kind if kind == attending => Some(true),
            _ => None,
        });
        kinds.collect()
    };
    let down = attends("down_block_types", "DownBlock2D", "AttnDownBlock2D")?;
    let mut up = attends("up_block_types", "UpBlock2D", "AttnUpBlock2D")?;
    up.reverse();
    let embedding =
        config.get("time_embedding_dim").filter(|dim| !dim.is_null()).map_or(4 * channels as u64, |dim| dim.as_u64().unwrap_or(0));
    if down != up || down.len() != widths.len() || embedding != 4 * channels as u64 || widths.iter().any(|width| width % channels != 0) {
        return None;
    }
    let attention: Vec<usize> = (0..widths.len()).filter(|level| down[*level]).map(|level| width >> level).collect();
    // Where no level attends, nor does any block.
    let up_attention = if attention.is_empty() { ours.up_attention } else { UpAttention::Each };
    // In any order.
    let as_written = ours.attention.len() == attention.len() && attention.iter().all(|size| ours.attention.contains(size));
    Some(ddpm::Spec {
        channels,
        multipliers: widths.iter().map(|width| width / channels).collect(),
        blocks: config.get("layers_per_block").map_or(Some(2), Value::as_u64)? as usize,
        attention: if as_written { ours.attention.clone() } else { attention },
        up_attention,
        dropout: ours.dropout,
        resample_with_convolution: true,
        conditional: true,
    })
}

/// Equal, numbers by their value.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs(),
        _ => a == b,
    }
}
