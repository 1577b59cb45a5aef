//! Scores of latent variables, through the binary: what they leave, how they go on, and what is refused.

mod common;

use common::home::{Home, IMAGES, VECTORS, idx};
use insta::assert_snapshot;
use ndarray::{Array1, Array2, Array4};
use ndarray_npy::NpzReader;

const RUN: [&str; 2] = ["run", "tiny.toml"];

const TRAIN: &str = "steps = 12\nbatch = 8\nlr = 1e-3\nwarmup = 5\nclip = 1.0\nbetas = [0.9, 0.999]\neps = 1e-8\nweight_decay = 0.0\nema = 0.9\n\
                     checkpoint_every = 10\n";

fn trained(vae: &str) -> String {
    format!("[space.latent]\nexamples = 50\n\n[space.latent.vae]\n{vae}\n\n[space.latent.train]\n{TRAIN}\n")
}

const VAE: &str = "latent = 1\nwidth = 8\ndepth = 1\ndecoder = \"gaussian\"";

fn measured(text: &str) -> String {
    text.replace("dequantisation = \"none\"", "dequantisation.latent.draws = 2").replace("dequantisation.uniform", "dequantisation.latent")
}

/// An experiment on vectors with a space.
fn written(space: &str) -> String {
    measured(VECTORS).replace("[network", &format!("{space}[network"))
}

fn column(home: &Home, name: &str, key: &str) -> Array1<f64> {
    NpzReader::new(std::fs::File::open(home.path(name)).unwrap()).unwrap().by_name(key).unwrap()
}

#[test]
fn an_autoencoder_is_trained_then_a_score_of_its_latents() {
    let home = Home::with(&written(&trained(VAE)));
    let (_, stderr) = home.succeed(&RUN);
    for phase in ["train 12/12", "train 20/20", "sample 4/4", "likelihood 5/5"] {
        assert!(stderr.contains(phase), "{stderr}");
    }
    let mut archive = NpzReader::new(std::fs::File::open(home.path("runs/tiny/samples/samples.npz")).unwrap()).unwrap();
    let x: Array2<f32> = archive.by_name("samples").unwrap();
    assert!(x.dim() == (4, 2) && x.iter().all(|x| x.is_finite()), "samples are of the data, not of the one latent variable: {x}");
    let report = home.json("runs/tiny/likelihood.json");
    let part = |name: &str| report["latent"][name]["mean"].as_f64().unwrap();
    let total = report["nats"]["mean"].as_f64().unwrap();
    assert!((part("reconstruction") + part("posterior") + part("score") - total).abs() < 1e-9, "{report}");
    assert!((column(&home, "runs/tiny/likelihood.npz", "reconstruction").mean().unwrap() - part("reconstruction")).abs() < 1e-12);
    assert!(report["nats"]["parts"]["dequantisation"].as_f64().is_some_and(|error| error > 0.0), "{report}");
    assert!(home.json("runs/tiny/autoencoder.json")["root_mean_square"].as_f64().unwrap() > 0.0);

    let before = home.contents("runs/tiny");
    assert!(home.succeed(&RUN).1.contains("every phase is done already"));
    assert_eq!(home.contents("runs/tiny"), before);
    home.succeed(&["sample", "runs/tiny", "--set", "sample.count=3"]);
    home.succeed(&["likelihood", "runs/tiny", "--split", "train"]);
    home.succeed(&["edit", "runs/tiny", "--from", "0.5", "--count", "2"]);
    home.succeed(&["share", "runs/tiny", "--from", "1,0.5"]);
    home.succeed(&["verify", "runs/tiny"]);
    home.succeed(&["verify", "runs/tiny/autoencoder"]);
    assert!(home.fail(&["likelihood", "runs/tiny", "--compare", "reference"]).contains("leave out --compare"));
    let (lab, _) = home.succeed(&["lab", "runs/tiny", "--count", "30", "--nfe", "4"]);
    assert!(lab.contains("lab.png"), "{lab}");
}

#[test]
fn it_goes_on_to_the_bit_where_it_was_killed() {
    let home = Home::with(&written(&trained(VAE)));
    let (stdout, _) = home.succeed(&["verify-resume", "tiny.toml", "--steps", "3"]);
    assert_eq!(stdout.matches("identical").count(), 3, "{stdout}");
}

#[test]
fn an_autoencoder_comes_from_a_run_and_is_kept() {
    let data = &VECTORS[VECTORS.find("[data").unwrap()..VECTORS.find("[network").unwrap()];
    let home = Home::with(&written("[space.latent]\nexamples = 50\nrun = \"runs/vae\"\n\n"));
    home.write("vae.toml", format!("seed = 2\n\n{data}[vae]\n{VAE}\n\n[train]\n{TRAIN}"));
    assert_snapshot!(home.fail(&RUN), @"runs/vae: does not exist help: train it first: score-sde run FILE --out runs/vae, with a FILE that has [vae] and the same [data]");
    home.succeed(&["run", "vae.toml"]);
    home.succeed(&RUN);
    let once = home.read("runs/tiny/likelihood.npz");
    let checkpoint = "runs/tiny/autoencoder/checkpoints/step-00000012.safetensors";
    let whole = home.read(checkpoint);
    home.write(checkpoint, &whole[..whole.len() / 2]);
    let damage = home.fail(&["verify", "runs/tiny"]);
    assert!(damage.contains("autoencoder/checkpoints/step-00000012.safetensors") || damage.contains("damaged"), "{damage}");
    home.succeed(&RUN);
    assert_eq!(home.read(checkpoint), whole, "what is damaged is copied again");
    std::fs::remove_dir_all(home.path("runs/vae")).unwrap();
    home.succeed(&["likelihood", "runs/tiny", "--name", "again"]);
    assert!(home.succeed(&RUN).1.contains("every phase is done already"), "nor is the source needed to go on");
    assert_eq!(home.read("runs/tiny/again.npz"), once, "the run has a copy of its own");

    home.write("other.toml", written("[space.latent]\nexamples = 50\nrun = \"runs/other\"\n\n"));
    home.write("data.toml", format!("seed = 2\n\n{}[vae]\n{VAE}\n\n[train]\n{TRAIN}", data.replace("scale = 2.0", "scale = 1.0")));
    home.succeed(&["run", "data.toml", "--out", "runs/other"]);
    assert!(home.fail(&["run", "other.toml"]).contains("runs/other is of other data: its [data] is not this one"));
    home.write("score.toml", VECTORS);
    home.succeed(&["run", "score.toml", "--out", "runs/score"]);
    home.write("other.toml", written("[space.latent]\nexamples = 50\nrun = \"runs/score\"\n\n"));
    assert!(home.fail(&["run", "other.toml"]).contains("runs/score is no run of [vae]"));
}

#[test]
fn images_have_latent_images() {
    let vae = "latent = 2\nwidth = 4\ndepth = 1\nlayers = \"convolutional\"\ndecoder = \"gaussian\"";
    let text = measured(IMAGES).replace("[network", &format!("{}[network", trained(vae)));
    for decoder in ["gaussian", "discretised-logistic"] {
        let home = Home::with(&text.replace("\"gaussian\"", &format!("\"{decoder}\"")));
        home.write("train-images", idx(60, 16));
        home.write("test-images", idx(4, 16));
        home.succeed(&RUN);
        home.succeed(&["edit", "runs/tiny", "--from", "0.5", "--count", "2", "--each", "3"]);
        home.succeed(&["share", "runs/tiny", "--from", "0.5", "--each", "3"]);
        for (name, count) in [("samples", 1), ("edited", 6), ("shared", 3)] {
            let mut archive = NpzReader::new(std::fs::File::open(home.path(&format!("runs/tiny/samples/{name}.npz"))).unwrap()).unwrap();
            let x: Array4<u8> = archive.by_name("samples").unwrap();
            assert_eq!(x.dim(), (count, 16, 16, 1));
        }
        let bits = home.json("runs/tiny/likelihood.json")["bits_per_dim"]["mean"].as_f64().unwrap();
        assert!((0.0..30.0).contains(&bits), "{bits}");
    }
    let home = Home::with(&text);
    home.write("train-images", idx(60, 10));
    home.write("test-images", idx(4, 10));
    let refusal = home.fail(&["check", "tiny.toml", "--set", "space.latent.vae.depth=2"]);
    assert!(refusal.contains("images of 10 x 10 can't be halved 2 times"), "{refusal}");
}

#[test]
fn what_does_not_fit_a_latent_space_is_refused() {
    let home = Home::with(&written(&trained(VAE)));
    let refused = |set: &str, why: &str| {
        let refusal = home.fail(&["check", "tiny.toml", "--set", set]);
        assert!(refusal.contains(why), "{refusal}");
    };
    refused("likelihood.dequantisation=none", "the score is of latent variables, [space.latent]");
    refused("space.latent.run=runs/vae", "keep run, or vae and train");
    refused("space.latent.examples=0", "space.latent.examples: examples is 0");
    refused("space.latent.train.objective=denoising", "objective is for scores");
    refused("space.latent.vae.layers=convolutional", "convolutional layers are for images");
    refused("sample.thresholding={quantile=0.9}", "vectors have no range to be kept within");
    refused("likelihood.below_t_min=discrete", "the data are vectors, which lie in no bins");
    home.write("plain.toml", measured(VECTORS));
    let refusal = home.fail(&["check", "plain.toml"]);
    assert!(refusal.contains("there is no latent space"), "{refusal}");
    home.write("bare.toml", written("[space.latent]\nexamples = 50\n\n"));
    assert_snapshot!(home.fail(&["check", "bare.toml"]), @"space.latent: there is no autoencoder ╭─[bare.toml:12:8] 11 12 [space.latent] · ───┬── · ╰── here 13 examples = 50 ╰──── help: give space.latent.vae and space.latent.train to train one, or space.latent.run, the folder of a run of [vae]");
    assert!(home.succeed(&["check", "tiny.toml"]).0.contains("latent variables of shape [1], an autoencoder of"));
}
