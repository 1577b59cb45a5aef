//! `score-sde new`: a first experiment for every process and kind of data, that is accepted and runs.

mod common;

use std::fs;
use std::io::Write;

use clap::ValueEnum;
use common::home::{Home, idx, png};
use ndarray::{Array1, Array2, Array4};
use ndarray_npy::NpzWriter;
use score_sde::experiment::{Draft, Process, load, parse};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Data of every kind: what `--data` names, and the table that it becomes.
const KINDS: [(&str, &str); 9] = [
    ("two-moons", "[data.two-moons]"),
    ("vectors-train.npy", "[data.npy-vectors]"),
    ("arrays.npz", "[data.npy-vectors]"),
    ("points.csv", "[data.csv]"),
    ("pictures.npy", "[data.npy-images]"),
    ("one/deep", "[data.images]"),
    ("folder", "[data.images]"),
    ("images.zip", "[data.images]"),
    ("train-images-idx3-ubyte", "[data.idx]"),
];

fn home() -> Home {
    let home = Home::with("");
    let value = |(i, j): (usize, usize)| ((i * 7 + j * 3) % 11) as f32 - 5.0;
    for split in ["train", "test"] {
        ndarray_npy::write_npy(home.path(&format!("vectors-{split}.npy")), &Array2::from_shape_fn((40, 30), value)).unwrap();
    }
    let mut npz = NpzWriter::new(fs::File::create(home.path("arrays.npz")).unwrap());
    for (name, n) in [("x_train", 40), ("x_test", 20)] {
        npz.add_array(name, &Array2::from_shape_fn((n, 3), value)).unwrap();
        npz.add_array(name.replace('x', "y"), &Array1::from_shape_fn(n, |i| (i % 3) as i64)).unwrap();
    }
    npz.finish().unwrap();
    let rows: String = (0..30).map(|i| format!("{},{},{}\n", value((i, 0)), value((i, 1)), ["cat", "dog"][i % 2])).collect();
    home.write("points.csv", format!("x,y,kind\n{rows}"));
    let pixels = Array4::from_shape_fn((12, 8, 8, 3), |(i, y, x, c)| ((i * 50 + y * x * 3 + c) % 256) as u8);
    ndarray_npy::write_npy(home.path("pictures.npy"), &pixels).unwrap();
    let mut archive = ZipWriter::new(fs::File::create(home.path("images.zip")).unwrap());
    for i in 0..6u8 {
        for (split, class) in [("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")] {
            home.write(&format!("folder/{split}/{class}/{i}.png"), png(8, 8, 40 * i));
        }
        // Of several sizes: they are cropped.
        home.write(&format!("one/deep/{i}.png"), png(9 + u32::from(i), 13, 40 * i));
        archive.start_file(format!("{i}.png"), SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored)).unwrap();
        archive.write_all(&png(8, 8, 40 * i)).unwrap();
    }
    archive.finish().unwrap();
    home.write("train-images-idx3-ubyte", idx(8, 8));
    home.write("t10k-images-idx3-ubyte", idx(8, 8));
    home
}

/// What makes a run of an experiment short.
const SHORT: [&str; 9] = [
    "train.steps=2",
    "train.batch=4",
    "sample.count=2",
    "sample.batch=2",
    "likelihood.count=2",
    "likelihood.batch=2",
    "likelihood.solver={heun={grid={uniform={steps=1}}}}",
    "train.warmup=1",
    "seed=3",
];

fn run(home: &Home, file: &str) {
    let text = String::from_utf8(home.read(file)).unwrap();
    let steps = text.lines().find(|line| line.starts_with("solver.") && !line.contains("rk45")).unwrap();
    let steps = match steps {
        _ if steps.contains("karras") => "sample.solver.heun.grid.karras.steps=2",
        _ if steps.contains("dpm-solver-pp") => "sample.solver.dpm-solver-pp.grid.log-snr.steps=2",
        _ if steps.contains("heun") => "sample.solver.heun.grid.uniform.steps=2",
        _ => "sample.solver.euler.grid.uniform.steps=2",
    };
    let out = format!("runs/{file}");
    let settings = SHORT.iter().chain([&steps]).flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = ["run", file, "--quiet", "--out", &out].into_iter().chain(settings).collect();
    home.succeed(&arguments);
    assert!(home.path(&out).join("likelihood.json").exists(), "{file}");
}

#[test]
fn every_process_and_kind_of_data_has_an_experiment_that_runs() {
    let home = home();
    let all = std::env::var_os("SCORE_SDE_LARGE").is_some();
    for (i, process) in Process::value_variants().iter().enumerate() {
        let name = process.to_possible_value().unwrap().get_name().to_owned();
        for (j, (data, table)) in KINDS.iter().enumerate() {
            let path = home.path(data);
            let path = if path.exists() { path } else { data.into() };
            let text = Draft::new(*process, &path, None, &mut |_, _| {}).unwrap().text(&[]);
            assert!(
                text.starts_with("#:schema schema.json\n") && text.contains(table) && text.contains(&format!("[sde.{name}]")),
                "{text}"
            );
            let file = format!("{name}-{}.toml", data.replace('/', "-"));
            parse(&file, &text, &[]).unwrap_or_else(|error| panic!("{file}: {error}\n{text}"));
            if all || j == i || j == i + 1 && i == 7 {
                home.succeed(&["new", &file, "--sde", &name, "--data", data, "--quiet"]);
                run(&home, &file);
            }
        }
    }
}

#[test]
fn numbers_are_those_of_the_data_and_every_key_has_its_words() {
    let home = home();
    let drafted = |process: &str, data: &str| {
        let file = format!("{process}.toml");
        let _ = fs::remove_file(home.path(&file));
        home.succeed(&["new", &file, "--sde", process, "--data", data]);
        (load(&home.path(&file), &[]).unwrap().experiment, String::from_utf8(home.read(&file)).unwrap())
    };
    let (experiment, text) = drafted("ve", "points.csv");
    let value = toml::Value::try_from(&experiment).unwrap();
    // Values from -5 to 5 in steps of 1, of which 30 are drawn.
    let scale = value["data"]["csv"]["scale"].as_float().unwrap();
    let (far, std) = (value["sde"]["ve"]["sigma_max"].as_float().unwrap(), value["precondition"]["edm"]["sigma_data"].as_float().unwrap());
    assert!((2.5..4.0).contains(&scale) && (std - 1.0).abs() < 0.01 && (8.0..14.2).contains(&(far * scale)), "{scale} {std} {far}");
    assert_eq!(value["data"]["csv"]["labels"].as_str(), Some("kind"));
    assert!(value.get("condition").is_some());
    let bare = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let keys: Vec<&str> = text.lines().filter(bare).collect();
    let above = |key: &str| text.lines().zip(text.lines().skip(1)).any(|(comment, line)| line == key && comment.starts_with("# "));
    // What is a bare choice of the parser's, such as dynamics, says it in the type's own words.
    let silent: Vec<&&str> = keys.iter().filter(|key| !above(key)).collect();
    assert!(keys.len() > 40 && silent.is_empty(), "{silent:?}\n{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    // One source: the words are those of `score-sde keys`.
    let (words, _) = home.succeed(&["keys", "train"]);
    let plain = |text: &str| text.replace("# ", "").split_whitespace().collect::<Vec<_>>().join(" ");
    let of_lr = "Adam's learning rate, above 0; the reference uses 2e-4.";
    assert!(plain(&words).contains(of_lr) && plain(&text).contains(of_lr));

    let (experiment, _) = drafted("vp", "folder");
    let value = toml::Value::try_from(&experiment).unwrap();
    assert_eq!(value["data"]["images"]["labels"].as_str(), Some("folders"));
    let [train, test] = ["train", "test"].map(|split| value["data"]["images"][split].as_str().unwrap().to_owned());
    assert!(train.ends_with("folder/train") && test.ends_with("folder/test"));
    let (_, text) = drafted("vp", "one/deep");
    assert!(text.contains("size = [8, 8]") && text.contains("lanczos") && text.contains("name others as data.*.test"), "{text}");
}

#[test]
fn what_can_not_be_drafted_is_refused_and_nothing_is_overwritten() {
    let home = home();
    home.write("mine.toml", "seed = 1");
    assert!(home.fail(&["new", "mine.toml", "--sde", "vp", "--data", "rings"]).contains("mine.toml is there already"));
    assert_eq!(home.read("mine.toml"), b"seed = 1");
    let refused = |data: &str| home.fail(&["new", "other.toml", "--sde", "vp", "--data", data]);
    assert!(refused("nowhere").contains("there is no such file or folder"));
    home.write("empty/readme.md", "");
    assert!(refused("empty").contains("holds no PNG or JPEG files"));
    home.write("words.csv", "a,b\nx,y\n");
    assert!(refused("words.csv").contains("words.csv"));
    assert!(refused("mine.toml").contains("no data that can be told by its name"));
    assert!(!home.path("other.toml").exists());
}
