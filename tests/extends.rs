//! Experiments in layers: files that extend others, what the command line sets and takes away, and where each key comes from.

mod common;

use common::home::{Home, VECTORS};
use score_sde::experiment::{Experiment, load};
use serde_json::Value;

/// A file that changes a key, a choice and a choice within a choice of [`VECTORS`], and asks for more.
const CHANGED: &str = r#"extends = "tiny.toml"

[sde.ve]
sigma_min = 0.01
sigma_max = 8.0

[train]
lr = 2e-3
keep = 4

[sample]
solver.euler.grid.karras = { steps = 5, rho = 7.0 }
"#;

fn home() -> Home {
    let home = Home::with(VECTORS);
    home.write("changed.toml", CHANGED);
    home.write("nested/top.toml", "extends = '../changed.toml'\nseed = 7\n\n[train]\nlr = 3e-3\n");
    home
}

fn loaded(home: &Home, name: &str) -> toml::Value {
    let loaded = load(&home.path(name), &[]).unwrap_or_else(|error| panic!("{error}"));
    toml::Value::try_from(loaded.experiment).unwrap()
}

#[test]
fn tables_are_merged_and_another_choice_takes_the_place_of_one() {
    let home = home();
    let (base, changed, top) = (loaded(&home, "tiny.toml"), loaded(&home, "changed.toml"), loaded(&home, "nested/top.toml"));
    assert_eq!(changed["sde"], toml::toml! { ve = { sigma_min = 0.01, sigma_max = 8.0 } }.into());
    assert_eq!(changed["sample"]["solver"], toml::toml! { euler = { grid = { karras = { steps = 5, rho = 7.0 } } } }.into());
    assert_eq!(changed["train"]["lr"], 2e-3.into());
    assert_eq!(changed["train"]["keep"], 4.into());
    for key in ["steps", "betas", "objective", "time"] {
        assert_eq!(changed["train"][key], base["train"][key], "{key}");
    }
    for table in ["data", "network", "likelihood", "seed"] {
        assert_eq!(changed[table], base[table], "{table}");
    }
    assert_eq!((&top["seed"], &top["train"]["lr"], &top["train"]["keep"]), (&7.into(), &3e-3.into(), &4.into()));
    assert_eq!(top["sde"], changed["sde"]);
}

#[test]
fn a_mistake_is_shown_in_the_file_that_makes_it() {
    let home = home();
    let refused = |name: &str, arguments: &[&str]| home.fail(&[&["check", name], arguments].concat());
    home.write("tiny.toml", VECTORS.replace("warmup = 5", "warmpu = 5"));
    let said = refused("nested/top.toml", &[]);
    assert!(said.contains("[tiny.toml:24:1]") && said.contains("did you mean `warmup`?"), "{said}");
    home.write("tiny.toml", VECTORS.replace("clip = 1.0", "clip = -1.0"));
    let said = refused("changed.toml", &["--set", "train.eps=-2"]);
    assert!(said.contains("[tiny.toml:25:8]") && said.contains("[--set:1:13]") && said.contains("changed.toml has 2 mistakes"), "{said}");
    home.write("tiny.toml", VECTORS);
    home.write("changed.toml", CHANGED.replace("sigma_max = 8.0", "sigma_max = 0.001"));
    let said = refused("nested/top.toml", &[]);
    assert!(said.contains("changed.toml:5:13]"), "{said}");
    home.write("changed.toml", CHANGED.replace("[sde.ve]", "[sde.ve"));
    assert!(refused("nested/top.toml", &[]).contains("changed.toml:3:8]"));
}

#[test]
fn what_can_not_be_extended_is_named() {
    let home = Home::with(VECTORS);
    home.write("a.toml", "extends = 'b.toml'");
    home.write("b.toml", "extends = 'c.toml'");
    home.write("c.toml", "seed = 1\nextends = './b.toml'");
    let said = home.fail(&["check", "a.toml"]);
    assert!(said.contains("a circle: b.toml extends c.toml extends ./b.toml") && said.contains("c.toml:2:11]"), "{said}");
    home.write("a.toml", "extends = 'a.toml'");
    assert!(home.fail(&["check", "a.toml"]).contains("a circle: a.toml extends a.toml"));
    home.write("a.toml", "extends = 'none.toml'");
    let said = home.fail(&["check", "a.toml"]);
    assert!(said.contains("there is no file none.toml") && said.contains("a.toml:1:11]"), "{said}");
    home.write("a.toml", "extends = 3");
    assert!(home.fail(&["check", "a.toml"]).contains("extends is no path"));
}

#[test]
fn a_path_is_looked_for_beside_the_file_that_names_it() {
    let home = Home::with(VECTORS);
    let data = "[data.checkerboard]\ntrain = 100\ntest = 20\nscale = 2.0";
    home.write("base/data/points.csv", "x,y\n1,2\n3,4\n5,6\n");
    home.write(
        "base/points.toml",
        VECTORS.replace(data, "[data.csv]\nheader = true\ntrain = 'data/points.csv'\ntest = 'data/points.csv'\nscale = 2.0"),
    );
    home.write("top/top.toml", "extends = '../base/points.toml'\nlikelihood.count = 3");
    let found = loaded(&home, "top/top.toml")["data"]["csv"]["train"].clone();
    assert_eq!(found.as_str().unwrap(), home.path("base/data/points.csv").display().to_string());
    home.write("top/top.toml", "extends = '../base/points.toml'\ndata.csv.train = 'data/other.csv'");
    let said = home.fail(&["check", "top/top.toml"]);
    assert!(
        said.contains("data/other.csv: there is no such file in") && said.contains(&format!("{} or in", home.path("top").display())),
        "{said}"
    );
}

#[test]
fn keys_are_taken_away_in_their_order_with_those_that_are_set() {
    let home = home();
    let experiment = |arguments: &[&str]| {
        let (json, _) = home.succeed(&[&["check", "changed.toml", "--json"], arguments].concat());
        serde_json::from_str::<Value>(&json).unwrap()["experiment"].clone()
    };
    assert!(experiment(&["--unset", "likelihood"])["likelihood"].is_null());
    let [here, default] = ["changed.toml", "tiny.toml"].map(|name| loaded(&home, name)["train"]["keep"].as_integer().unwrap());
    assert!(here == 4 && default != 4);
    assert_eq!(experiment(&["--unset", "train.keep"])["train"]["keep"], default);
    assert_eq!(experiment(&["--set", "train.keep=9", "--unset", "train.keep"])["train"]["keep"], default);
    assert_eq!(experiment(&["--unset", "train.keep", "--set", "train.keep=9"])["train"]["keep"], 9);
    // A key that an experiment could have, and this one has not, is away already.
    assert_eq!(experiment(&["--unset", "sample.thresholding", "--unset", "evaluate"]), experiment(&[]));
    let refused = |key: &str| home.fail(&["check", "changed.toml", "--unset", key]);
    let said = refused("train.kep");
    assert!(
        said.contains("there is no key `train.kep`") && said.contains("did you mean `keep`?") && said.contains("[--unset:1:7]"),
        "{said}"
    );
    assert!(refused("liklihood").contains("did you mean `likelihood`?"));
    assert!(refused("train.lr").contains("missing field `lr`"), "what has no default can't be taken away");
    assert!(home.fail(&["sample", "run", "--unset", ""]).contains("does not exist"));
}

#[test]
fn a_number_that_toml_has_not_is_refused_where_it_stands() {
    let home = Home::with(&VECTORS.replace("count = 4", "count = 9223372036854775808"));
    let said = home.fail(&["check", "tiny.toml"]);
    assert!(said.contains("a whole number that TOML has not") && said.contains("count = 9223372036854775808"), "{said}");
    assert!(home.fail(&["check", "tiny.toml", "--set", "sample.count=-9223372036854775809"]).contains("[--set:1:16]"));
}

#[test]
fn every_key_says_where_it_comes_from_and_the_run_remembers() {
    let home = home();
    let arguments = ["nested/top.toml", "--set", "train.steps=4", "--set", "sample.count=2"];
    let (shown, _) = home.succeed(&[&["check"], &arguments[..]].concat());
    assert!(toml::from_str::<Experiment>(&shown).is_ok(), "{shown}");
    let note = |key: &str| shown.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap_or_else(|| panic!("{key}: {shown}"));
    for (key, end) in [
        ("seed", "seed = 7"),
        ("lr", "lr = 0.003"),
        ("steps", "# --set"),
        ("keep", "# from changed.toml"),
        ("rho", "# from changed.toml"),
        ("warmup", "# from tiny.toml"),
        ("log_every", "# default"),
    ] {
        assert!(note(key).ends_with(end), "{}", note(key));
    }
    assert!(shown.lines().filter(|line| !line.starts_with("# ")).all(|line| line.chars().count() <= 80), "{shown}");

    home.succeed(&[&["run"], &arguments[..], &["--out", "run", "--quiet"]].concat());
    let text = |name: &str| String::from_utf8(home.read(name)).unwrap();
    let stored = text("run/experiment.toml");
    assert!(toml::from_str::<Experiment>(&stored).is_ok(), "nothing is to be looked up elsewhere: {stored}");
    home.succeed(&["run", "run", "--quiet", "--set", "train.steps=5"]);
    let history = text("run/history.jsonl");
    let lines: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |what: &str| &lines.iter().find(|line| line["what"] == what).unwrap_or_else(|| panic!("{what}: {history}"))["origins"];
    assert_eq!(of("experiment")["train.keep"], "changed.toml");
    assert_eq!(of("experiment")["train.lr"], "nested/top.toml");
    assert_eq!(of("experiment")["sample.count"], "--set");
    assert_eq!(*of("changed"), serde_json::json!({ "train.steps": "--set" }));
}
