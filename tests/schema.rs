//! The JSON Schema of experiment files: editors and the parser agree on what is wrong.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::home::{Home, VECTORS};
use score_sde::experiment::{Experiment, schema};
use serde::Deserialize;
use serde_json::Value;

/// The file that the experiments name for editors.
const FILE: &str = "experiments/schema.json";

fn experiments() -> Vec<PathBuf> {
    let of = |folder: &str| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut all = [of("experiments"), of("experiments/ancestors"), of("experiments/ancestors/fashion")].concat();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    all.sort();
    all
}

fn json(path: &Path) -> Value {
    // JSON has no infinity.
    let text = fs::read_to_string(path).unwrap().replace("= inf", "= 1.0");
    serde_json::to_value(toml::from_str::<toml::Value>(&text).unwrap()).unwrap()
}

#[test]
fn the_file_for_editors_is_the_schema_and_every_experiment_names_it() {
    let home = Home::with(VECTORS);
    let (printed, _) = home.succeed(&["schema"]);
    if std::env::var_os("SCORE_SDE_WRITE").is_some() {
        fs::write(FILE, &printed).unwrap();
    }
    assert!(fs::read_to_string(FILE).unwrap_or_default() == printed, "{FILE} is out of date: SCORE_SDE_WRITE=1 cargo test --test schema");
    for path in experiments() {
        let text = fs::read_to_string(&path).unwrap();
        let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).unwrap_or_else(|| panic!("{}", path.display()));
        let there = fs::canonicalize(path.parent().unwrap().join(named)).unwrap();
        assert_eq!(there, fs::canonicalize(FILE).unwrap(), "{}", path.display());
    }
}

/// The paths of all keys in a document.
fn paths(value: &Value, path: &[String], found: &mut Vec<Vec<String>>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = [path, std::slice::from_ref(key)].concat();
        found.push(path.clone());
        paths(value, &path, found);
    }
}

/// The document with the entry at a path changed.
fn changed(document: &Value, path: &[String], change: impl Fn(&mut serde_json::Map<String, Value>, &str)) -> Value {
    let mut document = document.clone();
    let (last, tables) = path.split_last().unwrap();
    let table = tables.iter().fold(&mut document, |value, key| &mut value[key.as_str()]);
    change(table.as_object_mut().unwrap(), last);
    document
}

fn is_read(document: &Value) -> bool {
    toml::Value::try_from(document).is_ok_and(|value| Experiment::deserialize(value).is_ok())
}

#[test]
fn schema_and_parser_agree_on_what_is_wrong() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let (mut refused, mut read) = (0, 0);
    for path in experiments() {
        let document = json(&path);
        if !document["extends"].is_null() {
            assert!(validator.is_valid(&document), "{}", path.display());
            continue;
        }
        assert!(validator.is_valid(&document) && is_read(&document), "{}", path.display());
        let mut all = Vec::new();
        paths(&document, &[], &mut all);
        // Every third key of each file, in turn misspelt, left out, and of another kind.
        for (i, key) in all.iter().enumerate().step_by(3) {
            let wrong = match i / 3 % 4 {
                0 => changed(&document, key, |table, key| {
                    let value = table.remove(key).unwrap();
                    table.insert(format!("{key}x"), value);
                }),
                1 => changed(&document, key, |table, key| drop(table.remove(key))),
                2 => changed(&document, key, |table, key| drop(table.insert(key.into(), "nonsense".into()))),
                _ => changed(&document, key, |table, key| drop(table.insert(key.into(), vec![true].into()))),
            };
            let (by_schema, by_parser) = (validator.is_valid(&wrong), is_read(&wrong));
            assert_eq!(by_schema, by_parser, "{}: {key:?} of {wrong:#}", path.display());
            (refused, read) = (refused + usize::from(!by_parser), read + usize::from(by_parser));
        }
    }
    assert!(refused >= 200 && read > 5, "{refused} refused, {read} read");
}

#[test]
fn keys_are_told_with_their_words() {
    let home = Home::with(VECTORS);
    let (all, _) = home.succeed(&["keys"]);
    for table in ["train", "sample", "sde", "evaluate", "likelihood"] {
        assert!(all.lines().any(|line| line == table), "{table} is not in {all}");
    }
    let (train, _) = home.succeed(&["keys", "train"]);
    assert!(train.contains("\nlr  (number)\n    ") && train.contains("checkpoint_every  (whole number)"), "{train}");
    assert!(train.lines().all(|line| line.chars().count() <= 80), "{train}");
    let (ve, _) = home.succeed(&["keys", "sde.ve"]);
    assert!(ve.contains("\nsigma_max  (number)\n") && !ve.contains("beta_min"), "{ve}");
    let (solver, _) = home.succeed(&["keys", "sample.dynamics"]);
    assert!(solver.contains("reverse-sde"), "{solver}");
    assert!(home.fail(&["keys", "trian"]).contains("there is no table trian"));
}

#[test]
fn a_file_that_extends_another_may_leave_out_what_is_required_of_others() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let is_valid = |text: &str| validator.is_valid(&serde_json::to_value(toml::from_str::<toml::Value>(text).unwrap()).unwrap());
    for (rest, fits) in [
        ("", true),
        ("[train]\nlr = 1.0", true),
        ("[train]\nlr = 'one'", false),
        ("[train]\nlrr = 1.0", false),
        ("[sde.ve]\nsigma_max = 1.0", true),
        ("[sde]", false),
        ("[sde]\nve.sigma_max = 1.0\nvp.beta_min = 1.0", false),
        ("[sample.solver.heun.grid.uniform]", true),
    ] {
        assert_eq!(is_valid(&format!("extends = 'base.toml'\n{rest}")), fits, "{rest}");
        assert!(!is_valid(rest), "{rest}");
    }
    assert!(!is_valid(&format!("extends = ''\n{VECTORS}")) && is_valid(VECTORS));
}
