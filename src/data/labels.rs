//! Classes of examples.

use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::array::is_npz;
use super::classes::{CURE, count, whole, within};
use super::{Arrays, Data, Idx, NpyImages, NpyVectors, Split, cifar10, idx, imagenet, open_file};
use crate::error::{Error, Fault, Result};

/// Files with the class of each example, counted from 0, in the order of the examples: arrays `[N]` of whole numbers in `.npy` files or `.npz`
/// archives, or IDX files of labels, plain or gzipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelFiles {
    /// Of the examples to train on; relative to the experiment's folder or else to the working directory.
    pub train: PathBuf,
    /// Of the examples to measure.
    pub test: PathBuf,
    /// The names of the arrays in `.npz` archives; left out, there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrays: Option<Arrays>,
}

impl LabelFiles {
    pub(super) fn check(&self) -> Result<(), Fault> {
        Arrays::check(self.arrays.as_ref(), [&self.train, &self.test])
    }

    /// Of a split. Error: the file is missing, damaged, or holds something else.
    pub(super) fn read(&self, split: Split) -> Result<Vec<u32>> {
        let path = split.of(&self.train, &self.test);
        let mut start = [0; 6];
        let is_array = is_npz(path) || open_file(path, CURE)?.read_exact(&mut start).is_ok() && start == *b"\x93NUMPY";
        let labels = if is_array {
            whole(Arrays::open(self.arrays.as_ref(), split, (&self.train, &self.test))?)?
        } else {
            let mut bytes = Vec::new();
            open_file(path, CURE)?.read_to_end(&mut bytes).map_err(|error| Error::io("read", path, error))?;
            idx::labels(&bytes).map_err(|message| Error::data(path, message, CURE))?
        };
        within(labels).map_err(|message| Error::data(path, message, CURE))
    }

    pub(super) fn paths(&self) -> [(&'static str, &Path); 2] {
        [("labels.train", &self.train), ("labels.test", &self.test)]
    }
}

impl Data {
    /// The files of labels, where they are files of their own.
    pub(super) fn label_files(&self) -> Option<&LabelFiles> {
        match self {
            Data::NpyVectors(NpyVectors { labels, .. }) | Data::NpyImages(NpyImages { labels, .. }) | Data::Idx(Idx { labels, .. }) => {
                labels.as_ref()
            }
            _ => None,
        }
    }

    /// The key that says where labels are, for data that may have some, and what may be given.
    pub fn label_key(&self) -> Option<(String, &'static str)> {
        let choices = match self {
            Data::NpyVectors(_) | Data::NpyImages(_) | Data::Idx(_) => "{ train = \"...\", test = \"...\" }, .npy, .npz or IDX files",
            Data::Csv(_) => "the name of a column",
            Data::Images(_) => "\"folders\", or \"dataset-json\"",
            _ => return None,
        };
        Some((format!("data.{}.labels", self.name()), choices))
    }

    /// Whether each example has a class: by files of labels, folders or a column, in CIFAR-10 or ImageNet itself, or as the component of a mixture.
    pub fn has_labels(&self) -> bool {
        match self {
            Data::Cifar10(_) | Data::ImageNet(_) | Data::GaussianMixture(_) => true,
            Data::Images(set) => set.labels.is_some(),
            Data::Csv(set) => set.labels.is_some(),
            _ => self.label_files().is_some(),
        }
    }

    /// The classes of a split's examples; none where they have none.
    pub fn labels(&self, split: Split, seed: u64) -> Result<Vec<u32>> {
        match self {
            Data::Cifar10(set) => set.labels(split),
            Data::GaussianMixture(set) => Ok(set.components(split, seed)),
            Data::Images(set) => set.labels(split),
            Data::ImageNet(set) => set.labels(split),
            Data::Csv(set) => set.labels(split),
            _ => self.label_files().map_or(Ok(Vec::new()), |files| files.read(split)),
        }
    }

    /// How many classes there are, by the training split.
    pub fn classes(&self) -> Result<usize> {
        match self {
            Data::Cifar10(_) => Ok(cifar10::CLASSES),
            Data::ImageNet(_) => Ok(imagenet::CLASSES),
            Data::Csv(set) => Ok(set.class_names()?.len()),
            Data::GaussianMixture(set) => Ok(set.mixture.weights.len()),
            Data::Images(set) => count(&set.train, &set.labels(Split::Train)?),
            _ => self.label_files().map_or(Ok(0), |files| count(&files.train, &files.read(Split::Train)?)),
        }
    }
}

/// The classes of a split.
#[derive(Serialize)]
pub struct Labels {
    /// Examples of each.
    pub counts: Vec<usize>,
    /// Where they have names.
    pub names: Option<Vec<String>>,
}

impl Labels {
    /// None where the examples have no classes. Error: of the files.
    pub fn of(data: &Data, split: Split, seed: u64) -> Result<Option<Labels>> {
        if !data.has_labels() {
            return Ok(None);
        }
        let labels = data.labels(split, seed)?;
        let mut counts = vec![0; data.classes()?.max(labels.iter().max().map_or(0, |class| *class as usize + 1))];
        labels.iter().for_each(|class| counts[*class as usize] += 1);
        let names = match data {
            Data::Images(set) => set.class_names()?,
            Data::Csv(set) => Some(set.class_names()?),
            _ => None,
        };
        Ok(Some(Labels { counts, names }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ndarray::{Array1, array};
    use ndarray_npy::{WritableElement, WriteNpyExt};

    use super::*;

    fn npy<A: WritableElement>(array: &Array1<A>) -> Vec<u8> {
        let mut bytes = Vec::new();
        array.write_npy(&mut bytes).unwrap();
        bytes
    }

    fn idx(n: u32, labels: &[u8]) -> Vec<u8> {
        [&[0, 0, 8, 1], &n.to_be_bytes()[..], labels].concat()
    }

    fn read(bytes: Vec<u8>) -> Result<Vec<u32>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels");
        std::fs::write(&path, bytes).unwrap();
        LabelFiles { train: path, test: "absent".into(), arrays: None }.read(Split::Train).map_err(|error| error.to_string())
    }

    #[test]
    fn every_format_is_read() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&idx(3, &[2, 0, 1])).unwrap();
        let files = [
            npy(&array![2i64, 0, 1]),
            npy(&array![2i32, 0, 1]),
            npy(&array![2i16, 0, 1]),
            npy(&array![2i8, 0, 1]),
            npy(&array![2u64, 0, 1]),
            npy(&array![2u32, 0, 1]),
            npy(&array![2u16, 0, 1]),
            npy(&array![2u8, 0, 1]),
            idx(3, &[2, 0, 1]),
            gzip.finish().unwrap(),
        ];
        for file in files {
            assert_eq!(read(file), Ok(vec![2, 0, 1]));
        }
        let folder = tempfile::tempdir().unwrap();
        let train = folder.path().join("labels");
        for (labels, classes) in [(vec![2, 0, 1, 1], Ok(3)), (vec![1, 2, 1], Err("class 0")), (vec![0, 3, 1, 1], Err("class 2"))] {
            std::fs::write(&train, idx(labels.len() as u32, &labels)).unwrap();
            let labels = LabelFiles { train: train.clone(), test: "absent".into(), arrays: None };
            let vectors = NpyVectors { train: train.clone(), test: train.clone(), arrays: None, labels: Some(labels), scale: 1.0 };
            let found = Data::NpyVectors(vectors).classes();
            match classes {
                Ok(classes) => assert_eq!(found.unwrap(), classes),
                Err(class) => assert!(found.unwrap_err().to_string().contains(class)),
            }
        }
    }

    #[test]
    fn each_defect_has_its_own_message() {
        let cases = [
            (vec![], "the file is empty"),
            (idx(0, &[]), "holds no labels"),
            (idx(4, &[2, 0, 1]), "promises 4 labels, but 3 follow"),
            (idx(2, &[2, 0, 1]), "promises 2 labels, but more follow"),
            (vec![0, 0, 8, 3, 0, 0, 0, 1], "holds images"),
            (b"no labels".to_vec(), "is neither an .npy file nor an IDX file of labels"),
            (npy(&array![0i64, -1]), "says of example 1 that its class is -1"),
            (npy(&array![70_000i64]), "from 0 to 65535"),
            (npy(&array![1.0f32]), "classes are whole ones"),
            (npy(&array![u64::MAX]), "is 9223372036854775807; classes"),
        ];
        for (bytes, message) in cases {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(message), "`{error}` does not say `{message}`");
        }
        let error = LabelFiles { train: "absent".into(), test: "absent".into(), arrays: None }.read(Split::Test).unwrap_err().to_string();
        assert!(error.contains("absent") && error.contains("there is no such file"), "{error}");
    }
}
