//! Every reader of files on inputs that were whole once. A few mutations of each in every test run; `SCORE_SDE_FUZZ_SECONDS=600` for as long
//! on each subject, `SCORE_SDE_FUZZ=journal` for one of them, `SCORE_SDE_FUZZ_SEED=2` for others. What was found is a test below.

#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../common/home.rs"]
mod home;
mod mutate;
mod subjects;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use home::{Home, IMAGES, VECTORS, cifar10, idx};
use mutate::Mutations;
use score_sde::run::{Folder, Journal};
use subjects::SUBJECTS;

/// Mutations of each subject in every test run.
const FEW: u64 = 200;
/// What one input may take; a thousand times what it does.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whole inputs of a subject.
fn seeds(subject: &str, home: &Home) -> Vec<Vec<u8>> {
    let read = |names: &[&str]| names.iter().map(|name| home.read(name)).collect();
    let matching = |folder: &str, part: &str| -> Vec<Vec<u8>> {
        home.names(folder).iter().filter(|name| name.contains(part)).map(|name| home.read(&format!("{folder}/{name}"))).collect()
    };
    let fixtures = || {
        let folder = format!("{}/tests/fixtures/pth", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .filter(|bytes| bytes.len() < 1 << 16)
            .collect()
    };
    match subject {
        "experiment" => vec![VECTORS.into(), IMAGES.into()],
        "idx" => vec![idx(3, 4)],
        "cifar10" => vec![cifar10(2)],
        "npy-vectors" | "npy-images" => read(&["vectors.npy", "images.npy"]),
        "npz" => read(&["vectors.npz"]),
        "image" => matching("images", ""),
        "archive" => read(&["images.zip"]),
        "labels" => [read(&["labels.npy"]), vec![[&[0, 0, 8, 1, 0, 0, 0, 3][..], &[2, 0, 1]].concat()]].concat(),
        "journal" => read(&["squares.journal"]),
        "records" => {
            let journal = home.read("run/likelihood.journal");
            let ends = score_sde::testing::frame_ends(&journal);
            ends.windows(2).map(|ends| journal[ends[0] + 16..ends[1]].to_vec()).collect()
        }
        "manifest" => matching("run", ".manifest").into_iter().flat_map(|bytes| [bytes[9..].to_vec(), bytes]).collect(),
        "checkpoint" => matching("run/checkpoints", ".safetensors"),
        "metrics" => read(&["run/metrics.jsonl"]),
        "events" => matching("run", "events.out"),
        "about" => read(&["run/run.json", "run/experiment.toml"]),
        "pth" => fixtures(),
        other => panic!("no seeds for {other}"),
    }
}

fn home() -> Home {
    let home = Home::with(VECTORS);
    home.succeed(&["run", "tiny.toml", "--out", "run"]);
    let array = |shape: &[usize]| ndarray::ArrayD::<f32>::from_shape_fn(shape, |at| at[0] as f32);
    ndarray_npy::write_npy(home.path("vectors.npy"), &array(&[5, 2])).unwrap();
    ndarray_npy::write_npy(home.path("images.npy"), &array(&[2, 4, 4, 3]).mapv(|x| x as u8)).unwrap();
    ndarray_npy::write_npy(home.path("labels.npy"), &ndarray::Array1::from(vec![2i64, 0, 1])).unwrap();
    let mut archive = ndarray_npy::NpzWriter::new(std::fs::File::create(home.path("vectors.npz")).unwrap());
    archive.add_array("x", &array(&[5, 2])).unwrap();
    archive.finish().unwrap();
    images(&home);
    let folder = Folder::open(&home.path("")).unwrap();
    let mut journal = Journal::open(&folder, "squares.journal", &serde_json::json!({ "power": 2 })).unwrap();
    (0..5).for_each(|i| assert_eq!(journal.next(|| Ok(f64::from(i * i))).unwrap(), f64::from(i * i)));
    home
}

/// A folder of image files of every kind, and an archive of some with their labels.
fn images(home: &Home) {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8, 9 * y as u8, 7])).write_to(&mut png, image::ImageFormat::Png).unwrap();
    home.write("images/a.png", png.into_inner());
    for entry in std::fs::read_dir(format!("{}/tests/fixtures/images", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let entry = entry.unwrap();
        home.write(&format!("images/{}", entry.file_name().display()), std::fs::read(entry.path()).unwrap());
    }
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut archive = zip::ZipWriter::new(std::fs::File::create(home.path("images.zip")).unwrap());
    for (name, bytes) in [
        ("a.png", home.read("images/a.png")),
        ("b.jpg", home.read("images/rgb.jpg")),
        ("dataset.json", br#"{"labels": [["a.png", 0], ["b.jpg", 1]]}"#.to_vec()),
    ] {
        archive.start_file(name, stored).unwrap();
        std::io::Write::write_all(&mut archive, &bytes).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn no_bytes_make_a_reader_panic() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seconds, seed) = (number("SCORE_SDE_FUZZ_SECONDS"), number("SCORE_SDE_FUZZ_SEED").unwrap_or(1));
    let chosen = std::env::var("SCORE_SDE_FUZZ").ok();
    let home = home();
    for (name, subject) in SUBJECTS.into_iter().filter(|(name, _)| chosen.as_ref().is_none_or(|chosen| chosen == name)) {
        let mut mutations = Mutations::new(seeds(name, &home), seed);
        let begun = Instant::now();
        let mut count = 0;
        while seconds.map_or(count < FEW, |seconds| begun.elapsed() < Duration::from_secs(seconds)) {
            let input = mutations.next();
            let started = Instant::now();
            if catch_unwind(AssertUnwindSafe(|| subject(&input))).is_err() || started.elapsed() > PATIENCE {
                let kept = std::env::temp_dir().join(format!("{name}-{seed}-{count}"));
                std::fs::write(&kept, &input).unwrap();
                panic!("{name}, seed {seed}, input {count}: a panic, or {:?}; the input is {}", started.elapsed(), kept.display());
            }
            count += 1;
        }
        println!("{name}: {count} inputs in {:.1?}", begun.elapsed());
    }
}
