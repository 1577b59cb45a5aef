//! Codes of the probability flow, through the binary.

mod common;

use common::home::{Home, VECTORS};
use ndarray::Array2;
use ndarray_npy::NpzReader;

const RUN: [&str; 2] = ["run", "tiny.toml"];
const HEUN: &str = "sample.solver={heun={grid={log-snr={steps=4}}}}";

fn written() -> String {
    VECTORS
        .replace("dynamics = \"reverse-sde\"", "dynamics = \"probability-flow\"")
        .replace("solver.euler.grid.uniform.steps = 4", "solver.rk45 = { rtol = 1e-7, atol = 1e-7 }")
        .replace("denoise = true", "denoise = false")
}

fn array(home: &Home, name: &str, key: &str) -> Array2<f64> {
    NpzReader::new(std::fs::File::open(home.path(name)).unwrap()).unwrap().by_name(key).unwrap()
}

fn samples(home: &Home, name: &str) -> Array2<f32> {
    NpzReader::new(std::fs::File::open(home.path(name)).unwrap()).unwrap().by_name("samples").unwrap()
}

#[test]
fn codes_lead_back_and_what_lies_between_them_too() {
    let home = Home::with(&written());
    home.succeed(&RUN);
    let (_, stderr) = home.succeed(&["encode", "runs/tiny", "--count", "5"]);
    assert!(stderr.contains("5 codes; back again"), "{stderr}");
    let report = home.json("runs/tiny/codes.json");
    assert!(report["round_trip"]["largest"].as_f64().unwrap() < 1e-4, "{report}");
    let codes = array(&home, "runs/tiny/codes.npz", "codes");
    assert_eq!(codes.dim(), (5, 2));

    home.succeed(&["decode", "runs/tiny", "runs/tiny/codes.npz"]);
    let back = samples(&home, "runs/tiny/samples/decoded.npz");
    home.succeed(&["interpolate", "runs/tiny", "--between", "0,3", "--steps", "4"]);
    let way = samples(&home, "runs/tiny/samples/between.npz");
    assert_eq!((back.dim(), way.dim()), ((5, 2), (4, 2)));
    let apart = |a: usize, b: usize| (&back.row(a) - &way.row(b)).iter().fold(0f32, |most, x| most.max(x.abs()));
    assert!(apart(0, 0) < 1e-4 && apart(3, 3) < 1e-4, "the ends are the examples: {back}, {way}");
    assert!(apart(0, 1) > 1e-3);

    let before = home.contents("runs/tiny");
    home.succeed(&["encode", "runs/tiny", "--count", "5"]);
    home.succeed(&["decode", "runs/tiny", "runs/tiny/codes.npz"]);
    assert_eq!(home.contents("runs/tiny"), before, "what is there is not made again");
    assert!(home.fail(&["encode", "runs/tiny", "--count", "4"]).contains("give this one another --name"));
    home.succeed(&["verify", "runs/tiny"]);
}

#[test]
fn what_has_no_codes_is_refused() {
    let home = Home::with(&written());
    home.succeed(&RUN);
    let refused = |arguments: &[&str], why: &str| {
        let refusal = home.fail(arguments);
        assert!(refusal.contains(why), "{refusal}");
    };
    refused(&["encode", "runs/tiny", "--set", "sample.dynamics=reverse-sde", "--set", HEUN], "codes are of the probability flow");
    let multi_step = "sample.solver={dpm-solver-pp={order=2,grid={log-snr={steps=9}}}}";
    refused(&["encode", "runs/tiny", "--set", multi_step], "sample.solver");
    refused(&["encode", "runs/tiny", "--count", "21"], "there is no example 20: the split has 20");
    refused(&["interpolate", "runs/tiny", "--between", "0,1,2"], "give two, such as --between 3,17");
    refused(&["decode", "runs/tiny", "runs/tiny/samples/samples.npz"], "holds no codes");
    refused(&["decode", "runs/tiny", "nowhere.npz"], "nowhere.npz");
    home.succeed(&["encode", "runs/tiny", "--count", "2"]);
    refused(&["decode", "runs/tiny", "runs/tiny/codes.npz", "--temperature", "0"], "give a number above 0");
}

/// Of one law by its exact score, under a process of its own.
fn exact(sde: &str, t_min: &str) -> String {
    format!(
        "seed = 1\nsde.{sde}\ndata.checkerboard = {{ train = 100, test = 60, scale = 2.0 }}\n\
         score.gaussian-mixture = {{ weights = [1.0, 2.0], means = [[1.0, -0.5], [-0.5, 0.5]], \
         covariances = [[[0.3, 0.1], [0.1, 1.0]], [[0.5, 0.0], [0.0, 0.2]]] }}\n\
         [sample]\ncount = 4\nbatch = 60\ndynamics = \"probability-flow\"\nsolver.rk45 = {{ rtol = 1e-6, atol = 1e-6 }}\n\
         t_min = {t_min}\ndenoise = false\n"
    )
}

/// Whatever the process, its flow is the same in x / α and σ / α, and so are codes in units of the prior.
#[test]
fn runs_of_one_law_give_the_same_codes() {
    let home = Home::with(&exact("vp = { beta_min = 0.1, beta_max = 20.0 }", "1e-5"));
    home.succeed(&RUN);
    let halved = exact("vp = { beta_min = 0.1, beta_max = 20.0 }", "1e-5")
        .replace("scale = 2.0", "scale = 4.0")
        .replace("[[1.0, -0.5], [-0.5, 0.5]]", "[[0.5, -0.25], [-0.25, 0.25]]")
        .replace("[[0.3, 0.1], [0.1, 1.0]], [[0.5, 0.0], [0.0, 0.2]]", "[[0.075, 0.025], [0.025, 0.25]], [[0.125, 0.0], [0.0, 0.05]]");
    for (name, text) in [
        ("rescaled", exact("vp = { beta_min = 0.1, beta_max = 30.0 }", "1e-5")),
        ("sub-vp", exact("sub-vp = { beta_min = 0.1, beta_max = 20.0 }", "1e-3")),
        ("ve", exact("ve = { sigma_min = 0.002, sigma_max = 100.0 }", "1e-5")),
        ("halved", halved),
    ] {
        home.write(&format!("{name}.toml"), text);
        home.succeed(&["run", &format!("{name}.toml")]);
        let (_, said) =
            home.succeed(&["encode", "runs/tiny", "--count", "60", "--against", &format!("runs/{name}"), "--name", &format!("of-{name}")]);
        assert!(said.contains("the two codes: correlation 1.0000 ± 0.0000"), "{name}: {said}");
        let against = &home.json(&format!("runs/tiny/of-{name}.json"))["against"];
        let mean = |of: &serde_json::Value, key: &str| of[key]["mean"].as_f64().unwrap();
        assert!(mean(against, "correlation") > 0.9999 && mean(against, "distance") < 0.03, "{name}: {against}");
        assert!(mean(&against["shuffled"], "correlation") < 0.5 && mean(&against["shuffled"], "distance") > 0.5, "{name}: {against}");
        let each: ndarray::Array1<f64> = NpzReader::new(std::fs::File::open(home.path(&format!("runs/tiny/of-{name}.npz"))).unwrap())
            .unwrap()
            .by_name("distance")
            .unwrap();
        assert!((each.mean().unwrap() - mean(against, "distance")).abs() < 1e-12);
    }
}

#[test]
fn codes_of_two_networks_are_compared_where_they_can_be() {
    let home = Home::with(&written());
    home.succeed(&RUN);
    home.write("other.toml", written().replace("seed = 1", "seed = 2"));
    home.succeed(&["run", "other.toml"]);
    let against = |other: &str, name: &str| {
        home.succeed(&["encode", "runs/tiny", "--against", other, "--name", name]);
        home.json(&format!("runs/tiny/{name}.json"))["against"]["correlation"]["mean"].as_f64().unwrap()
    };
    // The checkerboard of another seed is other data; the override of the seed is for both.
    assert!(against("runs/tiny", "itself") > 1.0 - 1e-12);
    let other = against("runs/other", "other");
    assert!(other > 0.5 && other < 0.9999, "{other}");

    let refused = |arguments: &[&str], why: &str| {
        let refusal = home.fail(arguments);
        assert!(refusal.contains(why), "{refusal}");
    };
    refused(&["encode", "runs/tiny", "--against", "nowhere"], "nowhere");
    refused(&["encode", "runs/tiny", "--against", "runs/other", "--count", "3"], "give --count, at least 4");
    home.write("rings.toml", written().replace("checkerboard", "rings").replace("scale = 2.0", "scale = 2.0\nnoise = 0.1"));
    home.succeed(&["run", "rings.toml", "--set", HEUN]);
    refused(
        &["encode", "runs/tiny", "--against", "runs/rings", "--name", "rings"],
        "the two runs have other data help: give a run on the same data",
    );
    home.write(
        "poisson.toml",
        written()
            .replace(
                "[sde.vp]\nbeta_min = 0.1\nbeta_max = 20.0",
                "[sde.poisson-flow]\nsigma_min = 0.01\nsigma_max = 20.0\nextra_dimensions = 8.0",
            )
            .replace("[precondition.reference]", "[precondition.edm]\nsigma_data = 1.0"),
    );
    home.succeed(&["run", "poisson.toml", "--set", "likelihood.t_min=0.1", "--set", HEUN]);
    refused(&["encode", "runs/tiny", "--against", "runs/poisson", "--name", "poisson"], "a Poisson flow has another noise");
}
