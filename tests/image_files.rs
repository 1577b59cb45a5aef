//! A user's own images, through the binary: folders and archives with classes, and files that break before a run and within it.

mod common;

use std::io::{Cursor, Write};

use common::home::{Home, IMAGES, png};
use ndarray::{Array1, Array4};
use ndarray_npy::{NpzReader, NpzWriter};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const RUN: [&str; 2] = ["run", "tiny.toml"];

/// [`IMAGES`] of a folder to train on and an archive to measure, of two classes, with a model that is told of them.
fn experiment() -> String {
    IMAGES
        .replace("[data.idx]\ntrain = \"train-images\"\ntest = \"test-images\"\npad = 0\n", "[data.images]\ntrain = \"train\"\ntest = \"test.zip\"\nlabels = \"folders\"\nsize = [8, 8]\nfit.crop.filter = \"lanczos\"\nchannels = \"rgb\"\n")
        .replace("[network.ncsnpp]", "[condition.class]\ndropout = 0.5\n\n[network.ncsnpp]")
        .replacen("count = 1\nbatch = 1", "count = 4\nbatch = 4\ngiven = \"each-class\"", 1)
        .replace("checkpoint_every = 10", "checkpoint_every = 1")
}

fn home() -> Home {
    let home = Home::with(&experiment());
    for i in 0..8 {
        home.write(&format!("train/cat/{i}.png"), png(9 + u32::from(i), 12, 20 * i));
        home.write(&format!("train/dog/{i}.png"), png(8, 8 + u32::from(i), 255 - 20 * i));
    }
    home.write("train/README", "what is here");
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["dog/1.png", "cat/1.png", "cat/2.png"] {
        archive.start_file(name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored)).unwrap();
        archive.write_all(&png(20, 10, 80)).unwrap();
    }
    home.write("test.zip", archive.finish().unwrap().into_inner());
    home
}

#[test]
fn folders_of_classes_are_trained_sampled_and_measured() {
    let home = home();
    let (said, _) = home.succeed(&["check", "tiny.toml"]);
    for text in
        ["16 training examples of shape [3, 8, 8]", "the class, one of 2", "1 files that are no PNG or JPEG are left out, such as README"]
    {
        assert!(said.contains(text), "{text} is not in {said}");
    }
    home.succeed(&RUN);
    let mut samples = NpzReader::new(std::fs::File::open(home.path("runs/tiny/samples/samples.npz")).unwrap()).unwrap();
    assert_eq!(samples.by_name::<ndarray::OwnedRepr<u8>, ndarray::Ix4>("samples").unwrap().shape(), [4, 8, 8, 3]);
    assert_eq!(home.json("runs/tiny/likelihood.json")["classes"].as_array().unwrap().len(), 1, "the first example is a cat");
}

#[test]
fn what_is_wrong_with_a_file_is_said_before_any_work() {
    let home = home();
    let whole = png(9, 9, 1);
    home.write("train/dog/broken.png", &whole[..whole.len() - 9]);
    let report = home.fail(&RUN);
    assert!(report.contains("train/dog/broken.png: is cut short: it has no end") && report.contains("bring a fresh copy"), "{report}");
    assert!(!home.path("runs").exists());
    home.write("train/dog/broken.png", &whole);
    let report = home.fail(&["run", "tiny.toml", "--set", "data.images.fit=exact"]);
    assert!(report.contains("pixels, not 8 x 8; ") && report.contains("fit.crop.filter"), "{report}");
    home.write("train/alone.png", &whole);
    let report = home.fail(&RUN);
    assert!(report.contains("train/alone.png: is in no folder of a class"), "{report}");
    let report = home.fail(&["run", "tiny.toml", "--set", "data.images.size=[0,8]"]);
    assert!(report.contains("size is 0") && report.contains("from 1 to 4096"), "{report}");
}

#[test]
fn a_file_that_breaks_during_a_run_ends_it_and_the_same_command_goes_on() {
    let home = home();
    let (whole, mut damaged) = (png(9, 9, 1), png(9, 9, 1));
    let pixels = damaged.windows(4).position(|four| four == b"IDAT").unwrap() + 9;
    damaged[pixels] ^= 0xff;
    home.write("train/dog/damaged.png", &damaged);
    // 17 examples: five steps show all of them.
    let run = ["run", "tiny.toml", "--set", "train.steps=5"];
    let report = home.fail(&run);
    assert!(report.contains("train/dog/damaged.png: is damaged or cut short"), "{report}");
    home.write("train/dog/damaged.png", &whole);
    home.succeed(&run);
    home.succeed(&["verify", "runs/tiny"]);
}

#[test]
fn data_says_what_the_examples_are_and_which_keys_follow() {
    let home = home();
    let experiment = experiment();
    let begin = experiment.find("[data.images]").unwrap();
    let end = experiment.find("[condition.class]").unwrap();
    home.write("data.toml", &experiment[begin..end]);
    let (said, _) = home.succeed(&["data", "data.toml"]);
    for text in ["[data.images], 16 examples of shape [3, 8, 8]", "channel 2", "in model space", "2 classes of 8 examples", "8  dog"] {
        assert!(said.contains(text), "{text} is not in {said}");
    }
    assert!(said.contains("sde.ve.sigma_max = ") && said.contains("precondition.edm.sigma_data = "), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    home.write("data.toml", experiment[begin..end].replace("labels = \"folders\"\n", ""));
    let (said, _) = home.succeed(&["data", "data.toml"]);
    assert!(said.contains("data.images.labels = \"folders\", 2 classes") && !said.contains("labels    "), "{said}");
    // All three pictures of the archive are one.
    let (said, _) = home.succeed(&["data", "tiny.toml", "--split", "test"]);
    assert!(
        said.contains("3 examples") && said.contains("largest distance in model space: 0,") && said.contains("1 to 2 examples"),
        "{said}"
    );
    let mut damaged = png(9, 9, 1);
    let pixels = damaged.windows(4).position(|four| four == b"IDAT").unwrap() + 9;
    damaged[pixels] ^= 0xff;
    home.write("train/dog/damaged.png", &damaged);
    let report = home.fail(&["data", "data.toml"]);
    assert!(report.contains("train/dog/damaged.png: is damaged"), "{report}");
    let report = home.fail(&["data", "data.toml", "--set", "data.images.fitt=exact"]);
    assert!(report.contains("unknown field `fitt`"), "{report}");
}

#[test]
fn one_archive_of_numpy_holds_both_splits_and_their_labels() {
    let table = "[data.npy-images]\ntrain = \"all.npz\"\ntest = \"all.npz\"\narrays = { train = \"x_train\", test = \"x_test\" }\nlayout = \"nhwc\"\n\
                 labels = { train = \"all.npz\", test = \"all.npz\", arrays = { train = \"y_train\", test = \"y_test\" } }\n";
    let experiment = experiment();
    let (before, after) = experiment.split_once("[data.images]").unwrap();
    let home = Home::with(&format!("{before}{table}{}", &after[after.find("range").unwrap()..]));
    let mut archive = NpzWriter::new(std::fs::File::create(home.path("all.npz")).unwrap());
    for (split, n) in [("train", 9), ("test", 3)] {
        let pixels = Array4::from_shape_fn((n, 8, 8, 3), |(i, y, x, c)| ((i * 31 + y * 7 + x * 5 + c * 50) % 256) as i64);
        archive.add_array(format!("x_{split}"), &pixels).unwrap();
        archive.add_array(format!("y_{split}"), &Array1::from_shape_fn(n, |i| (i % 3) as u16)).unwrap();
    }
    archive.finish().unwrap();
    assert!(home.succeed(&["check", "tiny.toml"]).0.contains("the class, one of 3"));
    home.succeed(&RUN);
    let report = home.fail(&["check", "tiny.toml", "--set", "data.npy-images.arrays.train=x"]);
    assert!(report.contains("all.npz: holds no array x") && report.contains("x_train"), "{report}");
}
