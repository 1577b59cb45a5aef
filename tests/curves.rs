//! The curves of a run say what its reports say.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::home::{Home, IMAGES, VECTORS};
use score_sde::run::Run;
use score_sde::run::log::events;
use serde_json::Value;
use tensorboard_proto::event::Event;

/// Scalars of the curves, and where their number stands in a report.
const REPORTED: [(&str, &str, &str); 6] = [
    ("samples/evaluations", "samples/samples.json", "/evaluations/mean"),
    ("likelihood/bits_per_dim", "likelihood.json", "/bits_per_dim/mean"),
    ("likelihood/bits_per_dim_standard_error", "likelihood.json", "/bits_per_dim/standard_error"),
    ("likelihood/bound_bits_per_dim", "likelihood.json", "/bound/bits_per_dim/mean"),
    ("likelihood/nats", "likelihood.json", "/nats/mean"),
    ("likelihood/nats_standard_error", "likelihood.json", "/nats/standard_error"),
];
/// Scalars on the way, of which no report speaks.
const ON_THE_WAY: [&str; 5] = ["train/", "train_loss_by_log_snr/", "train_gradient_norm/", "train_weight_norm/", "dequantisation/"];

/// Every scalar of a run with its last value.
fn scalars(home: &Home) -> BTreeMap<String, Value> {
    let text = String::from_utf8(home.read("runs/tiny/metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<BTreeMap<String, Value>>(line).unwrap());
    lines.flatten().filter(|(name, _)| name.contains('/')).collect()
}

#[test]
fn every_scalar_equals_its_report() {
    let images: String = IMAGES.replace("below_t_min = \"ignored\"", "below_t_min = \"tweedie\"");
    // With one example there is no standard error.
    let bounded = images + "bound.elbo = { form = \"denoising\", draws = 2 }\n";
    for (home, unit, count) in [(Home::with(VECTORS), "nats", 3), (Home::with_images(&bounded), "bits_per_dim", 4)] {
        home.succeed(&["run", "tiny.toml"]);
        let scalars = scalars(&home);
        let of_reports: Vec<&String> = scalars.keys().filter(|name| !ON_THE_WAY.iter().any(|prefix| name.starts_with(prefix))).collect();
        assert_eq!(of_reports.len(), count, "{of_reports:?}");
        assert_eq!(home.json("runs/tiny/likelihood.json")["unit"], unit);
        let run = Run::reading(&home.path("runs/tiny")).unwrap();
        let shown = events::from_step(&run, 0).unwrap();
        let mut tags = shown.iter().flat_map(|event| event.get_summary().get_value().iter().map(|value| value.get_tag().to_owned()));
        assert!(tags.any(|tag| tag == format!("likelihood/of_examples_{unit}")));
        for name in of_reports {
            let (_, file, place) = REPORTED.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name} is in no report"));
            let report = home.json(&format!("runs/tiny/{file}"));
            let stated = report.pointer(place).unwrap_or_else(|| panic!("{file} has no {place}"));
            // What can't be known is not a number there and null here.
            let unknown = scalars[name] == "nan" && stated.is_null();
            assert!(unknown || &scalars[name] == stated, "{name} is {} in the curves, {place} is {stated} in {file}", scalars[name]);
        }
    }
}

/// What TensorBoard shows of a run: the tag, the step and what is there, but for what is of the clock.
fn shown(home: &Home) -> Vec<(String, i64, String)> {
    let run = Run::reading(&home.path("runs/tiny")).unwrap();
    let of_the_clock = ["train/examples_per_second", "train/waiting_for_data", "train/writing", "train/memory_gb"];
    let events = events::from_step(&run, 0).unwrap();
    let values = events.iter().flat_map(|event| event.get_summary().get_value().iter().map(|value| (event.get_step(), value)));
    let values = values.filter(|(_, value)| !of_the_clock.contains(&value.get_tag()));
    values.map(|(step, value)| (value.get_tag().to_owned(), step, format!("{value:?}"))).collect()
}

/// Losses by noise, their spread, and norms by part, the same where training went on in the middle between two points.
#[test]
fn training_shows_where_it_learns() {
    let home = Home::with(VECTORS);
    let run = ["run", "tiny.toml", "--set", "train.log_every=8"];
    home.succeed(&run);
    let mut unbroken = shown(&home);
    let steps = |tag: &str| unbroken.iter().filter(|(other, ..)| other == tag).map(|(_, step, _)| *step).collect::<Vec<_>>();
    for tag in
        ["train/loss", "train/loss_of_examples", "train_loss_by_log_snr", "train_gradient_norm/01_input", "train_weight_norm/04_output"]
    {
        assert_eq!(steps(tag), [8, 16, 20], "{tag}");
    }
    let bins = BTreeSet::from_iter(unbroken.iter().filter_map(|(tag, ..)| tag.strip_prefix("train_loss_by_log_snr/")));
    assert!(bins.len() > 5 && bins.contains("4_-3_to_0"), "{bins:?}");
    let keys = &unbroken.iter().find(|(tag, ..)| tag == "_hparams_/session_start_info").unwrap().2;
    assert!(keys.contains("train.lr") && keys.contains("denoising"), "{keys}");
    let histogram = &unbroken.iter().find(|(tag, step, _)| tag == "train/loss_of_examples" && *step == 8).unwrap().2;
    assert!(histogram.contains("num: 64"), "eight steps of eight examples: {histogram}");
    std::fs::remove_file(home.path("runs/tiny/checkpoints/step-00000020.safetensors")).unwrap();
    home.succeed(&run);
    let mut again = shown(&home);
    // What other phases logged is copied behind it.
    again.sort();
    unbroken.sort();
    let differs = again.iter().zip(&unbroken).find(|(a, b)| a != b).map(|(a, _)| a);
    assert!(again.len() == unbroken.len() && differs.is_none(), "{differs:?}");
}

/// The pictures of a tag: step and PNG.
fn pictures(home: &Home, tag: &str) -> Vec<(i64, Vec<u8>)> {
    let run = Run::reading(&home.path("runs/tiny")).unwrap();
    let events = events::from_step(&run, 0).unwrap();
    let of = |event: &Event| {
        let values = event.get_summary().get_value().iter().filter(|value| value.get_tag() == tag);
        values.map(|value| (event.get_step(), value.get_image().get_encoded_image_string().to_vec())).collect::<Vec<_>>()
    };
    events.iter().flat_map(of).collect()
}

/// Samples and denoised examples are shown while training goes on, as often as it stops; what is learnt is the same.
#[test]
fn training_shows_samples_and_changes_nothing() {
    let home = Home::with(VECTORS);
    let run = ["run", "tiny.toml", "--set", "train.sample_every=10", "--set", "train.steps=30", "--set", "train.log_every=7"];
    home.succeed(&run);
    let steps = |home: &Home, tag: &str| pictures(home, tag).into_iter().map(|(step, _)| step).collect::<Vec<_>>();
    for tag in ["samples", "denoised"] {
        assert_eq!(steps(&home, tag), [10, 20, 30], "{tag}");
    }
    assert_ne!(pictures(&home, "denoised")[0].1, pictures(&home, "denoised")[1].1);
    let alone = Home::with(VECTORS);
    alone.succeed(&["run", "tiny.toml", "--set", "train.steps=30", "--set", "train.log_every=7"]);
    for name in ["checkpoints/step-00000030.safetensors", "samples/samples.npz", "likelihood.npz"] {
        let name = format!("runs/tiny/{name}");
        assert!(home.read(&name) == alone.read(&name), "{name}");
    }
    // The samples of a step are those that the verb draws of it.
    home.succeed(&["sample", "runs/tiny", "--step", "20", "--name", "again"]);
    assert!(pictures(&home, "samples")[1].1 == home.read("runs/tiny/samples/again.png"));
    let mut unbroken = shown(&home);
    std::fs::remove_file(home.path("runs/tiny/checkpoints/step-00000030.safetensors")).unwrap();
    home.succeed(&run);
    let mut again = shown(&home);
    again.sort();
    unbroken.sort();
    assert!(again == unbroken);
    assert!(home.succeed(&run).1.contains("every phase is done already"));
    // What is asked for when all is trained is shown of the end.
    assert!(!alone.succeed(&[&run[..4], &run[4..]].concat()).1.contains("every phase is done already"));
    assert_eq!(steps(&alone, "denoised"), [30]);
}

#[test]
fn images_are_shown_denoised_side_by_side() {
    let home = Home::with_images(IMAGES);
    home.succeed(&["run", "tiny.toml", "--set", "train.checkpoint_every=1", "--set", "train.sample_every=1"]);
    let shown = pictures(&home, "denoised");
    assert_eq!(shown.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2]);
    let picture = image::load_from_memory(&shown[1].1).unwrap();
    // Two examples a row, each with three that were denoised.
    assert_eq!((picture.width() - 2) % 8, 0);
    assert_eq!(pictures(&home, "samples").len(), 2);
}

/// A validation loss is what the same weights give the same examples, with an error that repeats obey.
#[test]
fn training_validates_its_averaged_weights() {
    let home = Home::with(VECTORS);
    let run = ["run", "tiny.toml", "--set", "train.validation={every=10,count=20}", "--set", "train.steps=30"];
    home.succeed(&run);
    let curve = |home: &Home| {
        let text = String::from_utf8(home.read("runs/tiny/metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let number = |line: &Value, tag: &str| line[tag].as_f64();
        let point = |line: Value| {
            Some((line["step"].as_u64()?, number(&line, "validation/loss")?, number(&line, "validation/loss_standard_error")?))
        };
        lines.filter_map(point).collect::<Vec<_>>()
    };
    let points = curve(&home);
    assert_eq!(points.iter().map(|point| point.0).collect::<Vec<_>>(), [10, 20, 30]);
    let [first, last] = [points[0], points[2]];
    assert!(first.1 != last.1 && (first.1 - last.1).abs() < 5.0 * first.2, "{points:?}");
    assert!(points.iter().all(|(_, loss, error)| *loss > 0.0 && *error > 0.0 && error < loss), "{points:?}");
    // The same weights are as good where there is no learning.
    let still = Home::with(VECTORS);
    still.succeed(&["run", "tiny.toml", "--set", "train.validation={every=10,count=20}", "--set", "train.lr=1e-30"]);
    let points = curve(&still);
    assert!(points.len() == 2 && points[0].1 == points[1].1, "{points:?}");
}

#[test]
fn what_can_not_be_shown_yet_is_refused() {
    let home = Home::with(VECTORS);
    home.write("none.toml", VECTORS.split("[sample]").next().unwrap());
    for (file, settings, texts) in [
        ("tiny.toml", &["train.sample_every=15"][..], ["15 is no multiple of train.checkpoint_every = 10", "give a multiple"]),
        ("none.toml", &["train.sample_every=10"], ["no samples are drawn of what is trained here", "remove sample_every"]),
        (
            "tiny.toml",
            &["train.sample_every=10", "sample.guidance.autoguidance={step=10,weight=2.0}"],
            ["the checkpoint that guides them may not be there yet", "score-sde sample RUN --step STEP"],
        ),
        ("tiny.toml", &["train.validation={every=5,count=9}"], ["5 is no multiple of train.checkpoint_every = 10", "give a multiple"]),
        ("tiny.toml", &["train.validation={every=10,count=21}"], ["count is 21", "the test split has 20 examples"]),
        ("tiny.toml", &["train.validation={every=10,count=1}"], ["count is 1", "an error needs two examples"]),
    ] {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]).collect::<Vec<_>>();
        let report = home.fail(&[&["run", file][..], &settings].concat());
        assert!(texts.iter().all(|text| report.contains(text)), "{report}");
        assert!(!home.path("runs").exists());
    }
}

#[test]
fn a_repeated_result_has_curves_of_its_own_that_go_with_it() {
    let home = Home::with(VECTORS);
    home.succeed(&["run", "tiny.toml"]);
    let of_the_run = || home.names("runs/tiny").into_iter().filter(|name| name.starts_with("events") || name.starts_with("metrics"));
    let before: Vec<_> = of_the_run().map(|name| home.read(&format!("runs/tiny/{name}"))).collect();
    let way = ["sample", "runs/tiny", "--name", "way", "--set", "sample.trajectory=[1.0, 0.5]", "--set", "seed=2"];
    home.succeed(&way);
    home.succeed(&["likelihood", "runs/tiny"]);
    assert!(before == of_the_run().map(|name| home.read(&format!("runs/tiny/{name}"))).collect::<Vec<_>>(), "the writer's curves");
    for (own, tag, report, place) in [
        ("samples/way", "samples/evaluations", "samples/way.json", "/evaluations/mean"),
        ("likelihood/likelihood-2", "likelihood/nats", "likelihood-2.json", "/nats/mean"),
    ] {
        let line: Value = serde_json::from_slice(&home.read(&format!("runs/tiny/curves/{own}/metrics.jsonl"))).unwrap();
        assert_eq!((&line["step"], &line[tag]), (&20.into(), home.json(&format!("runs/tiny/{report}")).pointer(place).unwrap()));
        let events = events::records(&home.read(&format!("runs/tiny/curves/{own}/events.out.tfevents")));
        let value = events[1].get_summary().get_value().iter().find(|value| value.get_tag() == tag).unwrap();
        assert_eq!((value.get_simple_value(), events[1].get_step()), (line[tag].as_f64().unwrap() as f32, 20));
    }
    let way_of = home.read("runs/tiny/curves/samples/way/events.out.tfevents");
    let pictures = events::records(&way_of)[1].get_summary().get_value().to_vec();
    let film = pictures.iter().find(|value| value.get_tag() == "samples/trajectory").unwrap();
    assert!(film.get_image().get_encoded_image_string() == home.read("runs/tiny/samples/way-trajectory.png"));
    // Damaged, it is made again, with what else it was made of.
    std::fs::remove_file(home.path("runs/tiny/samples/way.npz")).unwrap();
    home.succeed(&way[..4]);
    assert!(!home.path("runs/tiny/samples/way-trajectory.png").exists());
    std::fs::remove_file(home.path("runs/tiny/samples/way.manifest")).unwrap();
    home.write("runs/tiny/samples/way-trajectory.png", "of nothing that is left");
    home.succeed(&way[..4]);
    assert!(!home.path("runs/tiny/samples/way-trajectory.png").exists());
    home.succeed(&["verify", "runs/tiny"]);
    let refused = home.fail(&["likelihood", "runs/tiny", "--name", "run"]);
    assert!(refused.contains("files of the run itself are called so"), "{refused}");
}
