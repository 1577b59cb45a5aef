//! Pages, figures and sweeps, by the binary.

mod common;

use common::home::{Home, IMAGES, VECTORS};
use serde_json::Value;

/// With curves of more than one point.
fn logging() -> String {
    VECTORS.replace("checkpoint_every = 10", "checkpoint_every = 10\nlog_every = 2")
}

/// A page that needs no other file.
fn page(home: &Home, name: &str) -> String {
    let html = String::from_utf8(home.read(name)).unwrap();
    let without = html.replace("http://www.w3.org/2000/svg", "");
    for part in ["<script", "http://", "https://", "<link"] {
        assert!(!without.contains(part), "{part} in {name}");
    }
    assert!(html.trim_end().ends_with("</html>"));
    html
}

#[test]
fn a_report_has_all_that_is_known_of_a_run() {
    let home = Home::with(&logging());
    home.succeed(&["run", "tiny.toml", "--out", "runs/a"]);
    home.succeed(&["likelihood", "runs/a", "--set", "likelihood.count=3"]);
    let (stdout, _) = home.succeed(&["report", "runs/a"]);
    assert_eq!(stdout.trim(), "runs/a/report.html");
    let html = page(&home, "runs/a/report.html");
    let likelihood = home.json("runs/a/likelihood.json");
    let mean = format!("{:.4}", likelihood["nats"]["mean"].as_f64().unwrap());
    for part in [&*mean, "likelihood-2", "train/loss", "checkerboard", "solver.euler.grid.uniform.steps", "20 of 20", "log-SNR", "mark of"]
    {
        assert!(html.contains(part), "{part}");
    }
    assert!(html.matches("<svg").count() >= 8 && html.matches("data:image/png;base64,").count() == 3, "{}", html.matches("<img").count());
    home.succeed(&["report", "runs/a", "--page", "elsewhere/a.html", "--quiet"]);
    assert_eq!(home.read("elsewhere/a.html"), html.into_bytes());
    assert!(home.fail(&["report", "runs"]).contains("found: runs/a"));
}

#[test]
fn a_report_of_images_shows_what_is_nearest_in_the_training_set() {
    let many = IMAGES.replace("[sample]\ncount = 1\nbatch = 1", "[sample]\ncount = 20\nbatch = 20");
    let home = Home::with_images(&many);
    home.write("train-images", common::home::idx(24, 8));
    home.succeed(&["run", "tiny.toml", "--out", "a"]);
    home.succeed(&["report", "a"]);
    let html = page(&home, "a/report.html");
    assert!(html.contains("The first 24 training examples") && html.contains("copies of training examples"));
    std::fs::remove_file(home.path("train-images")).unwrap();
    home.succeed(&["report", "a"]);
    assert!(page(&home, "a/report.html").contains("training examples can&#x27;t be read"), "the page says why");
}

#[test]
fn runs_are_compared_pair_by_pair() {
    let home = Home::with(&logging());
    for (name, seed) in [("a", "1"), ("b", "2"), ("c", "1")] {
        home.succeed(&["run", "tiny.toml", "--out", name, "--set", &format!("seed={seed}"), "--set", "train.steps=10"]);
    }
    let (text, _) = home.succeed(&["compare", "a", "b", "--page", "ab.html"]);
    assert!(text.contains("seed") && text.contains("nats: "), "{text}");
    assert!(page(&home, "ab.html").contains("train/loss"));
    let (json, _) = home.succeed(&["compare", "a", "c", "--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["differences"], Value::Array(vec![]));
    let judgement = &report["judgements"][0];
    assert_eq!((&judgement["metric"], &judgement["paired"], &judgement["gain"]["value"]), (&"nats".into(), &true.into(), &0.0.into()));
    assert_eq!(judgement["sentence"], "c and a are equal");
    // Data that are drawn by another seed are other data.
    let (json, _) = home.succeed(&["compare", "a", "b", "--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["judgements"][0]["paired"], false);
    assert!(home.fail(&["compare", "a"]).contains("one run alone"));
}

#[test]
fn a_sweep_has_a_row_for_each_choice_and_goes_on() {
    let home = Home::with(&logging());
    let sweep =
        ["sweep", "tiny.toml", "--over", "train.lr=1e-3,3e-2", "--over", "seed=1,2", "--jobs", "2", "--out", "s", "--page", "s.html"];
    let (text, _) = home.succeed(&sweep);
    let table = home.json("s/sweep.json");
    assert_eq!((&table["by"], table["rows"].as_array().unwrap().len()), (&"nats".into(), 2));
    // The mean over seeds, and its interval, of what the runs say themselves.
    let of = |seed: u64| home.json(&format!("s/train.lr=1e-3,seed={seed}/likelihood.json"))["nats"]["mean"].as_f64().unwrap();
    let row = &table["rows"][0];
    assert!((row["mean"]["value"].as_f64().unwrap() - (of(1) + of(2)) / 2.0).abs() < 1e-12, "{row}");
    // Student's law with one degree of freedom.
    let half_width = 12.7062 * (of(1) - of(2)).abs() / 2.0;
    assert!((row["mean"]["half_width"].as_f64().unwrap() / half_width - 1.0).abs() < 1e-4, "{row}, {half_width}");
    assert!(text.contains("best") && text.contains("train.lr"), "{text}");
    assert!(page(&home, "s.html").contains("train.lr=3e-2 seed=2"));
    // What is done is not done again, and one more value is one more row.
    let before = home.contents("s/train.lr=1e-3,seed=1");
    home.succeed(&["sweep", "tiny.toml", "--over", "train.lr=1e-3,1e-2", "--out", "s"]);
    home.succeed(&sweep);
    assert_eq!(home.contents("s/train.lr=1e-3,seed=1"), before);
}

#[test]
fn a_sweep_finds_mistakes_before_it_works_and_names_what_failed() {
    let home = Home::with(VECTORS);
    let said = home.fail(&["sweep", "tiny.toml", "--over", "train.lr=1e-3,-1"]);
    assert!(said.contains("train.lr") && !home.path("runs").exists(), "{said}");
    let said = home.fail(&["sweep", "tiny.toml", "--over", "train.lrr=1,2"]);
    assert!(said.contains("unknown") && said.contains("lrr"), "{said}");
    // A folder that a run can't have.
    home.write("s/seed=2", "a file");
    let said = home.fail(&["sweep", "tiny.toml", "--over", "seed=1,2", "--out", "s"]);
    assert!(said.contains("1 of 2 runs failed; seed=2") && said.contains("NAME.log"), "{said}");
    assert!(String::from_utf8(home.read("s/seed=2.log")).unwrap().contains("is a file"));
    assert!(home.path("s/seed=1/likelihood.json").exists());
}

#[test]
fn figures_are_drawn_as_pixels_and_vectors() {
    let home = Home::with(VECTORS);
    home.succeed(&["plot", "tiny.toml"]);
    assert_eq!(home.names("plots/tiny"), ["schedules.png", "schedules.svg"]);
    assert!(home.fail(&["plot", "tiny.toml", "plane"]).contains("of a run"));
    home.succeed(&["run", "tiny.toml", "--out", "a", "--set", "train.log_every=2"]);
    let (text, _) = home.succeed(&["plot", "a", "--quiet"]);
    let names = ["curves", "paths", "plane", "schedules"].map(|name| [format!("{name}.png"), format!("{name}.svg")]).concat();
    assert_eq!(home.names("a/plots"), names);
    assert_eq!(text.lines().count(), 8);
    for name in names.iter().filter(|name| name.ends_with(".svg")) {
        let svg = String::from_utf8(home.read(&format!("a/plots/{name}"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("</svg>") && svg.contains("<text"), "{name}");
    }
    let images = Home::with_images(IMAGES);
    images.succeed(&["plot", "tiny.toml"]);
    assert!(images.fail(&["plot", "tiny.toml", "paths"]).contains("of vectors"));
}
