//! Samples and likelihoods given classes and vectors, through the binary.

mod common;

use std::f64::consts::PI;

use common::home::{Home, IMAGES, VECTORS};
use ndarray::{Array1, Array2, Array4};
use ndarray_npy::{NpzReader, WriteNpyExt};
use score_sde::data::Split;
use score_sde::evaluation::FeatureTable;
use score_sde::metric::{Estimate, classifier_accuracy};
use score_sde::model::At;
use score_sde::rng::{self, Purpose};
use score_sde::session::{Machine, Session};
use score_sde::testing;
use tch::{Device, Kind, Tensor};

const RUN: [&str; 2] = ["run", "tiny.toml"];

/// Two narrow classes far from each other, of unequal weight, and a network that is told of them.
const CLASSES: &str = r#"seed = 1

[sde.vp]
beta_min = 0.1
beta_max = 20.0

[data.gaussian-mixture]
train = 2000
test = 40
scale = 2.0
mixture = { weights = [1.0, 3.0], means = [[-2.0, 1.0], [2.0, 0.0]], covariances = [[[0.1, 0.0], [0.0, 0.1]], [[0.1, 0.0], [0.0, 0.1]]] }

[condition.class]
dropout = 0.2

[network.mlp]
width = 32
depth = 1
input = "plain"
embedding.fourier.scale = 0.25

[precondition.edm]
sigma_data = 1.0

[train]
steps = 400
batch = 64
lr = 5e-3
warmup = 20
clip = 1.0
betas = [0.9, 0.999]
eps = 1e-8
weight_decay = 0.0
ema = 0.98
objective = "denoising"
weighting = "variance"
reduction = "mean"
time = "uniform"
importance = true
stratified = true
t_min = 1e-3
checkpoint_every = 100

[sample]
count = 200
batch = 70
dynamics = "probability-flow"
solver.heun.grid.log-snr.steps = 12
t_min = 1e-2
denoise = true
given = "each-class"

[likelihood]
split = "test"
count = 40
batch = 40
t_min = 1e-2
below_t_min = "ignored"
solver.heun.grid.log-snr.steps = 12
solver_check = 0
trace.exact = {}
dequantisation = "none"
"#;

fn npy<A: WriteNpyExt>(array: A) -> Vec<u8> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).unwrap();
    bytes
}

fn samples(home: &Home, run: &str) -> NpzReader<std::fs::File> {
    NpzReader::new(std::fs::File::open(home.path(&format!("runs/{run}/samples/samples.npz"))).unwrap()).unwrap()
}

/// The mean of some rows' first component.
fn mean(x: &Array2<f32>, keep: impl Fn(usize) -> bool) -> f64 {
    let rows: Vec<f64> = (0..x.nrows()).filter(|i| keep(*i)).map(|i| f64::from(x[[i, 0]])).collect();
    rows.iter().sum::<f64>() / rows.len() as f64
}

#[test]
fn a_network_learns_each_class_and_all_of_them() {
    let home = Home::with(CLASSES);
    home.succeed(&RUN);
    let x: Array2<f32> = samples(&home, "tiny").by_name("samples").unwrap();
    let classes: Array1<u64> = samples(&home, "tiny").by_name("classes").unwrap();
    assert!(classes.iter().enumerate().all(|(i, class)| *class == i as u64 % 2));
    for (class, truth) in [(0, -2.0), (1, 2.0)] {
        let mean = mean(&x, |i| classes[i] == class);
        assert!((mean - truth).abs() < 0.3, "class {class}: {mean} is not {truth}");
    }

    let curves = String::from_utf8(home.read("runs/tiny/metrics.jsonl")).unwrap();
    let last: serde_json::Value = curves
        .lines()
        .filter(|line| line.contains("train/loss_of_class_1"))
        .map(|line| serde_json::from_str(line).unwrap())
        .next_back()
        .unwrap();
    let loss = |name: &str| last[name].as_f64().unwrap();
    let mean_loss = 0.25 * loss("train/loss_of_class_0") + 0.75 * loss("train/loss_of_class_1");
    assert!((mean_loss / loss("train/loss") - 1.0).abs() < 0.1, "{last}");

    let report = home.json("runs/tiny/likelihood.json");
    let of_class = report["classes"].as_array().unwrap();
    let examples: Vec<u64> = of_class.iter().map(|class| class["examples"].as_u64().unwrap()).collect();
    assert!(examples.len() == 2 && examples.iter().sum::<u64>() == 40 && examples[0] < examples[1], "{examples:?}");
    let shares = of_class.iter().zip(&examples).map(|(class, n)| class["nats"]["mean"].as_f64().unwrap() * *n as f64 / 40.0);
    assert!((shares.sum::<f64>() - report["nats"]["mean"].as_f64().unwrap()).abs() < 1e-9);
    // Each class has the entropy ln(2 pi e 0.1) = 0.535 nats; that of all is 0.562 above.
    assert!((report["nats"]["mean"].as_f64().unwrap() - 0.535).abs() < 0.5, "{}", report["nats"]["mean"]);

    let sample = |name: &str, settings: &[&str]| {
        let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        home.succeed(&[&["sample", "runs/tiny", "--name", name][..], &set].concat());
        let file = std::fs::File::open(home.path(&format!("runs/tiny/samples/{name}.npz"))).unwrap();
        NpzReader::new(file).unwrap().by_name::<ndarray::OwnedRepr<f32>, ndarray::Ix2>("samples").unwrap()
    };
    let one = sample("one", &["sample.given={ classes = [0] }"]);
    assert!((mean(&one, |_| true) + 2.0).abs() < 0.3);
    assert_eq!(one.row(0), x.row(0), "a sample depends on its own class alone");
}

/// An example's code is that of its own class, and leads back with that class alone.
#[test]
fn codes_are_given_what_their_examples_are() {
    let quick = CLASSES.split("[likelihood]").next().unwrap().replace("steps = 400", "steps = 100");
    let quick = quick.replace("solver.heun.grid.log-snr.steps = 12", "solver.rk45 = { rtol = 1e-8, atol = 1e-8 }");
    let home = Home::with(&quick.replace("denoise = true", "denoise = false"));
    home.succeed(&RUN);
    home.succeed(&["encode", "runs/tiny", "--count", "4", "--split", "train"]);
    let back = home.json("runs/tiny/codes.json")["round_trip"]["largest"].as_f64().unwrap();
    assert!(back < 1e-4, "{back}");
    let decoded = |class: usize, name: &str| -> Array2<f32> {
        let given = format!("sample.given={{ classes = [{class}] }}");
        home.succeed(&["decode", "runs/tiny", "runs/tiny/codes.npz", "--name", name, "--set", &given]);
        let file = std::fs::File::open(home.path(&format!("runs/tiny/samples/{name}.npz"))).unwrap();
        NpzReader::new(file).unwrap().by_name("samples").unwrap()
    };
    let [left, right] = [decoded(0, "left"), decoded(1, "right")];
    let refusal = home.fail(&["decode", "runs/tiny", "runs/tiny/codes.npz", "--name", "both"]);
    assert!(refusal.contains("each-class") && refusal.contains("classes=[3]"), "{refusal}");
    for verb in [
        &["interpolate", "runs/tiny", "--between", "0,1"][..],
        &[
            "share",
            "runs/tiny",
            "--from",
            "0.5",
            "--set",
            "sample.dynamics=reverse-sde",
            "--set",
            "sample.solver={ euler = { grid = { uniform = { steps = 4 } } } }",
        ],
    ] {
        assert!(home.fail(verb).contains("names several"), "{verb:?}");
    }
    let given = "sample.given={ classes = [1] }";
    home.succeed(&["interpolate", "runs/tiny", "--between", "0,1", "--split", "train", "--steps", "3", "--set", given]);
    let way = NpzReader::new(std::fs::File::open(home.path("runs/tiny/samples/between.npz")).unwrap()).unwrap();
    let way: Array2<f32> = { way }.by_name("samples").unwrap();
    home.succeed(&["encode", "runs/tiny", "--against", "runs/tiny", "--count", "40", "--name", "itself"]);
    let against = home.json("runs/tiny/itself.json")["against"].clone();
    let correlation =
        against["correlation"]["mean"].as_f64().or(against["correlation"]["value"].as_f64()).unwrap_or_else(|| panic!("{against}"));
    assert!(correlation > 1.0 - 1e-9, "a run agrees with itself: {against}");
    let data: score_sde::data::Data =
        toml::from_str(&quick.split("[data.").nth(1).map(|rest| format!("[{}", rest.split("[condition").next().unwrap())).unwrap())
            .unwrap();
    let (set, labels) = (data.open(Split::Train, 1).unwrap(), data.labels(Split::Train, 1).unwrap());
    for i in 0..4 {
        let mut x = [0f32; 2];
        set.read(i, &mut x).unwrap();
        let off = |rows: &Array2<f32>| (f64::from(rows[[i, 0]] - x[0])).hypot(f64::from(rows[[i, 1]] - x[1]));
        let (own, other) = if labels[i] == 0 { (off(&left), off(&right)) } else { (off(&right), off(&left)) };
        if i < 2 {
            let end = (f64::from(way[[2 * i, 0]] - x[0])).hypot(f64::from(way[[2 * i, 1]] - x[1]));
            assert!(end < 1e-3, "the way ends at its examples, whatever they are given: {end}");
        }
        assert!(own < 1e-3 && other > 0.1, "example {i} of class {}: {own} with its own class, {other} with the other", labels[i]);
    }
}

/// Explicit score matching of a class is of that class.
#[test]
fn explicit_score_matching_is_given_the_class_too() {
    let explicit = CLASSES.split("[likelihood]").next().unwrap().replace("objective = \"denoising\"", "objective = \"explicit\"");
    let home = Home::with(&explicit);
    home.succeed(&RUN);
    let x: Array2<f32> = samples(&home, "tiny").by_name("samples").unwrap();
    for (class, truth) in [(0, -2.0), (1, 2.0)] {
        let mean = mean(&x, |i| i % 2 == class);
        assert!((mean - truth).abs() < 0.3, "class {class}: {mean} is not {truth}");
    }
}

/// Without its `run.json` a run is read by its data.
#[test]
fn a_run_that_lost_what_it_says_of_itself_is_still_told_its_classes() {
    let home = Home::with(&CLASSES.split("[likelihood]").next().unwrap().replace("steps = 400", "steps = 20"));
    home.succeed(&RUN);
    let before: Array2<f32> = samples(&home, "tiny").by_name("samples").unwrap();
    std::fs::remove_file(home.path("runs/tiny/run.json")).unwrap();
    home.succeed(&["sample", "runs/tiny", "--name", "again"]);
    let file = std::fs::File::open(home.path("runs/tiny/samples/again.npz")).unwrap();
    let after: Array2<f32> = NpzReader::new(file).unwrap().by_name("samples").unwrap();
    assert_eq!(before, after);
}

#[test]
fn an_exact_score_knows_its_components_and_guidance_moves_away_from_the_others() {
    let exact = |sample: &str| {
        let table = "[score.gaussian-mixture]\nweights = [1.0, 1.0]\nmeans = [[-0.5, 0.0], [0.5, 0.0]]\n\
             covariances = [[[0.25, 0.0], [0.0, 0.25]], [[0.25, 0.0], [0.0, 0.25]]]\n\n[sample]";
        let [before, after] = [CLASSES.split("[network.mlp]").next().unwrap(), CLASSES.split("[sample]").nth(1).unwrap()];
        let after = after.split("[likelihood]").next().unwrap();
        format!("{}{table}{after}{sample}\n", before.replace("dropout = 0.2\n", ""))
    };
    let run = |sample: &str| {
        let home = Home::with(&exact(sample));
        home.succeed(&RUN);
        let x: Array2<f32> = samples(&home, "tiny").by_name("samples").unwrap();
        mean(&x, |i| i % 2 == 1)
    };
    let plain = run("");
    assert!((plain - 1.0).abs() < 0.3, "{plain}");
    assert_eq!(run("guidance.classifier-free.weight = 0.0"), plain);
    let guided = run("guidance.classifier-free.weight = 2.0");
    assert!(guided > plain + 0.4, "{guided} is not beyond {plain}");
    let late = run("guidance.classifier-free = { weight = 2.0, noise = [0.0, 0.01] }");
    assert!((late - plain).abs() < 0.1, "where there is hardly any noise left, guidance moves little: {late}");
}

/// y of three numbers is seen of x in the plane, by a simulator whose posterior is a Gaussian: x ~ N(0, I), y = (x_1, x_2, x_1 + x_2) + n / 2,
/// with the precision I + AᵀA / σ² = I + 4 [[2, 1], [1, 2]] and the mean its inverse times Aᵀy / σ².
struct Simulator {
    home: Home,
    x: Array2<f64>,
    y: Array2<f64>,
}

impl Simulator {
    const VARIANCES: [f64; 2] = [9.0 / 65.0, -4.0 / 65.0];

    fn new(n: usize, keys: &[(&str, &str)]) -> Simulator {
        let [process, rest] = [CLASSES.split("[data.").next().unwrap(), CLASSES.split("[network.mlp]").nth(1).unwrap()];
        let data = "[data.npy-vectors]\ntrain = \"x.npy\"\ntest = \"x.npy\"\nscale = 1.0\n\n\
                    [condition.vector]\ntrain = \"y.npy\"\ntest = \"y.npy\"\nscale = 2.0\ndropout = 0.0\n\n[network.mlp]";
        let home = Home::with(&keys.iter().fold(format!("{process}{data}{rest}"), |text, (from, to)| text.replace(from, to)));
        let normal = rng::normal(1, Purpose::Data, 0, &[5 * n as i64], Device::Cpu);
        let normal = Vec::<f32>::try_from(normal).unwrap();
        let normal = |i: usize| f64::from(normal[i]);
        let x = Array2::from_shape_fn((n, 2), |(i, j)| normal(5 * i + j));
        let y = Array2::from_shape_fn((n, 3), |(i, j)| {
            let clean = if j == 2 { x[[i, 0]] + x[[i, 1]] } else { x[[i, j]] };
            clean + 0.5 * normal(5 * i + 2 + j)
        });
        home.write("x.npy", npy(x.clone()));
        home.write("y.npy", npy(y.clone()));
        Simulator { home, x, y }
    }

    /// The posterior's mean.
    fn mean(y: &[f64]) -> [f64; 2] {
        let [own, other] = Simulator::VARIANCES;
        let right = [4.0 * (y[0] + y[2]), 4.0 * (y[1] + y[2])];
        [own * right[0] + other * right[1], other * right[0] + own * right[1]]
    }

    /// -ln p(x | y), nats.
    fn nats(&self, i: usize) -> f64 {
        let mean = Simulator::mean(&[self.y[[i, 0]], self.y[[i, 1]], self.y[[i, 2]]]);
        let [a, b] = [self.x[[i, 0]] - mean[0], self.x[[i, 1]] - mean[1]];
        (2.0 * PI).ln() - 0.5 * 65f64.ln() + 0.5 * (9.0 * a * a + 8.0 * a * b + 9.0 * b * b)
    }
}

#[test]
fn a_vector_is_a_condition() {
    let Simulator { home, .. } = Simulator::new(4000, &[("\"each-class\"", "{ file = \"seen.npy\" }")]);
    let seen = [1.2, -0.4, 0.6];
    home.write("seen.npy", npy(Array1::from(seen.to_vec())));
    home.succeed(&["run", "tiny.toml", "--set", "train.steps=1000"]);
    let x: Array2<f32> = samples(&home, "tiny").by_name("samples").unwrap();
    let ([truth, _], std, found) = (Simulator::mean(&seen), Simulator::VARIANCES[0].sqrt(), mean(&x, |_| true));
    assert!((found - truth).abs() < 0.5 * std, "{found} is not {truth}, of a width of {std}");
    let spread = x.column(0).mapv(f64::from).std(1.0);
    assert!((spread / std - 1.0).abs() < 0.3, "{spread} is not {std}");
    home.write("seen.npy", npy(Array1::from(vec![0.0; 3])));
    assert!(home.fail(&["run", "tiny.toml", "--set", "train.steps=1000"]).contains("given_crc32"), "something else is seen");
    home.write("seen.npy", npy(Array1::from(vec![0.0; 2])));
    let report = home.fail(&["sample", "runs/tiny", "--name", "other"]);
    assert!(report.contains("seen.npy") && report.contains("3 finite numbers"), "{report}");
}

/// A classifier tells the samples of 200 y from exact draws, as well as it tells exact draws from others: not at all. Large it is held to its
/// interval; with `--nocapture` it prints what it found.
#[test]
fn a_simulators_posterior_is_sampled_and_its_density_measured() {
    tch::set_num_threads(1);
    let large = testing::large();
    let (steps, width, n, draws) = if large { ("20000", "128", 20_000, 50) } else { ("1500", "64", 4000, 10) };
    let keys = [
        ("steps = 400", &format!("steps = {steps}")[..]),
        ("width = 32", &format!("width = {width}")),
        ("depth = 1", "depth = 2"),
        ("ema = 0.98", if large { "ema = 0.9995" } else { "ema = 0.99" }),
        ("batch = 64", if large { "batch = 256" } else { "batch = 128" }),
        ("lr = 5e-3", if large { "lr = 1e-3" } else { "lr = 3e-3" }),
        ("count = 200\nbatch = 70", &format!("count = {}\nbatch = 2000", 200 * draws)),
        ("t_min = 1e-2", "t_min = 1e-3"),
        ("log-snr.steps = 12", "log-snr.steps = 40"),
        ("denoise = true", "denoise = false"),
        ("count = 40\nbatch = 40", "count = 400\nbatch = 400"),
        ("\"each-class\"", "{ examples = { split = \"test\", count = 200 } }"),
    ];
    let simulator = Simulator::new(n, &keys);
    simulator.home.succeed(&RUN);
    let x: Array2<f32> = samples(&simulator.home, "tiny").by_name("samples").unwrap();
    let values: Vec<f32> = x.iter().copied().collect();
    let x = Tensor::from_slice(&values).view([draws, 200, 2]).transpose(0, 1).to_kind(Kind::Double);
    let y = Tensor::from_slice(&simulator.y.iter().copied().take(600).collect::<Vec<_>>()).view([200, 3]);
    let means: Vec<f64> = (0..200).flat_map(|i| Simulator::mean(&[0, 1, 2].map(|j| simulator.y[[i, j]]))).collect();
    let [own, other] = Simulator::VARIANCES;
    let factor = Tensor::from_slice(&[own, other, other, own]).view([2, 2]).linalg_cholesky(false);
    let noise = rng::normal(2, Purpose::Noise, 0, &[200, draws, 2], Device::Cpu).to_kind(Kind::Double);
    let exact = noise.matmul(&factor.tr()) + Tensor::from_slice(&means).view([200, 1, 2]);
    let told = classifier_accuracy(&x, &exact, &y, 1);

    let report = simulator.home.json("runs/tiny/likelihood.json");
    let found: Array1<f64> =
        NpzReader::new(std::fs::File::open(simulator.home.path("runs/tiny/likelihood.npz")).unwrap()).unwrap().by_name("nats").unwrap();
    let excess: Vec<f64> = found.iter().enumerate().map(|(i, nats)| nats - simulator.nats(i)).collect();
    let excess = Estimate::of_mean(&excess);
    println!("accuracy {:.4} ± {:.4}, excess {:.4} ± {:.4} nats", told.value, told.half_width, excess.value, excess.half_width);
    assert!(report["classes"].is_null());
    let slack = if large { 0.0 } else { 0.04 };
    assert!((told.value - 0.5).abs() < told.half_width + slack, "{told:?}");
    assert!(excess.value.abs() < excess.half_width + slack, "{excess:?}");
}

/// An IDX file of labels.
fn labels(of: &[u8]) -> Vec<u8> {
    [&[0, 0, 8, 1][..], &(of.len() as u32).to_be_bytes(), of].concat()
}

#[test]
fn a_network_of_images_is_told_of_labels_and_shows_a_row_for_each_class() {
    let experiment = IMAGES
        .replace("pad = 0\n", "labels = { train = \"train-labels\", test = \"test-labels.npy\" }\npad = 0\n")
        .replace("[network.ncsnpp]", "[condition.class]\ndropout = 0.5\n\n[network.ncsnpp]")
        .replacen("count = 1\nbatch = 1", "count = 9\nbatch = 4\ngiven = \"each-class\"\nguidance.classifier-free.weight = 1.0", 1)
        .replace("dropout = 0.3", "dropout = 0.0");
    let home = Home::with_images(&experiment);
    let [train, test] = ["train-images", "test-images"].map(|name| home.read(name)[7]);
    home.write("train-labels", labels(&(0..train).map(|i| i % 3).collect::<Vec<_>>()));
    home.write("test-labels.npy", npy(Array1::from((0..test).map(|i| i64::from(i % 3)).collect::<Vec<_>>())));
    let said = home.succeed(&["check", "tiny.toml"]).0;
    assert!(said.contains("the class, one of 3"), "{said}");
    home.succeed(&RUN);
    let x: Array4<u8> = samples(&home, "tiny").by_name("samples").unwrap();
    assert_eq!(x.shape()[0], 9);
    assert!(!home.json("runs/tiny/likelihood.json")["classes"].as_array().unwrap().is_empty());
    let picture = image::open(home.path("runs/tiny/samples/samples.png")).unwrap();
    assert_eq!(picture.width(), picture.height(), "three rows of three");

    home.write("test-labels.npy", npy(Array1::from(vec![3i64; test as usize])));
    let report = home.fail(&["likelihood", "runs/tiny", "--name", "other"]);
    assert!(report.contains("class 3") && report.contains("0 to 2"), "{report}");
    home.write("train-labels", labels(&[0, 1]));
    let report = home.fail(&["run", "tiny.toml", "--out", "again"]);
    assert!(report.contains("data.idx.labels") && report.contains("2 labels for"), "{report}");
}

#[test]
fn what_cannot_be_told_is_refused_with_its_key() {
    let classes = |from: &str, to: &str| CLASSES.replace(from, to);
    let cases = [
        (VECTORS.replace("[network.mlp]", "[condition.class]\ndropout = 0.1\n\n[network.mlp]"), "condition.class", "have no labels"),
        (classes("dropout = 0.2", ""), "condition.class.dropout", "there is no dropout"),
        (classes("dropout = 0.2", "dropout = 1.0"), "condition.class.dropout", "0 or more and below 1"),
        (classes("given = \"each-class\"", "given.classes = [2]"), "sample.given.classes", "up to 1"),
        (classes("given = \"each-class\"", "given.classes = []"), "sample.given.classes", "there are no classes"),
        (classes("given = \"each-class\"", "given.file = \"x.npy\""), "sample.given.file", "is a class"),
        (classes("[condition.class]\ndropout = 0.2", ""), "sample.given", "knows no conditions"),
        (classes("given = \"each-class\"", "").replace("dropout = 0.2", "dropout = 0.0"), "sample", "given nothing"),
        (classes("given = \"each-class\"", "guidance.classifier-free.weight = 1.0"), "sample.guidance.classifier-free", "sample.given"),
        (
            classes("given = \"each-class\"", "given = \"each-class\"\nguidance.classifier-free.weight = 1.0").replace("0.2", "0.0"),
            "sample.guidance.classifier-free",
            "never learns",
        ),
        (
            classes("given = \"each-class\"", "given = \"each-class\"\nguidance.classifier-free.weight = -1.0"),
            "sample.guidance.classifier-free.weight",
            "at least 0",
        ),
        (
            classes("given = \"each-class\"", "guidance.classifier-free = { weight = 1.0, noise = [2.0, 1.0] }"),
            "sample.guidance.classifier-free.noise",
            "from 2 to 1",
        ),
        (
            classes("given = \"each-class\"", "guidance.product.gaussian = { mean = [0.0], std = 1.0 }"),
            "sample.guidance.product.gaussian.mean",
            "give 2 numbers",
        ),
        (
            classes("given = \"each-class\"", "guidance.product.half-space = { normal = [0.0, 0.0], above = 1.0 }"),
            "sample.guidance.product.half-space.normal",
            "not all 0",
        ),
        (
            classes("given = \"each-class\"", "guidance.product.box = { least = [0.0, 0.0], most = [1.0, 0.0] }"),
            "sample.guidance.product.box.most",
            "the box is empty",
        ),
        (
            classes(
                "given = \"each-class\"",
                "guidance.product.half-space = { normal = [1.0, 0.0], above = 0.0 }\nmeasurement = { operator.mask.components = [1], noise = 0.5, \
                 observation.example = { split = \"test\", index = 0 }, method.moment-matching.iterations = 1 }",
            ),
            "sample.guidance",
            "the gradient of the score",
        ),
        (classes("given = \"each-class\"", "guidance.autoguidance.weight = 1.0"), "sample.guidance.autoguidance", "the model itself"),
    ];
    for (experiment, key, what) in cases {
        let report = Home::with(&experiment).fail(&["check", "tiny.toml"]);
        assert!(report.contains(key) && report.contains(what), "{key}: {report}");
    }
}

#[test]
fn a_worse_run_guides_and_one_of_another_process_is_refused() {
    let quick = CLASSES
        .split("[likelihood]")
        .next()
        .unwrap()
        .replace("steps = 400", "steps = 40")
        .replace("checkpoint_every = 100", "checkpoint_every = 10\nkeep = 9");
    let home = Home::with(&quick);
    home.succeed(&RUN);
    home.succeed(&["run", "tiny.toml", "--out", "runs/ve", "--set", "sde={ ve = { sigma_min = 0.01, sigma_max = 50.0 } }"]);
    let guided = |name: &str, table: &str| {
        let set = format!("sample.guidance.autoguidance={table}");
        (name.to_owned(), vec!["sample".to_owned(), "runs/tiny".into(), "--name".into(), name.into(), "--set".into(), set])
    };
    let by = |name: &str, table: &str| {
        let (name, arguments) = guided(name, table);
        home.succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let file = std::fs::File::open(home.path(&format!("runs/tiny/samples/{name}.npz"))).unwrap();
        NpzReader::new(file).unwrap().by_name::<ndarray::OwnedRepr<f32>, ndarray::Ix2>("samples").unwrap()
    };
    let plain: Array2<f32> = samples(&home, "tiny").by_name("samples").unwrap();
    assert_ne!(by("a", "{ weight = 1.0, step = 10 }"), plain, "an earlier checkpoint guides");
    assert_eq!(by("b", "{ weight = 1.0, step = 40 }"), plain, "the same checkpoint is no guide");
    assert_eq!(by("c", "{ weight = 0.0, step = 10 }"), plain, "nor is one without weight");
    assert_eq!(by("d", "{ weight = 1.0, step = 10 }"), by("e", "{ weight = 1.0, run = 'runs/tiny', step = 10 }"));
    let refused = |table: &str| {
        let (_, arguments) = guided("f", table);
        home.fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let report = refused("{ weight = 1.0, run = 'runs/ve' }");
    assert!(report.contains("runs/ve") && report.contains("another process"), "{report}");
    let report = refused("{ weight = 1.0, step = 11 }");
    assert!(report.contains("11") && report.contains("10"), "lists the checkpoints that are there: {report}");
}

/// A classifier of the two classes.
const CLASSIFIER: &str = r#"
[classifier]
width = 32
depth = 1
t_min = 1e-2

[classifier.train]
steps = 600
batch = 64
lr = 5e-3
warmup = 10
clip = 1.0
betas = [0.9, 0.999]
eps = 1e-8
weight_decay = 0.0
ema = 0.98
checkpoint_every = 50

"#;

#[test]
fn a_classifier_guides_a_network_that_knows_no_classes_and_judges_samples() {
    let [before, after] = [CLASSES.split("[condition.class]").next().unwrap(), CLASSES.split("dropout = 0.2").nth(1).unwrap()];
    let unconditional = format!("{before}{}", after.trim_start())
        .replace("given = \"each-class\"", "given = \"each-class\"\nguidance.classifier.weight = 0.0")
        .replace("[sample]", &format!("{}[sample]", CLASSIFIER.trim_start()));
    let home = Home::with(&unconditional);
    home.succeed(&RUN);
    let x: Array2<f32> = samples(&home, "tiny").by_name("samples").unwrap();
    for (class, truth) in [(0, -2.0), (1, 2.0)] {
        let mean = mean(&x, |i| i % 2 == class);
        assert!((mean - truth).abs() < 0.7, "class {class}: {mean} is not {truth}");
    }
    let accuracy = |name: &str| home.json(&format!("runs/tiny/samples/{name}.json"))["accuracy"].clone();
    let share = accuracy("samples")["share"].as_f64().unwrap();
    assert!(share > 0.9, "{share}");
    let interval = accuracy("samples")["interval"].as_array().unwrap().iter().map(|end| end.as_f64().unwrap()).collect::<Vec<_>>();
    assert!(interval[0] < share && share <= interval[1], "{interval:?}");
    assert!(home.succeed(&RUN).1.contains("every phase is done already"));
    assert!(home.names("runs/tiny/classifier/checkpoints").len() > 1);
    assert!(home.succeed(&["verify", "runs/tiny"]).0.contains("classifier/"));
    features_are_what_the_last_layer_sees(&home, "runs/tiny", "runs/tiny/classifier");

    let (said, _) = home.succeed(&["verify-resume", "tiny.toml"]);
    assert!(said.contains("killed at  classifier/") && said.contains("identical  classifier/"), "{said}");

    let alone = format!("{}{}", CLASSES.split("[condition.class]").next().unwrap(), CLASSIFIER.trim_start());
    let home = Home::with(&alone);
    home.succeed(&RUN);
    assert!(String::from_utf8(home.read("runs/tiny/metrics.jsonl")).unwrap().contains("train/accuracy"));
    features_are_what_the_last_layer_sees(&home, "runs/tiny", "runs/tiny");
}

/// ln p(c | α x, t_min) of the averaged weights, by the features that `evaluate` keeps and by the classifier itself.
fn features_are_what_the_last_layer_sees(home: &Home, named: &str, classifier: &str) {
    let x = Array2::from_shape_fn((30, 2), |(i, j)| i as f32 / 3.0 - 5.0 + 2.0 * j as f32);
    x.write_npy(std::fs::File::create(home.path("x.npy")).unwrap()).unwrap();
    let words = ["evaluate", "x.npy", "--features", named, "--save", "kept.safetensors"];
    let (said, _) = home.succeed(&words);
    assert!(said.contains(&format!("classifier of {named} by t = 0.01, SHA-256 ")) && said.contains(", 32 numbers"), "{said}");
    let kept = FeatureTable::read(&home.path("kept.safetensors")).unwrap().x;

    let (session, _) = Session::open(&home.path(classifier), Machine::default()).unwrap();
    let layer = |part: &str| session.parameters().unwrap().named().find(|(name, ..)| *name == format!("output.{part}")).unwrap().1.detach();
    let found = kept.linear(&layer("weight"), Some(&layer("bias"))).log_softmax(1, None::<Kind>);
    // α² = exp(-β_min t - ½ (β_max - β_min) t²), and the scale of the data is 2.
    let alpha = f64::exp(-0.5 * (0.1 * 0.01 + 0.5 * 19.9 * 1e-4));
    let states = Tensor::try_from(x).unwrap() * (0.5 * alpha);
    let expected = session.log_probabilities().unwrap()(&At::whole(&states, &[0.01; 30]));
    assert!((found - expected).abs().max().double_value(&[]) < 1e-4);

    Array2::<f32>::eye(30).write_npy(std::fs::File::create(home.path("wide.npy")).unwrap()).unwrap();
    let report = home.fail(&["evaluate", "wide.npy", "--against", "x.npy", "--features", named]);
    assert!(report.contains("trained on examples of shape [2], and these have [30]"), "{report}");
}

/// N(1, 4) in the first component, in data units, cut at 2: its mean is 1 + 2 φ(½) / Φ(-½).
#[test]
fn a_factor_cuts_the_law() {
    let [process, sample] = [CLASSES.split("[data.").next().unwrap(), CLASSES.split("[sample]").nth(1).unwrap()];
    let sample = sample
        .split("[likelihood]")
        .next()
        .unwrap()
        .replace("log-snr.steps = 12", "log-snr.steps = 40")
        .replace("t_min = 1e-2", "t_min = 1e-3");
    let cut = sample.replace("given = \"each-class\"", "guidance.product.half-space = { normal = [1.0, 0.0], above = 2.0 }");
    let law = |scale: f64| {
        let [mean, variance] = [1.0 / scale, 4.0 / (scale * scale)];
        format!("weights = [1.0]\nmeans = [[{mean:?}, 0.0]]\ncovariances = [[[{variance:?}, 0.0], [0.0, {variance:?}]]]")
    };
    let data = format!("[data.gaussian-mixture]\ntrain = 10\ntest = 10\nscale = 2.0\n\n[data.gaussian-mixture.mixture]\n{}\n", law(1.0));
    let home = Home::with(&format!("{process}{data}\n[score.gaussian-mixture]\n{}\n\n[sample]{cut}", law(2.0)));
    home.succeed(&RUN);
    let x: Array2<f32> = samples(&home, "tiny").by_name("samples").unwrap();
    assert!(x.column(0).iter().all(|x| *x > 1.95));
    let mean = mean(&x, |_| true);
    assert!((mean - 3.282).abs() < 4.0 * 1.1 / 200f64.sqrt(), "{mean}");
}

#[test]
fn classifiers_that_cannot_be_are_refused_with_their_key() {
    let with = |classes: &str| CLASSES.replace("[sample]", &format!("{}[sample]", classes.trim_start()));
    let cases = [
        (
            with("").replace("given = \"each-class\"", "given = \"each-class\"\nguidance.classifier.weight = 1.0"),
            "sample.guidance.classifier",
            "no classifier",
        ),
        (with(&CLASSIFIER.replace("width = 32", "width = 0")), "classifier.width", "8 to 8192"),
        (with(&CLASSIFIER.replace("t_min = 1e-2", "t_min = 1.0")), "classifier.t_min", "between 0 and 1"),
        (with(&CLASSIFIER.replace("lr = 5e-3", "lr = 5e-3\nobjective = \"denoising\"")), "classifier.train.objective", "for scores"),
        (VECTORS.replace("[sample]", &format!("{}[sample]", CLASSIFIER.trim_start())), "classifier", "have no labels"),
        (
            with(CLASSIFIER).replace("given = \"each-class\"", "guidance.classifier.weight = 1.0"),
            "sample.guidance.classifier",
            "given nothing",
        ),
    ];
    for (experiment, key, what) in cases {
        let report = Home::with(&experiment).fail(&["check", "tiny.toml"]);
        assert!(report.contains(key) && report.contains(what), "{key}: {report}");
    }
}
