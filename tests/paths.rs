//! Paths that are straight, written down or tabled, and flow matching, through the binary.

mod common;

use std::io::Cursor;

use common::home::{Home, VECTORS};
use ndarray::Array2;
use ndarray_npy::NpzReader;

const SDE: &str = "[sde.vp]\nbeta_min = 0.1\nbeta_max = 20.0";

/// VECTORS under another process, with a network that says velocities and is asked for its flow.
fn of_flows(sde: &str) -> String {
    let changes = [
        (SDE, sde),
        ("[precondition.reference]", "[precondition.plain]\nlabel = \"time\"\noutput = \"velocity\""),
        ("weighting = \"variance\"", "weighting = \"velocity\""),
        ("dynamics = \"reverse-sde\"", "dynamics = \"probability-flow\""),
    ];
    changes.into_iter().fold(VECTORS.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replace(old, new)
    })
}

fn samples(home: &Home, name: &str) -> Array2<f32> {
    NpzReader::new(Cursor::new(home.read(&format!("{name}.npz")))).unwrap().by_name("samples").unwrap()
}

#[test]
fn every_path_trains_samples_and_measures() {
    let paths = [
        "[sde.linear]",
        "[sde.optimal-transport]",
        "[sde.edm]\nsigma_max = 20.0",
        "[sde.cosine]\ns = 0.0\nend = 1.0",
        "[sde.formula]\nalpha = \"cos(pi*t/2)\"\nsigma = \"sin(pi*t/2)\"",
        "[sde.table]\nt = [0.0, 0.25, 0.5, 0.75, 1.0]\nalpha = [1.0, 0.9, 0.6, 0.2, 0.0]\nsigma = [0.0, 0.4, 0.8, 0.98, 1.0]",
    ];
    let mut found = Vec::new();
    for path in paths {
        let home = Home::with(&of_flows(path));
        home.succeed(&["run", "tiny.toml"]);
        let x = samples(&home, "runs/tiny/samples/samples");
        assert!(x.dim() == (4, 2) && x.iter().all(|x| x.is_finite()), "{path}: {x}");
        let report = home.json("runs/tiny/likelihood.json");
        assert!(report["nats"]["mean"].as_f64().unwrap().is_finite(), "{path}");
        // With equal steps in t velocities lead down from t = 1, and a likelihood, which divides by the signal, up to where there is some.
        let [drawn, measured] = [home.json("runs/tiny/samples/samples.json"), report].map(|report| report["horizon"].as_f64());
        assert_eq!((drawn, measured.is_some()), (None, !path.contains("edm")), "{path}");
        found.push(x);
    }
    // A formula and the process that it writes down are one.
    let apart = (&found[3] - &found[4]).iter().fold(0f32, |most, x| most.max(x.abs()));
    assert!(apart < 1e-4, "{apart}");
    assert!((&found[0] - &found[1]).iter().any(|x| x.abs() > 1e-4), "paired noise trains another network");
}

#[test]
fn noise_that_is_paired_with_the_data_has_a_flow_and_no_score() {
    let home = Home::with(&of_flows("[sde.optimal-transport]"));
    let paired = "under [sde.optimal-transport] noise is paired with the data";
    for (setting, key) in [
        ("sample.dynamics=reverse-sde", "sample.solver.euler"),
        ("sample.solver={edm={s_churn=1,s_min=0,s_max=9,s_noise=1,grid={uniform={steps=4}}}}", "sample.solver.edm"),
        ("likelihood.bound={elbo={form='denoising',draws=2}}", "likelihood.bound"),
        ("train.objective={implicit={curvature=0}}", "train.objective"),
        ("train.weighting=likelihood", "train.weighting"),
        ("sample.path={linear={}}", "sample.path"),
        ("condition={vector={train='a',test='b',scale=1,dropout=0.1}}", "condition"),
        ("precondition={discrete={levels=10}}", "precondition.discrete.levels"),
    ] {
        let said = home.fail(&["run", "tiny.toml", "--set", setting]);
        assert!(said.starts_with(key) && (said.contains(paired) || said.contains("paired")), "{setting}: {said}");
    }
    let said = home.fail(&["run", "tiny.toml", "--set", "train.batch=200000"]);
    assert!(said.contains("lower train.batch"), "pairs of so many take more memory than there is: {said}");
    home.succeed(&["run", "tiny.toml"]);
    let said = home.fail(&["edit", "runs/tiny", "--from", "0.5", "--count", "1"]);
    assert!(said.contains("give a run of another process, such as [sde.linear]"), "{said}");
}

/// The flow of a known score, down another path.
#[test]
fn samples_come_down_any_path_to_the_same_points() {
    let (before, after) = VECTORS.split_once("[network.mlp]").unwrap();
    let (_, after) = after.split_once("[sample]").unwrap();
    let score = "[score.gaussian-mixture]\nweights = [1.0]\nmeans = [[0.2, -0.1]]\ncovariances = [[[0.5, 0.1], [0.1, 0.3]]]\n\n[sample]";
    let home = Home::with(&[before, score, after].concat());
    let flow = ["--set", "sample.dynamics=probability-flow", "--set", "sample.solver={rk45={rtol=1e-8,atol=1e-8}}"];
    home.succeed(&[&["run", "tiny.toml"], &flow[..]].concat());
    let own = samples(&home, "runs/tiny/samples/samples");
    for (path, t_min) in
        [("linear={}", "1e-3"), ("edm={sigma_max=150.0}", "7e-5"), ("formula={alpha='cos(pi*t/2)',sigma='sin(pi*t/2)'}", "1e-3")]
    {
        let t_min = format!("sample.t_min={t_min}");
        let path = format!("sample.path={{{path}}}");
        home.succeed(&["sample", "runs/tiny", "--name", "other", "--set", &path, "--set", &t_min]);
        let other = samples(&home, "runs/tiny/samples/other");
        // But for what the priors of two paths differ in.
        let apart = (&own - &other).iter().fold(0f32, |most, x| most.max(x.abs()));
        assert!(apart < 0.05, "{path}: {apart}");
        std::fs::remove_dir_all(home.path("runs/tiny/samples")).unwrap();
    }
}
