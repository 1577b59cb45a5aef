//! Golden cases: a folder with an `index.json` (case name -> description) and safetensors files beside it. The index may hold cases of
//! any kind, and fields nobody here knows.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use score_sde::net::NetworkSpec;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

/// The environment variable that names another folder than the committed selection.
pub const FOLDER: &str = "SCORE_SDE_GOLDEN";

/// The kinds that an index is known to hold.
const KINDS: [&str; 8] = ["model", "sde", "losses", "train", "pc", "ode", "likelihood", "control"];

/// One case of an index.
pub struct Case {
    pub name: String,
    pub description: Value,
    folder: PathBuf,
}

/// The folder of golden cases in use: `SCORE_SDE_GOLDEN`, else `tests/golden`.
pub fn folder() -> PathBuf {
    match std::env::var_os(FOLDER) {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
    }
}

/// The cases of one kind, by name. Cases of a kind unknown here are reported, not skipped in silence.
pub fn cases(kind: &str) -> Vec<Case> {
    let folder = folder();
    let path = folder.join("index.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e} (set {FOLDER} to a folder of golden cases)", path.display()));
    let index: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let kind_of = |description: &Value| description["kind"].as_str().unwrap_or("none").to_string();
    for (name, description) in index.iter().filter(|(_, description)| !KINDS.contains(&kind_of(description).as_str())) {
        eprintln!("{}: case {name} is of unknown kind {}", path.display(), kind_of(description));
    }
    let cases = index.into_iter().filter(|(_, description)| kind_of(description) == kind);
    cases.map(|(name, description)| Case { name, description, folder: folder.clone() }).collect()
}

impl Case {
    /// The tensors of the file that the description's `field` names.
    pub fn tensors(&self, field: &str) -> HashMap<String, Tensor> {
        let file = self.description[field].as_str().unwrap_or_else(|| panic!("case {}: no field `{field}`", self.name));
        read(&self.folder.join(file))
    }
}

/// Every tensor of a safetensors file.
pub fn read(path: &Path) -> HashMap<String, Tensor> {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tensor = |view: &safetensors::tensor::TensorView| {
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            Dtype::I64 => Kind::Int64,
            Dtype::I32 => Kind::Int,
            Dtype::U8 => Kind::Uint8,
            Dtype::BOOL => Kind::Bool,
            other => panic!("{}: numbers of type {other:?}", path.display()),
        };
        Tensor::from_data_size(view.data(), &shape, kind)
    };
    file.tensors().into_iter().map(|(name, view)| (name, tensor(&view))).collect()
}

/// max |a - b|
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// max |a|
pub fn magnitude(a: &Tensor) -> f64 {
    a.to_kind(Kind::Double).abs().max().double_value(&[])
}

/// The reference's configuration tree as our network and the shape of its images.
pub fn network(config: &Value) -> (NetworkSpec, [usize; 3]) {
    let model = &config["model"];
    let size = config["data"]["image_size"].as_u64().expect("image_size") as usize;
    let shape = [config["data"]["num_channels"].as_u64().expect("num_channels") as usize, size, size];
    let kebab = |key: &str| json!(model[key].as_str().expect(key).to_lowercase().replace('_', "-"));
    // Sizes that no level has never matter to the reference.
    let levels = model["ch_mult"].as_array().expect("ch_mult").len();
    let attention: Vec<&Value> = model["attn_resolutions"].as_array().expect("attn_resolutions").iter().collect();
    let attention: Vec<&Value> = attention.into_iter().filter(|r| (0..levels).any(|i| r.as_u64() == Some((size >> i) as u64))).collect();
    let mut spec = json!({
        "channels": model["nf"], "multipliers": model["ch_mult"], "blocks": model["num_res_blocks"], "attention": attention,
        "dropout": model["dropout"], "resample_with_convolution": model["resamp_with_conv"],
    });
    if model["name"] == "ncsnpp" {
        let fourier = model["embedding_type"].as_str().expect("embedding_type").eq_ignore_ascii_case("fourier");
        let family = json!({
            "block": kebab("resblock_type"),
            "resample": if model["fir"] == true { json!({ "fir": model["fir_kernel"] }) } else { json!("naive") },
            "progressive_output": kebab("progressive"), "progressive_input": kebab("progressive_input"),
            "combine": kebab("progressive_combine"), "conditional": model["conditional"],
            "embedding": if fourier { json!({ "fourier": { "scale": model["fourier_scale"] } }) } else { json!("positional") },
            "skip_rescale": model["skip_rescale"], "init_scale": model["init_scale"],
        });
        spec.as_object_mut().expect("an object").extend(family.as_object().expect("an object").clone());
    }
    let name = model["name"].as_str().expect("name");
    let spec = serde_json::from_value(json!({ name: spec })).unwrap_or_else(|e| panic!("{name}: {e}"));
    (spec, shape)
}
