//! What a verb needs and obeys: no more data than it reads, no flag it ignores, no run it cannot understand.

mod common;

use common::home::{Home, IMAGES, VECTORS, idx};
use insta::assert_snapshot;
use ndarray::{Array1, Array2};
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
    let home = Home::with(VECTORS);
    let run = ["--device", "--threads", "--set", "--quiet", "--out"];
    for (verb, obeyed) in [
        ("run", &run[..]),
        ("check", &["--set"]),
        ("sample", &["--device", "--threads", "--set", "--quiet", "--name", "--out"]),
        ("likelihood", &["--device", "--threads", "--set", "--quiet", "--name", "--out"]),
        ("lab", &run),
        ("parity", &["--threads"]),
        ("import", &["--set", "--quiet", "--out"]),
        ("export", &["--out"]),
    ] {
        for flag in ["--device", "--threads", "--set", "--quiet", "--name", "--out"] {
            let value = if flag == "--quiet" { vec![] } else { vec!["1"] };
            let words: Vec<&str> = [&[verb, "x", flag][..], &value].concat();
            let refused = home.said(&words).contains(&format!("unexpected argument '{flag}'"));
            assert_eq!(refused, !obeyed.contains(&flag), "{words:?}");
        }
    }
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
        let energy = |line: Result<std::collections::BTreeMap<String, String>, _>| line.unwrap()["energy"].parse::<f64>().unwrap();
        csv::Reader::from_reader(&table[..]).deserialize().map(energy).collect::<Array1<f64>>()
    };
    let free = energy("free", &[]);
    assert_eq!(free, energy("again", &[]));
    assert_ne!(free, energy("kept", &["--set", "sample.thresholding={quantile=0.5}"]));
    assert!(!home.names("free").contains(&"lab.journal".to_owned()));
}
