//! Every phase on images, under every SDE, with a tiny U-Net.

mod common;

use std::fs::File;

use common::home::{Home, IMAGES, cifar10};
use ndarray::{Array1, Array4};
use ndarray_npy::NpzReader;

const SDES: [(&str, &str, &str); 3] = [
    ("vp", "sde={vp={beta_min=0.1,beta_max=20}}", "likelihood.solver={heun={grid={uniform={steps=2}}}}"),
    ("sub-vp", "sde={sub-vp={beta_min=0.1,beta_max=20}}", "likelihood.solver={euler={grid={log-snr={steps=3}}}}"),
    ("ve", "sde={ve={sigma_min=0.01,sigma_max=5}}", "likelihood.solver={rk45={rtol=0.1,atol=0.1}}"),
];

/// Runs all phases with some overrides into `out` and looks at what they left: `shape` is that of one image, [height, width, channels].
fn every_phase(home: &Home, experiment: &str, out: &str, settings: &[&str], shape: [usize; 3]) {
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let (_, stderr) = home.succeed(&["run", experiment, "--out", out].into_iter().chain(settings).collect::<Vec<_>>());
    assert!(["train", "sample 1/1", "likelihood 1/1"].iter().all(|phase| stderr.contains(phase)), "{stderr}");

    let npz = |name: &str| NpzReader::new(File::open(home.path(&format!("{out}/{name}"))).unwrap()).unwrap();
    let pixels: Array4<u8> = npz("samples/samples.npz").by_name("samples").unwrap();
    let [height, width, channels] = shape;
    assert_eq!(pixels.dim(), (1, height, width, channels));
    let png = image::load_from_memory(&home.read(&format!("{out}/samples/samples.png"))).unwrap().to_rgb8();
    assert!(png.width() as usize >= width && png.height() as usize >= height);
    let in_picture = |channel: usize| png.pixels().any(|pixel| pixel[channel] == pixels[[0, 0, 0, channel % channels]]);
    assert!((0..3).all(in_picture), "{out}: the picture does not show the first pixel of the sample");

    let report = home.json(&format!("{out}/likelihood.json"));
    let bits = report["bits_per_dim"]["mean"].as_f64().unwrap();
    let per_example: Array1<f64> = npz("likelihood.npz").by_name("bits_per_dim").unwrap();
    assert!(per_example.len() == 1 && (bits - per_example[0]).abs() < 1e-12 * bits, "{out}: {report}");
    assert_eq!(report["bits_per_dim"]["standard_error"], serde_json::Value::Null, "one example has no spread");
    assert_eq!(report["protocol"]["dimension"], height * width * channels);
    println!("{out}: {bits:.3} bits/dim");
}

#[test]
fn every_phase_runs_on_idx_images_under_every_sde() {
    let home = Home::with_images(IMAGES);
    for (name, sde, solver) in SDES {
        every_phase(&home, "tiny.toml", name, &[sde, solver], [8, 8, 1]);
    }
}

#[test]
fn a_dequantisation_is_trained_once_and_serves_the_likelihood_and_its_bound() {
    let home = Home::with_images(IMAGES);
    let settings = [
        "dequantisation={variational={steps=3,batch=2,lr=1e-3,clip=1.0,t_min=1e-3,layers=2,channels=4}}",
        "likelihood.dequantisation={variational={draws=2}}",
        "likelihood.below_t_min=tweedie",
        "likelihood.bound={vlb={levels={grid={log-snr={steps=5}}},variance='beta',draws=2}}",
    ];
    every_phase(&home, "tiny.toml", "out", &settings, [8, 8, 1]);
    let bound = home.json("out/likelihood.json")["bound"]["bits_per_dim"]["mean"].as_f64().unwrap();
    let mut npz = NpzReader::new(File::open(home.path("out/likelihood.npz")).unwrap()).unwrap();
    let terms: Array1<f64> = npz.by_name("bound_terms").unwrap();
    assert_eq!(terms.len(), 7, "L_0 … L_6 of six levels");
    assert!((terms.sum() / (64.0 * 2f64.ln()) / bound - 1.0).abs() < 1e-9, "the terms add up to {bound} bits/dim");

    let trained = home.read("out/dequantiser.safetensors");
    let overrides: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let run = [&["run", "tiny.toml", "--out", "out"], &overrides[..]].concat();
    assert!(home.succeed(&run).1.contains("every phase is done already"));
    std::fs::remove_file(home.path("out/dequantiser.safetensors")).unwrap();
    assert!(home.fail(&["likelihood", "out"]).contains("dequantiser.safetensors is missing"));
    home.succeed(&run);
    assert!(home.read("out/dequantiser.safetensors") == trained, "training it again gives the same file");
}

#[test]
fn the_bound_of_a_chain_is_trained_on_pixels_and_measured() {
    let home = Home::with_images(IMAGES);
    let settings = [
        "precondition={discrete={levels=30,output='v'}}",
        "data.idx.dequantise=false",
        "train.objective={vlb={variance='beta-tilde'}}",
        "train.reduction=half-sum",
        "sample.solver={discrete-chain={levels=30,steps=5,spacing='linear',variance='beta-tilde'}}",
        "likelihood.dequantisation=none",
        "likelihood.below_t_min=discrete",
        "likelihood.bound={vlb={levels={chain=30},variance='beta-tilde',draws=2}}",
    ];
    every_phase(&home, "tiny.toml", "out", &settings, [8, 8, 1]);
    let report = home.json("out/likelihood.json");
    assert!(report["bound"]["bits_per_dim"]["mean"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn every_phase_runs_on_cifar10_under_every_sde() {
    let home = Home::with(IMAGES);
    home.write("cifar/data_batch_1.bin", cifar10(4));
    home.write("cifar/data_batch_3.bin", cifar10(3));
    home.write("cifar/test_batch.bin", cifar10(2));
    let data = "data={cifar10={folder='cifar',range=[0,1],flip=true,dequantise=true}}";
    for (name, sde, solver) in SDES {
        every_phase(&home, "tiny.toml", name, &[sde, solver, data, "network.ncsnpp.attention=[16]", "train.batch=2"], [32, 32, 3]);
    }
}

#[test]
fn the_experiments_run_on_the_real_cifar10() {
    let Some(folder) = std::env::var_os("SCORE_SDE_CIFAR10") else {
        println!("skipped: SCORE_SDE_CIFAR10 names no folder with CIFAR-10 in the binary layout");
        return;
    };
    let home = Home::with(IMAGES);
    let folder = format!("data.cifar10.folder={}", folder.to_str().unwrap());
    let small = ["network.ncsnpp.channels=8", "network.ncsnpp.blocks=1", "train.steps=1", "train.batch=2", "sample.count=1"];
    let short = ["sample.solver.predictor-corrector.steps=2", "likelihood.count=1", "likelihood.solver={heun={grid={uniform={steps=2}}}}"];
    for name in ["vp_cifar", "subvp_cifar", "ve_cifar"] {
        let experiment = format!("{}/experiments/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        every_phase(&home, &experiment, name, &[&[folder.as_str()], &small[..], &short[..]].concat(), [32, 32, 3]);
    }
}

#[test]
fn images_are_averaged_and_every_number_says_so() {
    let home = Home::with_images(IMAGES);
    every_phase(&home, "tiny.toml", "whole", &[], [8, 8, 1]);
    every_phase(&home, "tiny.toml", "halved", &["data.idx.downsample=2"], [4, 4, 1]);
    let [whole, halved] = ["whole", "halved"].map(|run| home.json(&format!("{run}/likelihood.json"))["protocol"]["data"].clone());
    let note = "each pixel is the rounded mean of 2 x 2 pixels of the files";
    assert!(whole.is_null() && halved == note, "{whole}, {halved}");
    let mark = |run: &str| home.json(&format!("{run}/run.json"))["mark"].clone();
    assert_ne!(mark("whole"), mark("halved"));
    assert!(home.succeed(&["check", "tiny.toml", "--set", "data.idx.downsample=2"]).0.contains(note));
    let other = home.fail(&["run", "tiny.toml", "--out", "halved"]);
    assert!(other.contains("data.idx.downsample"), "{other}");
    let thirds = home.fail(&["check", "tiny.toml", "--set", "data.idx.downsample=3"]);
    assert!(thirds.contains("holds images of 8 x 8, which squares of 3 x 3 do not fill"), "{thirds}");
    assert!(thirds.contains("give data.idx.downsample as one of 1, 2, 4, 8, which divide height and width"), "{thirds}");
}
