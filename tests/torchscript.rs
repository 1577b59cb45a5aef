//! `[network.torchscript]`, on modules that PyTorch wrote (`tests/fixtures/torchscript`, see `scripts/torchscript/fixtures.py`).

mod common;

use std::path::Path;

use common::home::{Home, VECTORS};
use score_sde::divergence::Probes;
use score_sde::dynamics::{FlowWithLogDensity, Reverse};
use score_sde::lab::{CANDIDATES, Grid, Sweep};
use score_sde::model::Model;
use score_sde::rng::{Law, Purpose, rows};
use score_sde::run::tensors;
use score_sde::session::{Machine, Session};
use score_sde::solver::Problem;
use score_sde::tensor::to_vec;
use tch::{Device, Kind};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torchscript").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The tiny experiment with a module as its network.
fn vectors(file: &str) -> String {
    let begin = VECTORS.find("[network.mlp]").unwrap();
    let end = VECTORS.find("[precondition.reference]").unwrap();
    format!("{}[network.torchscript]\nfile = \"{file}\"\n\n{}", &VECTORS[..begin], &VECTORS[end..])
}

/// The same without training.
fn untrained(file: &str) -> String {
    let text = vectors(file);
    let (begin, end) = (text.find("[train]").unwrap(), text.find("[sample]").unwrap());
    text[..begin].to_owned() + &text[end..]
}

fn home(experiment: &str, module: &str) -> Home {
    let home = Home::with(experiment);
    home.write("net.pt", fixture(module));
    home
}

#[test]
fn a_module_is_trained_and_its_run_stands_alone() {
    let home = home(&vectors("net.pt"), "net.pt");
    home.succeed(&["run", "tiny.toml", "--out", "whole"]);
    home.succeed(&["run", "tiny.toml", "--out", "half", "--set", "train.steps=10"]);
    home.succeed(&["verify-resume", "tiny.toml"]);
    // Training moved the weights away from the file's.
    let checkpoint = |step: u64| format!("whole/checkpoints/step-{step:08}.safetensors");
    assert_ne!(home.read(&checkpoint(10)), home.read(&checkpoint(20)));
    assert_eq!(home.read("whole/network.pt"), fixture("net.pt"));

    // The averages go back to PyTorch by the module's own names.
    home.succeed(&["export", "whole", "--to", "safetensors"]);
    let (weights, _) = tensors::parse(&home.read("whole/weights.safetensors")).unwrap();
    let names: Vec<&str> = weights.keys().map(String::as_str).collect();
    assert_eq!(names, ["hidden.bias", "hidden.weight", "input.bias", "input.weight", "output.bias", "output.weight", "unused"]);

    std::fs::remove_file(home.path("net.pt")).unwrap();
    home.succeed(&["sample", "whole", "--name", "again"]);
    assert_eq!(home.read("whole/samples/again.npz"), home.read("whole/samples/samples.npz"));
    home.succeed(&["likelihood", "whole", "--name", "again"]);
    home.succeed(&["lab", "whole", "--count", "20", "--solvers", "heun", "--nfe", "8"]);
    home.succeed(&["run", "tiny.toml", "--out", "whole"]);
    home.succeed(&["verify", "whole"]);
    let machine = Machine { threads: Some(1), ..Machine::default() };
    let (session, _) = Session::open(&home.path("whole"), machine).unwrap();
    assert_eq!(session.parameters().unwrap().count(), 450);
}

#[test]
fn a_file_that_changed_since_is_another_experiment() {
    let home = home(&untrained("net.pt"), "net.pt");
    home.succeed(&["run", "tiny.toml", "--out", "run"]);
    home.write("net.pt", fixture("traced.pt"));
    let report = home.fail(&["run", "tiny.toml", "--out", "run"]);
    assert!(report.contains("network.torchscript.sha256: \""), "{report}");
    // Wherever it lies, it is the same one.
    home.write("elsewhere.pt", fixture("net.pt"));
    home.succeed(&["run", "tiny.toml", "--out", "run", "--set", "network.torchscript.file=elsewhere.pt"]);
    // The copy is made again, and a damaged one is refused meanwhile.
    home.write("run/network.pt", b"not what it was");
    let report = home.fail(&["sample", "run"]);
    assert!(report.contains("network.pt: is damaged: the SHA-256 of the file is") && report.contains("copies it again"), "{report}");
    home.succeed(&["run", "tiny.toml", "--out", "run", "--set", "network.torchscript.file=elsewhere.pt"]);
    home.succeed(&["sample", "run"]);
}

#[test]
fn without_training_the_weights_are_the_files() {
    let home = home(&untrained("net.pt"), "frozen.pt");
    home.succeed(&["run", "tiny.toml", "--out", "frozen"]);
    home.write("net.pt", fixture("net.pt"));
    home.succeed(&["run", "tiny.toml", "--out", "scripted"]);
    let nats = |run: &str| home.json(&format!("{run}/likelihood.json"))["nats"]["mean"].as_f64().unwrap();
    assert!((nats("frozen") - nats("scripted")).abs() < 1e-5);
    assert_eq!(home.names("scripted/checkpoints"), [""; 0]);
    assert!(home.fail(&["sample", "scripted", "--step", "5"]).contains("the weights of its network are the file's"));
    assert!(home.fail(&["export", "scripted", "--to", "safetensors"]).contains("nothing is trained in it"));
    home.write("net.pt", fixture("inference.pt"));
    home.succeed(&["run", "tiny.toml", "--out", "inference", "--set", "sample.solver={euler={grid={uniform={steps=3}}}}"]);
}

#[test]
fn a_module_is_told_the_class() {
    let mixture = "[data.gaussian-mixture]\ntrain = 60\ntest = 30\nscale = 1.0\nmixture = {weights = [1, 1, 1], means = [[0, 1], [1, 0], [0, 0]], \
                   covariances = [[[1, 0], [0, 1]], [[1, 0], [0, 1]], [[1, 0], [0, 1]]]}\n\n[condition.class]\ndropout = 0.1\n";
    let text = vectors("net.pt").replace("[data.checkerboard]\ntrain = 100\ntest = 20\nscale = 2.0\n", mixture);
    let given = "guidance.classifier-free = { weight = 2.0 }\ngiven.classes = [0, 2, 1, 0]\n";
    let home = home(&text.replace("[likelihood]", &format!("{given}\n[likelihood]")), "told.pt");
    home.succeed(&["run", "tiny.toml", "--out", "run"]);
    home.write("net.pt", fixture("net.pt"));
    let report = home.fail(&["check", "tiny.toml"]);
    assert!(report.contains("net.pt can't do F(x, label, condition)"), "{report}");
}

#[test]
fn modules_that_cannot_work_are_refused_before_any_work() {
    let home = home(&vectors("net.pt"), "wrong-shape.pt");
    let report = home.fail(&["run", "tiny.toml", "--out", "run"]).replace(home.path("net.pt").to_str().unwrap(), "net.pt");
    assert!(report.contains("network.torchscript.file: net.pt gives [3, 1] for x [3, 2]; expected [3, 2]"), "{report}");
    assert!(!home.path("run").exists());
    home.write("net.pt", fixture("frozen.pt"));
    let report = home.fail(&["check", "tiny.toml"]);
    assert!(report.contains("has no parameters that could be trained") && report.contains("remove [train]"), "{report}");
    std::fs::remove_file(home.path("net.pt")).unwrap();
    let report = home.fail(&["check", "tiny.toml"]);
    assert!(report.contains("net.pt: there is no such file") && report.contains("torch.jit.save"), "{report}");
    // It fails at labels that the trial did not meet.
    let home = self::home(&untrained("net.pt"), "wrong-late.pt");
    let report = home.fail(&["run", "tiny.toml", "--out", "run"]);
    assert!(report.contains("net.pt: failed at work: ") && report.contains("the label is too small"), "{report}");
}

const MIXTURE: &str = include_str!("../experiments/exact_mixture.toml");

/// The exact mixture as its own score, and as a module in this kind.
fn mixtures(kind: Kind) -> [Session; 2] {
    let machine = Machine { threads: Some(1), ..Machine::default() };
    let (begin, end) = (MIXTURE.find("# The score of the same mixture").unwrap(), MIXTURE.find("[sample]").unwrap());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torchscript");
    let file = file.join(if kind == Kind::Double { "mixture-f64.pt" } else { "mixture-f32.pt" });
    let module = format!(
        "{}[network.torchscript]\nfile = {file:?}\n[precondition.plain]\nlabel = \"t\"\noutput = \"score\"\n\n{}",
        &MIXTURE[..begin],
        &MIXTURE[end..]
    );
    [MIXTURE, &module].map(|text| Session::new(&score_sde::experiment::parse("mixture.toml", text, &[]).unwrap(), machine))
}

/// Every solver's samples from the same 40 start points, and ln p of the first 10 data by the likelihood's flow with the exact trace.
fn numbers(model: &dyn Model) -> Vec<(String, Vec<f64>)> {
    let sde = model.sde();
    let normal = |purpose, n, draw| rows(Law::Gaussian, 1, purpose, 0..n, draw, &[2], Device::Cpu).to_kind(Kind::Double);
    let start = normal(Purpose::Prior, 40, 0);
    let sweep = Sweep {
        candidates: CANDIDATES.iter().collect(),
        budgets: vec![40],
        grids: vec![Grid::LogSnr],
        churns: vec![10.0],
        tolerances: vec![1e-7],
        noisy_tolerances: vec![1e-2],
    };
    let settings = sweep.settings(sde, 1e-3, None);
    // The rest know other processes, or have no budget as small.
    assert!(settings.len() >= 39, "{}", settings.len());
    let mut numbers = Vec::new();
    for setting in settings {
        let reverse = Reverse { model, eta: setting.dynamics.eta() };
        let problem = Problem { x: &start, span: (1.0, 1e-3), denoise: true };
        let (x, _) = setting.spec.sample(&reverse, &problem, &mut |draw| normal(Purpose::Brownian, 40, draw as u64), &mut |_| {}).unwrap();
        numbers.push((setting.solver.to_owned(), to_vec(&x)));
    }
    let x = normal(Purpose::Data, 10, 0);
    for text in ["heun.grid.karras = { steps = 20, rho = 7.0 }", "rk45 = { rtol = 1e-6, atol = 1e-6 }"] {
        let solver: std::collections::BTreeMap<String, score_sde::solver::SolverSpec> = toml::from_str(&format!("solver.{text}")).unwrap();
        let flow = FlowWithLogDensity::new(model, vec![2], Probes::Exact);
        let (end, _) = solver["solver"].general().unwrap().solve(&flow, sde, &flow.start(&x), (1e-3, 1.0), &mut |_| {}).unwrap();
        numbers.push((format!("likelihood by {text}"), to_vec(&end)));
    }
    numbers
}

/// Solvers that choose their steps; the first with noise.
const CHOOSING: [&str; 5] = ["adaptive-sde", "rk23", "rk45", "tsit5", "dop853"];

#[test]
fn the_exact_mixture_as_a_module_has_the_numbers_of_the_one_that_is_built_in() {
    for (kind, room) in [(Kind::Double, 1e-9), (Kind::Float, 1e-5)] {
        let [truth, module] = mixtures(kind).map(|session| numbers(&*session.model().unwrap()));
        for ((name, truth), (_, found)) in truth.into_iter().zip(module) {
            let error = (truth.iter().zip(&found).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / truth.len() as f64).sqrt();
            println!("{kind:?} {name}: {error:.1e}");
            // What step control accepts hangs on the last bits of f32: along the flow the step's own error is what changes, with noise the path.
            let room = match (kind, CHOOSING.iter().position(|solver| *solver == name)) {
                (Kind::Float, Some(0)) => continue,
                (Kind::Float, Some(_)) => 10.0 * room,
                _ => room,
            };
            assert!(error < room, "{kind:?} {name}: {error:.1e}");
        }
    }
}
