//! What a person or a script sees of runs and of the program: lists, JSON, completions, manual pages, and the doctor.

mod common;

use common::home::{Home, VECTORS};
use serde_json::Value;

const RUN: [&str; 2] = ["run", "tiny.toml"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn ls_says_what_runs_are_and_how_far() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    home.succeed(&[&RUN[..], &["--out", "runs/deep/flow", "--set", "sde={linear={}}"]].concat());
    let mut working = home.start(&["run", "tiny.toml", "--out", "runs/long", "--set", "train.steps=100000000"]);
    home.wait_for("runs/long/checkpoints/step-00000010.safetensors", &mut working);
    let (listed, _) = home.succeed(&["ls"]);
    working.kill().unwrap();
    working.wait().unwrap();
    let row = |listed: &str, name: &str| {
        let row = listed.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {listed}"));
        row.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row(&listed, "run ").join(" "), "run model data steps -ln p state");
    let done = row(&listed, "runs/tiny");
    assert_eq!((done[1..4].join(" "), done.last().unwrap().as_str()), ("vp checkerboard 20/20".into(), "done"));
    assert!(done.contains(&"±".into()) && done.contains(&"nats".into()), "{listed}");
    assert_eq!(row(&listed, "runs/deep/flow")[1], "linear");
    assert_eq!(row(&listed, "runs/long").last().unwrap(), "running", "{listed}");

    let (listed, _) = home.succeed(&["ls", "runs", "--json"]);
    let runs = json(&listed);
    let of = |name: &str| runs.as_array().unwrap().iter().find(|run| run["run"] == name).unwrap();
    assert_eq!((&of("runs/long")["state"], &of("runs/long")["planned"]), (&"stopped".into(), &100_000_000.into()));
    assert_eq!(of("runs/tiny")["likelihood"]["mean"], home.json("runs/tiny/likelihood.json")["nats"]["mean"]);
    assert!(home.fail(&["ls", "runs/tiny/samples"]).contains("there is no run in runs/tiny/samples"));
}

#[test]
fn what_reports_reports_as_json_with_all_talk_elsewhere() {
    let home = Home::with(VECTORS);
    let ended = json(&home.succeed(&["run", "tiny.toml", "--json"]).0);
    assert_eq!((&ended["state"], &ended["steps"], &ended["samples"]), (&"done".into(), &20.into(), &4.into()));
    let checked = json(&home.succeed(&["check", "tiny.toml", "--json"]).0);
    assert_eq!((&checked["examples"], &checked["experiment"]["train"]["steps"]), (&100.into(), &20.into()));
    let sampled = json(&home.succeed(&["sample", "runs/tiny", "--json"]).0);
    assert_eq!((&sampled["file"], &sampled["count"]), (&"runs/tiny/samples/samples-2.json".into(), &4.into()));
    let (stdout, stderr) = home.succeed(&["likelihood", "runs/tiny", "--json", "--compare", "reference", "--set", REFERENCE]);
    assert_eq!(json(&stdout)["nats"]["mean"], home.json("runs/tiny/likelihood-2.json")["nats"]["mean"]);
    assert!(stderr.contains(" nats ") && stderr.contains("protocol"), "{stderr}");
    let encoded = json(&home.succeed(&["encode", "runs/tiny", "--json", "--set", FLOW[0], "--set", FLOW[1]]).0);
    assert_eq!(encoded["count"], 16);
    let verified = json(&home.succeed(&["verify", "runs/tiny", "--json"]).0);
    assert!(verified.as_array().unwrap().iter().all(|finding| finding["whole"] == true), "{verified}");
    let index = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/index.json");
    let parity = json(&home.succeed(&["parity", index, "--kind", "sde", "--json"]).0);
    let of_sde = |case: &Value| case["ok"] == true && case["checks"][0]["relative"].as_f64() <= case["checks"][0]["tolerance"].as_f64();
    assert!(parity.as_array().unwrap().iter().all(of_sde) && !parity[0].is_null(), "{parity}");
    let data = json(&home.succeed(&["data", "tiny.toml", "--json"]).0);
    assert!(data["in_model_space"]["std"].as_f64().unwrap() > 0.5 && data["examples"] == 100, "{data}");
}

/// What the reference's protocol can be put beside, and what codes are made with.
const REFERENCE: &str = "likelihood.trace={hutchinson={law=\"rademacher\",probes=1}}";
const FLOW: [&str; 2] = ["sample.dynamics=probability-flow", "sample.solver={heun={grid={uniform={steps=4}}}}"];

#[test]
fn shells_and_man_know_every_verb() {
    let home = Home::with(VECTORS);
    let (help, _) = home.succeed(&["help"]);
    let verbs: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")?.split("  ").next()).collect();
    let verbs: Vec<&str> = verbs.into_iter().filter(|verb| !verb.is_empty() && !verb.starts_with(['-', ' ']) && *verb != "help").collect();
    assert!(verbs.len() > 18 && verbs.contains(&"doctor"), "{verbs:?}");
    for shell in ["bash", "zsh", "fish"] {
        let (script, _) = home.succeed(&["completions", shell]);
        verbs.iter().for_each(|verb| assert!(script.contains(verb), "{shell}: {verb}"));
    }
    let (page, _) = home.succeed(&["man"]);
    assert!(page.contains(".TH") && page.contains("score\\-sde"), "{page}");
    for verb in verbs {
        let (page, _) = home.succeed(&["man", verb]);
        assert!(page.contains(".SH OPTIONS") && page.contains(&verb.replace('-', "\\-")), "{verb}: {page}");
    }
    assert!(home.fail(&["man", "ruin"]).contains("there is no verb ruin"));
}

#[test]
fn the_doctor_finds_this_machine_fit() {
    let home = Home::with(VECTORS);
    let found = json(&home.succeed(&["doctor", "--json"]).0);
    assert_eq!(found["arithmetic"], "right");
    assert!(found["gigaflops"].as_f64().unwrap() > 0.0 && found["devices"][0] == "cpu", "{found}");
    assert!(found["libtorch_from"].as_str().unwrap().ends_with("libtorch_cpu.so"), "{found}");
}
