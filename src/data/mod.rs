//! Data sets: what a split holds, in the data's own units, and how it becomes batches in model space.
//!
//! A set is one table of the experiment file (`[data.idx]`, `[data.checkerboard]`, ...). [`Data::describe`] tells a split's shape and
//! length from the headers of its files, [`Data::open`] reads or draws it into memory, [`crate::space::Scale`] maps its units to model
//! space, [`Batches`] assembles training batches ahead of the training step.

mod array;
mod arrays;
mod batches;
mod cifar10;
mod classes;
mod condition;
mod csv;
mod found;
mod given;
mod idx;
mod imagenet;
mod images;
mod labels;
mod npy;
mod source;
mod statistics;
mod toys;

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use batches::{Batches, chosen, dequantised, examples, examples_at};
pub use cifar10::Cifar10;
pub use condition::{Class, ConditionSpec, Conditions};
pub use csv::Csv;
pub use given::open_given;
pub use idx::Idx;
pub use imagenet::ImageNet;
pub use images::{Channels, Filter, Fit, ImageFiles, ImageLabels};
pub use labels::{LabelFiles, Labels};
pub use npy::{Arrays, Layout, NpyImages, NpyVectors, holds_arrays, read_array, read_npy};
pub use statistics::{Farthest, Moments, Statistics};
pub use toys::{Checkerboard, Mixture, NoisyCurve};

use crate::error::{Error, Fault, Result};
use crate::file;
use crate::law::GaussianMixture;
use crate::space::Scale;

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    Train,
    Test,
}

impl Split {
    /// As experiments write it.
    pub fn name(self) -> &'static str {
        self.of("train", "test")
    }

    /// That one of two which is for this split.
    fn of<T>(self, train: T, test: T) -> T {
        match self {
            Split::Train => train,
            Split::Test => test,
        }
    }
}

/// A split in memory; its examples are in the data's own units: pixel values 0..=255, or the components of a vector.
pub trait Dataset: Send + Sync {
    /// One example, without the batch: `[D]` or `[C, H, W]`.
    fn shape(&self) -> &[usize];

    /// The number of examples, at least one.
    fn len(&self) -> usize;

    /// Never true for a set that was opened: an empty file is refused.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes example `i` in row-major order; `out` has as many elements as `shape` says. Error: its file can't be read any more, or is damaged.
    fn read(&self, i: usize, out: &mut [f32]) -> Result<()>;

    /// ln p(x) in nats and data units where the law of the data is known in closed form.
    fn log_density(&self, _x: &[f64]) -> Option<f64> {
        None
    }

    /// What the reader of a run's results must know about this split, such as missing files.
    fn note(&self) -> Option<&str> {
        None
    }
}

/// What a split holds, as the headers and sizes of its files tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// [`Dataset::shape`]
    pub shape: Vec<usize>,
    /// [`Dataset::len`]
    pub len: usize,
    /// [`Dataset::note`]
    pub note: Option<String>,
    /// Bytes of memory that opening it takes, an estimate.
    pub bytes: u64,
}

/// `[data.*]`: the data set, and how it becomes model space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Data {
    Checkerboard(Checkerboard),
    #[serde(alias = "two_moons")]
    TwoMoons(NoisyCurve),
    #[serde(alias = "swiss_roll")]
    SwissRoll(NoisyCurve),
    Spirals(NoisyCurve),
    Rings(NoisyCurve),
    #[serde(alias = "gaussian_mixture")]
    GaussianMixture(Mixture),
    #[serde(alias = "npy_vectors")]
    NpyVectors(NpyVectors),
    #[serde(alias = "npy_images")]
    NpyImages(NpyImages),
    Images(ImageFiles),
    Idx(Idx),
    Cifar10(Cifar10),
    #[serde(rename = "imagenet")]
    ImageNet(ImageNet),
    Csv(Csv),
}

impl Data {
    /// The set's table under `[data]`.
    pub fn name(&self) -> &'static str {
        match self {
            Data::Checkerboard(_) => "checkerboard",
            Data::TwoMoons(_) => "two-moons",
            Data::SwissRoll(_) => "swiss-roll",
            Data::Spirals(_) => "spirals",
            Data::Rings(_) => "rings",
            Data::GaussianMixture(_) => "gaussian-mixture",
            Data::NpyVectors(_) => "npy-vectors",
            Data::NpyImages(_) => "npy-images",
            Data::Images(_) => "images",
            Data::Idx(_) => "idx",
            Data::Cifar10(_) => "cifar10",
            Data::ImageNet(_) => "imagenet",
            Data::Csv(_) => "csv",
        }
    }

    /// Values that can't work; keys are relative to `[data]`. Reads no file.
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            Data::Checkerboard(set) => set.check(),
            Data::TwoMoons(set) | Data::SwissRoll(set) | Data::Spirals(set) | Data::Rings(set) => set.check(),
            Data::GaussianMixture(set) => set.check(),
            Data::Idx(set) => set.check(),
            Data::NpyVectors(set) => set.check(),
            Data::NpyImages(set) => set.check(),
            Data::Images(set) => set.check(),
            Data::Csv(set) => set.check(),
            Data::Cifar10(_) | Data::ImageNet(_) => Ok(()),
        }
        .and_then(|()| self.label_files().map_or(Ok(()), |labels| labels.check().map_err(|fault| fault.within("labels"))))
        .and_then(|()| self.check_paths())
        .and_then(|()| self.scale().check())
        .map_err(|fault| fault.within(self.name()))
    }

    fn check_paths(&self) -> Result<(), Fault> {
        let paths: [(&str, Option<&PathBuf>); 3] = match self {
            Data::NpyVectors(NpyVectors { train, test, .. })
            | Data::NpyImages(NpyImages { train, test, .. })
            | Data::Images(ImageFiles { train, test, .. })
            | Data::Csv(Csv { train, test, .. })
            | Data::Idx(Idx { train, test, .. }) => [("train", Some(train)), ("test", Some(test)), ("folder", None)],
            Data::Cifar10(Cifar10 { folder, .. }) | Data::ImageNet(ImageNet { folder, .. }) => {
                [("train", None), ("test", None), ("folder", Some(folder))]
            }
            _ => return Ok(()),
        };
        let paths = paths.into_iter().filter_map(|(key, path)| Some((key, path?.as_path())));
        let labels = self.label_files().into_iter().flat_map(LabelFiles::paths);
        match paths.chain(labels).find(|(_, path)| path.as_os_str().is_empty()) {
            None => Ok(()),
            Some((key, _)) => Err(Fault::new(
                key,
                format!("{key} is empty"),
                "give a path, relative to the experiment's folder or else to the working directory",
            )),
        }
    }

    /// Reads a split, or draws it from `seed`. Errors name the file, what was expected and found, and the cure.
    pub fn open(&self, split: Split, seed: u64) -> Result<Arc<dyn Dataset>> {
        Ok(match self {
            Data::Checkerboard(set) => Arc::new(set.draw(split, seed)),
            Data::TwoMoons(set) => Arc::new(set.draw(toys::two_moons, split, seed)),
            Data::SwissRoll(set) => Arc::new(set.draw(toys::swiss_roll, split, seed)),
            Data::Spirals(set) => Arc::new(set.draw(toys::spirals, split, seed)),
            Data::Rings(set) => Arc::new(set.draw(toys::rings, split, seed)),
            Data::GaussianMixture(set) => Arc::new(set.draw(split, seed)),
            Data::NpyVectors(set) => Arc::new(set.open(split)?),
            Data::NpyImages(set) => Arc::new(set.open(split)?),
            Data::Images(set) => Arc::new(set.open(split)?),
            Data::Idx(set) => Arc::new(set.open(split)?),
            Data::Cifar10(set) => Arc::new(set.open(split)?),
            Data::ImageNet(set) => Arc::new(set.open(split)?),
            Data::Csv(set) => Arc::new(set.open(split)?),
        })
    }

    /// What [`Data::open`] would find in a split, without reading or drawing it. Errors are those of a header and of a file's size;
    /// damage further in is found by [`Data::open`].
    pub fn describe(&self, split: Split) -> Result<Summary> {
        let points =
            |len: usize, dimension: usize| Summary { shape: vec![dimension], len, note: None, bytes: 4 * (len * dimension) as u64 };
        Ok(match self {
            Data::Checkerboard(set) => points(split.of(set.train, set.test), 2),
            Data::TwoMoons(set) | Data::SwissRoll(set) | Data::Spirals(set) | Data::Rings(set) => points(split.of(set.train, set.test), 2),
            Data::GaussianMixture(set) => points(split.of(set.train, set.test), set.mixture.dimension()),
            Data::NpyVectors(set) => set.describe(split)?,
            Data::NpyImages(set) => set.describe(split)?,
            Data::Images(set) => set.describe(split)?,
            Data::Idx(set) => set.describe(split)?,
            Data::Cifar10(set) => set.describe(split)?,
            Data::ImageNet(set) => set.describe(split)?,
            Data::Csv(set) => set.describe(split)?,
        })
    }

    /// The key that makes a split smaller.
    pub fn size_key(&self, split: Split) -> String {
        let key = match self {
            Data::Idx(Idx { pad: 1.., .. }) => "pad",
            Data::Cifar10(_) | Data::ImageNet(_) => "folder",
            _ => split.of("train", "test"),
        };
        format!("data.{}.{key}", self.name())
    }

    /// The map between data units and model space.
    pub fn scale(&self) -> Scale {
        match self {
            Data::Checkerboard(Checkerboard { scale, .. })
            | Data::TwoMoons(NoisyCurve { scale, .. })
            | Data::SwissRoll(NoisyCurve { scale, .. })
            | Data::Spirals(NoisyCurve { scale, .. })
            | Data::Rings(NoisyCurve { scale, .. })
            | Data::GaussianMixture(Mixture { scale, .. })
            | Data::Csv(Csv { scale, .. })
            | Data::NpyVectors(NpyVectors { scale, .. }) => Scale::Vectors { scale: *scale },
            Data::NpyImages(NpyImages { range, dequantise, .. })
            | Data::Images(ImageFiles { range, dequantise, .. })
            | Data::Idx(Idx { range, dequantise, .. })
            | Data::ImageNet(ImageNet { range, dequantise, .. })
            | Data::Cifar10(Cifar10 { range, dequantise, .. }) => Scale::Pixels { range: *range, dequantise: *dequantise },
        }
    }

    /// The law of the data in model space, where it is a known mixture.
    pub fn law(&self) -> Option<GaussianMixture> {
        match self {
            Data::GaussianMixture(set) => Some(set.mixture.scaled(1.0 / set.scale)),
            _ => None,
        }
    }

    /// Whether training sees each image or its mirror image with equal probability.
    pub fn flip(&self) -> bool {
        match self {
            Data::NpyImages(NpyImages { flip, .. })
            | Data::Images(ImageFiles { flip, .. })
            | Data::Idx(Idx { flip, .. })
            | Data::ImageNet(ImageNet { flip, .. })
            | Data::Cifar10(Cifar10 { flip, .. }) => *flip,
            _ => false,
        }
    }
}

/// The size of an open file, bytes.
fn size(file: &File, path: &Path) -> Result<u64> {
    Ok(file.metadata().map_err(|error| Error::io("read", path, error))?.len())
}

/// Opens a data file; `cure` says what brings it when it is missing.
fn open_file(path: &Path, cure: &str) -> Result<File> {
    file::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::data(path, "there is no such file", cure),
        _ => Error::io("open", path, error),
    })
}

#[cfg(test)]
mod tests;
