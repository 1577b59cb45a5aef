//! Faults that once cost a run something, one by one.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::compare::State;
use crate::home::{Home, IMAGES, VECTORS};
use crate::process::{self, kill};

const RUN: [&str; 4] = ["run", "tiny.toml", "--out", "run"];

/// A finished run of vectors.
fn finished() -> Home {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    home
}

fn run(home: &Home, arguments: &[&str]) -> process::Ended {
    process::run(home, arguments).unwrap_or_else(|verdict| panic!("{arguments:?}: {verdict:?}"))
}

fn flip(home: &Home, name: &str, at: usize) {
    let mut bytes = home.read(name);
    bytes[at] ^= 1;
    home.write(name, bytes);
}

/// `key` of each line of metrics.jsonl that has it, with its step.
fn curve(home: &Home, run: &str, key: &str) -> Vec<(u64, Value)> {
    let text = String::from_utf8(home.read(&format!("{run}/metrics.jsonl"))).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| Some((line["step"].as_u64()?, line.get(key)?.clone()))).collect()
}

fn same(home: &Home, before: &State) {
    assert_eq!(before.difference(&State::of(home)), None);
}

/// Row 1 of docs/faults.md.
#[test]
fn a_flipped_bit_of_the_dequantiser_changes_no_likelihood() {
    let home = Home::with_images(&IMAGES.replace("dequantisation.uniform.draws", "dequantisation.variational.draws").replace(
        "[likelihood]",
        "[dequantisation.variational]\nsteps = 3\nbatch = 2\nlr = 1e-3\nclip = 1.0\nt_min = 1e-3\nlayers = 2\nchannels = 4\n\n[likelihood]",
    ));
    home.succeed(&RUN);
    let before = State::of(&home);
    let n = home.read("run/dequantiser.safetensors").len();
    flip(&home, "run/dequantiser.safetensors", n - 2);
    let message = home.fail(&["likelihood", "run"]);
    assert!(message.contains("dequantiser.safetensors is damaged"), "{message}");
    ["json", "npz", "journal"].iter().for_each(|kind| fs::remove_file(home.path(&format!("run/likelihood.{kind}"))).unwrap());
    let ended = run(&home, &RUN);
    assert!(ended.code == Some(0) && ended.stderr.contains("dequantiser.safetensors is damaged"), "{}", ended.said());
    same(&home, &before);
}

/// Row 2.
#[test]
fn a_changed_record_of_a_likelihood_is_solved_again_and_said() {
    let home = finished();
    let before = State::of(&home);
    let ends = score_sde::testing::frame_ends(&home.read("run/likelihood.journal"));
    // A number of the first record, not its length.
    flip(&home, "run/likelihood.journal", ends[1] - 12);
    fs::remove_file(home.path("run/likelihood.json")).unwrap();
    let ended = run(&home, &RUN);
    assert!(ended.stderr.contains("likelihood.journal: record 1 is damaged"), "{}", ended.said());
    same(&home, &before);
}

/// Row 3.
#[test]
fn a_run_in_a_folder_of_runs_leaves_those_and_foreign_files_alone() {
    let home = finished();
    let others = [".partial-notes", "child/.partial-4294967290-0", "samples/deep/.partial-4294967290-0", "checkpoints/.partial-7"];
    others.iter().for_each(|name| home.write(&format!("run/{name}"), "of somebody else"));
    home.write("run/.partial-4294967290-0", "half-written, of a process that is gone");
    home.succeed(&RUN);
    for name in others {
        assert_eq!(home.read(&format!("run/{name}")), b"of somebody else", "{name}");
    }
    assert!(!home.path("run/.partial-4294967290-0").exists());
}

/// Row 4.
#[test]
fn of_two_processes_in_one_run_without_its_lock_the_first_writes_no_more() {
    let home = Home::with(VECTORS);
    let long = ["run", "tiny.toml", "--out", "run", "--set", "train.steps=100000000"];
    let mut first = home.start(&long);
    home.wait_for("run/checkpoints/step-00000010.safetensors", &mut first);
    fs::remove_file(home.path("run/.lock")).unwrap();
    let second = home.start(&long);
    let ended = process::end(first).unwrap_or_else(|verdict| panic!("{verdict:?}"));
    kill(&second, "-KILL");
    second.wait_with_output().unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.said());
    assert!(ended.stderr.contains("was removed, moved or replaced"), "{}", ended.said());
}

/// Row 6.
#[test]
fn a_result_is_not_written_over_by_one_of_its_name_with_other_settings() {
    let home = finished();
    let before = State::of(&home);
    let message = home.fail(&["sample", "run", "--name", "samples", "--set", "sample.count=2"]);
    assert!(message.contains("sample.count is 4 there, 2 now") && message.contains("--name"), "{message}");
    let message = home.fail(&["likelihood", "run", "--name", "likelihood", "--set", "likelihood.count=2"]);
    assert!(message.contains("likelihood.count is 5 there, 2 now"), "{message}");
    same(&home, &before);
    home.succeed(&["sample", "run", "--name", "samples"]);
    home.succeed(&["likelihood", "run", "--name", "likelihood"]);
    same(&home, &before);
}

/// Row 7.
#[test]
fn a_folder_that_is_removed_under_a_process_ends_it_with_an_error() {
    let home = Home::with(VECTORS);
    let mut child = home.start(&["run", "tiny.toml", "--out", "run", "--set", "train.steps=100000000"]);
    home.wait_for("run/checkpoints/step-00000010.safetensors", &mut child);
    while home.path("run").exists() {
        let _ = fs::remove_dir_all(home.path("run"));
    }
    let ended = process::end(child).unwrap_or_else(|verdict| panic!("{verdict:?}"));
    assert!(ended.code == Some(1) && ended.stderr.contains("help:"), "{}", ended.said());
    assert!(!home.path("run").exists(), "nothing half-made is left");
}

/// Row 8.
#[test]
fn an_emptied_report_and_a_torn_archive_are_named_and_made_again() {
    let home = finished();
    let before = State::of(&home);
    home.write("run/likelihood.json", "");
    let npz = home.read("run/samples/samples.npz");
    home.write("run/samples/samples.npz", &npz[..npz.len() / 2]);
    let ended = run(&home, &RUN);
    for name in ["likelihood.json", "samples.npz"] {
        assert!(ended.stderr.contains(&format!("{name} is damaged")), "{}", ended.said());
    }
    same(&home, &before);
}

/// Row 9.
#[test]
fn a_resume_inside_a_logging_window_leaves_the_mean_of_the_window_as_it_is() {
    let home = Home::with(&VECTORS[..VECTORS.find("[sample]").unwrap()]);
    // A window of 20 steps, with checkpoints inside.
    let slow = ["--set", "train.batch=8192", "--set", "train.log_every=20"];
    let command = |out| [&["run", "tiny.toml", "--out", out], &slow[..]].concat();
    home.succeed(&command("whole"));
    let mut child = home.start(&command("run"));
    home.wait_for("run/checkpoints/step-00000010.safetensors", &mut child);
    kill(&child, "-KILL");
    child.wait().unwrap();
    assert!(!home.path("run/checkpoints/step-00000020.safetensors").exists(), "the signal came too late to show anything");
    home.succeed(&command("run"));
    for key in ["train/loss", "train/loss_relative_std", "train/gradient_norm"] {
        let whole = curve(&home, "whole", key);
        assert!(whole.len() == 1 && whole == curve(&home, "run", key), "{key}");
    }
}

/// Row 10.
#[test]
fn a_damaged_newest_checkpoint_takes_no_curve_of_a_later_phase_with_it_and_doubles_none() {
    let home = finished();
    let before = State::of(&home);
    let last = "run/checkpoints/step-00000020.safetensors";
    home.write(last, &home.read(last)[1..]);
    fs::remove_file(home.path("run/likelihood.npz")).unwrap();
    home.succeed(&RUN);
    fs::remove_file(home.path("run/checkpoints/step-00000020.damaged")).unwrap();
    same(&home, &before);
}

/// Row 11.
#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let home = finished();
    home.succeed(&["run", "tiny.toml", "--out", "other", "--set", "seed=2"]);
    home.write("run/checkpoints/step-00000020.safetensors", home.read("other/checkpoints/step-00000020.safetensors"));
    let before = home.contents("run");
    for command in [&RUN[..], &["sample", "run"], &["likelihood", "run"]] {
        let message = home.fail(command);
        assert!(message.contains("step-00000020.safetensors: is of another run"), "{message}");
    }
    assert!(home.contents("run") == before);
}

/// Row 14.
#[test]
fn sample_likelihood_and_lab_that_are_asked_to_stop_say_where_and_go_on() {
    let home = finished();
    let steps = "={heun={grid={uniform={steps=1000}}}}";
    let [sample, likelihood] = ["sample.solver", "likelihood.solver"].map(|key| format!("{key}{steps}"));
    let flow = "sample.dynamics='probability-flow'";
    let commands: [(&[&str], &str, &str); 3] = [
        (&["sample", "run", "--set", &sample, "--set", flow, "--name"], "samples/NAME.journal", "samples/NAME.npz"),
        (&["likelihood", "run", "--set", &likelihood, "--name"], "NAME.journal", "NAME.npz"),
        (
            &["lab", "run", "--solvers", "heun,euler", "--nfe", "2000,4000", "--count", "100", "--out"],
            "../run/NAME/lab.journal",
            "NAME/lab.csv",
        ),
    ];
    for (command, journal, result) in commands {
        let name = |name: &str| if command[0] == "lab" { format!("run/{name}") } else { name.to_owned() };
        let [whole, broken] = ["whole", "broken"].map(name);
        let (whole, broken) = ([command, &[&whole]].concat(), [command, &[&broken]].concat());
        home.succeed(&whole);
        let mut child = home.start(&broken);
        let journal = format!("run/{}", journal.replace("NAME", "broken"));
        home.wait_for(&journal, &mut child);
        let begun = Instant::now();
        // Its beginning, and a record.
        while score_sde::testing::frame_ends(&home.read(&journal)).len() < 2 && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(&child, "-TERM");
        let ended = process::end(child).unwrap_or_else(|verdict| panic!("{verdict:?}"));
        assert_eq!(ended.code, Some(75), "{}", ended.said());
        assert!(ended.stderr.contains("interrupted at record ") && ended.stderr.contains("broken"), "{}", ended.said());
        home.succeed(&broken);
        let [whole, broken] = ["whole", "broken"].map(|name| home.read(&format!("run/{}", result.replace("NAME", name))));
        assert!(whole == broken || command[0] == "lab", "{}", command[0]);
    }
}

/// What vouches for a run is made again where its weights say whose they are.
#[test]
fn a_lost_or_damaged_run_json_or_experiment_is_made_again() {
    let home = finished();
    let before = State::of(&home);
    for name in ["run/run.json", "run/experiment.toml"] {
        let bytes = home.read(name);
        for damaged in [None, Some(&b""[..]), Some(&bytes[..bytes.len() / 2])] {
            match damaged {
                None => fs::remove_file(home.path(name)).unwrap(),
                Some(bytes) => home.write(name, bytes),
            }
            let ended = run(&home, &RUN);
            assert!(ended.stderr.contains("every phase is done already"), "{}", ended.said());
            same(&home, &before);
        }
        let at = bytes.len() - 8;
        flip(&home, name, at);
        let message = home.fail(&["sample", "run"]);
        assert!(message.contains("is damaged"), "{message}");
        home.succeed(&RUN);
        same(&home, &before);
    }
    let message = home.fail(&["run", "tiny.toml", "--out", "run", "--set", "train.lr=2e-3"]);
    assert!(message.contains("train.lr: 0.001 in the run"), "{message}");
}

/// A reader takes no older weights for the run's.
#[test]
fn a_reader_refuses_the_step_before_a_damaged_newest_checkpoint() {
    let home = finished();
    let last = "run/checkpoints/step-00000020.safetensors";
    home.write(last, &home.read(last)[1..]);
    for verb in [&["sample", "run"][..], &["likelihood", "run"], &["lab", "run"]] {
        let message = home.fail(verb);
        assert!(message.contains("step-00000020.safetensors: is damaged help: run the experiment again"), "{message}");
    }
    home.succeed(&["sample", "run", "--step", "10"]);
}

#[test]
fn every_test_that_faults_md_names_is_there() {
    fn sources(folder: &str) -> String {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let read = |path: std::path::PathBuf| match path.is_dir() {
            true => sources(path.to_str().unwrap()),
            false if path.extension().is_some_and(|kind| kind == "rs") => fs::read_to_string(path).unwrap(),
            false => String::new(),
        };
        paths.map(read).collect()
    }
    let root = env!("CARGO_MANIFEST_DIR");
    let sources = sources(&format!("{root}/src")) + &sources(&format!("{root}/tests"));
    let page = fs::read_to_string(format!("{root}/docs/faults.md")).unwrap();
    let words = page.split('`').skip(1).step_by(2);
    let named: Vec<&str> =
        words.filter(|word| word.matches('_').count() > 3 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).collect();
    assert!(named.len() > 14, "{named:?}");
    named.iter().for_each(|name| assert!(sources.contains(&format!("fn {name}()")), "there is no test {name}"));
}
