//! Downsampled ImageNet in its NumPy form: archives of pixels, red, green and blue planes row by row, and labels from 1 to 1000.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::array::Array;
use super::classes::{whole, within};
use super::{Dataset, Split, Summary};
use crate::error::{Error, Result};

/// `[data.imagenet]`: ImageNet at 8 x 8, 16 x 16, 32 x 32 or 64 x 64 (Chrabaszcz et al. 2017, arXiv 1707.08819), the training images of
/// `train_data_batch_{1..10}.npz` (those that are there) and the test images of `val_data.npz`. The pickled form is not read: it is a program.
/// Pixels stay on disk, unless the archives are compressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageNet {
    /// Where the files are, all of one size of image; relative to the experiment's folder or else to the working directory.
    pub folder: PathBuf,
    /// The model's values of black and white, such as [-1, 1] or [0, 1].
    pub range: [f64; 2],
    /// Whether training mirrors each image with probability one half.
    pub flip: bool,
    /// Whether training adds uniform noise within a pixel's bin.
    pub dequantise: bool,
}

pub(super) const CLASSES: usize = 1000;
const TRAINING_FILES: usize = 10;
const SIDES: [usize; 4] = [8, 16, 32, 64];
const CURE: &str = "bring the npz form of downsampled ImageNet from image-net.org and unzip it, or correct data.imagenet.folder";

impl ImageNet {
    pub(super) fn open(&self, split: Split) -> Result<Pixels> {
        let Pixels { arrays, firsts, shape, note } = self.headers(split)?;
        Ok(Pixels { arrays: arrays.into_iter().map(Array::ready).collect::<Result<_>>()?, firsts, shape, note })
    }

    pub(super) fn describe(&self, split: Split) -> Result<Summary> {
        let set = self.headers(split)?;
        let bytes = set.arrays.iter().map(Array::bytes).sum();
        Ok(Summary { shape: set.shape.to_vec(), len: set.len(), note: set.note, bytes })
    }

    /// The class of each image, 0 to 999.
    pub(super) fn labels(&self, split: Split) -> Result<Vec<u32>> {
        let mut all = Vec::new();
        for path in self.files(split)? {
            let numbers = whole(Array::open(&path, Some("labels"))?)?;
            let from_zero = numbers.into_iter().map(|label| label.saturating_sub(1)).collect();
            let labels = within(from_zero).map_err(|message| wrong(&path, format!("{message}, after 1 is taken off")))?;
            if let Some(class) = labels.iter().find(|class| **class as usize >= CLASSES) {
                return Err(wrong(&path, format!("holds the label {}; there are 1 to {CLASSES}", class + 1)));
            }
            all.extend(labels);
        }
        Ok(all)
    }

    fn files(&self, split: Split) -> Result<Vec<PathBuf>> {
        let names: Vec<String> = match split {
            Split::Train => (1..=TRAINING_FILES).map(|k| format!("train_data_batch_{k}.npz")).collect(),
            Split::Test => vec!["val_data.npz".to_owned()],
        };
        let found: Vec<PathBuf> = names.iter().map(|name| self.folder.join(name)).filter(|path| path.exists()).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let pickled = names.iter().find(|name| self.folder.join(name.trim_end_matches(".npz")).exists());
        let message = match pickled {
            _ if !self.folder.is_dir() => "there is no such folder".to_owned(),
            Some(name) => format!("has {}, which is pickled, and no {name}", name.trim_end_matches(".npz")),
            None => format!("has no {}", names.join(", ")),
        };
        Err(Error::data(&self.folder, message, CURE))
    }

    /// The files of a split by their headers.
    fn headers(&self, split: Split) -> Result<Pixels> {
        let (mut arrays, mut firsts, mut sides): (Vec<Array>, _, Vec<usize>) = (Vec::new(), vec![0], Vec::new());
        for path in self.files(split)? {
            let array = Array::open(&path, Some("data"))?;
            let side = SIDES.into_iter().find(|side| array.shape.len() == 2 && array.shape[1] == 3 * side * side);
            let Some(side) = side.filter(|_| array.holds_bytes()) else {
                let message = format!("holds `data` of shape {:?}, and uint8 [N, 3 S S] with S of {SIDES:?} is wanted", array.shape);
                return Err(wrong(&path, message));
            };
            if sides.first().is_some_and(|first| *first != side) {
                return Err(wrong(&path, format!("holds images of {side} x {side}, and the file before {0} x {0}", sides[0])));
            }
            sides.push(side);
            firsts.push(firsts[firsts.len() - 1] + array.shape[0]);
            arrays.push(array);
        }
        let (n, official) = (firsts[firsts.len() - 1], split.of(1_281_167, 50_000));
        let all = split.of(TRAINING_FILES, 1);
        let note = || format!("{}: {n} images in {} of {all} files, where ImageNet has {official}", self.folder.display(), arrays.len());
        let note = (n != official).then(note);
        Ok(Pixels { arrays, firsts, shape: [3, sides[0], sides[0]], note })
    }
}

fn wrong(path: &Path, message: String) -> Error {
    Error::data(path, message, CURE)
}

/// Images in several arrays, one after the other.
pub(super) struct Pixels {
    arrays: Vec<Array>,
    /// The number of each array's first image, and of all.
    firsts: Vec<usize>,
    shape: [usize; 3],
    note: Option<String>,
}

impl Dataset for Pixels {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn len(&self) -> usize {
        self.firsts[self.firsts.len() - 1]
    }

    fn read(&self, i: usize, out: &mut [f32]) -> Result<()> {
        let file = self.firsts.partition_point(|first| *first <= i) - 1;
        self.arrays[file].rows(i - self.firsts[file], out, |x| x as f32)
    }

    fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ndarray::{Array1, Array2};
    use ndarray_npy::{NpzWriter, WritableElement};

    use super::*;

    fn write<A: WritableElement + Copy>(folder: &Path, name: &str, pixels: Array2<A>, labels: &[i64]) {
        let mut archive = NpzWriter::new(fs::File::create(folder.join(name)).unwrap());
        archive.add_array("data", &pixels).unwrap();
        archive.add_array("labels", &Array1::from(labels.to_vec())).unwrap();
        archive.finish().unwrap();
    }

    /// Images whose pixels tell their number and place.
    fn pixels(n: usize, first: usize, side: usize) -> Array2<u8> {
        Array2::from_shape_fn((n, 3 * side * side), |(i, k)| (40 * (first + i) + k) as u8)
    }

    fn spec(folder: &Path) -> ImageNet {
        ImageNet { folder: folder.to_owned(), range: [-1.0, 1.0], flip: true, dequantise: false }
    }

    #[test]
    fn batches_follow_each_other_and_what_is_missing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "train_data_batch_10.npz", pixels(1, 3, 8), &[1000]);
        write(folder.path(), "train_data_batch_2.npz", pixels(3, 0, 8), &[1, 7, 2]);
        let set = spec(folder.path());
        let train = set.open(Split::Train).unwrap();
        assert_eq!((train.shape(), train.len()), (&[3, 8, 8][..], 4));
        assert!(train.note().unwrap().ends_with("4 images in 2 of 10 files, where ImageNet has 1281167"));
        let mut image = vec![0.0; 192];
        for i in 0..4 {
            train.read(i, &mut image).unwrap();
            assert!((0..192).all(|k| image[k] == f32::from((40 * i + k) as u8)), "{i}: {image:?}");
        }
        assert_eq!(set.labels(Split::Train).unwrap(), [0, 6, 1, 999]);
        assert_eq!(set.describe(Split::Train).unwrap().bytes, 0);
        assert!(set.describe(Split::Test).unwrap_err().to_string().ends_with("has no val_data.npz"));
    }

    #[test]
    fn each_defect_has_its_own_message() {
        let folder = tempfile::tempdir().unwrap();
        let set = spec(folder.path());
        let refused = |message: &str| {
            let error = set.open(Split::Train).and_then(|_| set.labels(Split::Train)).unwrap_err().to_string();
            assert!(error.contains(message), "`{error}` does not say `{message}`");
        };
        refused("has no train_data_batch_1.npz, ");
        fs::write(folder.path().join("train_data_batch_1"), "pickled").unwrap();
        refused("has train_data_batch_1, which is pickled, and no train_data_batch_1.npz");
        write(folder.path(), "train_data_batch_1.npz", pixels(1, 0, 8), &[1001]);
        refused("holds the label 1001; there are 1 to 1000");
        write(folder.path(), "train_data_batch_1.npz", pixels(1, 0, 8), &[0]);
        refused("its class is -1");
        write(folder.path(), "train_data_batch_2.npz", pixels(1, 0, 16), &[1]);
        refused("train_data_batch_2.npz: holds images of 16 x 16, and the file before 8 x 8");
        write(folder.path(), "train_data_batch_2.npz", pixels(1, 0, 9), &[1]);
        refused("train_data_batch_2.npz: holds `data` of shape [1, 243]");
        write(folder.path(), "train_data_batch_2.npz", pixels(1, 0, 8).mapv(f32::from), &[1]);
        refused("uint8");
        fs::write(folder.path().join("train_data_batch_2.npz"), b"PK and no more").unwrap();
        refused("train_data_batch_2.npz: is no zip archive, or is cut short");
    }
}
