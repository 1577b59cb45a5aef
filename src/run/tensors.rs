//! Named tensors as a safetensors file.

use std::collections::{BTreeMap, HashMap};

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// Named tensors and a few words about them.
pub type Named = (BTreeMap<String, Tensor>, HashMap<String, String>);

/// What the bytes of a file hold, on the CPU; the error is what is wrong with them.
pub fn parse(bytes: &[u8]) -> Result<Named, String> {
    let damaged = |e| format!("is damaged: {e}");
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let tensors = file.iter().map(|(name, view)| {
        let kind = kind(view.dtype()).ok_or_else(|| format!("holds `{name}` as {}, which is not used here", view.dtype()))?;
        let shape: Vec<i64> = view.shape().iter().map(|n| *n as i64).collect();
        Ok((name.to_owned(), Tensor::from_data_size(view.data(), &shape, kind)))
    });
    Ok((tensors.collect::<Result<_, String>>()?, metadata.metadata().clone().unwrap_or_default()))
}

/// A file of named tensors and a few words about them; of one type, in the order given.
pub fn encode(tensors: &[(String, &Tensor)], meta: &[(&str, String)]) -> Vec<u8> {
    let tensors = gather(tensors);
    let mut file = head(&meta.iter().map(|(key, value)| (key.to_string(), value.clone())).collect(), &tensors);
    tensors.iter().for_each(|(_, tensor)| file.extend_from_slice(bytes(tensor)));
    file
}

/// The tensors as they can be written: contiguous, on the CPU. Wide elements come first, which keeps every tensor aligned in the file.
pub(super) fn gather<'a>(tensors: &'a [(String, &Tensor)]) -> Vec<(&'a str, Tensor)> {
    let gathered = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.detach().to_device(Device::Cpu).contiguous()));
    let mut gathered: Vec<(&str, Tensor)> = gathered.collect();
    gathered.sort_by_key(|(_, tensor)| std::cmp::Reverse(dtype(tensor.kind())));
    gathered
}

/// The part of the file before the data: the header's length, then the header padded with spaces to a multiple of 8. Its entries are
/// sorted, so that equal tensors make equal files.
pub(super) fn head(meta: &BTreeMap<String, String>, tensors: &[(&str, Tensor)]) -> Vec<u8> {
    let mut end = 0;
    let mut entries = BTreeMap::from([("__metadata__", json!(meta))]);
    entries.extend(tensors.iter().map(|(name, tensor)| {
        let begin = end;
        end += bytes(tensor).len();
        (*name, json!({ "dtype": dtype(tensor.kind()), "shape": tensor.size(), "data_offsets": [begin, end] }))
    }));
    let mut header = serde_json::to_vec(&entries).expect("text and numbers");
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header].concat()
}

/// The memory of a contiguous CPU tensor.
#[expect(unsafe_code, reason = "LibTorch hands out its memory as a pointer; a copy of a checkpoint would be its size again")]
pub fn bytes(tensor: &Tensor) -> &[u8] {
    let n = tensor.numel() * tensor.kind().elt_size_in_bytes();
    match n {
        0 => &[],
        // SAFETY: contiguous and on the CPU, so its n bytes start at data_ptr and live as long as the tensor.
        n => unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), n) },
    }
}

fn dtype(kind: Kind) -> Dtype {
    match kind {
        Kind::Float => Dtype::F32,
        Kind::Double => Dtype::F64,
        Kind::Int64 => Dtype::I64,
        Kind::Uint8 => Dtype::U8,
        other => panic!("checkpoints hold no tensors of kind {other:?}"),
    }
}

fn kind(dtype: Dtype) -> Option<Kind> {
    [Kind::Float, Kind::Double, Kind::Int64, Kind::Uint8].into_iter().find(|kind| self::dtype(*kind) == dtype)
}
