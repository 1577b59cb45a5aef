//! `score-sde import --layout diffusers`, on a model of diffusers (`tests/fixtures/diffusers`, see `scripts/torchscript/diffusers_fixture.py`).

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::home::{Home, IMAGES};
use score_sde::net::Told;
use score_sde::run::tensors;
use score_sde::session::{Machine, Session};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/diffusers").join(name)
}

fn json_of(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

/// An experiment with the network and the noise of the model.
fn experiment() -> String {
    let begin = IMAGES.find("[network.ncsnpp]").unwrap();
    let end = IMAGES.find("[train]").unwrap();
    let network = "[network.ddpm]\nchannels = 32\nmultipliers = [1, 2]\nblocks = 1\nattention = [4]\nup_attention = \"each\"\ndropout = 0.1\n\
                   resample_with_convolution = true\nconditional = true\n\n[precondition.discrete]\nlevels = 1000\noutput = \"noise\"\n\n";
    let discrete = IMAGES[end..]
        .replace("importance = true\nstratified = false\nt_min = 1e-4", "importance = false\nstratified = false\nt_min = 1e-4");
    format!("{}{network}{discrete}", &IMAGES[..begin])
}

/// The model's weights by their formula.
fn weights(names: &BTreeMap<String, Vec<i64>>) -> Vec<(String, Tensor)> {
    let norms = ["norm1.weight", "norm2.weight", "group_norm.weight", "conv_norm_out.weight"];
    let tensor = |(k, (name, shape)): (usize, (&String, &Vec<i64>))| {
        let one = f32::from(u8::from(norms.iter().any(|norm| name.ends_with(norm))));
        let numbers: Vec<f32> =
            (0..shape.iter().product::<i64>()).map(|i| ((37 * i + 101 * k as i64) % 257 - 128) as f32 / 1024.0 + one).collect();
        (name.clone(), Tensor::from_slice(&numbers).view(&shape[..]))
    };
    names.iter().enumerate().map(tensor).collect()
}

/// A folder with the experiment, its images, and the model in `model/`, its names changed by `rename`.
fn home(rename: impl Fn(&str) -> String) -> Home {
    tch::set_num_threads(1);
    let home = Home::with_images(&experiment());
    let images = |split: &str| format!("{split} = {:?}", home.path(&format!("{split}-images")));
    let anywhere = |text: String, split: &str| text.replace(&format!("{split} = \"{split}-images\""), &images(split));
    home.write("tiny.toml", ["train", "test"].into_iter().fold(experiment(), anywhere));
    for name in ["config.json", "scheduler_config.json"] {
        home.write(&format!("model/{name}"), std::fs::read(fixture(name)).unwrap());
    }
    let tensors = weights(&serde_json::from_value(json_of("names.json")).unwrap());
    let named: Vec<(String, &Tensor)> = tensors.iter().map(|(name, tensor)| (rename(name), tensor)).collect();
    home.write("model/diffusion_pytorch_model.safetensors", tensors::encode(&named, &[]));
    home
}

const IMPORT: [&str; 8] = ["import", "model", "--layout", "diffusers", "--experiment", "tiny.toml", "--out", "imported"];

/// Of the network in `run` and what diffusers gave, relative to its largest number.
fn error(home: &Home) -> f64 {
    let (session, _) = Session::open(&home.path("imported"), Machine { threads: Some(1), ..Machine::default() }).unwrap();
    let case: BTreeMap<String, Tensor> = Tensor::read_npz(fixture("case.npz")).unwrap().into_iter().collect();
    let y = session.network().unwrap().network.forward(&case["x"], &Told::noise(&case["label"]), None);
    let largest = |x: &Tensor| x.abs().max().double_value(&[]);
    largest(&(y.to_kind(Kind::Double) - &case["y"])) / largest(&case["y"])
}

#[test]
fn a_model_gives_the_numbers_it_gives_in_diffusers() {
    let older = |name: &str| {
        let renames = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")];
        renames.into_iter().fold(name.to_owned(), |name, (today, older)| name.replace(today, older))
    };
    let today = |name: &str| name.to_owned();
    for rename in [&today as &dyn Fn(&str) -> String, &older] {
        let home = home(rename);
        home.succeed(&IMPORT);
        let error = error(&home);
        println!("largest difference {error:.1e}");
        assert!(error < 2e-5, "{error}");
        home.succeed(&["sample", "imported"]);
        // Training goes on from its weights.
        home.succeed(&["run", "tiny.toml", "--out", "imported"]);
    }
}

#[test]
fn another_network_is_refused_with_its_first_difference() {
    let home = home(str::to_owned);
    let refused = |file: &str, key: &str, value: Value| {
        let mut config = json_of(file);
        config[key] = value;
        home.write(&format!("model/{file}"), config.to_string());
        let report = home.fail(&IMPORT);
        home.write(&format!("model/{file}"), std::fs::read(fixture(file)).unwrap());
        assert!(!home.path("imported").exists());
        report
    };
    let of_config = [
        ("norm_eps", json!(1e-5), "norm_eps is 0.00001, and 1e-6 in [network.ddpm]"),
        ("flip_sin_to_cos", json!(true), "flip_sin_to_cos is true, and false"),
        ("attention_head_dim", json!(8), "attention_head_dim is 8, and null"),
        ("downsample_padding", json!(1), "downsample_padding is 1, and 0"),
        ("resnet_time_scale_shift", json!("scale_shift"), "resnet_time_scale_shift is \"scale_shift\""),
        ("in_channels", json!(3), "in_channels is 3, and the experiment's images need 1"),
        ("sample_size", json!(16), "sample_size is 16, and the experiment's images are 8x8"),
        ("layers_per_block", json!(2), "is another network: channels = 32, multipliers = [1, 2], blocks = 2, attention = [4]"),
        ("up_block_types", json!(["UpBlock2D", "UpBlock2D"]), "describe no network of ours"),
    ];
    for (key, value, message) in of_config {
        let report = refused("config.json", key, value);
        assert!(report.contains(message) && report.contains("config.json"), "{report}");
    }
    let of_schedule = [
        ("beta_end", json!(0.01), "are [sde.vp] with beta_min = 0.1 and beta_max = 10"),
        ("beta_schedule", json!("squaredcos_cap_v2"), "beta_schedule is \"squaredcos_cap_v2\", and here linear"),
        ("prediction_type", json!("v_prediction"), "the network predicts \"v\", and \"noise\" in [precondition]"),
    ];
    for (key, value, message) in of_schedule {
        let report = refused("scheduler_config.json", key, value);
        assert!(report.contains(message) && report.contains("scheduler_config.json"), "{report}");
    }
    let report = home.fail(&[&IMPORT[..], &["--set", "precondition.discrete.levels=500"]].concat());
    assert!(report.contains("trained at the labels 0 to 999, of 1000 levels"), "{report}");
    let report = home.fail(&[&IMPORT[..], &["--set", "network.ddpm.up_attention=last"]].concat());
    assert!(report.contains("up_attention = \"each\""), "{report}");
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let home = home(|name| name.replace("conv_norm_out", "norm_out"));
    let report = home.fail(&IMPORT);
    assert!(
        report.contains("conv_norm_out.weight: expected [32], found none") && report.contains("norm_out.weight: expected none"),
        "{report}"
    );
    home.write("model/diffusion_pytorch_model.safetensors", b"????????????");
    assert!(home.fail(&IMPORT).contains("is damaged"), "{}", home.fail(&IMPORT));
    std::fs::remove_file(home.path("model/diffusion_pytorch_model.safetensors")).unwrap();
    assert!(home.fail(&IMPORT).contains("holds no diffusion_pytorch_model.safetensors"));
}
