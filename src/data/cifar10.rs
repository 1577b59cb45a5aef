//! CIFAR-10 in its binary version: records of one label byte and 3072 pixel bytes (red, green, blue planes of 32 x 32, row by row).

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array4;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arrays::Images;
use super::{Split, Summary};
use crate::error::{Error, Result};

/// `[data.cifar10]`: the training images of `data_batch_{1..5}.bin` (those that are there) and the test images of `test_batch.bin`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cifar10 {
    /// Where the files are; relative to the experiment's folder or else to the working directory.
    pub folder: PathBuf,
    /// The model's values of black and white, such as [-1, 1] or [0, 1].
    pub range: [f64; 2],
    /// Whether training mirrors each image with probability one half.
    pub flip: bool,
    /// Whether training adds uniform noise within a pixel's bin.
    pub dequantise: bool,
}

const PIXELS: usize = 3 * 32 * 32;
const RECORD: usize = 1 + PIXELS;
/// Classes, airplane to truck.
pub(super) const CLASSES: usize = 10;
/// Records of an official file.
const RECORDS: usize = 10_000;
const TRAINING_FILES: usize = 5;
const CURE: &str = "run scripts/fetch-cifar10, which fills data/cifar-10-batches-bin, or correct data.cifar10.folder";

impl Cifar10 {
    pub(super) fn open(&self, split: Split) -> Result<Images> {
        let files = self.files(split)?;
        let mut pixels = Vec::with_capacity(files.len() * RECORDS * PIXELS);
        for path in &files {
            let bytes = fs::read(path).map_err(|error| Error::io("read", path, error))?;
            append(&bytes, &mut pixels).map_err(|message| wrong(path, message))?;
        }
        let n = pixels.len() / PIXELS;
        let pixels = Array4::from_shape_vec((n, 3, 32, 32), pixels).expect("whole records were appended");
        Ok(Images { pixels, note: self.note(split, files.len(), n) })
    }

    /// The label of each image.
    pub(super) fn labels(&self, split: Split) -> Result<Vec<u32>> {
        let mut labels = Vec::new();
        for path in self.files(split)? {
            let bytes = fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
            labels.extend(bytes.chunks_exact(RECORD).map(|record| u32::from(record[0])));
        }
        Ok(labels)
    }

    pub(super) fn describe(&self, split: Split) -> Result<Summary> {
        let files = self.files(split)?;
        let mut len = 0;
        for path in &files {
            let size = fs::metadata(path).map_err(|error| Error::io("read", path, error))?.len();
            len += records(size as usize).map_err(|message| wrong(path, message))?;
        }
        Ok(Summary { shape: vec![3, 32, 32], len, note: self.note(split, files.len(), len), bytes: (len * PIXELS) as u64 })
    }

    /// Files that a split has when it is complete, and images.
    fn official(split: Split) -> (usize, usize) {
        split.of((TRAINING_FILES, TRAINING_FILES * RECORDS), (1, RECORDS))
    }

    /// The files of a split that are there.
    fn files(&self, split: Split) -> Result<Vec<PathBuf>> {
        let names: Vec<String> = match split {
            Split::Train => (1..=TRAINING_FILES).map(|k| format!("data_batch_{k}.bin")).collect(),
            Split::Test => vec!["test_batch.bin".to_owned()],
        };
        let found: Vec<PathBuf> = names.iter().map(|name| self.folder.join(name)).filter(|path| path.exists()).collect();
        if found.is_empty() {
            let message = if self.folder.is_dir() { format!("has no {}", names.join(", ")) } else { "there is no such folder".to_owned() };
            return Err(Error::data(&self.folder, message, CURE));
        }
        Ok(found)
    }

    /// What is missing of a split.
    fn note(&self, split: Split, files: usize, n: usize) -> Option<String> {
        let (all, official) = Cifar10::official(split);
        let note = || format!("{}: {n} images in {files} of {all} files, where CIFAR-10 has {official}", self.folder.display());
        (n != official).then(note)
    }
}

fn wrong(path: &Path, message: String) -> Error {
    Error::data(path, message, "the binary version of CIFAR-10 is wanted; scripts/fetch-cifar10 brings it")
}

/// Appends the pixels of every record.
fn append(bytes: &[u8], pixels: &mut Vec<u8>) -> Result<(), String> {
    if let Some(i) = bytes.chunks_exact(RECORD).position(|record| usize::from(record[0]) >= CLASSES) {
        return Err(format!("is not CIFAR-10: image {i} has label {}, not 0..=9", bytes[i * RECORD]));
    }
    records(bytes.len())?;
    bytes.chunks_exact(RECORD).for_each(|record| pixels.extend_from_slice(&record[1..]));
    Ok(())
}

/// How many records a file of `size` bytes holds.
fn records(size: usize) -> Result<usize, String> {
    let (n, rest) = (size / RECORD, size % RECORD);
    if size == 0 {
        return Err("the file is empty".to_owned());
    }
    if rest > 0 && n < RECORDS {
        return Err(format!("is cut short: {n} images of {RECORD} bytes and then {rest} bytes"));
    }
    if rest > 0 || n > RECORDS {
        return Err(format!("is too long: {size} bytes, {} more than {RECORDS} images have", size - RECORDS * RECORD));
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Dataset;
    use super::*;

    fn record(label: u8, first_pixel: u8) -> Vec<u8> {
        let mut record = vec![label];
        record.extend((0..PIXELS).map(|i| first_pixel.wrapping_add((i % 251) as u8)));
        record
    }

    fn spec(folder: &Path) -> Cifar10 {
        Cifar10 { folder: folder.to_owned(), range: [-1.0, 1.0], flip: true, dequantise: false }
    }

    #[test]
    fn files_are_read_in_order_and_what_is_missing_is_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data_batch_4.bin"), record(9, 77)).unwrap();
        fs::write(folder.path().join("data_batch_2.bin"), [record(0, 10), record(3, 20)].concat()).unwrap();
        fs::write(folder.path().join("test_batch.bin"), record(1, 99)).unwrap();
        let train = spec(folder.path()).open(Split::Train).unwrap();
        assert_eq!((train.shape(), train.len()), ([3, 32, 32].as_slice(), 3));
        let mut image = vec![0f32; PIXELS];
        for (i, first) in [10, 20, 77].into_iter().enumerate() {
            train.read(i, &mut image).unwrap();
            assert!((0..PIXELS).all(|k| image[k] == (first + (k % 251) as u32) as u8 as f32), "image {i}");
        }
        assert!(train.note().unwrap().ends_with("3 images in 2 of 5 files, where CIFAR-10 has 50000"));
        let test = spec(folder.path()).open(Split::Test).unwrap();
        assert_eq!(test.len(), 1);
        assert!(test.note().unwrap().ends_with("1 images in 1 of 1 files, where CIFAR-10 has 10000"));
    }

    #[test]
    fn each_defect_has_its_own_message() {
        let good = [record(0, 1), record(1, 2)].concat();
        let full = record(0, 1).repeat(RECORDS);
        let cases = [
            (vec![], "the file is empty"),
            (good[..good.len() - 1].to_vec(), "is cut short: 1 images of 3073 bytes and then 3072 bytes"),
            (good[..100].to_vec(), "is cut short: 0 images"),
            ([full.clone(), vec![0]].concat(), "is too long: 30730001 bytes, 1 more"),
            ([full, record(0, 1)].concat(), "is too long"),
            ([record(0, 1), record(10, 2)].concat(), "is not CIFAR-10: image 1 has label 10"),
        ];
        for (bytes, message) in cases {
            let error = append(&bytes, &mut Vec::new()).unwrap_err();
            assert!(error.contains(message), "`{error}` does not say `{message}`");
        }
    }

    #[test]
    fn missing_folder_and_missing_files_name_the_script_that_brings_them() {
        let folder = tempfile::tempdir().unwrap();
        for (folder, text) in
            [(folder.path().to_owned(), "has no test_batch.bin"), (folder.path().join("absent"), "there is no such folder")]
        {
            let Err(Error::Data { path, message, help }) = spec(&folder).open(Split::Test) else { panic!("not a data error") };
            assert_eq!((path, message.as_str()), (folder, text));
            assert!(help.contains("scripts/fetch-cifar10"));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2 * RECORD + 9)) {
            let mut pixels = Vec::new();
            let ok = append(&bytes, &mut pixels).is_ok();
            let labels = bytes.iter().step_by(RECORD).all(|label| *label <= 9);
            prop_assert_eq!(ok, !bytes.is_empty() && bytes.len().is_multiple_of(RECORD) && labels);
            prop_assert_eq!(pixels.len(), if ok { bytes.len() / RECORD * PIXELS } else { 0 });
        }
    }
}
