//! The data set that a name or a path leads to, where no experiment describes it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::array::Array;
use super::given::layout;
use super::source::Archive;
use super::{
    Arrays, Checkerboard, Cifar10, Csv, Data, Filter, Fit, Idx, ImageFiles, ImageLabels, ImageNet, LabelFiles, Mixture, NoisyCurve,
    NpyImages, NpyVectors, open_file,
};
use crate::error::{Error, Result};

/// Points that are drawn, of the sets that are laws.
const DRAWN: [usize; 2] = [100_000, 10_000];
/// Standard deviation around a curve.
const NOISE: f64 = 0.1;
/// The model's values of black and white.
const RANGE: [f64; 2] = [-1.0, 1.0];
/// The longest side of images whose files differ in size, or are larger than most networks here.
const LONGEST: usize = 64;
/// Names of what is trained on, of what is measured, and of classes.
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 5] = ["test", "val", "valid", "validation", "t10k"];
const LABELS: [&str; 6] = ["labels", "label", "classes", "class", "target", "y"];

impl Data {
    /// The set that a name (`checkerboard`, `two-moons`, ...) or a path leads to: a folder or zip archive of image files, an `.npy` or `.npz` file of
    /// vectors or images, a file of separated values, an IDX file, or the folder of CIFAR-10 or ImageNet. What is measured is at `test`, or,
    /// where that is left out, what lies beside `train` by such a name, or else `train` itself. Vectors have the scale 1.
    ///
    /// Error: there is nothing there, or nothing of these.
    pub fn found(train: &Path, test: Option<&Path>) -> Result<Data> {
        if let Some(drawn) = train.to_str().filter(|_| !train.exists()).and_then(drawn) {
            return Ok(drawn);
        }
        let extension = train.extension().and_then(OsStr::to_str).unwrap_or_default().to_lowercase();
        let test = test.map(Path::to_owned);
        match &*extension {
            _ if train.is_dir() => in_folder(train, test),
            "zip" => images(train.to_owned(), test.unwrap_or(train.to_owned())),
            "npy" | "npz" => {
                let test = test.or_else(|| beside(train)).unwrap_or(train.to_owned());
                arrays(train, test, extension == "npz")
            }
            "csv" | "tsv" | "txt" | "dat" => csv(train, test.or_else(|| beside(train)).unwrap_or(train.to_owned())),
            _ if train.file_name().is_some_and(|name| name.to_string_lossy().contains("idx3")) => {
                let test = test.or_else(|| beside(train)).unwrap_or(train.to_owned());
                let (labels, downsample, pad) = (None, 1, 0);
                Ok(Data::Idx(Idx { train: train.to_owned(), test, labels, downsample, pad, range: RANGE, flip: false, dequantise: true }))
            }
            _ if !train.exists() => {
                let help = "give a path, or checkerboard, two-moons, swiss-roll, spirals or rings";
                Err(Error::data(train, "there is no such file or folder", help))
            }
            _ => {
                let help = "give a folder or .zip of PNG and JPEG files, .npy, .npz, .csv, or an IDX file";
                Err(Error::data(train, "is no data that can be told by its name", help))
            }
        }
    }

    /// The same set with another scale, if it is of vectors.
    pub fn with_scale(mut self, new: f64) -> Data {
        match &mut self {
            Data::Checkerboard(Checkerboard { scale, .. })
            | Data::TwoMoons(NoisyCurve { scale, .. })
            | Data::SwissRoll(NoisyCurve { scale, .. })
            | Data::Spirals(NoisyCurve { scale, .. })
            | Data::Rings(NoisyCurve { scale, .. })
            | Data::GaussianMixture(Mixture { scale, .. })
            | Data::Csv(Csv { scale, .. })
            | Data::NpyVectors(NpyVectors { scale, .. }) => *scale = new,
            Data::NpyImages(_) | Data::Images(_) | Data::Idx(_) | Data::ImageNet(_) | Data::Cifar10(_) => {}
        }
        self
    }
}

/// Points of a law of this name.
fn drawn(name: &str) -> Option<Data> {
    let ([train, test], scale) = (DRAWN, 1.0);
    let curve = NoisyCurve { train, test, noise: NOISE, scale };
    Some(match name {
        "checkerboard" => Data::Checkerboard(Checkerboard { train, test, scale }),
        "two-moons" => Data::TwoMoons(curve),
        "swiss-roll" => Data::SwissRoll(curve),
        "spirals" => Data::Spirals(curve),
        "rings" => Data::Rings(curve),
        _ => return None,
    })
}

/// What is beside a file or folder by the same name, but with a word for what is measured in place of one for what is trained on.
fn beside(train: &Path) -> Option<PathBuf> {
    let name = train.file_name()?.to_str()?;
    let others = TRAIN.iter().flat_map(|of| TEST.iter().map(move |to| name.replacen(of, to, 1)));
    others.filter(|other| other != name).map(|other| train.with_file_name(other)).find(|path| path.exists())
}

fn in_folder(folder: &Path, test: Option<PathBuf>) -> Result<Data> {
    let (holds, owned) = (|name: &str| folder.join(name).exists(), folder.to_owned());
    if holds("data_batch_1.bin") {
        return Ok(Data::Cifar10(Cifar10 { folder: owned, range: RANGE, flip: true, dequantise: true }));
    }
    if holds("train_data_batch_1.npz") {
        return Ok(Data::ImageNet(ImageNet { folder: owned, range: RANGE, flip: true, dequantise: true }));
    }
    let within = |names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| path.is_dir());
    match (within(&TRAIN), test.or_else(|| within(&TEST))) {
        (Some(train), Some(test)) => images(train, test),
        (_, test) => images(owned.clone(), test.or_else(|| beside(folder)).unwrap_or(owned)),
    }
}

fn images(train: PathBuf, test: PathBuf) -> Result<Data> {
    let stored = ImageFiles::stored(&train)?;
    let [height, width] = stored.least;
    let (fit, size) = match height.max(width) <= LONGEST {
        true if stored.alike => (Fit::Exact, stored.least),
        _ => (Fit::Crop { filter: Filter::Lanczos }, [halves(height.min(width).min(LONGEST)); 2]),
    };
    let (channels, range) = (stored.channels, RANGE);
    let set = ImageFiles { train, test, labels: Some(ImageLabels::Folders), size, fit, channels, range, flip: false, dequantise: true };
    let classes = set.class_names().ok().flatten().unwrap_or_default().len();
    Ok(Data::Images(ImageFiles { labels: set.labels.filter(|_| classes > 1), ..set }))
}

/// The largest power of two that is not larger.
fn halves(side: usize) -> usize {
    1 << side.ilog2()
}

fn arrays(train: &Path, test: PathBuf, archive: bool) -> Result<Data> {
    let own = if archive { Some(named(train)?) } else { None };
    let (names, labels) = own.map_or((None, None), |(names, labels)| (Some(names), labels));
    let shape = Array::open(train, names.as_ref().map(|names| &*names.train))?.shape;
    let train = train.to_owned();
    let labels = labels.map(|arrays| LabelFiles { train: train.clone(), test: test.clone(), arrays: Some(arrays) });
    Ok(match layout(&train, &shape)? {
        None => Data::NpyVectors(NpyVectors { train, test, arrays: names, labels, scale: 1.0 }),
        Some(layout) => {
            Data::NpyImages(NpyImages { train, test, arrays: names, labels, layout, range: RANGE, flip: false, dequantise: true })
        }
    })
}

/// The arrays of an archive that are of examples, and those of their classes, by their names.
fn named(path: &Path) -> Result<(Arrays, Option<Arrays>)> {
    let archive = Archive::open(path, "correct the path")?;
    let all: Vec<(&str, Vec<usize>)> =
        archive.arrays().into_iter().map(|name| Ok((name, Array::open(path, Some(name))?.shape))).collect::<Result<_>>()?;
    let says = |name: &str, words: &[&str]| words.iter().any(|word| name.to_lowercase().contains(word));
    let of = |words: &[&str]| all.iter().find(|(name, shape)| shape.len() > 1 && says(name, words));
    let (train, test) = match (of(&TRAIN), of(&TEST)) {
        (Some(train), Some(test)) => (train, test),
        (train, _) => {
            let several = all.iter().filter(|(_, shape)| shape.len() > 1);
            let largest = several.max_by_key(|(_, shape)| shape.iter().product::<usize>());
            let none = || Error::data(path, "holds no array of examples", "save one there: numpy.savez(path, samples=x)");
            let one = train.or(largest).ok_or_else(none)?;
            (one, one)
        }
    };
    let classes = |of: &(&str, Vec<usize>)| {
        let other = ["train", "test"].map(|word| (of.0.to_lowercase().contains(word), word));
        let fits = |name: &str| other.iter().all(|(has, word)| name.to_lowercase().contains(word) == *has);
        let is_label = |name: &str| name.to_lowercase().split('_').any(|word| LABELS.contains(&word));
        all.iter().find(|(name, shape)| shape[..] == of.1[..1] && is_label(name) && fits(name)).map(|(name, _)| (*name).to_owned())
    };
    let labels = classes(train).zip(classes(test)).map(|(train, test)| Arrays { train, test });
    Ok((Arrays { train: train.0.to_owned(), test: test.0.to_owned() }, labels))
}

fn csv(train: &Path, test: PathBuf) -> Result<Data> {
    let cure = "a file with one vector on each line is wanted";
    let lines = BufReader::new(open_file(train, cure)?).lines();
    let lines = lines.map_while(Result::ok).filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let lines: Vec<String> = lines.take(2).collect();
    let [first, ..] = &lines[..] else { return Err(Error::data(train, "the file is empty", cure)) };
    let count = |c: &char| first.matches(*c).count();
    let separator = [',', ';', '\t', ' '].into_iter().max_by_key(|c| (count(c), *c == ',')).unwrap_or(',');
    let cells = |line: &str| line.split(separator).map(|cell| cell.trim().trim_matches('"').to_owned()).collect::<Vec<_>>();
    let is_number = |cell: &String| cell.parse::<f32>().is_ok();
    let (top, header) = (cells(first), !cells(first).iter().all(is_number));
    let header = header && lines.len() > 1;
    let row = cells(lines.last().expect("there is a first line"));
    let name = |i: usize| if header { top[i].clone() } else { (i + 1).to_string() };
    let words: Vec<usize> = (0..row.len().min(top.len())).filter(|&i| !is_number(&row[i])).collect();
    let named = || (0..top.len()).find(|&i| header && LABELS.contains(&&*top[i].to_lowercase()));
    let labels = words.first().copied().or_else(named);
    let columns = (words.len() > 1).then(|| (0..top.len()).filter(|i| !words.contains(i)).map(name).collect());
    let (train, labels) = (train.to_owned(), labels.map(name));
    Ok(Data::Csv(Csv { train, test, header, separator, columns, labels, scale: 1.0 }))
}
