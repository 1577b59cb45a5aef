//! Samples that begin on the way, through the binary.

mod common;

use common::home::{Home, IMAGES, idx};
use ndarray::{Array, Array1, Array2, Array4, Axis, Dimension, s};
use ndarray_npy::{NpzReader, ReadableElement, write_npy};

/// The exact score of N((1, -0.5), diag(0.25, 1)), whose data are those of another law.
const EXACT: &str = r#"seed = 1

[sde.vp]
beta_min = 0.1
beta_max = 20.0

[data.checkerboard]
train = 100
test = 40
scale = 2.0

[score.gaussian-mixture]
weights = [1.0]
means = [[1.0, -0.5]]
covariances = [[[0.25, 0.0], [0.0, 1.0]]]

[sample]
count = 4
batch = 2000
dynamics = "reverse-sde"
solver.euler.grid.log-snr.steps = 60
t_min = 1e-3
denoise = true
"#;

fn array<A: ReadableElement, D: Dimension>(home: &Home, name: &str, key: &str) -> Array<A, D> {
    NpzReader::new(std::fs::File::open(home.path(name)).unwrap()).unwrap().by_name(key).unwrap()
}

fn samples(home: &Home, name: &str) -> Array2<f32> {
    array(home, &format!("runs/tiny/samples/{name}.npz"), "samples")
}

fn largest(x: &Array2<f32>) -> f32 {
    x.iter().fold(0.0, |most, x| most.max(x.abs()))
}

#[test]
fn an_edit_from_t_min_is_the_image_and_one_from_the_prior_a_sample() {
    let home = Home::with(EXACT);
    home.succeed(&["run", "tiny.toml"]);
    let given = Array2::from_shape_fn((3, 2), |(i, j)| 4.0 + (i + 2 * j) as f32);
    write_npy(home.path("x.npy"), &given).unwrap();
    home.succeed(&["edit", "runs/tiny", "x.npy", "--from", "0.0011", "--each", "2", "--name", "kept"]);
    let kept = samples(&home, "kept");
    let off = Array2::from_shape_fn((6, 2), |(i, j)| kept[[i, j]] - given[[i / 2, j]]);
    assert!(largest(&off) < 0.2 && largest(&off) > 1e-4, "{off}");
    let rows: Array1<u64> = array(&home, "runs/tiny/samples/kept.npz", "row");
    assert_eq!(rows.to_vec(), [0, 0, 1, 1, 2, 2]);

    // What is drawn from the prior, the given ones twelve standard deviations away: α(1) is 0.0066.
    home.succeed(&["edit", "runs/tiny", "x.npy", "--from", "1", "--each", "500", "--name", "new"]);
    let new = samples(&home, "new");
    let (mean, std) = (new.mean_axis(Axis(0)).unwrap(), new.std_axis(Axis(0), 1.0));
    for (axis, (m, s)) in [(2.0, 1.0), (-1.0, 2.0)].into_iter().enumerate() {
        assert!((mean[axis] - m).abs() < 0.2 && (std[axis] - s).abs() < 0.15, "{mean}, {std}");
    }
    home.succeed(&["sample", "runs/tiny", "--set", "sample.count=1500", "--name", "prior"]);
    assert!(largest(&(new - samples(&home, "prior"))) < 0.2, "with the same noise they are the same but for α(1) x");

    // A walk with steps of 1/40 begins at one of its own times, to which the image is noised then.
    let walk = "sample.solver={predictor-corrector={steps=40,predictor='reverse-diffusion',corrector='none'}}";
    home.succeed(&["edit", "runs/tiny", "x.npy", "--from", "0.5", "--each", "1", "--name", "walked", "--set", walk]);
    let begins: Array1<f64> = array(&home, "runs/tiny/samples/walked.npz", "begins_at");
    assert!((begins[0] - (1.0 - 20.0 * 0.999 / 39.0)).abs() < 1e-9, "{begins}");

    let before = home.contents("runs/tiny");
    home.succeed(&["edit", "runs/tiny", "x.npy", "--from", "1", "--each", "500", "--name", "new"]);
    assert_eq!(home.contents("runs/tiny"), before, "what is there is not made again");
    assert!(home.fail(&["edit", "runs/tiny", "x.npy", "--from", "0.5", "--name", "new"]).contains("give this one another --name"));
    home.succeed(&["verify", "runs/tiny"]);
}

/// Of N(m, s²) the law of x_0 given x_t is N(m + s² α (x_t - α m) / v, s² σ² / v), v = α² s² + σ².
#[test]
fn samples_that_share_a_state_have_the_law_of_x_0_given_it() {
    let home = Home::with(EXACT);
    home.succeed(&["run", "tiny.toml"]);
    home.succeed(&["share", "runs/tiny", "--from", "1,0.4,0.1,0.0015", "--each", "1000"]);
    let (x, t): (_, Array1<f64>) = (samples(&home, "shared"), array(&home, "runs/tiny/samples/shared.npz", "begins_at"));
    assert_eq!(x.dim(), (4000, 2));
    for row in 0..4 {
        let x = x.slice(s![1000 * row..1000 * (row + 1), ..]).to_owned();
        let t = t[1000 * row];
        let alpha = (-0.05 * t - 0.25 * 19.9 * t * t).exp();
        let variance = 1.0 - alpha * alpha;
        for (axis, std) in [(0, 0.5f64), (1, 1.0)] {
            let truth = 2.0 * std * (variance / ((alpha * std).powi(2) + variance)).sqrt();
            let spread = f64::from(x.std_axis(Axis(0), 1.0)[axis]);
            let near = if truth < 0.1 { 0.5 } else { 0.08 };
            assert!((spread / truth - 1.0).abs() < near, "t = {t}: {spread} is not {truth}");
        }
    }
    let mean = x.slice(s![..1000, ..]).mean_axis(Axis(0)).unwrap();
    assert!((mean[0] - 2.0).abs() < 0.1 && (mean[1] + 1.0).abs() < 0.2, "at t = 1 there is nothing to share: {mean}");
    home.succeed(&["share", "runs/tiny", "--from", "0.4,0.4", "--each", "2", "--name", "twice"]);
    let twice = samples(&home, "twice");
    assert!((0..2).all(|k| twice.row(k) != twice.row(k + 2)), "each goes on with noise of its own: {twice}");
    let refusal = home.fail(&["share", "runs/tiny", "--from", "0.0011", "--name", "late"]);
    assert!(refusal.contains("the solver has no step between t = 0.0011 and t_min = 0.001"), "{refusal}");
}

#[test]
fn images_are_edited_and_share_states() {
    let home = Home::with_images(IMAGES);
    home.succeed(&["run", "tiny.toml"]);
    home.succeed(&["edit", "runs/tiny", "--from", "0.3", "--count", "2", "--each", "3"]);
    let of_split: Array4<u8> = array(&home, "runs/tiny/samples/edited.npz", "samples");
    assert_eq!(of_split.dim(), (6, 8, 8, 1));
    let picture = image::open(home.path("runs/tiny/samples/edited.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (4 * 66 + 2, 2 * 66 + 2), "a row for each, which it begins with");
    let pixels = idx(4, 8)[16..][..128].to_vec();
    write_npy(home.path("x.npy"), &Array4::from_shape_vec((2, 8, 8, 1), pixels.clone()).unwrap()).unwrap();
    home.succeed(&["edit", "runs/tiny", "x.npy", "--from", "0.3", "--each", "3", "--name", "of-a-file"]);
    assert_eq!(array::<u8, ndarray::Ix4>(&home, "runs/tiny/samples/of-a-file.npz", "samples"), of_split);
    // Samples can be edited in turn.
    home.succeed(&["edit", "runs/tiny", "runs/tiny/samples/edited.npz", "--from", "0.5", "--each", "1", "--name", "twice"]);
    home.succeed(&["share", "runs/tiny", "--from", "1,0.5", "--each", "3"]);
    assert_eq!(array::<u8, ndarray::Ix4>(&home, "runs/tiny/samples/shared.npz", "samples").dim(), (6, 8, 8, 1));

    let refused = |arguments: &[&str], why: &str| {
        let refusal = home.fail(arguments);
        assert!(refusal.contains(why), "{refusal}");
    };
    write_npy(home.path("other.npy"), &Array2::<f32>::zeros((2, 64))).unwrap();
    refused(&["edit", "runs/tiny", "other.npy", "--from", "0.5"], "has shape [2, 64], and the data's is [N, 8, 8, 1], pixels 0 to 255");
    write_npy(home.path("other.npy"), &Array4::<f32>::from_elem((1, 8, 8, 1), 256.0)).unwrap();
    refused(&["edit", "runs/tiny", "other.npy", "--from", "0.5"], "other.npy: holds 256 help: give finite numbers");
    write_npy(home.path("number.npy"), &ndarray::arr0(3f32)).unwrap();
    refused(&["edit", "runs/tiny", "number.npy", "--from", "0.5"], "number.npy: has shape []");
    refused(&["edit", "runs/tiny", "nowhere.npy", "--from", "0.5"], "nowhere.npy: there is no such file");
    home.write("broken.npz", "no archive");
    refused(&["edit", "runs/tiny", "broken.npz", "--from", "0.5"], "broken.npz: is no zip archive, or is cut short");
    assert!(home.said(&["edit", "runs/tiny", "x.npy", "--from", "0.5", "--count", "2"]).contains("cannot be used with"));
    refused(&["edit", "runs/tiny", "--from", "0.5", "--count", "5"], "there is no example 4: the split has 4");
    refused(&["share", "runs/tiny", "--from", "1,1,1,1,1,1,1,1,1,1,1", "--each", "10000"], "11 rows of 10000 samples are more than 100000");
    for t in ["0.001", "1.5", "NaN"] {
        refused(&["edit", "runs/tiny", "--from", t, "--count", "1"], "give a time above t_min = 0.001 and at most 1");
        refused(&["share", "runs/tiny", "--from", t], "give a time above t_min = 0.001 and at most 1");
    }
    let heun = "sample.solver={heun={grid={log-snr={steps=4}}}}";
    let flow = ["--set", "sample.dynamics=probability-flow", "--set", heun];
    refused(&[&["share", "runs/tiny", "--from", "0.5"], &flow[..]].concat(), "samples that share a state are all the same");
}
