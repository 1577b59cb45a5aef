//! Odd values for every key of an experiment: `check` never panics and names the key, and what it accepts `run` does not panic on.
//!
//! A part of them is tried; `SCORE_SDE_ODD=2000` tries so many.

mod common;

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use common::home::{Home, IMAGES, VECTORS, cifar10, idx};
use common::schema::Schema;
use miette::{GraphicalReportHandler, GraphicalTheme};
use score_sde::error::Error;
use score_sde::experiment::{Override, PHASES, parse};
use serde_json::Value;

/// A key of an experiment, and the settings that bring it into the file.
#[derive(Clone, Debug)]
struct Key {
    path: String,
    settings: Vec<String>,
}

/// A plausible value of a key that has no other choice, as TOML.
fn plausible(name: &str, kind: &Value) -> String {
    let kind = kind["type"].as_str().or_else(|| kind["type"][0].as_str()).unwrap_or("object");
    let value = match (name, kind) {
        ("order", _) => "1",
        ("levels" | "chain", "integer") => "100",
        ("rtol" | "atol" | "epsilon", _) => "1e-5",
        ("mean", "number") => "-1.0",
        ("rho", _) => "7.0",
        ("s_max", _) => "50.0",
        ("beta_max" | "sigma_max", _) => "20.0",
        ("channels", _) => "32",
        ("width", _) => "16",
        ("fir", _) => "[1, 3, 3, 1]",
        ("multipliers", _) => "[1, 2]",
        ("attention", _) => "[8]",
        ("range" | "betas", _) => "[0.0, 0.9]",
        ("weights", _) => "[1.0]",
        ("means", _) => "[[0.0, 0.0]]",
        ("covariances", _) => "[[[1.0, 0.0], [0.0, 1.0]]]",
        ("test", "integer") => "20",
        ("train", "string") => "'train-images'",
        ("test", "string") => "'test-images'",
        ("folder", _) => "'cifar10'",
        (_, "integer") => "4",
        (_, "number") => "0.5",
        (_, "boolean") => "true",
        (_, "string") => "'x'",
        (_, "array") => "[]",
        _ => "{}",
    };
    value.to_owned()
}

/// A plausible value of a type, with the first of its choices, as TOML.
fn example(schema: &Schema, name: &str, value: &Value) -> String {
    let value = schema.reference(value).map_or(value, |name| &schema.0[&name]);
    if let Some(choice) = value["oneOf"].as_array().and_then(|choices| choices.first()) {
        return chosen(schema, choice);
    }
    if let Some(word) = value["enum"].as_array().and_then(|words| words.first()) {
        return word.to_string();
    }
    if value["properties"].is_object() { table(schema, value) } else { plausible(name, value) }
}

/// A table with its required keys; of a budget of probes, one that says how many.
fn table(schema: &Schema, value: &Value) -> String {
    let keys = schema.keys(value).into_iter().filter(|(key, _, required)| *required || *key == "probes");
    let keys: Vec<String> =
        keys.map(|(key, value, _)| format!("{key} = {}", if key == "probes" { "3".into() } else { example(schema, key, value) })).collect();
    format!("{{ {} }}", keys.join(", "))
}

/// A choice as a value: a word, or a table of one key.
fn chosen(schema: &Schema, choice: &Value) -> String {
    match (&choice["const"], &choice["enum"][0]) {
        (Value::String(word), _) | (_, Value::String(word)) => format!("'{word}'"),
        _ => table(schema, choice),
    }
}

/// The keys below a value at `path`, behind every choice.
fn keys(schema: &Schema, path: &str, value: &Value, settings: &[String], found: &mut Vec<Key>) {
    let value = schema.reference(value).map_or(value, |name| &schema.0[&name]);
    if !path.is_empty() {
        found.push(Key { path: path.to_owned(), settings: settings.to_vec() });
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let mut go = |key: &str, value: &Value, settings: &[String]| keys(schema, &below(key), value, settings, found);
    for (key, value, required) in schema.keys(value) {
        let more = (!required && path.contains('.')).then(|| format!("{}={}", below(key), example(schema, key, value)));
        go(key, value, &settings.iter().cloned().chain(more).collect::<Vec<_>>());
    }
    for choice in value["oneOf"].as_array().into_iter().flatten() {
        let settings: Vec<String> = settings.iter().cloned().chain([format!("{path}={}", chosen(schema, choice))]).collect();
        schema.keys(choice).into_iter().for_each(|(key, value, _)| go(key, value, &settings));
    }
}

const MIXTURE: &str = "weights = [1.0]\nmeans = [[0.0, 0.0]]\ncovariances = [[[1.0, 0.0], [0.0, 1.0]]]";

/// An experiment with an exact score.
fn exact() -> String {
    let (sde, sample) = (VECTORS.find("[data").unwrap(), VECTORS.find("[sample]").unwrap());
    let data = format!("[data.gaussian-mixture]\ntrain = 100\ntest = 20\nscale = 1.0\n[data.gaussian-mixture.mixture]\n{MIXTURE}\n");
    format!("{}{data}[score.gaussian-mixture]\n{MIXTURE}\n\n{}", &VECTORS[..sde], &VECTORS[sample..])
}

/// The experiment around a key.
fn base(key: &str) -> String {
    let images = ["network.ncsnpp", "network.ddpm", "data.idx", "data.cifar10", "data.npy-images", "dequantisation", "sample.thresholding"];
    let of_pixels = ["likelihood.dequantisation.", "likelihood.below_t_min"];
    match () {
        _ if key.starts_with("score") || key.starts_with("data.gaussian-mixture") => exact(),
        _ if images.iter().chain(&of_pixels).any(|table| key.starts_with(table)) => IMAGES.into(),
        _ => VECTORS.into(),
    }
}

/// Settings that make the rest of an experiment fit what a key stands in: (where the key is, setting).
const FITTING: [(&str, &str); 14] = [
    ("data.", "likelihood.count=1"),
    ("data.cifar10", "network.ncsnpp.attention=[]"),
    ("likelihood.bound", "likelihood.below_t_min='tweedie'"),
    ("sample.solver.edm", FLOW),
    ("sample.solver.uni-pc", FLOW),
    ("sample.solver.rk23", FLOW),
    ("sample.solver.rk45", FLOW),
    ("sample.solver.tsit5", FLOW),
    ("sample.solver.dop853", FLOW),
    ("sample.solver.predictor-corrector", "sample.solver.predictor-corrector.steps=50"),
    ("sample.solver.predictor-corrector.corrector", "sample.solver.predictor-corrector.predictor='euler-maruyama'"),
    ("likelihood.dequantisation.variational", TRAINED),
    ("data.npy-vectors", "data.npy-vectors.train='vectors.npy'"),
    ("data.npy-vectors", "data.npy-vectors.test='vectors.npy'"),
];
const FLOW: &str = "sample.dynamics='probability-flow'";
const TRAINED: &str = "dequantisation={variational={steps=4,batch=4,lr=0.1,clip=1.0,t_min=0.1,layers=1,channels=4}}";

/// The odd values, as TOML.
fn odd() -> Vec<String> {
    let list = |value: &str, n: usize| format!("[{}]", vec![value; n].join(", "));
    let numbers = [
        "0",
        "-1",
        "1",
        "7",
        "65537",
        "1000000",
        "1000001",
        "4294967296",
        "1000000000000",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "0.0",
        "-0.0",
        "-1.5",
        "1e-300",
        "1e12",
        "1e300",
        "nan",
        "-nan",
        "inf",
        "-inf",
    ];
    let others =
        ["''", "'word'", "true", "[]", "{}", "[[]]", "[0]", "[nan, inf]", "[-1, 1]", "[4294967296, 9223372036854775807]", "{ x = 1 }"];
    let lists = [list("1", 20_000), list("0.5", 101), list("9223372036854775807", 17)];
    numbers.into_iter().chain(others).map(str::to_owned).chain(lists).collect()
}

/// The report as a terminal shows it.
fn report(error: &Error) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(400).with_links(false);
    handler.render_report(&mut text, error).unwrap();
    text
}

/// What `check` does with an experiment, but for printing: the bytes it needs, or the report.
fn check(text: &str, settings: &[String]) -> Result<u64, Error> {
    let settings: Vec<Override> = settings.iter().cloned().map(Override::from).collect();
    let loaded = parse("tiny.toml", text, &settings)?;
    assert!(!loaded.experiment.resolved().is_empty());
    let needs = loaded.needs(&PHASES)?;
    needs.fit(Some(1 << 36), true)?;
    Ok(needs.peak())
}

/// The experiments with one odd value that are to be tried, evenly chosen of all: text, settings, key, and whether the rest of it is sound.
fn cases(home: &Home, most: usize) -> Vec<(String, Vec<String>, String, bool)> {
    let schema = Schema::new();
    let mut keys_found = Vec::new();
    keys(&schema, "", &schema.0["Experiment"], &[], &mut keys_found);
    let odd = odd();
    let total = keys_found.len() * odd.len();
    assert!(keys_found.len() > 400, "{} keys", keys_found.len());
    let here = |text: String| {
        ["train-images", "test-images", "cifar10", "vectors.npy"].iter().fold(text, |text, name| {
            text.replace(&format!("\"{name}\""), &format!("'{name}'"))
                .replace(&format!("'{name}'"), &format!("'{}'", home.path(name).display()))
        })
    };
    // A stride with no factor in common with the number of values goes through all keys and values.
    let chosen = (0..most.min(total)).map(|i| (i as u64 * 7_368_787 % total as u64) as usize);
    chosen
        .map(|i| {
            let (key, value) = (&keys_found[i / odd.len()], &odd[i % odd.len()]);
            let text = here(base(&key.path));
            let fitting = FITTING.iter().filter(|(table, _)| key.path.starts_with(table)).map(|(_, setting)| setting.to_string());
            let settings: Vec<String> = key.settings.iter().cloned().chain(fitting).map(here).collect();
            let sound = check(&text, &settings).is_ok();
            let settings = settings.into_iter().chain([format!("{}={value}", key.path)]).collect();
            (text, settings, key.path.clone(), sound)
        })
        .collect()
}

fn short(settings: &[String]) -> String {
    settings.iter().map(|setting| setting.chars().take(160).collect::<String>()).collect::<Vec<_>>().join("  ")
}

/// An array [n, 2] of float32 zeros, as NumPy writes it.
fn npy(n: usize) -> Vec<u8> {
    let header = format!("{:<117}\n", format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, 2), }}"));
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), &vec![0; 8 * n]].concat()
}

fn home() -> Home {
    let home = Home::with_images(VECTORS);
    home.write("test-images", idx(8, 8));
    home.write("cifar10/data_batch_1.bin", cifar10(8));
    home.write("cifar10/test_batch.bin", cifar10(8));
    home.write("vectors.npy", npy(20));
    home
}

fn many(default: usize) -> usize {
    std::env::var("SCORE_SDE_ODD").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn check_refuses_odd_values_by_their_key_and_never_panics() {
    tch::set_num_threads(1);
    let home = home();
    let (mut wrong, mut sound, mut refused) = (Vec::new(), 0, 0);
    let cases = cases(&home, many(400));
    for (text, settings, key, fits) in &cases {
        sound += usize::from(*fits);
        let name = key.rsplit('.').next().unwrap();
        match catch_unwind(|| check(text, settings)) {
            Err(_) => wrong.push(format!("panic: {}", short(settings))),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                refused += 1;
                let report = report(&error);
                // A file that is not what it should be is named itself.
                let named = report.contains(name) || matches!(error, Error::Data { .. } | Error::Io { .. });
                if *fits && !named {
                    wrong.push(format!("{key} is not named: {}\n{}", short(settings), report.chars().take(600).collect::<String>()));
                }
            }
        }
    }
    println!("{} experiments, {sound} sound but for the value, {refused} refused", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(sound > cases.len() / 2 && refused > cases.len() / 2, "{sound} sound, {refused} refused");
}

#[test]
fn a_key_in_more_tables_than_the_stack_holds_is_refused() {
    for n in [33, 60_000] {
        let Err(Error::Usage { message, .. }) = check(VECTORS, &[format!("{}=1", vec!["a"; n].join("."))]) else { panic!("{n} names") };
        assert_eq!(message, format!("--set names a key in {} tables", n - 1));
    }
}

/// Settings that make any experiment short, but for the key that is tried.
const SHORT: [&str; 9] = [
    "train.steps=2",
    "train.batch=4",
    "sample.count=2",
    "sample.batch=2",
    "likelihood.count=2",
    "likelihood.batch=2",
    "sample.solver.euler.grid.uniform.steps=2",
    "likelihood.solver.heun.grid.uniform.steps=1",
    "network.mlp.depth=1",
];

#[test]
fn what_check_accepts_does_not_panic_in_a_run() {
    tch::set_num_threads(1);
    let home = home();
    let accepted: Vec<_> = cases(&home, many(400))
        .into_iter()
        .filter(|(text, settings, ..)| check(text, settings).is_ok_and(|peak| peak < 2_000_000_000))
        .collect();
    let runs = (accepted.len() / 10).max(1);
    for (i, (text, settings, key, _)) in accepted.iter().step_by(accepted.len().div_ceil(runs)).enumerate() {
        let file = format!("odd-{i}.toml");
        home.write(&file, text);
        let table = |setting: &str| setting.split('=').next().unwrap().to_owned();
        let fits = |setting: &str| {
            let path = table(setting);
            !key.starts_with(&path) && !path.starts_with(key.as_str()) && !settings.iter().any(|other| path.starts_with(&table(other)))
        };
        let shortened: Vec<String> = SHORT.into_iter().filter(|setting| fits(setting)).map(str::to_owned).collect();
        let all: Vec<String> = shortened.into_iter().chain(settings.clone()).collect();
        let all = if check(text, &all).is_ok() { &all } else { settings };
        let out = format!("run-{i}");
        let mut arguments = vec!["run", &file, "--quiet", "--out", &out];
        arguments.extend(all.iter().flat_map(|setting| ["--set", setting]));
        ends_well(&home, &arguments, settings);
    }
}

/// A run ends by itself with 0 or 1, or still works after a while.
fn ends_well(home: &Home, arguments: &[&str], settings: &[String]) {
    let mut child = home.start(arguments);
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(5) {
            child.kill().unwrap();
            child.wait().unwrap();
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {}\n{stderr}", output.status, short(settings));
}
