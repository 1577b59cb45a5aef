//! Whole runs of the real binary: what they leave, how they go on, and how they end.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::home::{Home, IMAGES, VECTORS, said};
use insta::assert_snapshot;
use ndarray::{Array1, Array2, Array3, s};
use ndarray_npy::NpzReader;
use safetensors::SafeTensors;
use score_sde::run::Run;
use score_sde::run::checkpoint::{self, Choice};
use score_sde::testing::frame_ends;
use serde_json::Value;

const RUN: [&str; 2] = ["run", "tiny.toml"];

/// An experiment that trains and does nothing else.
fn training_alone(text: &str) -> &str {
    &text[..text.find("[sample]").unwrap()]
}

/// A run's experiment as a run of an earlier version or a person's edit has it: without its checksum.
fn experiment(home: &Home, run: &str) -> String {
    let text = String::from_utf8(home.read(&format!("{run}/experiment.toml"))).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    assert!(first.starts_with("# crc32 "), "{first}");
    rest.to_owned()
}

fn npz(home: &Home, name: &str) -> NpzReader<File> {
    NpzReader::new(File::open(home.path(name)).unwrap()).unwrap()
}

fn samples(home: &Home, name: &str) -> Array2<f32> {
    npz(home, name).by_name("samples").unwrap()
}

/// `key` of each line of metrics.jsonl that has it, with its step.
fn curve(home: &Home, run: &str, key: &str) -> Vec<(u64, f64)> {
    let text = String::from_utf8(home.read(&format!("{run}/metrics.jsonl"))).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| Some((line["step"].as_u64().unwrap(), line[key].as_f64()?))).collect()
}

/// Waits for the end of a process, but not for ever.
fn ended(mut child: Child) -> std::process::Output {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("the process did not end within a minute");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.wait_with_output().unwrap()
}

/// Asks a process to end, as a job scheduler does.
fn terminate(child: &Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_run_leaves_what_it_promises() {
    let home = Home::with(VECTORS);
    let (stdout, stderr) = home.succeed(&RUN);
    assert_eq!(stdout, "");
    for phase in ["train 20/20", "sample 4/4", "likelihood 5/5"] {
        assert!(stderr.contains(phase), "{stderr}");
    }

    let names = home.names("runs/tiny");
    let (events, rest): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| name.starts_with("events.out.tfevents."));
    assert_eq!(events.len(), 1);
    assert_eq!(
        rest,
        [
            ".lock",
            "checkpoints",
            "curves.stamps",
            "experiment.toml",
            "history.jsonl",
            "likelihood.journal",
            "likelihood.json",
            "likelihood.manifest",
            "likelihood.npz",
            "likelihood.png",
            "metrics.jsonl",
            "run.json",
            "samples"
        ]
    );
    assert_eq!(home.names("runs/tiny/checkpoints"), ["step-00000010.safetensors", "step-00000020.safetensors"]);
    assert_eq!(home.names("runs/tiny/samples"), ["samples.json", "samples.manifest", "samples.npz", "samples.png"]);

    let resolved = experiment(&home, "runs/tiny");
    // But for its notes on where keys are from.
    let checked = home.succeed(&["check", "tiny.toml"]).0;
    let bare: Vec<&str> = checked.lines().map(|line| line.split("  # ").next().unwrap().trim_end()).collect();
    assert!(bare.join("\n").starts_with(resolved.trim_end()), "{checked}");
    assert!(curve(&home, "runs/tiny", "train/loss")[0].1.is_finite());
    let spread = curve(&home, "runs/tiny", "train/loss_relative_std")[0].1;
    assert!((0.01..10.0).contains(&spread), "{spread}");

    let x = samples(&home, "runs/tiny/samples/samples.npz");
    assert!(x.dim() == (4, 2) && x.iter().all(|x| x.is_finite()));
    let evaluations: Array1<u32> = npz(&home, "runs/tiny/samples/samples.npz").by_name("evaluations").unwrap();
    assert_eq!(evaluations.to_vec(), [5; 4], "4 steps and the last denoise");
    let picture = image::load_from_memory(&home.read("runs/tiny/samples/samples.png")).unwrap();
    assert!(picture.width() >= 100 && picture.height() >= 100);
    let summary = home.json("runs/tiny/samples/samples.json");
    assert_eq!((&summary["count"], &summary["protocol"]["t_min"]), (&4.into(), &1e-3.into()));

    let report = home.json("runs/tiny/likelihood.json");
    assert_eq!((&report["count"], &report["protocol"]["settings"]["split"]), (&5.into(), &"test".into()));
    let nats: Array1<f64> = npz(&home, "runs/tiny/likelihood.npz").by_name("nats").unwrap();
    let bits: Array1<f64> = npz(&home, "runs/tiny/likelihood.npz").by_name("bits_per_dim").unwrap();
    let index: Array1<u64> = npz(&home, "runs/tiny/likelihood.npz").by_name("index").unwrap();
    assert_eq!(index.to_vec(), [0, 1, 2, 3, 4]);
    for (key, values) in [("nats", nats), ("bits_per_dim", bits)] {
        let (mean, error) = (values.mean().unwrap(), values.std(1.0) / 5f64.sqrt());
        for (name, truth) in [("mean", mean), ("standard_error", error)] {
            let stored = report[key][name].as_f64().unwrap();
            assert!((stored - truth).abs() < 1e-12 * mean.abs(), "{key}.{name} is {stored}, the examples say {truth}");
        }
    }
    let ratio = report["nats"]["mean"].as_f64().unwrap() / report["bits_per_dim"]["mean"].as_f64().unwrap();
    assert!((ratio - 2.0 * std::f64::consts::LN_2).abs() < 1e-12, "two dimensions");
}

/// What changes when a likelihood is measured again.
const REMADE: [&str; 6] =
    ["likelihood.json", "likelihood.journal", "likelihood.manifest", "metrics.jsonl", "curves.stamps", "history.jsonl"];

#[test]
fn a_finished_run_is_left_as_it_is_and_a_missing_phase_is_made_up_for() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    let before = home.contents("runs/tiny");
    let begun = Instant::now();
    let (_, stderr) = home.succeed(&RUN);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(home.contents("runs/tiny"), before);
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines[..2], ["tiny.toml -> runs/tiny", "every phase is done already"]);
    assert!(lines[2].starts_with("samples     4 ") && lines[2].ends_with("  runs/tiny/samples/samples.png"), "{stderr}");
    assert!(lines[3].contains(" nats  runs/tiny/likelihood.json") && lines.len() == 4, "{stderr}");

    let lost = ["json", "npz", "png", "journal"].map(|ending| format!("runs/tiny/likelihood.{ending}"));
    lost.iter().for_each(|name| fs::remove_file(home.path(name)).unwrap());
    let (_, stderr) = home.succeed(&RUN);
    assert!(!stderr.contains("train") && !stderr.contains("sample 4/4") && stderr.contains("likelihood 5/5"), "{stderr}");
    let after = home.contents("runs/tiny");
    for (path, old) in &before {
        if ["likelihood.npz", "likelihood.png"].iter().any(|name| path.ends_with(name)) {
            assert!(after[path].0 == old.0, "the same likelihoods, to the bit");
        } else if !REMADE.iter().any(|name| path.ends_with(name)) {
            assert!(after[path] == *old, "{} was touched", path.display());
        }
    }
}

#[test]
fn another_experiment_in_the_same_folder_is_refused_with_both_ways_out() {
    let home = Home::with(VECTORS);
    home.succeed(&["run", "tiny.toml", "--out", "kept"]);
    let before = home.contents("kept");
    let changed = ["run", "tiny.toml", "--out", "kept", "--set", "train.lr=2e-3", "--set", "sde={ve={sigma_min=0.01,sigma_max=8}}"];
    assert_snapshot!(home.fail(&changed), @"kept: holds a run of another experiment: sde.ve: nothing in the run, a table now sde.vp: a table in the run, nothing now train.lr: 0.001 in the run, 0.002 now help: to start this one as a run of its own, give it another folder: --out DIR to go on with the old one: score-sde run kept");
    assert_eq!(home.contents("kept"), before);
    for itself in [&["run", "kept"][..], &["run", "kept/experiment.toml"], &["run", "kept/experiment.toml", "--out", "kept"]] {
        let (_, stderr) = home.succeed(itself);
        assert!(stderr.contains("every phase is done already"), "{stderr}");
    }
    assert_eq!(home.contents("kept"), before);
    assert!(!home.path("runs").exists());
    home.succeed(&[&changed[..2], &["--out", "new"], &changed[4..]].concat());

    let operational = ["train.keep=5", "train.log_every=3", "train.checkpoint_every=4", "sample.batch=1", "likelihood.batch=2"];
    let settings: Vec<&str> = operational.iter().flat_map(|setting| ["--set", setting]).collect();
    home.succeed(&[&changed[..4], &settings].concat());
    assert_eq!(home.contents("kept"), before);
}

#[test]
fn a_run_goes_on_with_more_steps_and_keeps_what_it_made_before() {
    let home = Home::with(VECTORS);
    home.succeed(&["run", "tiny.toml", "--set", "train.steps=40", "--out", "whole"]);
    home.succeed(&RUN);
    let [samples, likelihood] = ["samples/samples.npz", "likelihood.npz"].map(|name| home.read(&format!("runs/tiny/{name}")));
    let further = ["run", "runs/tiny", "--set", "train.steps=40"];
    let (_, stderr) = home.succeed(&further);
    assert!(stderr.contains("changed: train.steps: 20 in the run, 40 now"), "{stderr}");
    for name in ["samples/samples.npz", "likelihood.npz"] {
        assert!(home.read(&format!("runs/tiny/{name}")) == home.read(&format!("whole/{name}")), "{name} is as if it had never stopped");
    }
    assert!(home.read("runs/tiny/samples/samples-at-20.npz") == samples && home.read("runs/tiny/likelihood-at-20.npz") == likelihood);
    home.succeed(&["verify", "runs/tiny"]);
    assert!(experiment(&home, "runs/tiny").contains("steps = 40"));
    let history = String::from_utf8(home.read("runs/tiny/history.jsonl")).unwrap();
    assert!(history.contains(r#""changes":{"train.steps":{"from":"20","to":"40"}}"#), "{history}");
    let (_, stderr) = home.succeed(&["run", "runs/tiny"]);
    assert!(stderr.contains("every phase is done already"), "{stderr}");

    let before = home.contents("runs/tiny");
    let fewer = home.fail(&RUN);
    assert!(fewer.contains("has trained 40 steps already, and train.steps is 20"), "{fewer}");
    assert_snapshot!(home.fail(&["run", "runs/tiny", "--set", "sample.count=2"]), @"runs/tiny: has done what [sample] asked for: sample.count: 4 in the run, 2 now help: to have both results: score-sde sample runs/tiny --set ...; or start a run of its own: --out DIR");
    assert_eq!(home.contents("runs/tiny"), before);
    // More steps ask for other samples anyway.
    home.succeed(&["run", "runs/tiny", "--set", "train.steps=41", "--set", "sample.count=2"]);
    assert_eq!(home.json("runs/tiny/samples/samples.json")["count"], 2);
    // What it was begun with is known without its experiment, and without what it says of itself.
    for lost in [&["experiment.toml"][..], &["run.json"], &["run.json", "experiment.toml"]] {
        lost.iter().for_each(|name| fs::remove_file(home.path("runs/tiny").join(name)).unwrap());
        let (_, stderr) = home.succeed(&["run", "tiny.toml", "--set", "train.steps=41", "--set", "sample.count=2"]);
        assert!(stderr.contains("every phase is done already"), "{lost:?}: {stderr}");
    }
}

#[test]
fn a_run_begins_with_the_weights_of_another() {
    let home = Home::with(training_alone(VECTORS));
    home.succeed(&RUN);
    let at = |run: &str, step: u64| checkpoint::choose(&Run::reading(&home.path(run)).unwrap(), Choice::Step(step)).unwrap().unwrap();
    let begin = ["run", "tiny.toml", "--out", "warm", "--from", "runs/tiny@10", "--set", "train.keep=9", "--set", "train.lr=2e-3"];
    home.succeed(&begin);
    let (source, begun) = (at("runs/tiny", 10), at("warm", 0));
    for name in source.names().filter(|name| name.starts_with("model.") || name.starts_with("ema.")) {
        assert_eq!(source.tensor(name).unwrap(), begun.tensor(name).unwrap(), "{name}");
    }
    assert_eq!(begun.tensor("adam.first_moment").unwrap().abs().sum(tch::Kind::Double).double_value(&[]), 0.0);
    assert_eq!(home.json("warm/run.json")["from"]["step"], 10);
    let before = home.contents("warm");
    home.succeed(&begin);
    home.succeed(&["run", "warm"]);
    assert_eq!(home.contents("warm"), before);
    let other = home.fail(&["run", "warm", "--from", "runs/tiny"]);
    assert!(other.contains("was begun with other weights: those of") && other.contains("at step 10"), "{other}");
    let unfit = home.fail(&["run", "tiny.toml", "--out", "unfit", "--from", "runs/tiny", "--set", "network.mlp.width=8"]);
    assert!(unfit.contains("has weights of another network") && unfit.contains("has shape"), "{unfit}");
    home.succeed(&["run", "tiny.toml", "--out", "unfit"]);
    fs::remove_file(home.path("warm/checkpoints/step-00000000.safetensors")).unwrap();
    fs::remove_file(home.path("warm/checkpoints/step-00000010.safetensors")).unwrap();
    fs::remove_file(home.path("warm/checkpoints/step-00000020.safetensors")).unwrap();
    assert!(home.fail(&["run", "warm"]).contains("has lost the weights that it begins with"));
    home.succeed(&begin);
    let last = "warm/checkpoints/step-00000020.safetensors";
    assert!(home.read(last) == before[&home.path(last)].0, "the same training again");
}

#[test]
fn samples_are_of_the_average_or_of_raw_weights() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    let of = |weights: &str| {
        home.succeed(&["likelihood", "runs/tiny", "--name", weights, "--weights", weights]);
        home.succeed(&["sample", "runs/tiny", "--name", weights, "--weights", weights]);
        let report = home.json(&format!("runs/tiny/{weights}.json"));
        (home.read(&format!("runs/tiny/samples/{weights}.npz")), report["protocol"]["weights"].as_str().unwrap().to_owned())
    };
    let (average, raw) = (of("average"), of("raw"));
    assert!(average.0 == home.read("runs/tiny/samples/samples.npz") && raw.0 != average.0);
    assert_eq!([average.1, raw.1], ["moving average at step 20", "raw weights at step 20"]);
}

#[test]
fn what_is_not_done_yet_may_still_change() {
    let home = Home::with(training_alone(VECTORS));
    home.succeed(&RUN);
    home.write("tiny.toml", VECTORS);
    let mut child = home.start(&["run", "tiny.toml", "--set", "sample.count=100000", "--set", "sample.batch=1"]);
    home.wait_for("runs/tiny/samples/samples.journal", &mut child);
    kill(child);
    let (_, stderr) = home.succeed(&RUN);
    assert!(stderr.contains("changed: sample.count: 100000 in the run, 4 now") && !stderr.contains("train"), "{stderr}");
    assert_eq!(home.json("runs/tiny/samples/samples.json")["count"], 4);
}

#[test]
fn a_run_with_an_older_spelling_goes_on() {
    let home = Home::with(&VECTORS.replace("[data.checkerboard]", "[data.two-moons]\nnoise = 0.1"));
    home.succeed(&RUN);
    let resolved = experiment(&home, "runs/tiny");
    assert!(resolved.contains("[data.two-moons]"));
    home.write("runs/tiny/experiment.toml", resolved.replace("two-moons", "two_moons"));
    fs::remove_file(home.path("runs/tiny/likelihood.json")).unwrap();
    let (_, stderr) = home.succeed(&RUN);
    assert!(!stderr.contains("train") && stderr.contains("likelihood 5/5"), "{stderr}");
    home.succeed(&["sample", "runs/tiny", "--set", "sample.count=2"]);
}

#[test]
fn operational_keys_change_no_result() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    let settings = ["train.keep=5", "train.log_every=3", "train.checkpoint_every=4", "sample.batch=1", "likelihood.batch=2"];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    home.succeed(&RUN.into_iter().chain(["--out", "other"]).chain(settings).collect::<Vec<_>>());
    assert_eq!(home.names("other/checkpoints").len(), 5);
    let tensors = |run: &str| home.read(&format!("{run}/checkpoints/step-00000020.safetensors"));
    assert!(tensors("other") == tensors("runs/tiny"));
    let apart = &samples(&home, "other/samples/samples.npz") - &samples(&home, "runs/tiny/samples/samples.npz");
    assert!(apart.iter().all(|x| x.abs() < 1e-4), "{apart}");
}

#[test]
fn samples_on_their_way_are_kept_at_requested_times() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    home.succeed(&["sample", "runs/tiny", "--name", "way", "--set", "sample.trajectory=[1.0, 0.6, 1e-3]", "--set", "sample.denoise=false"]);
    home.succeed(&["sample", "runs/tiny", "--name", "plain", "--set", "sample.denoise=false"]);
    let mut archive = npz(&home, "runs/tiny/samples/way.npz");
    let states: Array3<f32> = archive.by_name("trajectory").unwrap();
    let times: Array2<f64> = archive.by_name("trajectory_t").unwrap();
    assert_eq!((states.dim(), times.dim()), ((3, 4, 2), (3, 4)));
    // Four steps with noise: 0.6 is passed on the way to 0.5005.
    assert!(times.rows().into_iter().zip([1.0, 0.5005, 1e-3]).all(|(row, t)| row.iter().all(|x| (x - t).abs() < 1e-9)), "{times}");
    let end = samples(&home, "runs/tiny/samples/way.npz");
    assert_eq!(end, samples(&home, "runs/tiny/samples/plain.npz"), "asking changes no sample");
    assert_eq!(states.slice(s![2, .., ..]).mapv(|x| x * 2.0), end);
    assert!(image::load_from_memory(&home.read("runs/tiny/samples/way-trajectory.png")).unwrap().width() > 1000);
    assert!(!home.path("runs/tiny/samples/plain-trajectory.png").exists());
}

#[test]
fn phases_of_a_finished_run_can_be_repeated_under_new_names() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    let before = home.contents("runs/tiny");
    let sample = |more: &[&str]| home.succeed(&[&["sample", "runs/tiny"], more].concat()).0;
    assert_eq!(sample(&[]), "runs/tiny/samples/samples-2.png\n");
    assert_eq!(home.read("runs/tiny/samples/samples-2.npz"), home.read("runs/tiny/samples/samples.npz"));
    assert_eq!(sample(&["--set", "sample.count=2", "--set", "sample.batch=1"]), "runs/tiny/samples/samples-3.png\n");
    let (all, two) = (samples(&home, "runs/tiny/samples/samples.npz"), samples(&home, "runs/tiny/samples/samples-3.npz"));
    assert!((&two - &all.slice(s![..2, ..])).iter().all(|x| x.abs() < 1e-4), "sample i is a function of (seed, i): {two} {all}");
    assert_eq!(sample(&["--set", "seed=2", "--name", "other"]), "runs/tiny/samples/other.png\n");
    assert_ne!(samples(&home, "runs/tiny/samples/other.npz"), all);

    let (stdout, _) = home.succeed(&["likelihood", "runs/tiny", "--set", "likelihood.count=3"]);
    assert!(stdout.contains(" nats") && stdout.ends_with("\nruns/tiny/likelihood-2.json\n"), "{stdout}");
    assert_eq!(home.json("runs/tiny/likelihood-2.json")["count"], 3);

    let after = home.contents("runs/tiny");
    assert_eq!(after.len(), before.len() + 3 * 4 + 5 + 4 * 2, "with two files of curves each");
    assert!(before.iter().all(|(path, old)| after[path] == *old), "the old ones are left alone");

    let taken = home.fail(&["sample", "runs/tiny", "--name", "samples", "--set", "sample.count=2"]);
    assert!(taken.contains("samples/samples: is a result with other settings: sample.count is 4 there, 2 now"), "{taken}");
    assert_eq!(sample(&["--name", "samples"]), "runs/tiny/samples/samples.png\n", "it is there already");
    let (_, stderr) = home.succeed(&["sample", "runs/tiny", "--out", "elsewhere"]);
    assert!(stderr.contains("sample 4/4"), "{stderr}");
    assert_eq!(home.read("elsewhere/samples/samples-2.npz"), home.read("runs/tiny/samples/samples.npz"));
    home.succeed(&["likelihood", "runs/tiny", "--out", "elsewhere"]);
    assert!(home.path("elsewhere/likelihood-2.json").exists());

    assert_snapshot!(home.fail(&["sample", "runs/tiny", "--set", "train.steps=30"]), @"--set train.steps=30 would change what was trained help: here only these may change: seed, sample; for anything else, begin a run with score-sde run");
    assert_snapshot!(home.fail(&["likelihood", "runs/tiny", "--set", "sde.vp.beta_max=2"]), @"--set sde.vp.beta_max=2 would change what was trained help: here only these may change: seed, likelihood; for anything else, begin a run with score-sde run");
    assert_snapshot!(home.fail(&["sample", "runs/tiny", "--name", "../elsewhere"]), @r#""../elsewhere" can't name a result: its files are called after it help: give a plain name without slashes and dots, such as --name heun-40"#);
    assert_snapshot!(home.fail(&["sample", "runs/tidy"]), @"runs/tidy: does not exist help: a run is the folder that `score-sde run FILE` makes; found: runs/tiny");
    assert_eq!(home.contents("runs/tiny"), after);
}

#[test]
fn a_run_has_one_writer_and_any_number_of_readers() {
    let home = Home::with(VECTORS);
    let mut first = home.start(&["run", "tiny.toml", "--set", "train.steps=100000000"]);
    home.wait_for("runs/tiny/checkpoints/step-00000010.safetensors", &mut first);
    let owner = format!("(process {})", first.id());
    let refusal = home.fail(&RUN).replace(&owner, "(process N)");
    assert_snapshot!(refusal, @"runs/tiny: another process works in this run folder (process N) help: wait until it ends, stop it, or use another folder (--out DIR)");
    home.succeed(&["sample", "runs/tiny", "--name", "early"]);
    home.succeed(&["likelihood", "runs/tiny", "--name", "early"]);
    home.succeed(&["export", "runs/tiny", "--to", "safetensors", "--out", "early"]);
    assert_eq!(samples(&home, "runs/tiny/samples/early.npz").dim(), (4, 2));
    assert!(first.try_wait().unwrap().is_none(), "the first goes on");
    first.kill().unwrap();
    first.wait().unwrap();
    let refusal = home.fail(&RUN);
    assert!(refusal.contains("steps already, and train.steps is 20"), "the lock dies with its process: {refusal}");
}

/// Steps so slow that a signal lands where it should.
const SLOW_VECTORS: [&str; 4] = ["--set", "train.batch=8192", "--set", "train.log_every=1"];
const SLOW_IMAGES: [&str; 6] = ["--set", "train.steps=20", "--set", "train.batch=96", "--set", "train.log_every=1"];

/// 20 steps are 20 steps, whatever `interrupt` does to the process once step 10 is saved.
fn interrupted_and_resumed(home: &Home, settings: &[&str], interrupt: impl Fn(Child)) {
    home.succeed(&[&["run", "tiny.toml", "--out", "whole"], settings].concat());
    let command = [&["run", "tiny.toml", "--out", "broken"], settings].concat();
    let mut child = home.start(&command);
    home.wait_for("broken/checkpoints/step-00000010.safetensors", &mut child);
    interrupt(child);
    assert!(!home.path("broken/checkpoints/step-00000020.safetensors").exists(), "the signal came too late to show anything");
    home.succeed(&command);

    let last = "checkpoints/step-00000020.safetensors";
    let bytes = home.read(&format!("whole/{last}"));
    let names = SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let count = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
    assert!(count("model.") > 5 && count("ema.") > 5, "{names:?}");
    assert_eq!(count("adam.first_moment") + count("adam.second_moment"), 2);
    assert!(home.read(&format!("broken/{last}")) == bytes, "the resumed run ends with other bits");

    let curves = ["whole", "broken"].map(|run| curve(home, run, "train/loss"));
    assert_eq!(curves[0].iter().map(|(step, _)| *step).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    assert_eq!(curves[0], curves[1], "one curve, as if nothing had happened");
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn ten_steps_a_kill_and_ten_steps_are_twenty_steps() {
    let home = Home::with(VECTORS);
    interrupted_and_resumed(&home, &SLOW_VECTORS, |child| {
        // Two steps later: what they logged must not stay in the curve.
        while curve(&home, "broken", "train/loss").len() < 12 {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(child);
        assert_eq!(home.names("broken/checkpoints"), ["step-00000010.safetensors"]);
    });
    for results in ["samples/samples.npz", "likelihood.npz"] {
        assert!(home.read(&format!("whole/{results}")) == home.read(&format!("broken/{results}")), "{results}");
    }
}

/// Whole records of a journal.
fn records(home: &Home, journal: &str) -> usize {
    frame_ends(&home.read(journal)).len().saturating_sub(1)
}

/// Starts a command and kills it when two of its `all` records are on the disk.
fn killed_after_two_records(home: &Home, command: &[&str], journal: &str, all: usize) {
    let mut child = home.start(command);
    home.wait_for(journal, &mut child);
    while records(home, journal) < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    kill(child);
    assert!(records(home, journal) < all, "the signal came too late to show anything");
}

#[test]
fn killed_sampling_goes_on_and_ends_with_the_same_bytes() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    let settings = ["count=20", "batch=3", "trajectory=[0.5]", "solver={heun={grid={uniform={steps=300}}}}", "dynamics='probability-flow'"]
        .map(|setting| format!("sample.{setting}"));
    let draw = |name| {
        let settings = settings.iter().flat_map(|setting| ["--set", setting.as_str()]);
        ["sample", "runs/tiny", "--name", name].into_iter().chain(settings).collect::<Vec<_>>()
    };
    home.succeed(&draw("whole"));
    killed_after_two_records(&home, &draw("broken"), "runs/tiny/samples/broken.journal", 7);
    let other = home.fail(&[&draw("broken")[..], &["--set", "sample.t_min=0.002"]].concat());
    assert!(
        other.contains("broken.journal: holds part of a result with other settings: sample.t_min is 0.001 there, 0.002 now"),
        "{other}"
    );
    home.succeed(&draw("broken"));
    for ending in [".npz", ".png", "-trajectory.png"] {
        let [whole, broken] = ["whole", "broken"].map(|name| home.read(&format!("runs/tiny/samples/{name}{ending}")));
        assert!(whole == broken, "{ending}");
    }
    assert!(!home.names("runs/tiny/samples").iter().any(|name| name.ends_with(".journal")), "what is done needs no journal");
}

#[test]
fn a_killed_likelihood_goes_on_and_ends_with_the_same_bytes() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    let settings = ["count=20", "batch=3", "solver.heun.grid.uniform.steps=300", "trace={hutchinson={law='gaussian',probes=2}}"]
        .map(|setting| format!("likelihood.{setting}"));
    let measure = |name| {
        let settings = settings.iter().flat_map(|setting| ["--set", setting.as_str()]);
        ["likelihood", "runs/tiny", "--name", name].into_iter().chain(settings).collect::<Vec<_>>()
    };
    home.succeed(&measure("whole"));
    assert_eq!(records(&home, "runs/tiny/whole.journal"), 7, "six batches of 3 and the remaining 2");
    killed_after_two_records(&home, &measure("broken"), "runs/tiny/broken.journal", 7);
    assert!(!home.path("runs/tiny/broken.json").exists());
    home.succeed(&measure("broken"));
    for ending in ["npz", "png"] {
        let [whole, broken] = ["whole", "broken"].map(|name| home.read(&format!("runs/tiny/{name}.{ending}")));
        assert!(whole == broken, "{ending}");
    }
    assert!(
        home.fail(&[&measure("broken")[..], &["--set", "likelihood.t_min=0.002"]].concat()).contains("likelihood.t_min is 0.001 there")
    );
}

#[test]
fn the_analytic_variance_is_measured_once_and_serves_samples_and_bounds() {
    let home = Home::with(VECTORS);
    let settings = [
        "precondition={discrete={levels=30}}",
        "analytic_variance={levels=30,examples=50,batch=20}",
        "sample.solver={discrete-chain={levels=30,steps=5,spacing='linear',variance='analytic'}}",
        "likelihood.below_t_min=tweedie",
        "likelihood.bound={vlb={levels={chain=30},variance='analytic',draws=2}}",
    ];
    let overrides: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let run = [&["run", "tiny.toml", "--out", "out"], &overrides[..]].concat();
    home.succeed(&run);
    let measured = home.read("out/analytic_variance.safetensors");
    assert!(home.succeed(&run).1.contains("every phase is done already"));
    let reference = home.read("out/samples/samples.npz");

    // Gone, it is asked for, and made again.
    std::fs::remove_file(home.path("out/analytic_variance.manifest")).unwrap();
    assert!(home.fail(&["sample", "out", "--name", "again"]).contains("holds no analytic variance yet"));
    home.succeed(&run);
    assert!(home.read("out/analytic_variance.safetensors") == measured, "measured again, it is the same");
    home.succeed(&["sample", "out", "--name", "again"]);
    assert!(home.read("out/samples/again.npz") == reference);
    home.succeed(&["sample", "out", "--name", "other", "--set", "sample.solver.discrete-chain.variance=beta-tilde"]);
    assert!(home.read("out/samples/other.npz") != reference);
    // Other draws have it, too; other weights don't.
    home.succeed(&["sample", "out", "--name", "seed", "--set", "seed=7"]);
    assert!(home.read("out/samples/seed.npz") != reference);
    let message = home.fail(&["sample", "out", "--name", "step", "--step", "10"]);
    assert!(message.contains("was measured for something else") && message.contains("beta-tilde"), "{message}");
}

#[test]
fn an_autoencoder_learns_one_level_and_is_sampled_at_it_alone() {
    let home = Home::with(training_alone(VECTORS));
    let mixture = "{weights=[1.0,2.0],means=[[-1.0,0.0],[1.0,0.0]],covariances=[[[0.1,0.0],[0.0,0.1]],[[0.1,0.0],[0.0,0.1]]]}";
    let data = format!("data={{gaussian-mixture={{train=200,test=10,scale=1.0,mixture={mixture}}}}}");
    let common = [
        "sde={ve={sigma_min=0.01,sigma_max=5.0}}",
        &data,
        "network={tied-autoencoder={hidden=8}}",
        "precondition={plain={label='sigma',output='data'}}",
        "train.time={level={t=0.6}}",
        "train.importance=false",
        "train.steps=300",
        "train.lr=2e-2",
        "sample={count=20,batch=20,dynamics='reverse-sde',t_min=0.6,denoise=true,solver={annealed-langevin={levels=1,steps_per_level=50,epsilon=0.02}}}",
    ];
    for objective in ["denoising", "explicit"] {
        let own = format!("train.objective={objective}");
        let overrides: Vec<&str> = common.iter().chain([&own.as_str()]).flat_map(|setting| ["--set", setting]).collect();
        home.succeed(&[&["run", "tiny.toml", "--out", objective], &overrides[..]].concat());
        let losses = curve(&home, objective, "train/loss");
        assert!(losses[losses.len() - 1].1 < 0.5 * losses[0].1, "{objective}: {losses:?}");
        let x = samples(&home, &format!("{objective}/samples/samples.npz"));
        assert!(x.iter().all(|x| x.abs() < 3.0), "{objective}: {x}");
    }
    let overrides: Vec<&str> = common.iter().flat_map(|setting| ["--set", setting]).collect();
    for (setting, key) in [("sample.t_min=0.5", "sample:"), ("sample.solver={euler={grid={uniform={steps=5}}}}", "sample:")] {
        let message = home.fail(&[&["check", "tiny.toml"], &overrides[..], &["--set", setting]].concat());
        assert!(message.contains(key) && message.contains("trained at t = 0.6 alone"), "{message}");
    }
    let likelihood = "likelihood={split='test',count=1,batch=1,t_min=1e-3,below_t_min='ignored',solver_check=0,dequantisation='none',\
                      trace={exact={}},solver={rk45={rtol=1e-3,atol=1e-3}}}";
    let message = home.fail(&[&["check", "tiny.toml"], &overrides[..], &["--set", likelihood]].concat());
    assert!(message.contains("the likelihood needs it at all times"), "{message}");
}

#[test]
fn the_reference_s_protocol_is_put_beside_ours() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    let (stdout, _) = home.succeed(&["likelihood", "runs/tiny", "--split", "train", "--compare", "reference"]);
    assert!(stdout.contains("the reference's protocol") && stdout.contains("3 of 5 examples"), "{stdout}");
    let report = home.json("runs/tiny/likelihood-2.json");
    assert_eq!(report["protocol"]["settings"]["split"], "train");
    let comparison = &report["comparison"];
    let bits = |value: &Value| value["bits_per_dim"].as_f64().unwrap();
    let changes: f64 = comparison["changes"].as_array().unwrap().iter().map(bits).sum();
    assert!((bits(&comparison["reference"]) + changes - bits(&comparison["ours"])).abs() < 1e-9, "{comparison}");
    assert_eq!((&comparison["reference"]["count"], &comparison["ours"]["count"]), (&3.into(), &5.into()));
    let refused = home.fail(&["likelihood", "runs/tiny", "--compare", "reference", "--set", "likelihood.batch=6"]);
    assert!(refused.contains("nothing is left of 5 examples"), "{refused}");
}

#[test]
fn a_network_for_images_with_dropout_resumes_to_the_same_bits() {
    let home = Home::with_images(training_alone(IMAGES));
    interrupted_and_resumed(&home, &SLOW_IMAGES, kill);
}

#[test]
fn sliced_training_at_times_of_a_law_resumes_to_the_same_bits() {
    let home = Home::with(training_alone(VECTORS));
    let objective = "train.objective={sliced={projections=1,law='gaussian',variance_reduced=false}}";
    let choices = [objective, "train.weighting=likelihood", "train.time=likelihood", "train.stratified=true"];
    let settings: Vec<&str> = choices.into_iter().flat_map(|setting| ["--set", setting]).chain(SLOW_VECTORS).collect();
    interrupted_and_resumed(&home, &settings, kill);
}

#[test]
fn flow_matching_with_paired_noise_resumes_to_the_same_bits() {
    let home = Home::with(training_alone(VECTORS));
    let choices = ["sde={optimal-transport={}}", "precondition={plain={label='t',output='velocity'}}", "train.weighting=velocity"];
    // Pairs are found in a time that grows with the cube of a batch.
    let slow = ["train.batch=128", "train.log_every=1"];
    let settings: Vec<&str> = choices.into_iter().chain(slow).flat_map(|setting| ["--set", setting]).collect();
    interrupted_and_resumed(&home, &settings, kill);
}

/// VECTORS in discrete time with a variance that the network learns, which everything that can uses.
fn with_learned_variance() -> String {
    VECTORS
        .replace("[precondition.reference]", "[precondition.discrete]\nlevels = 100\nvariance = \"learned\"")
        .replace("objective = \"denoising\"", "objective = { hybrid = { vlb = 0.01 } }")
        .replace(
            "solver.euler.grid.uniform.steps = 4",
            "solver.discrete-chain = { levels = 100, steps = 9, spacing = \"quadratic\", variance = \"learned\" }",
        )
        .replace(
            "below_t_min = \"ignored\"",
            "below_t_min = \"tweedie\"\nbound.vlb = { levels.chain = 100, variance = \"learned\", draws = 2 }",
        )
}

#[test]
fn a_learned_variance_is_trained_sampled_with_and_bounds() {
    let home = Home::with(&with_learned_variance());
    home.succeed(&RUN);
    let [loss, simple, bound] = ["train/loss", "train/simple", "train/vlb"].map(|key| curve(&home, "runs/tiny", key));
    assert_eq!(loss.len(), simple.len());
    for ((loss, simple), bound) in loss.iter().zip(&simple).zip(&bound) {
        assert!(
            (loss.1 - simple.1 - 0.01 * bound.1).abs() < 1e-4 * loss.1.abs(),
            "{loss:?} is not {simple:?} and a hundredth of {bound:?}"
        );
    }
    let bounded = |run: &str| home.json(&format!("runs/tiny/{run}.json"))["bound"]["nats"]["mean"].as_f64().unwrap();
    let iwae = "likelihood.bound={iwae={levels={chain=100},variance='learned',paths=3}}";
    home.succeed(&["likelihood", "runs/tiny", "--set", iwae]);
    home.succeed(&["likelihood", "runs/tiny", "--set", "likelihood.bound.vlb.variance=beta"]);
    let [learned, paths, beta] = ["likelihood", "likelihood-2", "likelihood-3"].map(bounded);
    assert!(learned.is_finite() && paths < learned + 1.0 && beta != learned, "{learned}, {paths}, {beta}");
    let ancestral = "sample.solver={predictor-corrector={steps=100,predictor={ancestral={variance='learned'}},corrector='none'}}";
    home.succeed(&["sample", "runs/tiny", "--set", ancestral]);
    assert!(samples(&home, "runs/tiny/samples/samples-2.npz").iter().all(|x| x.is_finite()));
    let guided = "sample.measurement={operator={mask={components=[0]}},noise=0.5,observation={example={split='test',index=0}},method={moment-matching={iterations=2}}}";
    home.succeed(&["sample", "runs/tiny", "--set", guided]);
    let (stdout, _) = home.succeed(&["verify-resume", "tiny.toml", "--steps", "3"]);
    assert_eq!(stdout.matches("identical").count(), 3, "{stdout}");
}

#[test]
fn a_network_for_images_learns_variances_by_channels_of_their_own() {
    let home = Home::with_images(IMAGES);
    let settings = [
        "precondition={discrete={levels=21,variance='learned'}}",
        "train.objective={vlb={variance='learned'}}",
        "data.idx.dequantise=false",
        "sample.solver={discrete-chain={levels=21,steps=4,spacing='linear',variance='learned'}}",
        "likelihood.below_t_min=discrete",
        "likelihood.dequantisation=none",
        "likelihood.bound={vlb={levels={chain=21},variance='learned',draws=1}}",
    ];
    let ddpm =
        "network={ddpm={channels=32,multipliers=[1,2],blocks=1,attention=[],dropout=0.0,resample_with_convolution=true,conditional=true}}";
    for (out, more) in [("ncsnpp", "network.ncsnpp.progressive_output=output-skip"), ("ddpm", ddpm)] {
        let sets: Vec<&str> = settings.iter().chain([&more]).flat_map(|setting| ["--set", setting]).collect();
        home.succeed(&[&["run", "tiny.toml", "--out", out][..], &sets].concat());
        let bound = home.json(&format!("{out}/likelihood.json"))["bound"]["bits_per_dim"]["mean"].as_f64();
        assert!(bound.is_some_and(|bits| bits > 0.0 && bits < 1e4), "{out}: {bound:?}");
    }
}

#[test]
fn levels_drawn_by_their_losses_resume_to_the_same_bits() {
    let text = training_alone(&with_learned_variance()).replace("levels = 100", "levels = 21");
    let home = Home::with(&text.replace("time = \"uniform\"", "time = \"loss-aware\"").replace("batch = 8", "batch = 64"));
    let (stdout, _) = home.succeed(&["verify-resume", "tiny.toml", "--steps", "12"]);
    assert!(stdout.contains("killed at") && stdout.matches("identical").count() == 1, "{stdout}");
    home.succeed(&["run", "tiny.toml", "--set", "train.steps=12"]);
    let checkpoint = checkpoint::latest(&Run::reading(&home.path("runs/tiny")).unwrap()).unwrap().unwrap();
    let kept = checkpoint.tensor("train.level_losses").unwrap();
    assert_eq!(kept.size(), [21, 11]);
    assert!(kept.select(1, 0).eq(10.0).all().int64_value(&[]) == 1, "where it was killed the losses decide: {kept}");
}

#[test]
fn a_run_that_is_asked_to_stop_saves_its_step_says_so_and_resumes_to_the_same_bits() {
    let home = Home::with(training_alone(VECTORS));
    interrupted_and_resumed(&home, &SLOW_VECTORS, |child| {
        terminate(&child);
        let (output, _, stderr) = said(ended(child));
        assert_eq!(output.status.code(), Some(75), "{stderr}");
        let saved = home.names("broken/checkpoints").pop().unwrap();
        let step: u64 = saved.trim_start_matches("step-").trim_end_matches(".safetensors").parse().unwrap();
        let message = format!("interrupted at step {step}, which is saved; the same command again goes on");
        assert!(step < 20 && stderr.contains(&message), "{stderr}");
    });
}

#[test]
fn sampling_ends_at_once_when_asked_to() {
    let home = Home::with(VECTORS);
    let mut child = home.start(&["run", "tiny.toml", "--set", "sample.solver.euler.grid.uniform.steps=1000000"]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("sample ") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the process ended early");
    }
    terminate(&child);
    assert_eq!(ended(child).status.code(), Some(75));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("interrupted at record 0 of runs/tiny/samples/samples.journal, which is saved"), "{rest}");
    assert_eq!(home.names("runs/tiny/checkpoints"), ["step-00000010.safetensors", "step-00000020.safetensors"]);
}

#[test]
fn a_loss_that_is_not_finite_stops_training_and_spares_the_checkpoint() {
    let home = Home::with(VECTORS);
    let command = ["run", "tiny.toml", "--set", "train.lr=1e30", "--set", "train.warmup=0", "--set", "train.checkpoint_every=1"];
    let report = home.fail(&command);
    assert_snapshot!(report, @"the loss is NaN at step 2 (t of the batch between 3.958e-2 and 9.695e-1; worst example at t = 4.273e-1) help: what was saved before that step is intact; lower train.lr, lengthen train.warmup or raise train.t_min, in a new run (--out DIR), or have it go back and on by itself: train.on_divergence");
    let saved = home.names("runs/tiny/checkpoints");
    let run = Run::existing(&home.path("runs/tiny")).unwrap();
    let checkpoint = checkpoint::latest(&run).unwrap().unwrap();
    assert!(checkpoint.tensor("adam.first_moment").unwrap().isfinite().all().int64_value(&[]) == 1);
    assert!(report.contains(&format!("at step {}", checkpoint.step + 1)) && saved.len() as u64 == checkpoint.step.min(2), "{saved:?}");
    drop(run);
    assert_eq!(home.fail(&command), report, "the same place again");
    assert_eq!(home.names("runs/tiny/checkpoints"), saved);
    assert_snapshot!(home.fail(&["sample", "runs/tiny"]), @"the solution for example 0 of the batch is not finite at t = 0.001 help: the score is not finite on the way, or the steps are too long; train longer, raise t_min, or give more steps");
    assert_eq!(home.names("runs/tiny/samples"), [] as [&str; 0], "what is not a number is not saved");
}

#[test]
fn data_that_are_not_finite_are_refused() {
    let home =
        Home::with(&VECTORS.replace("[data.checkerboard]\ntrain = 100\ntest = 20", "[data.npy-vectors]\ntrain = 'x.npy'\ntest = 'x.npy'"));
    let mut x = Array2::from_shape_fn((8, 2), |(i, j)| (i + j) as f32);
    ndarray_npy::write_npy(home.path("x.npy"), &x).unwrap();
    home.succeed(&RUN);
    x[[3, 1]] = f32::INFINITY;
    ndarray_npy::write_npy(home.path("x.npy"), &x).unwrap();
    let refusal = home.fail(&[&RUN[..], &["--out", "other"]].concat()).replace(home.path("x.npy").to_str().unwrap(), "x.npy");
    assert_snapshot!(refusal, @r#"x.npy: row 3 holds numbers that are not finite in f32: [inf] help: an array [N, D] of finite numbers is wanted: numpy.save(path, x.astype("float32"))"#);
    assert!(!home.path("other").exists());
}

#[test]
fn quiet_is_quiet() {
    let home = Home::with(VECTORS);
    for _ in 0..2 {
        assert_eq!(home.succeed(&["run", "tiny.toml", "--quiet"]), (String::new(), String::new()));
    }
    let (stdout, stderr) = home.succeed(&["sample", "runs/tiny", "-q"]);
    assert_eq!((stdout.as_str(), stderr.as_str()), ("runs/tiny/samples/samples-2.png\n", ""), "only what was asked for");
    assert!(!home.fail(&["run", "nowhere.toml", "-q"]).is_empty(), "errors are said");
}

#[test]
fn the_exact_mixture_has_the_likelihood_of_the_closed_form_under_each_sde() {
    let home = Home::with(include_str!("../experiments/exact_mixture.toml"));
    let small = ["likelihood.count=100", "sample.count=20", "sample.solver.heun.grid.karras.steps=5"];
    for sde in ["vp={beta_min=0.1,beta_max=20}", "sub-vp={beta_min=0.1,beta_max=20}", "ve={sigma_min=0.01,sigma_max=50}"] {
        let name = sde.split('=').next().unwrap();
        let sde = format!("sde={{{sde}}}");
        let settings = small.iter().copied().chain([sde.as_str()]).flat_map(|setting| ["--set", setting]);
        home.succeed(&["run", "tiny.toml", "--out", name].into_iter().chain(settings).collect::<Vec<_>>());
        let report = home.json(&format!("{name}/likelihood.json"));
        let excess = &report["truth"]["excess_nats"];
        println!("{name}: excess nats {excess}, {}", report["evaluations"]);
        assert!(excess["mean"].as_f64().unwrap().abs() < 1e-3, "{name}: {excess}");
        assert_eq!((&report["count"], &report["protocol"]["weights"]), (&100.into(), &"exact score".into()));
    }
}

#[test]
fn a_poisson_flow_trains_samples_by_its_flow_and_has_a_likelihood() {
    let flow = "[sde.poisson-flow]\nsigma_min = 0.01\nsigma_max = 20.0\nextra_dimensions = 8.0\n";
    let text = VECTORS.replace("[sde.vp]\nbeta_min = 0.1\nbeta_max = 20.0\n", flow).replace("\"reverse-sde\"", "\"probability-flow\"");
    let home = Home::with(&text);
    home.succeed(&RUN);
    assert!(home.json("runs/tiny/likelihood.json")["nats"]["mean"].as_f64().is_some_and(f64::is_finite));
    assert_eq!(samples(&home, "runs/tiny/samples/samples.npz").dim().1, 2);
    let noisy = "sample.solver={edm={s_churn=1,s_min=0,s_max=1,s_noise=1,grid={uniform={steps=3}}}}";
    for (setting, key) in [
        ("sample.dynamics=reverse-sde", "sample.solver."),
        (noisy, "sample.solver.edm"),
        ("likelihood.below_t_min=tweedie", "likelihood.below_t_min"),
        ("likelihood.bound={elbo={form='implicit',draws=2}}", "likelihood.bound"),
        ("train.objective={implicit={curvature=0}}", "train.objective"),
        ("train.weighting=likelihood", "train.weighting"),
        ("precondition={discrete={levels=10}}", "precondition.discrete.levels"),
    ] {
        let message = home.fail(&["check", "tiny.toml", "--set", setting]);
        assert!(message.contains(key) && message.contains("Poisson flow"), "{setting}: {message}");
    }
    let message = home.fail(&["check", "tiny.toml", "--set", "sde.poisson-flow.extra_dimensions=0.5"]);
    assert!(message.contains("from 1 (PFGM)"), "{message}");
}
