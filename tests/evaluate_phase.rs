//! `[evaluate]` of an experiment, through the binary: samples compared after training and during it.

mod common;

use common::home::{Home, VECTORS};
use serde_json::Value;

const EVALUATE: &str = r#"
[evaluate]
against = "test"
features.data = {}
batch = 7
neighbours = 3
copies = true
"#;

/// The experiment on vectors with enough samples, and `during` training.
fn home(during: &str) -> Home {
    Home::with(&(VECTORS.replace("count = 4", "count = 30") + EVALUATE + during))
}

/// The points of a curve in `metrics.jsonl`: step and value.
fn curve(home: &Home, tag: &str) -> Vec<(u64, f64)> {
    let text = String::from_utf8(home.read("runs/tiny/metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| Some((line["step"].as_u64()?, line[tag].as_f64()?))).collect()
}

fn measured(report: &Value, metric: &str) -> f64 {
    let measures = report["measures"].as_array().unwrap();
    measures.iter().find(|measure| measure["metric"] == metric).unwrap()["value"].as_f64().unwrap()
}

#[test]
fn a_run_compares_its_samples_as_the_verb_does() {
    let home = home("");
    let (_, said) = home.succeed(&["run", "tiny.toml"]);
    assert!(said.lines().any(|line| line.starts_with("evaluation") && line.ends_with("runs/tiny/evaluation.json")), "{said}");
    let report = home.json("runs/tiny/evaluation.json");
    let words = ["evaluate", "runs/tiny", "--train", "tiny.toml:train", "--neighbours", "3", "--json", "-"];
    let by_hand: Value = serde_json::from_str(&home.succeed(&words).0).unwrap();
    assert_eq!(report["measures"], by_hand["measures"]);
    assert_eq!(report["memorisation"]["nearest"], by_hand["memorisation"]["nearest"]);
    for side in ["a", "b"] {
        assert_eq!(report[side]["sha256"], by_hand[side]["sha256"]);
    }
    assert_eq!(report["a"]["made_by"]["protocol"]["t_min"], 1e-3);
    for metric in ["energy_distance", "kid", "c2st_accuracy", "recall"] {
        assert_eq!(curve(&home, &format!("evaluation/{metric}")), [(20, measured(&report, metric))]);
    }
    assert_eq!(curve(&home, "evaluation/energy_distance/half_width").len(), 1);
    // What is done stays; what is lost is made again, the same.
    assert!(home.succeed(&["run", "tiny.toml"]).1.contains("every phase is done already"));
    std::fs::remove_file(home.path("runs/tiny/evaluation.json")).unwrap();
    home.succeed(&["run", "tiny.toml"]);
    assert_eq!(home.json("runs/tiny/evaluation.json"), report);
    // More steps make it again, of the samples of these, and keep the one before.
    home.succeed(&["run", "tiny.toml", "--set", "train.steps=30"]);
    assert_eq!(home.json("runs/tiny/evaluation-at-20.json"), report);
    assert_ne!(home.json("runs/tiny/evaluation.json")["a"]["sha256"], report["a"]["sha256"]);
    // Samples that are drawn again are of no concern to it.
    home.succeed(&["sample", "runs/tiny", "--set", "sample.count=2"]);
}

#[test]
fn checkpoints_are_compared_while_training_goes_on_and_change_nothing() {
    let during = "during_training = { every = 10, count = 25 }";
    let (watched, alone) = (home(during), home(""));
    for home in [&watched, &alone] {
        home.succeed(&["run", "tiny.toml", "--set", "train.steps=30", "--set", "train.keep=9"]);
    }
    let last = "runs/tiny/checkpoints/step-00000030.safetensors";
    assert!(watched.read(last).len() == alone.read(last).len(), "both hold the same tensors");
    for name in ["samples/samples.npz", "likelihood.npz"] {
        let name = format!("runs/tiny/{name}");
        assert!(watched.read(&name) == alone.read(&name), "{name}");
    }
    let points = curve(&watched, "evaluation_during_training/energy_distance");
    assert_eq!(points.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [10, 20]);
    for (step, value) in points {
        let report = watched.json(&format!("runs/tiny/evaluation/step-{step:08}-25.json"));
        assert_eq!(measured(&report, "energy_distance"), value);
        assert_eq!(report["a"]["count"], 25);
        // The same samples as the verb draws of this checkpoint.
        let (step, name) = (step.to_string(), format!("again-{step}"));
        let words = ["sample", "runs/tiny", "--step", &step, "--set", "sample.count=25", "--name", &name];
        watched.succeed(&words);
        let samples = |name: &str| watched.read(&format!("runs/tiny/samples/{name}.npz"));
        assert!(samples(&name) == samples(&format!("step-{:08}-25", step.parse::<u64>().unwrap())), "{step}");
    }
    assert_eq!(watched.names("runs/tiny/evaluation").len(), 4);
}

/// A curve over the checkpoints that are kept, whose samples are drawn once.
#[test]
fn checkpoints_are_compared_along_training() {
    let home = home("during_training = { every = 10, count = 20 }");
    home.succeed(&["run", "tiny.toml", "--set", "train.steps=30", "--set", "train.keep=9"]);
    // Those of the last step alone are not there yet.
    let before = home.contents("runs/tiny/samples");
    let words = ["evaluate", "runs/tiny", "--over", "checkpoints", "--count", "20", "--neighbours", "3"];
    let table = home.succeed(&words).0;
    assert!(table.contains("energy distance") && table.lines().all(|line| line.chars().count() <= 80), "{table}");
    for step in [10, 20, 30] {
        assert!(table.lines().any(|line| line.starts_with(&format!("{step} "))), "{table}");
    }
    assert!(table.contains("better than every other") || table.contains("not to be told from"), "{table}");
    assert!(home.read("runs/tiny/evaluation/checkpoints.png").len() > 1000);
    let after = home.contents("runs/tiny/samples");
    assert!(before.iter().all(|(path, content)| after[path] == *content));
    let added: Vec<_> =
        after.keys().filter(|path| !before.contains_key(*path)).map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert!(!added.is_empty() && added.iter().all(|name| name.starts_with("step-00000030-20.")), "{added:?}");
    let curve: Value = serde_json::from_str(&home.succeed(&[&words[..], &["--json", "-"]].concat()).0).unwrap();
    let points = curve["checkpoints"].as_array().unwrap();
    assert_eq!(points.iter().map(|point| point["step"].as_u64().unwrap()).collect::<Vec<_>>(), [10, 20, 30]);
    for (point, step) in points.iter().zip([10, 20]) {
        let report = home.json(&format!("runs/tiny/evaluation/step-{step:08}-20.json"));
        assert_eq!((&point["measures"], &point["a"]["sha256"]), (&report["measures"], &report["a"]["sha256"]));
    }
    let refused = home.fail(&["evaluate", "runs/none", "--over", "checkpoints", "--against", "tiny.toml:test"]);
    assert!(refused.contains("runs/none: does not exist"), "{refused}");
    let refused = home.fail(&["evaluate", "tiny.toml:train", "--over", "checkpoints"]);
    assert!(refused.contains("nothing to compare tiny.toml:train with"), "{refused}");
}

/// Killed while a checkpoint is compared, the run goes on with that, and ends with the bytes of one that was left in peace.
#[test]
fn a_comparison_that_was_cut_short_is_made_when_the_run_goes_on() {
    let home = home("during_training = { every = 10, count = 25 }");
    let stdout = home.succeed(&["verify-resume", "tiny.toml"]).0;
    assert!(stdout.contains("killed at  samples/samples.manifest") && !stdout.contains("DIFFERS"), "{stdout}");
    let settings = ["run", "tiny.toml", "--set", "sample.solver.euler.grid.uniform.steps=400"];
    let mut child = home.start(&settings);
    home.wait_for("runs/tiny/samples/step-00000010-25.journal", &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!home.path("runs/tiny/evaluation/step-00000010-25.json").exists());
    home.succeed(&settings);
    let report = home.json("runs/tiny/evaluation/step-00000010-25.json");
    assert_eq!(curve(&home, "evaluation_during_training/kid"), [(10, measured(&report, "kid"))]);
    assert_eq!(curve(&home, "train/loss").last().unwrap().0, 20);
}

/// Every class is compared with its own; one that is never drawn is there with no samples.
#[test]
fn samples_of_each_class_are_compared_with_examples_of_it() {
    let mixture = "weights = [0.5, 0.5], means = [[-4.0, 0.0], [4.0, 0.0]], \
                   covariances = [[[0.1, 0.0], [0.0, 0.1]], [[0.1, 0.0], [0.0, 0.1]]]";
    let data = format!("[data.gaussian-mixture]\ntrain = 400\ntest = 300\nscale = 1.0\nmixture = {{ {mixture} }}\n[condition.class]\n");
    let score = format!("[score]\ngaussian-mixture = {{ {mixture} }}\n");
    let part = |from: &str, to: &str| VECTORS[VECTORS.find(from).unwrap()..VECTORS.find(to).unwrap()].to_owned();
    let sample =
        part("[sample]", "[likelihood]").replace("count = 4", "count = 60\ngiven = { classes = [0] }").replace("steps = 4", "steps = 40");
    let home = Home::with(&(part("seed", "[data") + &data + &score + &sample + EVALUATE + "classes = true\n"));
    home.succeed(&["run", "tiny.toml"]);
    let report = home.json("runs/tiny/evaluation.json");
    let classes = report["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 2);
    assert_eq!((&classes[0]["class"], &classes[0]["counts"][0]), (&0.into(), &60.into()));
    assert_eq!((&classes[1]["class"], &classes[1]["counts"][0]), (&1.into(), &0.into()));
    let counts: u64 = classes.iter().map(|class| class["counts"][1].as_u64().unwrap()).sum();
    assert_eq!((counts, classes[1]["measures"].as_array().unwrap().len()), (300, 0));
    // The samples have the law of their class, and by far not that of all.
    let [own, all] = [&classes[0], &report].map(|report| measured(report, "energy_distance"));
    assert!(own.abs() < 0.1 && all > 2.0, "{own}, {all}");
    let words = ["evaluate", "runs/tiny", "--neighbours", "3", "--classes"];
    let table = home.succeed(&words).0;
    assert!(table.contains("class       of A    of B") && table.lines().all(|line| line.chars().count() <= 80), "{table}");
    // Kept features know their classes.
    home.succeed(&["evaluate", "runs/tiny", "--classes", "--save", "kept.safetensors"]);
    let again =
        ["evaluate", "kept.safetensors", "--against", "runs/tiny/experiment.toml:test", "--neighbours", "3", "--classes", "--json", "-"];
    let again: Value = serde_json::from_str(&home.succeed(&again).0).unwrap();
    assert_eq!(again["classes"], report["classes"]);
    let without = home.fail(&["evaluate", "runs/tiny/samples/samples.npz", "--against", "tiny.toml:test", "--classes"]);
    assert!(without.contains("the examples of runs/tiny/samples/samples.npz have no classes"), "{without}");
}

#[test]
fn what_can_not_be_compared_is_refused_before_any_work() {
    let home = home("");
    for (setting, texts) in [
        ("sample.count=19", ["the experiment draws 19 samples, and 20 or more can be compared", "raise sample.count"]),
        ("evaluate.examples=21", ["the split has 20 examples, and 21 are asked for", "leave it out for all"]),
        ("evaluate.examples=5", ["examples is 5", "ten groups"]),
        ("evaluate.neighbours=0", ["neighbours is 0", "5 is usual"]),
        ("evaluate.during_training={every=15,count=20}", ["15 is no multiple of train.checkpoint_every = 10", "give a multiple"]),
        ("evaluate.during_training={every=10,count=2}", ["count is 2", "ten groups"]),
        ("evaluate.features={torchscript={file=\"none.pt\"}}", ["none.pt: there is no such file", "torch.jit.save"]),
        ("evaluate.features={efficientnet-lite0={}}", ["efficientnet-lite0.pth: there is no such file", "run scripts/fetch-features"]),
        ("evaluate.features={classifier={run=\"runs/none\"}}", ["runs/none: there is no such file or folder", "train a classifier first"]),
    ] {
        for verb in ["check", "run"] {
            let report = home.fail(&[verb, "tiny.toml", "--set", setting]);
            assert!(texts.iter().all(|text| report.contains(text)), "{setting}: {report}");
        }
        assert!(!home.path("runs").exists(), "{setting}");
    }
    let without = VECTORS.split("[sample]").next().unwrap().to_owned() + EVALUATE;
    home.write("none.toml", without);
    let report = home.fail(&["run", "none.toml"]);
    assert!(report.contains("there are no samples to compare") && report.contains("give [sample]"), "{report}");
}
