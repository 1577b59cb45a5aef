//! `score-sde parity` on golden cases, and on cases that are wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use safetensors::SafeTensors;
use score_sde::parity::{Index, Outcome, Row, kinds, run};
use serde_json::{Value, json};

/// The environment variable that names a folder with more cases.
const FOLDER: &str = "SCORE_SDE_GOLDEN";

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn rows(index: &Path, wanted: impl Fn(&str) -> bool) -> Vec<Row> {
    tch::set_num_threads(1);
    let index = Index::open(index).unwrap();
    index.select(&[], &[]).unwrap().iter().filter(|case| wanted(case.kind())).map(run).collect()
}

/// Every case of these kinds in a folder that is covered here passes; returns the kinds of those.
fn check(folder: &Path, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let rows = rows(&folder.join("index.json"), wanted);
    let width = rows.iter().map(|row| row.case.len()).max().unwrap();
    println!("{}\n{}", folder.display(), Row::header(width));
    rows.iter().for_each(|row| println!("{}", row.line(width)));
    let failed: Vec<&str> = rows.iter().filter(|row| row.ok() == Some(false)).map(|row| row.case.as_str()).collect();
    assert!(failed.is_empty(), "{failed:?} differ from the reference");
    rows.iter().filter(|row| row.ok() == Some(true)).map(|row| row.kind.clone()).collect()
}

#[test]
fn the_committed_selection_passes_and_has_every_kind() {
    let kinds = check(&committed(), |kind| kind != "likelihood");
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), ["control", "losses", "model", "ode", "pc", "sde", "train"]);
}

#[test]
fn one_list_of_kinds() {
    let readme = fs::read_to_string(committed().join("README.md")).unwrap();
    assert!(readme.contains(&format!("--kind {}]", kinds().join(","))), "the README of the golden cases has another list");
    let output = Command::cargo_bin("score-sde").unwrap().args(["parity", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains(&kinds().join(", ")), "{help}");
}

/// Two solves of two thousand evaluations: beside the others, not after them.
#[test]
fn the_committed_likelihood_passes() {
    assert_eq!(check(&committed(), |kind| kind == "likelihood").len(), 1);
}

#[test]
fn the_whole_folder_passes() {
    match std::env::var_os(FOLDER) {
        Some(folder) => drop(check(Path::new(&folder), |_| true)),
        None => eprintln!("skipped: {} names no folder of golden cases", FOLDER),
    }
}

/// The index of one committed case after `change`, with its files, in a folder of its own.
fn changed(case: &str, change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(committed().join("index.json")).unwrap();
    let mut description = serde_json::from_str::<Value>(&text).unwrap()[case].take();
    for field in ["file", "acts"] {
        if let Some(file) = description[field].as_str() {
            fs::copy(committed().join(file), folder.path().join(file)).unwrap();
        }
    }
    change(&mut description);
    fs::write(folder.path().join("index.json"), json!({ case: description }).to_string()).unwrap();
    folder
}

#[test]
fn a_case_is_compared_by_the_results_it_has() {
    let without = |dropped: fn(&str) -> bool| {
        let folder = changed("model_ddpmpp_biggan", |description| description["acts"] = Value::Null);
        let path = folder.path().join("model_ddpmpp_biggan.safetensors");
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let kept: Vec<_> = file.iter().filter(|(name, _)| !dropped(name)).collect();
        fs::write(&path, safetensors::serialize(kept, None).unwrap()).unwrap();
        rows(&folder.path().join("index.json"), |_| true).remove(0)
    };
    let row = without(|name| matches!(name, "probe" | "f64.score_vp" | "f64.net_out"));
    let Outcome::Compared(report) = &row.outcome else { panic!("{}", row.line(0)) };
    let compared: BTreeSet<&str> = report.checks().iter().map(|check| check.quantity.as_str()).collect();
    assert!(report.ok() && compared == BTreeSet::from(["score_subvp", "score_ve"]), "{}", row.line(0));

    let row = without(|name| matches!(name, "probe" | "f64.net_out") || name.starts_with("f64.score"));
    assert_eq!(row.ok(), Some(false), "nothing was compared: {}", row.line(0));
    assert!(without(|name| name == "x").line(0).contains("holds no tensor `x`"));
}

#[test]
fn a_wrong_constant_fails_the_quantities_that_depend_on_it() {
    let folder = changed("sde_vp_N100", |description| description["kwargs"]["beta_max"] = json!(20.0 + 1e-6));
    let [row] = &rows(&folder.path().join("index.json"), |_| true)[..] else { panic!("one case") };
    let Outcome::Compared(report) = &row.outcome else { panic!("{}", row.line(0)) };
    let failed: BTreeSet<&str> = report.checks().iter().filter(|check| !check.ok()).map(|check| check.quantity.as_str()).collect();
    for quantity in ["drift", "diffusion", "std", "mean", "disc_G", "rev_pf1_disc_f", "alphas_cumprod"] {
        assert!(failed.contains(quantity), "{quantity} passes: {failed:?} fail");
    }
    assert!(!failed.contains("prior_logp") && !failed.contains("timesteps_eps0.001"), "{failed:?}");
}

#[test]
fn a_wrong_network_fails_in_words() {
    let wrong = |change: fn(&mut Value)| {
        let folder = changed("model_ncsnpp_fir_ddpmblock", change);
        let rows = rows(&folder.path().join("index.json"), |_| true);
        assert_eq!(rows[0].ok(), Some(false));
        rows[0].line(0)
    };
    assert!(wrong(|d| d["config"]["model"]["skip_rescale"] = json!(false)).contains("f64.net_out is off by"));
    assert!(wrong(|d| d["config"]["model"]["fir_kernel"] = json!([1, 2, 2, 1])).contains("f32.act.all_modules."));
    assert!(wrong(|d| d["config"]["data"]["centered"] = json!(false)).contains("f64.score_ve is off by"));
    assert!(wrong(|d| d["config"]["model"]["nf"] = json!(32)).contains("has shape"));
    assert!(wrong(|d| d["config"]["model"]["num_res_blocks"] = json!(2)).contains("holds no tensor `param."));
    assert!(wrong(|d| d["config"]["model"]["name"] = json!("ncsnv2")).contains("unknown variant `ncsnv2`"));
    assert!(wrong(|d| d["file"] = json!("missing.safetensors")).contains("cannot read the golden tensors"));
}

#[test]
fn the_exit_status_tells() {
    let parity = |folder: &Path, more: &[&str]| {
        let mut command = Command::cargo_bin("score-sde").unwrap();
        command.arg("parity").arg(folder.join("index.json")).args(more);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let committed = committed();
    let (status, out, _) = parity(&committed, &["--kind", "sde,control"]);
    assert!(status == Some(0) && out.contains("4 ok, 0 failed, 0 not covered"), "{out}");
    let (status, out, _) = parity(&committed, &["--case", "sde_vp_N100", "--case", "sde_ve_default"]);
    assert!(status == Some(0) && out.contains("2 ok, 0 failed, 0 not covered"), "{out}");

    let folder = changed("sde_vp_N100", |description| description["sde"] = json!("subvp"));
    let (status, out, error) = parity(folder.path(), &[]);
    assert!(status == Some(1) && out.contains("FAILED") && out.contains("0 ok, 1 failed"), "{out}");
    assert!(error.contains("1 of 1 golden cases differ"), "{error}");
    let folder = changed("sde_vp_N100", |description| description["kind"] = json!("schroedinger"));
    let (status, out, _) = parity(folder.path(), &[]);
    assert!(status == Some(0) && out.contains("schroedinger  not covered") && out.contains("0 ok"), "{out}");

    let (status, _, error) = parity(&committed, &["--kind", "sed"]);
    assert!(status == Some(2) && error.contains("no case of kind `sed`") && error.contains("losses, model"), "{error}");
    let (status, _, error) = parity(&committed.join("nowhere"), &[]);
    assert!(status == Some(1) && error.contains("cannot read the index"), "{error}");
}
