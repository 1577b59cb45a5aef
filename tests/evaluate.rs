//! `score-sde evaluate`, through the binary: one set by all its names, numbers that are known, and what can't be compared.

mod common;

use std::path::Path;

use common::home::{Home, IMAGES, VECTORS, idx};
use ndarray::{Array2, Array4, Axis};
use ndarray_npy::write_npy;
use score_sde::evaluation::FeatureTable;
use score_sde::rng::{Law, Purpose, rows};
use score_sde::tensor::to_vec;
use serde_json::Value;
use tch::Device;

/// n normal points in the plane around (shift, 0).
fn normal(seed: u64, n: usize, shift: f64) -> Array2<f64> {
    let z = to_vec(&rows(Law::Gaussian, seed, Purpose::Noise, 0..n as u64, 0, &[2], Device::Cpu));
    Array2::from_shape_fn((n, 2), |(i, j)| z[2 * i + j] + if j == 0 { shift } else { 0.0 })
}

/// The pixels of [`idx`], [N, H, W, 1].
fn pixels(n: usize) -> Array4<u8> {
    Array4::from_shape_vec((n, 8, 8, 1), idx(n, 8)[16..].to_vec()).unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torchscript").join(name)).unwrap()
}

fn evaluate(home: &Home, words: &[&str]) -> Value {
    let (stdout, _) = home.succeed(&[&["evaluate"], words, &["--json", "-"]].concat());
    serde_json::from_str(&stdout).unwrap()
}

/// Value and half-width of a metric.
fn measured(report: &Value, metric: &str) -> (f64, f64) {
    let measures = report["measures"].as_array().unwrap();
    let measure = measures.iter().find(|measure| measure["metric"] == metric).unwrap_or_else(|| panic!("no {metric} in {report}"));
    (measure["value"].as_f64().unwrap(), measure["half_width"].as_f64().unwrap())
}

#[test]
fn equal_laws_can_not_be_told_apart_and_others_can() {
    let home = Home::with(VECTORS);
    for (name, seed, n, shift) in [("x", 1, 300, 0.0), ("y", 2, 400, 0.0), ("z", 3, 300, 2.0)] {
        write_npy(home.path(&format!("{name}.npy")), &normal(seed, n, shift)).unwrap();
    }
    let [equal, other] = ["y.npy", "z.npy"].map(|b| evaluate(&home, &["x.npy", "--against", b]));
    for measure in equal["measures"].as_array().unwrap() {
        let (value, half_width) = measured(&equal, measure["metric"].as_str().unwrap());
        let Some(truth) = measure["equal_laws"].as_f64() else { continue };
        assert!((value - truth).abs() < 1.5 * half_width, "{measure}");
        let (value, half_width) = measured(&other, measure["metric"].as_str().unwrap());
        assert!((value - truth).abs() > half_width, "{measure} and {value} ± {half_width}");
    }
    // The best classifier of two normal laws whose means are 2 apart is right with probability Φ(1).
    let (accuracy, half_width) = measured(&other, "c2st_accuracy");
    assert!((accuracy - 0.8413).abs() < 2.0 * half_width, "{accuracy} ± {half_width}");
    // ‖(2, 0)‖² between equal covariances.
    let (frechet, half_width) = measured(&other, "frechet_distance_extrapolated");
    assert!((frechet - 4.0).abs() < 1.5 * half_width, "{frechet} ± {half_width}");
    // The same command gives the same bits; another seed another order, and so other intervals.
    let again = |seed| evaluate(&home, &["x.npy", "--against", "y.npy", "--seed", seed]);
    assert_eq!(again("1"), equal);
    assert_ne!(measured(&again("2"), "energy_distance").1, measured(&equal, "energy_distance").1);
}

#[test]
fn the_better_of_two_is_named_or_it_is_said_that_nobody_can_tell() {
    let home = Home::with(VECTORS);
    for (name, seed, shift) in [("near", 1, 0.1), ("alike", 2, 0.1), ("far", 3, 2.0), ("truth", 4, 0.0)] {
        write_npy(home.path(&format!("{name}.npy")), &normal(seed, 300, shift)).unwrap();
    }
    let than = |a: &str, c: &str| home.succeed(&["evaluate", a, "--against", "truth.npy", "--than", c]).0;
    let line = |table: &str| table.lines().rev().find(|line| line.starts_with("energy distance")).unwrap().to_owned();
    let table = than("near.npy", "far.npy");
    assert!(line(&table).contains("A is better than C by ") && line(&table).contains(" ± "), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(line(&than("far.npy", "near.npy")).contains("C is better than A by "));
    assert!(line(&than("near.npy", "alike.npy")).contains("cannot tell A from C, needs "));
    let report = evaluate(&home, &["near.npy", "--against", "truth.npy", "--than", "far.npy"]);
    let [a, c] = [&report, &report["than"]].map(|report| measured(report, "energy_distance").0);
    let verdicts = report["than"]["verdicts"].as_array().unwrap();
    let verdict = verdicts.iter().find(|verdict| verdict["metric"] == "energy_distance").unwrap();
    assert!((verdict["value"].as_f64().unwrap() - (c - a)).abs() < 1e-12, "{verdict}");
    // Samples from the same starts are told apart by their difference, where two sets of their own hide it.
    for (name, seed, scale) in [("narrow", 7, 1.2), ("wide", 7, 1.35), ("other", 8, 1.35)] {
        write_npy(home.path(&format!("{name}.npy")), &normal(seed, 300, 0.0).mapv(|x| scale * x)).unwrap();
    }
    let line = |c: &str| line(&than("narrow.npy", c));
    assert!(line("wide.npy").contains("A is better than C by "), "{}", line("wide.npy"));
    assert!(line("other.npy").contains("cannot tell A from C"), "{}", line("other.npy"));
}

/// The moments of a set say as much of the Fréchet distance as the set does, but for the scatter of B.
#[test]
fn moments_are_kept_and_compared_with() {
    let home = Home::with(VECTORS);
    for (name, seed, shift) in [("x", 1, 0.0), ("c", 3, 1.0), ("y", 2, 2.0)] {
        write_npy(home.path(&format!("{name}.npy")), &normal(seed, 400, shift)).unwrap();
    }
    home.succeed(&["evaluate", "y.npy", "--save", "y.npz"]);
    let whole = evaluate(&home, &["x.npy", "--against", "y.npy"]);
    let report = evaluate(&home, &["x.npy", "--against", "y.npz", "--than", "c.npy", "--train", "y.npy", "--protocol", "torch-fidelity"]);
    let [(value, _), (expected, _)] = [&report, &whole].map(|report| measured(report, "frechet_distance"));
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
    assert_eq!(report["measures"].as_array().unwrap().len(), 2);
    assert_eq!((&report["moments"]["name"], &report["moments"]["dimension"]), (&"y.npz".into(), &2.into()));
    assert!(report.get("b").is_none() && report["memorisation"].get("authenticity_of_b").is_none(), "{report}");
    assert!(report["followed"]["missing"].to_string().contains("KID, precision and recall need examples of B"), "{report}");
    let table = home.succeed(&["evaluate", "x.npy", "--against", "y.npz", "--than", "c.npy", "--train", "y.npy"]).0;
    assert!(table.contains("mean and covariance of 2 features") && table.contains("C is better than A by "), "{table}");
    let report = home.fail(&["evaluate", "y.npz", "--against", "x.npy"]);
    assert!(report.contains("y.npz holds a mean and a covariance, and no examples") && report.contains("--against"), "{report}");
    write_npy(home.path("wide.npy"), &Array2::<f64>::from_shape_fn((30, 3), |(i, j)| (i * j) as f64)).unwrap();
    let report = home.fail(&["evaluate", "wide.npy", "--against", "y.npz"]);
    assert!(report.contains("wide.npy has 3 features for each example") && report.contains("has 2"), "{report}");
}

#[test]
fn a_protocol_gives_its_numbers_and_says_what_is_missing() {
    let home = Home::with(VECTORS);
    for (name, seed, n) in [("x", 1, 1200), ("y", 2, 1100), ("few", 3, 30)] {
        write_npy(home.path(&format!("{name}.npy")), &normal(seed, n, 0.0)).unwrap();
    }
    let follow = |protocol: &str, a: &str| evaluate(&home, &[a, "--against", "y.npy", "--protocol", protocol]);
    let value = |report: &Value, metric: &str| {
        let values = report["followed"]["values"].as_array().unwrap();
        values.iter().find(|value| value["metric"] == metric).map(|value| value["value"].as_f64().unwrap())
    };
    let missing = |report: &Value| report["followed"]["missing"].to_string();
    for (protocol, metric, words) in [
        ("edm", "frechet_distance", ["A has 1200 samples, and not 50000", "lowest of three"]),
        ("reference", "kid_of_blocks", ["B has 1100 examples", "inception/1"]),
        ("torch-fidelity", "kid_of_subsets", ["not the 2048 of inception-v3-compat", "needs logits"]),
    ] {
        let report = follow(protocol, "x.npy");
        assert_eq!(value(&report, "frechet_distance"), Some(measured(&report, "frechet_distance").0));
        assert!(value(&report, metric).unwrap().abs() < 0.1 && words.iter().all(|text| missing(&report).contains(text)), "{report}");
        assert_eq!(report["followed"]["protocol"], protocol);
    }
    let few = follow("torch-fidelity", "few.npy");
    assert!(value(&few, "kid_of_subsets").is_none() && missing(&few).contains("subsets of 1000 examples"), "{few}");
    let table = home.succeed(&["evaluate", "x.npy", "--against", "y.npy", "--protocol", "torch-fidelity"]).0;
    assert!(table.contains("as torch-fidelity has it") && table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn planted_copies_and_a_lost_mode_are_found() {
    let home = Home::with(VECTORS);
    let modes = |seed, n: usize, lost: bool| {
        let mut points = normal(seed, n, 0.0);
        points.outer_iter_mut().enumerate().for_each(|(i, mut point)| point[1] += if i % 2 == 0 && !lost { 40.0 } else { 0.0 });
        points
    };
    let (train, mut copied) = (modes(1, 400, false), modes(4, 200, false));
    copied.row_mut(30).assign(&train.row(123));
    (0..100).for_each(|i| copied.row_mut(100 + i).assign(&train.row(i)));
    for (name, points) in [("train", train), ("held", modes(2, 400, false)), ("fresh", modes(3, 200, false)), ("copied", copied)] {
        write_npy(home.path(&format!("{name}.npy")), &points).unwrap();
    }
    write_npy(home.path("lost.npy"), &modes(5, 400, true)).unwrap();
    let memorised = |a: &str| evaluate(&home, &[a, "--against", "held.npy", "--train", "train.npy"])["memorisation"].clone();
    let number = |value: &Value| value["value"].as_f64().unwrap();
    let (fresh, copied) = (memorised("fresh.npy"), memorised("copied.npy"));
    assert_eq!((&fresh["copies"], &copied["copies"]), (&0.into(), &101.into()));
    let apart = number(&fresh["authenticity"]) - number(&fresh["authenticity_of_b"]);
    assert!(apart.abs() < 0.15, "{fresh}");
    assert!(number(&copied["authenticity"]) < number(&copied["authenticity_of_b"]) - 0.1, "{copied}");
    let pairs = copied["nearest"].as_array().unwrap();
    let first = pairs.iter().find(|pair| pair["example"] == 30).unwrap();
    assert_eq!((&first["train"], &first["distance"]), (&123.into(), &0.0.into()));
    // Places are those of the whole set, also where some of it is drawn, or its features were kept.
    home.succeed(&["evaluate", "copied.npy", "--count", "150", "--save", "kept.safetensors"]);
    for (a, count) in [("copied.npy", "150"), ("kept.safetensors", "150")] {
        let words = [a, "--against", "held.npy", "--train", "train.npy", "--count", count];
        let pairs = evaluate(&home, &words)["memorisation"]["nearest"].clone();
        let place = |pair: &Value, of: &str| pair[of].as_i64().unwrap();
        for pair in pairs.as_array().unwrap() {
            let expected = if place(pair, "example") == 30 { 123 } else { place(pair, "example") - 100 };
            assert_eq!((place(pair, "train"), &pair["distance"]), (expected, &0.0.into()), "{pair}");
        }
    }
    let lost = evaluate(&home, &["lost.npy", "--against", "held.npy"]);
    for metric in ["recall", "coverage"] {
        let (value, half_width) = measured(&lost, metric);
        assert!(value < 0.6 && value + half_width < 0.7, "{metric} {value} ± {half_width}");
    }
    assert!(measured(&lost, "precision").0 > 0.9);
    let (table, _) = home.succeed(&["evaluate", "copied.npy", "--against", "held.npy", "--train", "train.npy"]);
    assert!(table.lines().all(|line| line.chars().count() <= 80) && table.contains("authenticity of B"), "{table}");
}

/// Both splits of one law, and a test split that lies elsewhere.
#[test]
fn a_gap_between_splits_is_told_with_its_interval() {
    let mixture = "weights = [1.0], means = [[0.0, 0.0]], covariances = [[[1.0, 0.0], [0.0, 1.0]]]";
    let part = |from: &str, to: &str| VECTORS[VECTORS.find(from).unwrap()..VECTORS.find(to).unwrap()].to_owned();
    let data = "[data.npy-vectors]\ntrain = 'train.npy'\ntest = 'test.npy'\nscale = 1.0\n";
    let likelihood = VECTORS[VECTORS.find("[likelihood]").unwrap()..].replace("count = 5", "count = 60");
    let experiment = part("seed", "[data") + data + &format!("[score]\ngaussian-mixture = {{ {mixture} }}\n") + &likelihood;
    let home = Home::with(&experiment);
    write_npy(home.path("train.npy"), &normal(1, 60, 0.0)).unwrap();
    for (shift, words) in [(0.0, "not to be told from 0"), (2.0, "training examples are likelier")] {
        write_npy(home.path("test.npy"), &normal(2, 60, shift)).unwrap();
        let out = format!("runs/{shift}");
        home.succeed(&["run", "tiny.toml", "--out", &out]);
        let (said, _) = home.succeed(&["likelihood", &out, "--gap"]);
        assert!(said.contains(words) && said.contains("nats (95 %)"), "{said}");
        let gap = home.json(&format!("{out}/likelihood-2-gap.json"));
        // Of a normal law, -ln p is |x|²/2 and a constant.
        let energy = |seed, shift| normal(seed, 60, shift).mapv(|x| x * x / 2.0).sum() / 60.0;
        let truth = energy(2, shift) - energy(1, 0.0);
        assert!((gap["value"].as_f64().unwrap() - truth).abs() < 0.15 && gap["half_width"].as_f64().unwrap() > 0.1, "{gap}, {truth}");
        assert_eq!(home.json(&format!("{out}/likelihood-2-train.json"))["protocol"]["settings"]["split"], "train");
    }
}

#[test]
fn a_table_fits_a_terminal_and_says_what_was_compared() {
    let home = Home::with(VECTORS);
    home.succeed(&["run", "tiny.toml", "--set", "sample.count=30"]);
    let words = ["evaluate", "runs/tiny", "--count", "20", "--json", "report.json"];
    let (table, _) = home.succeed(&words);
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    for text in ["runs/tiny/experiment.toml:test", "20 examples of shape [2]", "energy distance", "the examples as they are, 2 numbers"] {
        assert!(table.contains(text), "{text} is not in {table}");
    }
    let report = home.json("report.json");
    assert_eq!((&report["a"]["count"], &report["b"]["count"]), (&20.into(), &20.into()));
    assert_eq!(report["a"]["made_by"]["protocol"]["t_min"], 1e-3, "{report}");
    assert_eq!(report["a"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let report = home.fail(&["evaluate", "runs/tiny", "--features", "runs/tiny"]);
    assert!(report.contains("runs/tiny: holds no classifier") && report.contains("give the experiment [classifier]"), "{report}");
    let report = home.fail(&["evaluate", "runs/tiny", "--features", "runs"]);
    assert!(report.contains("runs") && report.contains("experiment.toml"), "{report}");
    let report = home.fail(&["evaluate", "runs/tiny:other"]);
    assert!(report.contains("has no samples named other") && report.contains("its samples are samples"), "{report}");
    let train = evaluate(&home, &["runs/tiny:samples", "--against", "tiny.toml:train"]);
    assert_eq!(train["b"]["count"], 100);
}

#[test]
fn one_set_has_one_hash_by_all_its_names() {
    let home = Home::with_images(IMAGES);
    home.write("train-images", idx(24, 8));
    let pixels = pixels(24);
    write_npy(home.path("x.npy"), &pixels).unwrap();
    std::fs::create_dir(home.path("files")).unwrap();
    let mut archive = zip::ZipWriter::new(std::fs::File::create(home.path("x.zip")).unwrap());
    for (i, image) in pixels.axis_iter(Axis(0)).enumerate() {
        let image = image::GrayImage::from_raw(8, 8, image.iter().copied().collect()).unwrap();
        image.save(home.path(&format!("files/{i:02}.png"))).unwrap();
        archive.start_file(format!("{i:02}.png"), zip::write::SimpleFileOptions::default()).unwrap();
        std::io::copy(&mut &home.read(&format!("files/{i:02}.png"))[..], &mut archive).unwrap();
    }
    archive.finish().unwrap();
    let mut hashes = Vec::new();
    for name in ["tiny.toml:train", "files", "x.zip"] {
        let report = evaluate(&home, &[name, "--against", "x.npy"]);
        hashes.extend(["a", "b"].map(|side| report[side]["sha256"].clone()));
        assert!(measured(&report, "energy_distance").0 < 0.0, "{report}");
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

/// Two copies of training images and the images above them.
#[test]
fn the_nearest_training_images_are_drawn_below_samples() {
    let home = Home::with_images(IMAGES);
    home.write("train-images", idx(24, 8));
    let mut copied = pixels(24).mapv(|pixel| 255 - pixel);
    copied.index_axis_mut(Axis(0), 5).assign(&pixels(24).index_axis(Axis(0), 17));
    write_npy(home.path("x.npy"), &copied).unwrap();
    let words = ["evaluate", "x.npy", "--against", "tiny.toml:train", "--train", "tiny.toml:train"];
    home.succeed(&[&words[..], &["--picture", "nearest.png"]].concat());
    let picture = image::load_from_memory(&home.read("nearest.png")).unwrap().to_luma8();
    // Twenty pairs in rows of ten, each pixel a square of eight, with gaps of two: the first column begins with the copy above its source.
    let (factor, cell) = (8, 66);
    assert_eq!(picture.dimensions(), (10 * cell + 2, 4 * cell + 2));
    let at = |row: u32, x: u32, y: u32| picture.get_pixel(2 + factor * x, 2 + row * cell + factor * y).0[0];
    for (x, y) in [(0, 0), (3, 2), (7, 7)] {
        let source = pixels(24)[(17, y as usize, x as usize, 0)];
        assert_eq!([at(0, x, y), at(1, x, y)], [source; 2], "({x}, {y})");
    }
    write_npy(home.path("v.npy"), &normal(1, 30, 0.0)).unwrap();
    let refused = home.fail(&["evaluate", "v.npy", "--against", "v.npy", "--train", "v.npy", "--picture", "nearest.png"]);
    assert!(refused.contains("nothing to draw in nearest.png") && refused.contains("give images"), "{refused}");
}

#[test]
fn features_of_a_module_are_computed_kept_and_compared_with_their_own_kind() {
    let home = Home::with_images(IMAGES);
    home.write("train-images", idx(24, 8));
    write_npy(home.path("x.npy"), &pixels(24).mapv(|pixel| 255 - pixel)).unwrap();
    home.write("features.pt", fixture("features.pt"));
    let with = ["--features", "features.pt"];
    let (said, _) = home.succeed(&[&["evaluate", "tiny.toml:train", "--save", "kept.safetensors"], &with[..]].concat());
    assert!(said.contains("features.pt, SHA-256") && said.contains("16 numbers"), "{said}");
    let once = evaluate(&home, &[&["tiny.toml:train", "--against", "x.npy"], &with[..]].concat());
    let said = home.said(&["evaluate", "tiny.toml:train", "--against", "x.npy", "--quiet"]);
    assert_eq!(said.matches("24 examples of 64 features: the Fréchet distance is far too large").count(), 2, "{said}");
    let kept = evaluate(&home, &[&["kept.safetensors", "--against", "x.npy", "--batch", "5"], &with[..]].concat());
    assert_eq!(once, kept);
    assert_eq!(once["a"]["features"]["dimension"], 16);
    // What the module computes: means of rows and columns.
    let means = Array2::from_shape_fn((24, 16), |(i, j)| {
        let of = |h: usize, w: usize| f64::from(idx(24, 8)[16 + 64 * i + 8 * h + w]) / 127.5 - 1.0;
        (0..8).map(|k| if j < 8 { of(k, j) } else { of(j - 8, k) }).sum::<f64>() / 8.0
    });
    write_npy(home.path("means.npy"), &means).unwrap();
    write_npy(home.path("others.npy"), &means.mapv(|mean| -mean)).unwrap();
    let by_hand = evaluate(&home, &["means.npy", "--against", "others.npy"]);
    let [energy, expected] = [&once, &by_hand].map(|report| measured(report, "energy_distance").0);
    assert!((energy - expected).abs() < 1e-5 * expected, "{energy} is not {expected}");

    let refused = |words: &[&str], texts: [&str; 2]| {
        let report = home.fail(&[&["evaluate"], words].concat());
        assert!(texts.iter().all(|text| report.contains(text)), "{words:?}: {report}");
    };
    refused(&["kept.safetensors", "--against", "x.npy"], ["of the examples as they are, 64 numbers", "give --features FILE"]);
    refused(&["kept.safetensors", "--against", "x.npy", "--count", "5"], ["keeps the features of 24 examples, not of 5", "--save"]);
    home.write("other.pt", fixture("wrong-features-batch.pt"));
    let other = ["kept.safetensors", "--against", "kept.safetensors", "--features", "other.pt"];
    refused(&other, ["keeps features of features.pt, SHA-256", "leave out --features"]);
    let mut damaged = home.read("kept.safetensors");
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    home.write("damaged.safetensors", &damaged);
    refused(&["damaged.safetensors", "--against", "x.npy"], ["damaged.safetensors: is damaged: its checksum", "make it again"]);
    for (how, texts) in [
        ("wrong-features-batch.pt", ["when it is alone than in a batch", "module.eval()"]),
        ("wrong-features-shape.pt", ["gives [3, 8, 8] for x [3, 1, 8, 8]; expected [3, D]", "flatten(1)"]),
        ("wrong-features-nan.pt", ["has a feature that is not a finite number", "example 0"]),
        ("net.pt", ["can't do F(x) for x [3, 1, 8, 8] in f32", "its forward takes x"]),
    ] {
        home.write(how, fixture(how));
        refused(&["x.npy", "--against", "tiny.toml:train", "--features", how], texts);
    }
    home.write("noise.pt", "no module");
    refused(&["x.npy", "--against", "x.npy", "--features", "noise.pt"], ["noise.pt: is no TorchScript module", "torch.jit.save"]);
    refused(&["x.npy", "--against", "x.npy", "--features", "none.pt"], ["none.pt: there is no such file", "torch.jit.save"]);
}

const WEIGHTS: &str = "data/features/efficientnet-lite0.pth";

/// What the packages of `scripts/features/check` give for the same images.
#[test]
#[ignore = "needs the weights of scripts/fetch-features"]
fn efficientnet_has_the_numbers_of_the_package_that_its_weights_come_from() {
    let home = Home::with(VECTORS);
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(WEIGHTS);
    home.write(WEIGHTS, std::fs::read(&fetched).expect("run scripts/fetch-features"));
    let pixel = |n: usize, c: usize, h: usize, w: usize| ((h * (3 + n) + w * 5 * (c + 1)) % 256) as u8;
    write_npy(home.path("x.npy"), &Array4::from_shape_fn((20, 3, 32, 32), |(n, c, h, w)| pixel(n, c, h, w))).unwrap();
    let words = ["evaluate", "x.npy", "--features", "efficientnet-lite0", "--save", "kept.safetensors"];
    let (said, _) = home.succeed(&words);
    assert!(said.contains("efficientnet-lite0 by bicubic-224, SHA-256 579344248a93, 1280 numbers"), "{said}");
    let kept = FeatureTable::read(&home.path("kept.safetensors")).unwrap();
    let means = to_vec(&kept.x.mean_dim([1i64].as_slice(), false, None));
    let near = |found: &[f64], expected: &[f64]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(near(&means, &[0.15442, 0.16105, 0.16775, 0.16465]), "{means:?}");
    let first = to_vec(&kept.x.get(0).narrow(0, 0, 5));
    assert!(near(&first, &[0.0, 0.08857, 0.13972, 1.99859, 0.0]), "{first:?}");
    write_npy(home.path("vectors.npy"), &normal(1, 30, 0.0)).unwrap();
    let report = home.fail(&["evaluate", "vectors.npy", "--against", "x.npy", "--features", "efficientnet-lite0"]);
    assert!(report.contains("takes images of 1 or 3 channels, and examples have the shape [2]"), "{report}");
}

#[test]
fn weights_that_are_missing_or_others_are_refused_in_words() {
    let home = Home::with_images(IMAGES);
    home.write("train-images", idx(24, 8));
    let refused = |texts: [&str; 2]| {
        let report = home.fail(&["evaluate", "tiny.toml:train", "--against", "tiny.toml:train", "--features", "efficientnet-lite0"]);
        assert!(texts.iter().all(|text| report.contains(text)), "{report}");
    };
    refused(["efficientnet-lite0.pth: there is no such file", "scripts/fetch-features"]);
    for (fixture, texts) in [
        ("ncsnpp_legacy.pth", ["_conv_stem.weight: expected a tensor [32, 3, 3, 3] of type Float, found none", "scripts/fetch-features"]),
        ("malicious_legacy.pth", ["refusing to call", "nothing of it was run"]),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pth").join(fixture);
        home.write(WEIGHTS, std::fs::read(path).unwrap());
        refused(texts);
    }
    home.write(WEIGHTS, "no weights");
    refused(["is no checkpoint of PyTorch", "scripts/fetch-features"]);
}

#[test]
fn features_of_a_network_are_computed_once() {
    let home = Home::with_images(IMAGES);
    home.write("train-images", idx(24, 8));
    home.write("features.pt", fixture("features.pt"));
    write_npy(home.path("x.npy"), &pixels(24).mapv(|pixel| 255 - pixel)).unwrap();
    let words = ["tiny.toml:train", "--against", "x.npy", "--features", "features.pt"];
    let kept = || home.names("cache/score-sde/features");
    let once = evaluate(&home, &words);
    assert_eq!(kept().len(), 2);
    assert_eq!(evaluate(&home, &words), once);
    assert_eq!(kept().len(), 2);
    // The same examples by another name are the same; some of them are others, and so is what examples are by themselves.
    write_npy(home.path("copy.npy"), &pixels(24)).unwrap();
    let copy = evaluate(&home, &[&["copy.npy"], &words[1..]].concat());
    assert_eq!((&copy["measures"], &copy["a"]["name"]), (&once["measures"], &"copy.npy".into()));
    assert_eq!(kept().len(), 2);
    evaluate(&home, &words[..3]);
    assert_eq!(kept().len(), 2);
    evaluate(&home, &[&words[..], &["--count", "20"]].concat());
    assert_eq!(kept().len(), 4);
    // What is kept is what is used: where it says something else and is whole, so do the numbers; damaged, it is made again.
    let names = kept();
    let path = |name: &String| home.path("cache/score-sde/features").join(name);
    let mut tables: Vec<FeatureTable> = names.iter().map(|name| FeatureTable::read(&path(name)).unwrap()).collect();
    for (name, table) in names.iter().zip(&mut tables).filter(|(_, table)| table.about.sha256 == once["a"]["sha256"]) {
        table.x = &table.x * 2.0;
        table.save(&path(name)).unwrap();
    }
    assert_ne!(evaluate(&home, &words)["measures"], once["measures"]);
    names.iter().for_each(|name| std::fs::write(path(name), "damaged").unwrap());
    let (stdout, said) = home.succeed(&[&["evaluate"], &words[..], &["--json", "-"]].concat());
    assert_eq!(said.matches("is damaged, and is made again").count(), 2, "{said}");
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap(), once);
    // Nowhere to keep them is no reason to stop.
    std::fs::remove_dir_all(home.path("cache")).unwrap();
    home.write("cache", "no folder");
    let (stdout, said) = home.succeed(&[&["evaluate"], &words[..], &["--json", "-"]].concat());
    assert!(said.contains("features are not kept"), "{said}");
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap(), once);
}

#[test]
fn what_can_not_be_compared_is_refused_in_words() {
    let home = Home::with(VECTORS);
    write_npy(home.path("x.npy"), &normal(1, 30, 0.0)).unwrap();
    write_npy(home.path("one.npy"), &normal(1, 1, 0.0)).unwrap();
    write_npy(home.path("constant.npy"), &Array2::<f64>::ones((30, 2))).unwrap();
    write_npy(home.path("nan.npy"), &Array2::from_elem((30, 2), f64::NAN)).unwrap();
    write_npy(home.path("wide.npy"), &Array2::<f64>::zeros((30, 3))).unwrap();
    write_npy(home.path("line.npy"), &ndarray::Array1::<f64>::zeros(30)).unwrap();
    std::fs::create_dir(home.path("empty")).unwrap();
    home.write("notes.txt", "what is here");
    home.write("other.safetensors", [8u64.to_le_bytes().as_slice(), b"{}      "].concat());
    for (b, texts) in [
        ("one.npy", ["one.npy: there are 1 examples", "20 or more"]),
        ("constant.npy", ["constant.npy: all examples have the same features", "features that tell examples apart"]),
        ("nan.npy", ["nan.npy: row 0 holds numbers that are not finite", "numpy.save"]),
        ("wide.npy", ["x.npy has examples of shape [2], wide.npy of [3]", "one shape"]),
        ("line.npy", ["line.npy: has 1 axes", "numpy.save"]),
        ("empty", ["empty: holds no PNG or JPEG files", "name a folder"]),
        ("none.npy", ["none.npy: there is no such file", "give a run folder"]),
        ("none", ["none: there is no such file or folder", "give a run folder"]),
        ("none:other", ["none: there is no such file or folder", "give a run folder"]),
        ("notes.txt", ["notes.txt: its name does not tell what it holds", "give a run folder"]),
        ("x.npy:x", ["x.npy has no parts with names", "FILE.npz:ARRAY"]),
        ("tiny.toml", ["tiny.toml has two splits", "tiny.toml:test"]),
        ("tiny.toml:tset", ["tset is neither", "tiny.toml:test"]),
        ("other.safetensors", ["other.safetensors: holds no features", "--save"]),
    ] {
        let report = home.fail(&["evaluate", "x.npy", "--against", b]);
        assert!(texts.iter().all(|text| report.contains(text)), "{b}: {report}");
    }
    let report = home.fail(&["evaluate", "x.npy"]);
    assert!(report.contains("nothing to compare x.npy with") && report.contains("--against B, or --save FILE"), "{report}");
    let report = home.fail(&["evaluate", "x.npy", "--save", "kept"]);
    assert!(report.contains("ends neither with .safetensors nor with .npz"), "{report}");
    let report = home.fail(&["evaluate", "x.npy", "--against", "x.npy", "--count", "31"]);
    assert!(report.contains("x.npy holds 30 examples, and --count is 31"), "{report}");
    assert_eq!(home.names(".").iter().filter(|name| name.starts_with("kept")).count(), 0);
}
