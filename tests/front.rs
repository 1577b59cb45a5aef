//! What a verb needs and obeys: no more data than it reads, no flag it ignores, no run it cannot understand.

mod common;

use clap::Parser;
use common::home::{Home, IMAGES, VECTORS, idx};
use insta::assert_snapshot;
use ndarray::{Array1, Array2};
use score_sde::cli::Arguments;
use score_sde::run::{Run, checkpoint};

const RUN: [&str; 2] = ["run", "tiny.toml"];

#[test]
fn a_run_is_sampled_and_exported_on_a_machine_without_its_data() {
    let home = Home::with_images(IMAGES);
    home.succeed(&RUN);
    let likelihood = |name| home.succeed(&["likelihood", "runs/tiny", "--name", name]);
    std::fs::remove_file(home.path("train-images")).unwrap();
    likelihood("of-the-test-split");
    std::fs::remove_file(home.path("test-images")).unwrap();
    home.succeed(&["sample", "runs/tiny", "--name", "elsewhere"]);
    let [here, there] = ["samples", "elsewhere"].map(|name| home.read(&format!("runs/tiny/samples/{name}.npz")));
    assert!(here == there, "the same samples, to the bit");
    home.succeed(&["export", "runs/tiny", "--to", "safetensors"]);
    let refusal = home.fail(&["likelihood", "runs/tiny"]);
    assert!(refusal.contains("test-images"), "{refusal}");
}

#[test]
fn vectors_are_sampled_without_their_data_and_drawn_alone() {
    let home =
        Home::with(&VECTORS.replace("[data.checkerboard]\ntrain = 100\ntest = 20", "[data.npy-vectors]\ntrain = 'x.npy'\ntest = 'x.npy'"));
    ndarray_npy::write_npy(home.path("x.npy"), &Array2::from_shape_fn((8, 2), |(i, j)| (i + j) as f32)).unwrap();
    home.succeed(&RUN);
    std::fs::remove_file(home.path("x.npy")).unwrap();
    home.succeed(&["sample", "runs/tiny"]);
    assert!(home.path("runs/tiny/samples/samples-2.png").exists());
}

#[test]
fn data_are_found_beside_the_experiment_and_known_again_where_they_are_moved() {
    let home = Home::with(VECTORS);
    for (name, bytes) in [("train-images", idx(16, 8)), ("test-images", idx(4, 8))] {
        home.write(&format!("deep/data/{name}"), bytes);
    }
    home.write("deep/tiny.toml", IMAGES.replace("train-images", "data/train-images").replace("test-images", "data/test-images"));
    // Beside the file, wherever one stands.
    home.succeed(&["run", "deep/tiny.toml"]);
    let stored = String::from_utf8(home.read("runs/tiny/experiment.toml")).unwrap();
    assert!(stored.contains(home.path("deep/data/train-images").to_str().unwrap()), "{stored}");
    let before = home.contents("runs/tiny");
    std::fs::rename(home.path("deep/data"), home.path("moved")).unwrap();
    let missing = home.fail(&["run", "deep/tiny.toml"]).replace("/ ", "/");
    let places = format!("there is no such file in {} or in {}", home.path("deep").display(), home.path("").display());
    assert!(missing.contains(places.trim_end_matches('/')), "{missing}");
    let moved = ["run", "deep/tiny.toml", "--set", "data.idx.train=moved/train-images", "--set", "data.idx.test=moved/test-images"];
    let (_, stderr) = home.succeed(&moved);
    assert!(stderr.contains("every phase is done already"), "{stderr}");
    assert_eq!(home.contents("runs/tiny"), before);
    home.write("moved/train-images", idx(17, 8));
    let other = home.fail(&moved);
    assert!(other.contains("was begun with other data: what data.idx.train names is not what it was then"), "{other}");
}

#[test]
fn check_reads_the_headers_of_data_alone() {
    let home = Home::with_images(IMAGES);
    let (before, _) = home.succeed(&["check", "tiny.toml"]);
    assert!(before.contains("16 training examples of shape [1, 8, 8]"), "{before}");
    // Rows that are no numbers: whoever reads them finds out.
    let home =
        Home::with(&VECTORS.replace("[data.checkerboard]\ntrain = 100\ntest = 20", "[data.npy-vectors]\ntrain = 'x.npy'\ntest = 'x.npy'"));
    ndarray_npy::write_npy(home.path("x.npy"), &Array2::from_elem((8, 2), f32::NAN)).unwrap();
    let (checked, _) = home.succeed(&["check", "tiny.toml"]);
    assert!(checked.contains("8 training examples of shape [2]"), "{checked}");
    assert!(home.fail(&RUN).contains("not finite"));
}

#[test]
fn a_run_of_another_format_is_read_or_refused_by_its_number() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    let about = home.json("runs/tiny/run.json");
    assert_eq!((&about["format"], &about["shape"]), (&1.into(), &vec![2].into()));

    home.write("runs/tiny/run.json", r#"{"format":7,"shape":[2],"version":"9.8.7"}"#);
    let message = home.fail(&["sample", "runs/tiny"]);
    assert_snapshot!(message, @"runs/tiny: is a run of format 7, written by version 9.8.7; this version reads formats 0 to 1 help: use that version, or a later one");
    assert_eq!(home.fail(&RUN), message);

    home.write("runs/tiny/run.json", "{\"format\":");
    assert!(home.fail(&["sample", "runs/tiny"]).starts_with("runs/tiny/run.json: is damaged"));

    home.write("runs/tiny/run.json", r#"{"format":1,"shape":[2],"version":"0.0.9"}"#);
    let experiment = String::from_utf8(home.read("runs/tiny/experiment.toml")).unwrap();
    let experiment = experiment.split_once('\n').unwrap().1.to_owned();
    home.write("runs/tiny/experiment.toml", experiment.replace("below_t_min", "below"));
    for verb in [&["sample", "runs/tiny"][..], &RUN] {
        let message = home.fail(verb);
        assert!(message.contains("of a run of format 1, begun by version 0.0.9, can't be read by version"), "{message}");
        assert!(message.contains("unknown field `below`"), "{message}");
    }
    home.write("runs/tiny/experiment.toml", experiment);

    // What is trained can be used by every version; what is half trained would go on with other draws.
    let run = Run::reading(&home.path("runs/tiny")).unwrap();
    let last = checkpoint::latest(&run).unwrap().unwrap();
    std::fs::remove_file(home.path("runs/tiny/run.json")).unwrap();
    let tensors: Vec<_> = last.names().map(|name| (name.to_owned(), last.tensor(name).unwrap())).collect();
    for step in [10, 20] {
        checkpoint::save(&run, step, &tensors, &[], 2).unwrap();
    }
    home.succeed(&["sample", "runs/tiny"]);
    let (_, stderr) = home.succeed(&RUN);
    assert!(stderr.contains("every phase is done already"), "{stderr}");
    std::fs::remove_file(home.path("runs/tiny/checkpoints/step-00000020.safetensors")).unwrap();
    assert!(home.fail(&RUN).contains("is a run of format 0, whose training draws are others than those of format 1"));
}

#[test]
fn a_verb_takes_no_flag_that_it_would_ignore() {
    let run = ["--device", "--threads", "--set", "--quiet", "--out"];
    let named = ["--device", "--threads", "--set", "--quiet", "--name", "--out"];
    for (verb, obeyed) in [
        ("run", &run[..]),
        ("check", &["--set"]),
        ("sample", &named),
        ("likelihood", &named),
        ("encode", &named),
        ("edit", &named),
        ("share", &named),
        ("lab", &run),
        ("evaluate", &["--device", "--threads", "--quiet"]),
        ("verify", &[]),
        ("verify-resume", &["--set", "--threads"]),
        ("parity", &["--threads"]),
        ("import", &["--set", "--quiet", "--out"]),
        ("export", &["--out"]),
    ] {
        for flag in ["--device", "--threads", "--set", "--quiet", "--name", "--out"] {
            let value = if flag == "--quiet" { vec![] } else { vec!["1"] };
            let words: Vec<&str> = [&["score-sde", verb, "x", flag][..], &value].concat();
            let parsed = Arguments::try_parse_from(&words).map(drop).map_err(|error| error.to_string());
            let refused = parsed.is_err_and(|error| error.contains(&format!("unexpected argument '{flag}'")));
            assert_eq!(refused, !obeyed.contains(&flag), "{words:?}");
        }
    }
}

#[test]
fn messages_break_no_name_and_help_promises_what_is_there() {
    let home = Home::with(VECTORS.split("[network").next().unwrap());
    let said = home.said(&["check", "tiny.toml"]);
    for name in ["[score.gaussian-mixture]", "[network.*],"] {
        assert!(said.contains(name), "{name} is in one piece:\n{said}");
    }
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    let refused = home.fail(&["export", "runs/tiny", "--to", "pth-names"]);
    assert!(refused.contains("its names are for [network.ncsnpp]"), "{refused}");
    home.write("tiny.toml", IMAGES.replace("[data.idx]", "[data.npy-images]\nlayout = \"nhw\"").replace("pad = 0\n", ""));
    ndarray_npy::write_npy(home.path("train-images"), &ndarray::Array3::from_elem((4, 8, 8), 0.5f32)).unwrap();
    ndarray_npy::write_npy(home.path("test-images"), &ndarray::Array3::from_elem((4, 8, 8), 0.5f32)).unwrap();
    let floats = home.fail(&["run", "tiny.toml", "--out", "floats"]);
    assert!(floats.contains("(255 * x).round().astype(\"uint8\")"), "{floats}");
}

#[test]
fn a_run_and_its_results_say_what_made_them() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    home.succeed(&["run", "runs/tiny", "--set", "train.steps=30"]);
    let text = String::from_utf8(home.read("runs/tiny/history.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let what: Vec<&str> = lines.iter().map(|line| line["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["experiment", "begun", "ended", "changed", "begun", "ended"]);
    let lines = &lines[1..];
    assert_eq!(lines[3]["arguments"].as_array().unwrap()[1..5], ["run", "runs/tiny", "--set", "train.steps=30"]);
    assert_eq!((&lines[0]["threads"], &lines[0]["version"]), (&1.into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(lines[0]["libtorch"].is_string() && lines[0]["host"].is_string() && lines[0]["wall_time"].as_f64().unwrap() > 1.7e9);
    let seconds = |line: &serde_json::Value, key: &str| line[key].as_f64().unwrap();
    assert!(seconds(&lines[4], "seconds") > 0.0 && seconds(&lines[4], "cpu_seconds") > 0.0);
    home.succeed(&["sample", "runs/tiny", "--set", "seed=7"]);
    for (report, step, seed) in
        [("samples/samples", 30, 1), ("likelihood", 30, 1), ("samples/samples-at-20", 20, 1), ("samples/samples-2", 30, 7)]
    {
        let report = home.json(&format!("runs/tiny/{report}.json"));
        assert_eq!((&report["step"], &report["seed"]), (&step.into(), &seed.into()), "{report}");
    }
    let diverged = home.fail(&["run", "tiny.toml", "--out", "bad", "--set", "train.lr=3e7", "--set", "train.warmup=100000"]);
    assert!(diverged.contains("at step"), "{diverged}");
    let history = String::from_utf8(home.read("bad/history.jsonl")).unwrap();
    assert!(history.lines().last().unwrap().contains("\"what\":\"stopped\"") && history.contains("\"because\":\"the "), "{history}");
}

#[test]
fn the_lab_obeys_the_thresholding_of_the_experiment() {
    let home = Home::with_images(IMAGES);
    home.write("train-images", idx(24, 8));
    home.succeed(&RUN);
    let energy = |out: &str, settings: &[&str]| {
        let lab = ["lab", "runs/tiny", "--solvers", "euler-sde", "--nfe", "3", "--count", "20", "--out", out];
        home.succeed(&[&lab[..], settings].concat());
        let table = home.read(&format!("{out}/lab.csv"));
        let energy = |line: Result<std::collections::BTreeMap<String, String>, _>| line.unwrap()["from_data"].parse::<f64>().unwrap();
        csv::Reader::from_reader(&table[..]).deserialize().map(energy).collect::<Array1<f64>>()
    };
    let free = energy("free", &[]);
    assert_eq!(free, energy("again", &[]));
    assert_ne!(free, energy("kept", &["--set", "sample.thresholding={quantile=0.5}"]));
    assert!(!home.names("free").contains(&"lab.journal".to_owned()));
}

#[test]
fn verify_names_what_is_damaged_and_the_next_run_mends_it() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    let verify = ["verify", "runs/tiny"];
    let (whole, _) = home.succeed(&verify);
    assert_eq!(whole.lines().filter(|line| line.starts_with("whole ")).count(), 9, "{whole}");
    assert!(!whole.contains("DAMAGED"), "{whole}");
    for name in ["samples/samples.npz", "likelihood.json", "likelihood.manifest", "likelihood.journal", "metrics.jsonl", "run.json"] {
        let name = format!("runs/tiny/{name}");
        let bytes = home.read(&name);
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 4;
        home.write(&name, &flipped[..bytes.len() - usize::from(name.ends_with("jsonl"))]);
        let message = home.fail(&verify);
        assert!(message.contains("damaged") || message.contains("can't be read"), "{name}: {message}");
        home.write(&name, bytes);
    }
    let npz = home.read("runs/tiny/samples/samples.npz");
    home.write("runs/tiny/samples/samples.npz", &npz[1..]);
    let (_, stderr) = home.succeed(&RUN);
    assert!(stderr.contains("samples.npz is damaged") && stderr.contains("it is made again"), "{stderr}");
    assert_eq!(home.read("runs/tiny/samples/samples.npz"), npz);
    home.succeed(&verify);
}

#[test]
fn an_experiment_of_ones_own_is_killed_in_every_phase_and_ends_the_same() {
    let home = Home::with_images(IMAGES);
    let more = ["--set", "sample.count=4", "--set", "likelihood.count=4", "--set", "likelihood.below_t_min=tweedie"];
    let dequantised = [
        "analytic_variance={levels=30,examples=4,batch=4}",
        "dequantisation={variational={steps=3,batch=2,lr=1e-3,clip=1.0,t_min=1e-3,layers=2,channels=4}}",
        "likelihood.dequantisation={variational={draws=2}}",
    ];
    let dequantised = dequantised.iter().flat_map(|setting| ["--set", setting]);
    let words: Vec<&str> = ["verify-resume", "tiny.toml", "--steps", "2"].into_iter().chain(more).chain(dequantised).collect();
    let (stdout, _) = home.succeed(&words);
    assert_eq!(stdout.lines().filter(|line| line.starts_with("identical")).count(), 5, "{stdout}");
    assert!(stdout.lines().filter(|line| line.starts_with("killed at")).count() >= 3, "{stdout}");
}

#[test]
fn a_training_that_diverges_goes_back_and_on_with_a_lower_rate() {
    let home = Home::with(VECTORS);
    let settings = ["train.lr=3e7", "train.warmup=1000000", "train.checkpoint_every=4", "train.log_every=1"];
    let rewind = ["train.on_divergence={rewind={factor=1e-9,most=2}}"];
    let train = |out: &'static str, more: &[&'static str]| {
        let settings = settings.iter().chain(more).flat_map(|setting| ["--set", setting]);
        ["run", "tiny.toml", "--out", out].into_iter().chain(settings).collect::<Vec<_>>()
    };
    let stopped = home.fail(&train("stopped", &[]));
    assert!(stopped.contains("is inf at step 6") && stopped.contains("train.on_divergence"), "{stopped}");
    let divergence = home.json("stopped/divergence-00000006.json");
    let count = |key: &str| divergence[key].as_array().unwrap().len();
    assert_eq!((count("examples"), count("t"), count("losses")), (8, 8, 8));

    let words = train("rewound", &rewind);
    let said = home.said(&words);
    assert!(said.contains("on from step 4 with 0.000000001 of the learning rate, for the 1. of 2 times"), "{said}");
    assert!(home.path("rewound/checkpoints/step-00000020.safetensors").exists(), "{said}");
    let text = String::from_utf8(home.read("rewound/metrics.jsonl")).unwrap();
    let steps: Vec<u64> = text
        .lines()
        .filter(|line| line.contains("train/loss"))
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (1..=20).collect::<Vec<_>>(), "one curve");
}

#[test]
fn checkpoints_stay_by_number_and_by_value_and_can_be_chosen() {
    let home = Home::with(VECTORS);
    let settings = ["train.checkpoint_every=2", "train.log_every=2", "train.keep=1", "train.keep_every=6", "train.keep_best=train/loss"];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    home.succeed(&RUN.into_iter().chain(settings).collect::<Vec<_>>());
    let text = String::from_utf8(home.read("runs/tiny/metrics.jsonl")).unwrap();
    let points = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let losses: Vec<(u64, f64)> = points.filter_map(|point| Some((point["step"].as_u64()?, point["train/loss"].as_f64()?))).collect();
    let best = losses.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
    let mut kept = vec![6, 12, 18, 20, best];
    kept.sort_unstable();
    kept.dedup();
    let names: Vec<String> = kept.iter().map(|step| format!("step-{step:08}.safetensors")).collect();
    assert_eq!(home.names("runs/tiny/checkpoints")[1..], names[..], "{losses:?}");
    let weights = |name: &str, step: &str| {
        home.succeed(&["sample", "runs/tiny", "--name", name, "--step", step]);
        home.read(&format!("runs/tiny/samples/{name}.npz"))
    };
    assert_eq!(weights("best", "best"), weights("the-same", &best.to_string()));
    assert_ne!(weights("six", "6"), weights("twelve", "12"));
    let missing = home.fail(&["sample", "runs/tiny", "--step", "7"]);
    assert!(missing.contains("holds no checkpoint of step 7") && missing.contains("6, "), "{missing}");
}

#[test]
fn an_output_that_is_closed_or_full_is_no_panic() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    for arguments in [&["check", "tiny.toml"][..], &["verify", "runs/tiny"], &["data", "tiny.toml"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(home.writing_to(writer.into(), arguments), (Some(141), String::new()), "{arguments:?}");
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (code, said) = home.writing_to(full.into(), arguments);
        assert!(code == Some(1) && said.contains("cannot write to standard output") && said.contains("help:"), "{arguments:?}: {said}");
    }
}
