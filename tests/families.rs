//! Families without a process, through the binary: what they leave, how they go on, and what is refused.

mod common;

use common::home::{Home, IMAGES, VECTORS, idx};
use insta::assert_snapshot;
use ndarray::{Array1, Array2, Array4};
use ndarray_npy::NpzReader;
use score_sde::experiment;
use score_sde::session::{Machine, Session};
use score_sde::tensor::to_vec;
use serde_json::Value;

const RUN: [&str; 2] = ["run", "tiny.toml"];

/// A family, small, with what `[density]` says of vectors and of pixels.
struct Family {
    table: &'static str,
    draws: &'static str,
    pixels: &'static str,
}

const NICE: Family = Family {
    table: "[flow.nice]\ncouplings = 3\nwidth = 8\ndepth = 1\nprior = \"logistic\"\n",
    draws: "",
    pixels: "dequantisation.uniform.draws = 2",
};

const VAE: Family = Family {
    table: "[vae]\nlatent = 2\nwidth = 8\ndepth = 1\ndecoder = \"gaussian\"\n",
    draws: "draws = 3\n",
    pixels: "dequantisation.uniform.draws = 2",
};

const CONTINUOUS: Family =
    Family { table: "[flow.continuous]\nwidth = 8\ndepth = 1\nsteps = 1\n", draws: "", pixels: "dequantisation.uniform.draws = 2" };

const LEARNT: Family = Family {
    table: "[hierarchical_vae.learnt]\nlevels = 2\nlatent = 2\nwidth = 8\ndepth = 1\ndecoder = \"gaussian\"\n",
    draws: "draws = 3\n",
    pixels: "dequantisation.uniform.draws = 2",
};

const DIFFUSION: Family = Family {
    table: "[hierarchical_vae.diffusion]\nlevels = 4\nwidth = 8\ndepth = 1\nbeta = { first = 0.01, last = 0.9, learnt = true }\n",
    draws: "draws = 3\n",
    pixels: "dequantisation.uniform.draws = 2",
};

const FAMILIES: [Family; 5] = [NICE, VAE, CONTINUOUS, LEARNT, DIFFUSION];

/// An experiment of a family on vectors.
fn written(Family { table, draws, .. }: &Family) -> String {
    let common = |table: &str| {
        let begin = VECTORS.find(table).unwrap();
        VECTORS[begin..].split("\n\n").next().unwrap().to_owned() + "\n\n"
    };
    let train: String = common("[train]").lines().filter(|line| !of_scores(line)).map(|line| format!("{line}\n")).collect();
    let draw = "[draw]\ncount = 5\nbatch = 2\ntemperature = 1.0\n";
    let density = format!("[density]\nsplit = \"test\"\ncount = 6\nbatch = 4\ndequantisation = \"none\"\n{draws}");
    format!("seed = 1\n\n{}{table}\n{train}{draw}\n{density}", common("[data."))
}

/// A folder with an experiment on images of 3 x 3.
fn with_images(text: &str) -> Home {
    let home = Home::with(text);
    home.write("train-images", idx(16, 3));
    home.write("test-images", idx(4, 3));
    home
}

/// The same on images.
fn on_images(family: &Family) -> String {
    let (vectors, images) = (written(family), IMAGES);
    let data = |text: &str| text[text.find("[data.").unwrap()..].split("\n\n").next().unwrap().to_owned();
    let text = vectors.replace(&data(&vectors), &data(images));
    text.replace("count = 6", "count = 4").replace("dequantisation = \"none\"", family.pixels)
}

fn of_scores(line: &str) -> bool {
    let keys = ["objective", "weighting", "reduction", "time", "importance", "stratified", "t_min"];
    keys.contains(&line.split(' ').next().unwrap())
}

#[test]
fn a_family_trains_draws_and_measures() {
    for family in FAMILIES {
        let home = Home::with(&written(&family));
        let (_, stderr) = home.succeed(&RUN);
        for phase in ["train 20/20", "sample 5/5", "likelihood 6/6"] {
            assert!(stderr.contains(phase), "{stderr}");
        }
        let mut archive = NpzReader::new(std::fs::File::open(home.path("runs/tiny/samples/samples.npz")).unwrap()).unwrap();
        let x: Array2<f32> = archive.by_name("samples").unwrap();
        assert!(x.dim() == (5, 2) && x.iter().all(|x| x.is_finite()));
        let report = home.json("runs/tiny/likelihood.json");
        let mut archive = NpzReader::new(std::fs::File::open(home.path("runs/tiny/likelihood.npz")).unwrap()).unwrap();
        let nats: Array1<f64> = archive.by_name("nats").unwrap();
        assert!((report["nats"]["mean"].as_f64().unwrap() - nats.mean().unwrap()).abs() < 1e-12, "{report}");
        assert!((report["truth"]["nats"]["mean"].as_f64().unwrap() - 32f64.ln()).abs() < 1e-12, "{report}");
        let error = nats.std(1.0) / 6f64.sqrt();
        assert!((report["nats"]["standard_error"].as_f64().unwrap() - error).abs() < 1e-12, "{report}");
        let estimated = report["nats"]["importance"]["negative_elbo"]["mean"].as_f64();
        assert_eq!(estimated.is_some(), !family.draws.is_empty(), "{report}");
        assert!(estimated.is_none_or(|elbo| elbo > nats.mean().unwrap()), "{report}");
        let metrics = String::from_utf8(home.read("runs/tiny/metrics.jsonl")).unwrap();
        assert!(metrics.contains("train/loss") && metrics.contains("likelihood/nats"), "{metrics}");
        assert_eq!(metrics.contains("train/kl") && metrics.contains("train/reconstruction"), !family.draws.is_empty(), "{metrics}");

        let before = home.contents("runs/tiny");
        assert!(home.succeed(&RUN).1.contains("every phase is done already"));
        assert_eq!(home.contents("runs/tiny"), before);

        home.succeed(&["sample", "runs/tiny", "--set", "draw.count=3"]);
        let (stdout, _) = home.succeed(&["likelihood", "runs/tiny", "--split", "train"]);
        assert!(stdout.contains("; the data's own law: 3.4657"), "{stdout}");
        assert!(home.fail(&["lab", "runs/tiny"]).contains("the experiment's family has no score"));
        assert!(home.fail(&["likelihood", "runs/tiny", "--compare", "reference"]).contains("leave out --compare"));
        home.succeed(&["export", "runs/tiny", "--to", "safetensors"]);
        home.succeed(&["verify", "runs/tiny"]);
    }
}

#[test]
fn a_program_does_what_the_binary_does() {
    tch::set_num_threads(1);
    for family in FAMILIES {
        let home = Home::with(&written(&family));
        home.succeed(&RUN);
        let (session, run) = Session::open(&home.path("runs/tiny"), Machine { threads: Some(1), ..Machine::default() }).unwrap();
        let plan = session.plan();
        let samples = session.draw(plan.draw.as_ref().unwrap()).unwrap();
        let archive = |name: &str| NpzReader::new(std::fs::File::open(home.path(name)).unwrap()).unwrap();
        let stored: Array2<f32> = archive("runs/tiny/samples/samples.npz").by_name("samples").unwrap();
        let drawn = to_vec(&session.scale().to_data(&samples.x));
        assert!(drawn.iter().zip(&stored).all(|(here, there)| *here == f64::from(*there)), "{drawn:?}, {stored}");
        let density = session.density(plan.density.as_ref().unwrap(), &run, &run, "likelihood").unwrap();
        let stored: Array1<f64> = archive("runs/tiny/likelihood.npz").by_name("nats").unwrap();
        assert_eq!(density.nats(), stored.to_vec());
        assert!(session.model().is_err_and(|error| error.to_string() == "the experiment's family has no score"));
    }
    let home = Home::with(VECTORS);
    let loaded = experiment::load(&home.path("tiny.toml"), &[]).unwrap();
    let session = Session::new(&loaded, Machine::default());
    assert!(session.generator().is_err_and(|error| error.to_string().contains("does not draw by itself")));
}

#[test]
fn a_family_goes_on_to_the_bit_where_it_was_killed() {
    for family in FAMILIES {
        let home = Home::with(&written(&family));
        let (stdout, _) = home.succeed(&["verify-resume", "tiny.toml", "--steps", "3"]);
        assert_eq!(stdout.matches("identical").count(), 3, "{stdout}");
        assert!(stdout.contains("killed at  checkpoints/step-00000003.safetensors"), "{stdout}");
    }
}

#[test]
fn pixels_have_bits_per_dim_with_the_error_of_their_noise() {
    for family in FAMILIES {
        let home = with_images(&on_images(&family));
        home.succeed(&RUN);
        let mut archive = NpzReader::new(std::fs::File::open(home.path("runs/tiny/samples/samples.npz")).unwrap()).unwrap();
        let x: Array4<u8> = archive.by_name("samples").unwrap();
        assert_eq!(x.dim(), (5, 3, 3, 1));
        let report = home.json("runs/tiny/likelihood.json");
        let bits = report["bits_per_dim"]["mean"].as_f64().unwrap();
        assert!((bits - report["nats"]["mean"].as_f64().unwrap() / (9.0 * std::f64::consts::LN_2)).abs() < 1e-9 && bits > 0.0, "{report}");
        assert!(report["bits_per_dim"]["parts"]["dequantisation"].as_f64().is_some_and(|error| error > 0.0), "{report}");
        assert_eq!(report["truth"], Value::Null);
    }
}

#[test]
fn decoders_of_pixels_need_no_noise() {
    for (family, decoder) in [(VAE, "discretised-logistic"), (VAE, "bernoulli"), (LEARNT, "bernoulli")] {
        let text = on_images(&Family { pixels: "dequantisation = \"none\"", ..family }).replace("gaussian", decoder);
        let home = with_images(&text);
        home.succeed(&RUN);
        let report = home.json("runs/tiny/likelihood.json");
        assert!(report["bits_per_dim"]["mean"].as_f64().is_some_and(|bits| (0.0..20.0).contains(&bits)), "{report}");
        let noise = home.fail(&["check", "tiny.toml", "--set", "density.dequantisation={uniform={draws=1}}"]);
        assert!(noise.contains("the decoder gives the probability of pixels without any noise"), "{noise}");
        home.write("vectors.toml", written(&family).replace("gaussian", decoder));
        let vectors = home.fail(&["check", "vectors.toml"]);
        assert!(vectors.contains("the data are vectors, and this decoder is for pixels"), "{vectors}");
    }
}

#[test]
fn a_hierarchy_is_refused_in_words() {
    let home = Home::with(&written(&DIFFUSION));
    home.write("learnt.toml", written(&LEARNT));
    let refused = |file: &str, setting: &str| home.fail(&["check", file, "--set", setting]);
    assert_snapshot!(refused("tiny.toml", "hierarchical_vae.diffusion.levels=1"), @"hierarchical_vae.diffusion.levels: levels is 1 ╭─[--set:1:37] 1 hierarchical_vae.diffusion.levels = 1 · ┬ · ╰── here ╰──── help: give a whole number from 2 to 1000; 40 serve two dimensions");
    assert_snapshot!(refused("tiny.toml", "hierarchical_vae.diffusion.beta.first=0"), @"hierarchical_vae.diffusion.beta.first: β_1 is 0 ╭─[--set:1:41] 1 hierarchical_vae.diffusion.beta.first = 0 · ┬ · ╰── here ╰──── help: give a number from 1e-10, which the digits of f32 can tell, to below 1, such as 1e-3");
    assert_snapshot!(refused("tiny.toml", "hierarchical_vae.diffusion.beta.last=0.001"), @"hierarchical_vae.diffusion.beta.last: β_L is 0.001 ╭─[--set:1:40] 1 hierarchical_vae.diffusion.beta.last = 0.001 · ──┬── · ╰── here ╰──── help: give a number from first = 0.01 to below 1, such as 0.5");
    assert_snapshot!(refused("learnt.toml", "hierarchical_vae.learnt.levels=101"), @"hierarchical_vae.learnt.levels: levels is 101 ╭─[--set:1:34] 1 hierarchical_vae.learnt.levels = 101 · ─┬─ · ╰── here ╰──── help: give a whole number from 1 to 100; 2 or 3 are usual");
    assert_snapshot!(refused("learnt.toml", "vae={latent=2,width=8,depth=1,decoder='gaussian'}"), @"hierarchical_vae.learnt: [vae] and [hierarchical_vae.learnt] are two families ╭─[learnt.toml:8:19] 7 8 [hierarchical_vae.learnt] · ───┬── · ╰── here 9 levels = 2 ╰──── help: keep one of them");
}

#[test]
fn importance_draws_are_for_what_is_not_exact() {
    let home = Home::with(&written(&NICE));
    let refusal = home.fail(&["check", "tiny.toml", "--set", "density.draws=3"]);
    assert!(refusal.contains("the density of [flow.nice] is exact"), "{refusal}");
    home.write("vae.toml", written(&Family { draws: "", ..VAE }));
    let refusal = home.fail(&["check", "vae.toml"]);
    assert!(refusal.contains("give density.draws, such as 100"), "{refusal}");
    let [one, more] = ["1", "3"].map(|draws| {
        home.write("vae.toml", written(&Family { draws: "", ..VAE }) + &format!("draws = {draws}\n"));
        home.succeed(&["run", "vae.toml", "--out", draws]);
        home.json(&format!("{draws}/likelihood.json"))["nats"]["importance"]["standard_error"].as_f64()
    });
    assert!(one.is_none() && more.is_some_and(|error| error > 0.0), "{one:?}, {more:?}");
}

#[test]
fn a_density_of_pixels_needs_their_noise() {
    let home = Home::with_images(&on_images(&FAMILIES[0]).replace("dequantise = true", "dequantise = false"));
    let message = home.fail(&["check", "tiny.toml"]);
    assert!(message.contains("dequantise") && message.contains("has no bound"), "{message}");
}

#[test]
fn tables_of_scores_and_of_other_families_do_not_mix() {
    let home = Home::with(&written(&NICE));
    let table = |name: &str| {
        let begin = VECTORS.find(&format!("[{name}")).unwrap();
        VECTORS[begin..].split("\n\n").next().unwrap().to_owned()
    };
    let with = |name: &str| {
        home.write("mixed.toml", format!("{}\n{}\n", written(&NICE), table(name)));
        home.fail(&["check", "mixed.toml"])
    };
    assert_snapshot!(with("sde"), @"sde: [sde] is for scores, and [flow.nice] is none ╭─[mixed.toml:37:2] 36 37 [sde.vp] · ─┬─ · ╰── here 38 beta_min = 0.1 ╰──── help: remove [sde]; there is no process between the data and the prior");
    assert_snapshot!(with("sample"), @"sample: [sample] is for scores, and [flow.nice] is none ╭─[mixed.toml:37:2] 36 37 [sample] · ───┬── · ╰── here 38 count = 4 ╰──── help: give [draw] instead, with count, batch and temperature");
    assert_snapshot!(with("likelihood"), @r#"likelihood: [likelihood] is for scores, and [flow.nice] is none ╭─[mixed.toml:37:2] 36 37 [likelihood] · ─────┬──── · ╰── here 38 split = "test" ╰──── help: give [density] instead, with split, count, batch and dequantisation"#);
    let objective = ["check", "tiny.toml", "--set", "train.objective=denoising"];
    assert_snapshot!(home.fail(&objective), @r#"train.objective: objective is for scores, and no score is trained here ╭─[--set:1:19] 1 train.objective = "denoising" · ─────┬───── · ╰── here ╰──── help: remove objective"#);
    home.write("score.toml", VECTORS);
    let density = "density={split='test',count=1,batch=1,dequantisation='none'}";
    assert_snapshot!(home.fail(&["check", "score.toml", "--set", density]), @"density: [density] is for families without a process, such as [flow.nice] or [vae] ╭─[--set:1:11] 1 density = {split='test',count=1,batch=1,dequantisation='none'} · ──────────────────────────┬───────────────────────── · ╰── here ╰──── help: give [likelihood] instead: a score needs a solver");
    home.write("without.toml", VECTORS.replace("[sde.vp]\nbeta_min = 0.1\nbeta_max = 20.0\n", ""));
    assert_snapshot!(home.fail(&["check", "without.toml"]), @"there is no [sde] help: give [sde.vp], [sde.sub-vp] or [sde.ve] for a score, or a family without a process, such as [flow.nice] or [vae]");
    home.write("without.toml", VECTORS.replace("reduction = \"mean\"\n", ""));
    assert_snapshot!(home.fail(&["check", "without.toml"]), @"train: a score is trained by `reduction`, which is missing ╭─[without.toml:20:2] 19 20 [train] · ──┬── · ╰── here 21 steps = 20 ╰──── help: every number that changes a result is given in the file; the files in experiments/ show all keys");
    assert_snapshot!(home.fail(&["check", "tiny.toml", "--set", "density.dequantisation={uniform={draws=1}}"]), @r#"density.dequantisation: this dequantisation does not fit the data ╭─[--set:1:26] 1 density.dequantisation = {uniform={draws=1}} · ─────────┬───────── · ╰── here ╰──── help: the data are vectors: "none""#);
    assert_snapshot!(home.fail(&["check", "tiny.toml", "--set", "flow.nice.couplings=2"]), @"flow.nice.couplings: couplings is 2 ╭─[--set:1:23] 1 flow.nice.couplings = 2 · ┬ · ╰── here ╰──── help: give a whole number from 3 to 1000; 4 are in the paper");
    assert_snapshot!(home.fail(&["check", "tiny.toml", "--set", "density.count=21"]), @"density.count: 21 examples are asked for, but the split has 20 ╭─[--set:1:17] 1 density.count = 21 · ─┬ · ╰── here ╰──── help: give at most 20");
}
