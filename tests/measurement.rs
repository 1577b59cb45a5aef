//! Samples that fit a measurement, through the binary.

mod common;

use common::home::{Home, IMAGES, idx};
use ndarray::{Array1, Array2, Array4};
use ndarray_npy::{NpzReader, WriteNpyExt};

const RUN: [&str; 2] = ["run", "tiny.toml"];

/// An exact score of N(0, C) with C of variances 1 and correlation 0.8, whose second component is measured.
const EXACT: &str = r#"seed = 1

[sde.vp]
beta_min = 0.1
beta_max = 20.0

[data.gaussian-mixture]
train = 100
test = 20
scale = 2.0
mixture = { weights = [1.0], means = [[0.0, 0.0]], covariances = [[[4.0, 3.2], [3.2, 4.0]]] }

[score.gaussian-mixture]
weights = [1.0]
means = [[0.0, 0.0]]
covariances = [[[1.0, 0.8], [0.8, 1.0]]]

[sample]
count = 2000
batch = 2000
dynamics = "probability-flow"
solver.heun.grid.log-snr.steps = 40
t_min = 1e-3
denoise = true

[sample.measurement]
operator.mask.components = [1]
noise = 0.5
observation.file = "y.npy"
method.moment-matching.iterations = 1
"#;

fn npy(values: &[f64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Array1::from(values.to_vec()).write_npy(&mut bytes).unwrap();
    bytes
}

fn samples(home: &Home) -> NpzReader<std::fs::File> {
    NpzReader::new(std::fs::File::open(home.path("runs/tiny/samples/samples.npz")).unwrap()).unwrap()
}

/// In data units: x has variances 4 and covariance 3.2, y = x_2 + 0.5 n.
#[test]
fn samples_follow_the_posterior_in_data_units() {
    let home = Home::with(EXACT);
    home.write("y.npy", npy(&[3.0]));
    home.succeed(&RUN);
    let x: Array2<f32> = samples(&home).by_name("samples").unwrap();
    let first = x.column(0).mapv(f64::from);
    let (mean, variance): (f64, f64) = (3.2 / 4.25 * 3.0, 4.0 - 3.2 * 3.2 / 4.25);
    assert!((first.mean().unwrap() - mean).abs() < 4.0 * (variance / 2000.0).sqrt() + 0.01, "{}", first.mean().unwrap());
    assert!((first.std(1.0).powi(2) / variance - 1.0).abs() < 0.15, "{} is not {variance}", first.std(1.0).powi(2));
    let y: Array1<f64> = samples(&home).by_name("measurement").unwrap();
    assert_eq!(y.to_vec(), [3.0]);
    assert!(home.succeed(&RUN).1.contains("every phase is done already"));
    home.write("y.npy", npy(&[-3.0]));
    assert!(home.fail(&RUN).contains("measurement_crc32"), "another y is another result");
}

#[test]
fn an_example_of_the_data_is_measured() {
    let home = Home::with(&EXACT.replace("observation.file = \"y.npy\"", "observation.example = { split = \"test\", index = 3 }"));
    home.succeed(&RUN);
    let (y, example): (Array1<f64>, Array2<f32>) =
        (samples(&home).by_name("measurement").unwrap(), samples(&home).by_name("measured_example").unwrap());
    assert!((y[0] - f64::from(example[[0, 1]])).abs() < 5.0 * 0.5 && y[0] != f64::from(example[[0, 1]]));
}

#[test]
fn every_method_and_operator_serves_a_network_of_images() {
    let measured = |operator: &str, method: &str| {
        let table = format!(
            "[sample.measurement]\noperator.{operator}\nnoise = 5.0\nobservation.example = {{ split = \"test\", index = 0 }}\nmethod.{method}\n\n[likelihood]"
        );
        IMAGES.replace("[likelihood]", &table).replace("dropout = 0.3", "dropout = 0.0")
    };
    let cases = [
        ("mask.hidden-box = [2, 2, 4, 4]", "dps.strength = 0.5"),
        ("downsampling.factor = 2", "pseudo-inverse.data_std = 0.5"),
        ("blur.std = 1.0", "moment-matching.iterations = 2"),
        ("mask.random = 0.5", "moment-matching.iterations = 1"),
    ];
    for (operator, method) in cases {
        let home = Home::with(&measured(operator, method));
        home.write("train-images", idx(8, 8));
        home.write("test-images", idx(4, 8));
        home.succeed(&RUN);
        let x: Array4<u8> = samples(&home).by_name("samples").unwrap();
        assert_eq!(x.dim(), (1, 8, 8, 1), "{operator}, {method}");
        let example: Array4<f32> = samples(&home).by_name("measured_example").unwrap();
        assert_eq!(example.dim(), (1, 1, 8, 8));
    }
}

#[test]
fn replacement_needs_a_walk_and_orthogonal_rows() {
    let pc = "solver.predictor-corrector = { steps = 20, predictor = \"euler-maruyama\", corrector = \"none\" }";
    let text = EXACT
        .replace("solver.heun.grid.log-snr.steps = 40", pc)
        .replace("probability-flow", "reverse-sde")
        .replace("method.moment-matching.iterations = 1", "method.repaint.visits = 2");
    let home = Home::with(&text);
    home.write("y.npy", npy(&[3.0]));
    home.succeed(&RUN);
    let x: Array2<f32> = samples(&home).by_name("samples").unwrap();
    assert!(x.column(1).iter().all(|x| (x - 3.0).abs() < 0.02), "{}", x.column(1));
    let refused = |set: &str, why: &str| {
        let refusal = home.fail(&["check", "tiny.toml", "--set", set]);
        assert!(refusal.contains(why), "{refusal}");
    };
    refused("sample.solver={heun={grid={log-snr={steps=4}}}}", "use solver.predictor-corrector");
    refused("sample.measurement.operator={matrix={file='a.npy'}}", "a.npy");
    home.write("a.npy", {
        let mut bytes = Vec::new();
        Array2::from(vec![[1.0, 2.0]]).write_npy(&mut bytes).unwrap();
        bytes
    });
    refused("sample.measurement.operator={matrix={file='a.npy'}}", "replacement needs an operator with orthogonal rows");
}

/// With every process, in data units, and sample i whatever its batch.
#[test]
fn particles_follow_the_posterior_in_any_batch() {
    let text = EXACT
        .replace("probability-flow", "reverse-sde")
        .replace("heun.grid.log-snr.steps = 40", "dpm-solver-pp = { order = 2, grid = { log-snr = { steps = 60 } } }")
        .replace("method.moment-matching.iterations = 1", "method.particles = { count = 8, data_std = 1.0 }");
    let of = |sde: &str, count: usize, batch: usize| {
        let sde = text.replace("[sde.vp]\nbeta_min = 0.1\nbeta_max = 20.0", sde);
        let home = Home::with(&sde.replace("count = 2000\nbatch = 2000", &format!("count = {count}\nbatch = {batch}")));
        home.write("y.npy", npy(&[3.0]));
        home.succeed(&RUN);
        let x: Array2<f32> = samples(&home).by_name("samples").unwrap();
        (home, x)
    };
    let (mean, variance): (f64, f64) = (3.2 / 4.25 * 3.0, 4.0 - 3.2 * 3.2 / 4.25);
    let [vp, ve, sub_vp] = [
        "[sde.vp]\nbeta_min = 0.1\nbeta_max = 20.0",
        "[sde.ve]\nsigma_min = 0.01\nsigma_max = 50.0",
        "[sde.sub-vp]\nbeta_min = 0.1\nbeta_max = 20.0",
    ];
    for sde in [vp, ve, sub_vp] {
        let first = of(sde, 1000, 500).1.column(0).mapv(f64::from);
        let (got, spread) = (first.mean().unwrap(), first.std(1.0).powi(2));
        assert!((got - mean).abs() < 4.0 * (variance / 1000.0).sqrt() + 0.02, "{sde}: {got} is not {mean}");
        assert!((spread / variance - 1.0).abs() < 0.2, "{sde}: {spread} is not {variance}");
    }
    let (home, together) = of(vp, 7, 7);
    assert_eq!(together, of(vp, 7, 3).1);
    let refused = |set: &str, why: &str| {
        let refusal = home.fail(&["check", "tiny.toml", "--set", set]);
        assert!(refusal.contains(why), "{refusal}");
    };
    refused("sample.solver={heun={grid={log-snr={steps=4}}}}", "use solver.dpm-solver-pp, whose steps take an evaluation each");
    refused("sample.dynamics='probability-flow'", "use dynamics = \"reverse-sde\"");
    refused("sample.trajectory=[0.5]", "samples have no states there");
    refused("sample.measurement.method={particles={count=1,data_std=1.0}}", "count is 1");
    refused("sample.measurement.method={particles={count=4,data_std=0.0}}", "pseudo-inverse guidance has 1");
}

#[test]
fn what_can_not_be_measured_is_refused_before_work() {
    let home = Home::with(EXACT);
    home.write("y.npy", npy(&[3.0, 1.0]));
    assert!(home.fail(&["check", "tiny.toml"]).contains("this operator measures 1 finite numbers"));
    home.write("y.npy", npy(&[3.0]));
    let refused = |set: &str, why: &str| {
        let refusal = home.fail(&["check", "tiny.toml", "--set", set]);
        assert!(refusal.contains(why), "{refusal}");
    };
    refused("sample.measurement.noise=0", "give a number above 0: without noise");
    refused("sample.measurement.operator={mask={components=[2]}}", "there is no component 2: the data have 2, counted from 0");
    refused("sample.measurement.operator={grey={}}", "grey is of images, and the data are of shape [2]");
    refused("sample.measurement.observation={example={split='test',index=20}}", "there is no example 20: the split has 20");
    refused("sample.measurement.observation={file='nowhere.npy'}", "nowhere.npy");
    refused("sample.measurement.method={moment-matching={iterations=0}}", "iterations is 0");
}
