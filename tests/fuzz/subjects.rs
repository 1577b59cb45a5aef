//! Every reader of files, as a function of any bytes: an error or a value, never a panic, and no memory or time beyond what the size of the
//! input warrants.

use std::cell::RefCell;
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use score_sde::data::{
    Arrays, Channels, Cifar10, Data, Filter, Fit, Idx, ImageFiles, ImageLabels, LabelFiles, NpyImages, NpyVectors, Split,
};
use score_sde::experiment;
use score_sde::likelihood::{Bounded, Solved};
use score_sde::pth::{Archive, unpickle};
use score_sde::run::log::{Log, events};
use score_sde::run::{Folder, Journal, Run, checkpoint, tensors, verify};
use score_sde::sample::Drawn;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

pub type Subject = fn(&[u8]);

pub const SUBJECTS: [(&str, Subject); 17] = [
    ("experiment", experiment_text),
    ("idx", idx),
    ("cifar10", cifar10),
    ("npy-vectors", npy_vectors),
    ("npy-images", npy_images),
    ("npz", npz),
    ("image", image),
    ("archive", archive),
    ("labels", labels),
    ("journal", journal),
    ("records", records),
    ("manifest", manifest),
    ("checkpoint", checkpoint_file),
    ("metrics", metrics),
    ("events", event_file),
    ("about", about),
    ("pth", pth),
];

thread_local! {
    /// A folder for the inputs of a thread.
    static HOME: RefCell<tempfile::TempDir> = RefCell::new(tempfile::tempdir().unwrap());
}

/// A file of these bytes in a folder that holds nothing else.
fn at(name: &str, bytes: &[u8]) -> PathBuf {
    HOME.with_borrow(|home| {
        let folder = home.path().join("subject");
        let _ = fs::remove_dir_all(&folder);
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        folder
    })
}

fn elsewhere(folder: &std::path::Path) -> Run {
    Run::elsewhere(folder).unwrap()
}

fn experiment_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = experiment::parse("fuzzed.toml", text, &[]);
}

/// What is known of a split, and its first and last example.
fn data(data: Data) {
    let _ = data.describe(Split::Train);
    let Ok(set) = data.open(Split::Train, 1) else { return };
    let mut out = vec![0.0; set.shape().iter().product()];
    for i in [0, set.len().saturating_sub(1)].into_iter().filter(|i| *i < set.len()) {
        let _ = set.read(i, &mut out);
    }
}

fn idx(bytes: &[u8]) {
    let path = at("x", bytes).join("x");
    data(Data::Idx(Idx {
        train: path.clone(),
        test: path,
        labels: None,
        downsample: 1,
        pad: 1,
        range: [0.0, 1.0],
        flip: true,
        dequantise: true,
    }));
}

fn cifar10(bytes: &[u8]) {
    let folder = at("data_batch_1.bin", bytes);
    data(Data::Cifar10(Cifar10 { folder, range: [0.0, 1.0], flip: true, dequantise: true }));
}

fn npy_vectors(bytes: &[u8]) {
    let path = at("x.npy", bytes).join("x.npy");
    data(Data::NpyVectors(NpyVectors { train: path.clone(), test: path, arrays: None, labels: None, scale: 1.0 }));
}

fn labels(bytes: &[u8]) {
    let path = at("labels", bytes).join("labels");
    let labels = Some(LabelFiles { train: path.clone(), test: path.clone(), arrays: None });
    let data = Data::NpyVectors(NpyVectors { train: path.clone(), test: path, arrays: None, labels, scale: 1.0 });
    let _ = (data.labels(Split::Train, 1), data.classes());
}

fn npy_images(bytes: &[u8]) {
    let path = at("x.npy", bytes).join("x.npy");
    let text = format!("train = {path:?}\ntest = {path:?}\nlayout = \"nhwc\"\nrange = [0.0, 1.0]\nflip = false\ndequantise = true\n");
    data(Data::NpyImages(toml::from_str::<NpyImages>(&text).unwrap()));
}

fn npz(bytes: &[u8]) {
    let path = at("x.npz", bytes).join("x.npz");
    let arrays = Some(Arrays { train: "x".into(), test: "x".into() });
    data(Data::NpyVectors(NpyVectors { train: path.clone(), test: path, arrays, labels: None, scale: 1.0 }));
}

fn images(path: PathBuf) {
    let (train, test, labels) = (path.clone(), path, Some(ImageLabels::DatasetJson));
    let fit = Fit::Crop { filter: Filter::Lanczos };
    let set = Data::Images(ImageFiles {
        train,
        test,
        labels,
        size: [8, 8],
        fit,
        channels: Channels::Rgb,
        range: [0.0, 1.0],
        flip: true,
        dequantise: true,
    });
    let _ = set.labels(Split::Train, 1);
    data(set);
}

fn image(bytes: &[u8]) {
    images(at("x.png", bytes));
}

fn archive(bytes: &[u8]) {
    images(at("x.zip", bytes).join("x.zip"));
}

fn read_journal<R: Serialize + DeserializeOwned>(bytes: &[u8], of: &serde_json::Value) {
    let folder = Folder::open(&at("x.journal", bytes)).unwrap();
    let Ok(mut journal) = Journal::<R>::open(&folder, "x.journal", of) else { return };
    // Until a record would have to be made.
    let stop = || Err(score_sde::error::Error::Usage { message: String::new(), help: String::new() });
    for _ in 0..64 {
        if journal.next(stop).is_err() {
            return;
        }
    }
}

fn journal(bytes: &[u8]) {
    read_journal::<f64>(bytes, &json!({ "power": 2 }));
    let _ = score_sde::testing::frame_ends(bytes);
}

/// Any bytes as a record whose checksums fit.
fn records(bytes: &[u8]) {
    let frame = |content: &[u8]| {
        let mut head = [&(content.len() as u64).to_le_bytes()[..], &crc32fast::hash(content).to_le_bytes()].concat();
        head.extend(crc32fast::hash(&head).to_le_bytes());
        [&head, content].concat()
    };
    let file = [b"journal1", &frame(b"1")[..], &frame(bytes)].concat();
    read_journal::<Drawn>(&file, &json!(1));
    read_journal::<Solved>(&file, &json!(1));
    read_journal::<Bounded>(&file, &json!(1));
}

/// As it is, and as the content of a whole manifest.
fn manifest(bytes: &[u8]) {
    let whole = [format!("{:08x}\n", crc32fast::hash(bytes)).as_bytes(), bytes].concat();
    for bytes in [bytes, &whole] {
        for name in ["samples.manifest", "curves.stamps"] {
            let run = elsewhere(&at(name, bytes));
            let _ = run.found("samples");
            let _ = Log::open(&run, String::new());
        }
    }
}

fn checkpoint_file(bytes: &[u8]) {
    let _ = tensors::parse(bytes);
    let run = elsewhere(&at("checkpoints/step-00000001.safetensors", bytes));
    let _ = checkpoint::latest(&run);
    let _ = verify(&run);
}

fn metrics(bytes: &[u8]) {
    let run = elsewhere(&at("metrics.jsonl", bytes));
    let mut log = Log::open(&run, String::new()).unwrap();
    let _ = log.begin("train", 2);
    let _ = verify(&run);
}

fn event_file(bytes: &[u8]) {
    let run = elsewhere(&at("events.out.tfevents.1700000000.1", bytes));
    let _ = events::from_step(&run, 0);
    let mut log = Log::open(&run, String::new()).unwrap();
    let _ = log.begin("train", 2);
}

fn about(bytes: &[u8]) {
    let run = elsewhere(&at("run.json", bytes));
    let _ = (run.about(), run.is_anonymous());
    let run = elsewhere(&at("experiment.toml", bytes));
    let _ = (run.experiment(), experiment::load_run(&run, &[], &[], false));
}

fn pth(bytes: &[u8]) {
    let _ = unpickle(bytes);
    let Ok(Archive { pickle, mut storages, .. }) = Archive::read(Cursor::new(bytes)) else { return };
    for tensor in pickle.tensors().take(64) {
        if let Ok(tensor) = storages.read(&tensor)
            && tensor.numel() < 1 << 16
        {
            let _ = tensor.contiguous();
        }
    }
    let _ = pickle.root().describe();
}
