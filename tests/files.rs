//! Files that a user hands over, and weights that go out: what is refused, and what is said of what can't be checked.

mod common;

use std::process::Command;

use common::home::{Home, VECTORS};
use score_sde::run::{Run, checkpoint};
use tch::Tensor;

const RUN: [&str; 2] = ["run", "tiny.toml"];

#[test]
fn weights_that_are_not_finite_are_not_exported() {
    let home = Home::with(VECTORS);
    home.succeed(&RUN);
    let run = Run::existing(&home.path("runs/tiny")).unwrap();
    let newest = checkpoint::latest(&run).unwrap().unwrap();
    let copy = |name: &str| newest.tensor(name).unwrap().copy();
    let mut tensors: Vec<(String, Tensor)> = newest.names().map(|name| (name.to_owned(), copy(name))).collect();
    let (_, weights) = tensors.iter_mut().find(|(name, _)| name.starts_with("ema.")).unwrap();
    let _ = weights.view(-1).narrow(0, 0, 1).fill_(f64::NAN);
    let named: Vec<(String, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
    checkpoint::save(&run, newest.step + 1, &named, &[], 2).unwrap();
    drop(run);
    let refusal = home.fail(&["export", "runs/tiny", "--to", "safetensors", "--out", "weights.safetensors"]);
    assert!(refusal.contains("its weights are not finite"), "{refusal}");
    assert!(!home.path("weights.safetensors").exists());
    home.succeed(&["export", "runs/tiny", "--to", "safetensors", "--out", "weights.safetensors", "--step", "20"]);
}

#[test]
fn a_pipe_in_the_place_of_data_is_refused_at_once() {
    let home =
        Home::with(&VECTORS.replace("[data.checkerboard]\ntrain = 100\ntest = 20", "[data.npy-vectors]\ntrain = 'x.npy'\ntest = 'x.npy'"));
    assert!(Command::new("mkfifo").arg(home.path("x.npy")).status().unwrap().success());
    let refusal = home.fail(&RUN);
    assert!(refusal.contains("x.npy: it is no regular file"), "{refusal}");
}

#[test]
fn a_table_of_vectors_with_classes_is_trained_and_its_defects_are_named_by_line() {
    let experiment = VECTORS
        .replace(
            "[data.checkerboard]\ntrain = 100\ntest = 20",
            "[data.csv]\ntrain = 'x.csv'\ntest = 'x.csv'\nheader = true\nlabels = 'kind'",
        )
        .replace("[network.mlp]", "[condition.class]\ndropout = 0.1\n\n[network.mlp]");
    let home = Home::with(&experiment);
    let rows: String = (0..20).map(|i| format!("{i},{},{}\n", 0.5 * f64::from(i), ["iris", "rose", "aster"][i as usize % 3])).collect();
    home.write("x.csv", format!("x,y,kind\n{rows}"));
    let said = home.succeed(&["check", "tiny.toml"]).0;
    assert!(said.contains("20 training examples of shape [2]") && said.contains("the class, one of 3"), "{said}");
    home.succeed(&RUN);
    let said = home.succeed(&["data", "tiny.toml"]).0;
    assert!(said.contains("7  iris") && said.contains("data.csv.scale = "), "{said}");
    home.write("x.csv", format!("x,y,kind\n{rows}1,2\n"));
    let refusal = home.fail(&RUN);
    assert!(refusal.contains("x.csv: line 22 has 2 values, and the first has 3"), "{refusal}");
    home.write("x.csv", format!("x,y,kind\n{rows}1,nought,iris\n"));
    let refusal = home.fail(&RUN);
    assert!(refusal.contains("line 22, column y: `nought` is no finite number"), "{refusal}");
    let refusal = home.fail(&["check", "tiny.toml", "--set", "data.csv.columns=[\"kind\"]"]);
    assert!(refusal.contains("data.csv.columns: they hold the column of the labels"), "{refusal}");
}

#[test]
fn a_golden_case_does_not_lead_out_of_its_folder() {
    let home = Home::with(VECTORS);
    home.write("golden/index.json", r#"{"outside":{"kind":"sde","sde":"vp","kwargs":{},"file":"../tiny.toml"}}"#);
    let output = home.said(&["parity", "golden/index.json"]);
    assert!(output.contains("golden cases differ"), "{output}");
    let output = Command::new(env!("CARGO_BIN_EXE_score-sde")).args(["parity", "golden/index.json"]).current_dir(home.path("")).output();
    let table = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(table.contains("is not one of the folder's"), "{table}");
}

#[test]
fn a_checkpoint_without_checksums_is_said_to_have_none() {
    let home = Home::with(VECTORS);
    let fixture = |name: &str| format!("{}/tests/fixtures/pth/{name}", env!("CARGO_MANIFEST_DIR"));
    let said = |name: &str| home.said(&["import", &fixture(name), "--experiment", "tiny.toml", "--out", "imported"]);
    let sum = Command::new("sha256sum").arg(fixture("ncsnpp_legacy.pth")).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let legacy = said("ncsnpp_legacy.pth");
    assert!(legacy.contains("no checksums") && legacy.contains(&sum[..64]), "{legacy}");
    assert!(!said("ncsnpp.pth").contains("no checksums"));
}
