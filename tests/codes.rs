//! Codes of the probability flow, through the binary.

mod common;

use common::home::{Home, VECTORS};
use ndarray::Array2;
use ndarray_npy::NpzReader;

const RUN: [&str; 2] = ["run", "tiny.toml"];

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
    let heun = "sample.solver={heun={grid={log-snr={steps=4}}}}";
    refused(&["encode", "runs/tiny", "--set", "sample.dynamics=reverse-sde", "--set", heun], "codes are of the probability flow");
    let multi_step = "sample.solver={dpm-solver-pp={order=2,grid={log-snr={steps=9}}}}";
    refused(&["encode", "runs/tiny", "--set", multi_step], "sample.solver");
    refused(&["encode", "runs/tiny", "--count", "21"], "there is no example 20: the split has 20");
    refused(&["interpolate", "runs/tiny", "--between", "0,1,2"], "give two, such as --between 3,17");
    refused(&["decode", "runs/tiny", "runs/tiny/samples/samples.npz"], "holds no codes");
    refused(&["decode", "runs/tiny", "nowhere.npz"], "nowhere.npz");
    home.succeed(&["encode", "runs/tiny", "--count", "2"]);
    refused(&["decode", "runs/tiny", "runs/tiny/codes.npz", "--temperature", "0"], "give a number above 0");
}
