//! Folders and zip archives of PNG and JPEG files, decoded when an example is read.

mod files;
mod fit;
mod labels;
mod picture;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::files::Files;
pub use self::fit::{Filter, Fit};
pub use self::labels::ImageLabels;
use self::picture::{Picture, Refused};
use super::source::{Source, unread};
use super::{Dataset, Split, Summary};
use crate::error::{Error, Fault, Result};

/// `[data.images]`: the PNG and JPEG files below two folders, or in two zip archives, in the order of their paths. A file's content decides its
/// format, not its name. Other files and hidden ones are left out. Headers and ends of all files are looked at before work; pixels are decoded
/// by all cores ahead of the step that needs them, and `score-sde data` decodes every file. Pixels are taken as they are stored, without colour
/// profiles and without the rotation that a camera noted. Files with 16 bits a colour or with transparency are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageFiles {
    /// The folder or zip archive to train on; relative to the experiment's folder or else to the working directory.
    pub train: PathBuf,
    /// The folder or zip archive to measure.
    pub test: PathBuf,
    /// What says the classes of the images; left out, they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<ImageLabels>,
    /// Height and width of an example, each 1 to 4096.
    pub size: [usize; 2],
    pub fit: Fit,
    pub channels: Channels,
    /// The model's values of black and white, such as [-1, 1] or [0, 1].
    pub range: [f64; 2],
    /// Whether training mirrors each image with probability one half.
    pub flip: bool,
    /// Whether training adds uniform noise within a pixel's bin.
    pub dequantise: bool,
}

/// What a pixel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// Red, green and blue; grey files get three equal ones.
    Rgb,
    /// One; of coloured files the luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded.
    Grey,
}

impl Channels {
    fn count(self) -> usize {
        match self {
            Channels::Rgb => 3,
            Channels::Grey => 1,
        }
    }
}

/// What image files are like before an experiment says what becomes of them.
pub(super) struct Stored {
    /// Those of the first.
    pub channels: Channels,
    /// The least height and width.
    pub least: [usize; 2],
    /// Whether all are of one size.
    pub alike: bool,
}

/// Pixels on a side.
const LARGEST: usize = 4096;

/// Bytes of memory for each file: its name, and where it is in an archive.
const LISTED: u64 = 200;

impl ImageFiles {
    pub fn check(&self) -> Result<(), Fault> {
        self.size.iter().try_for_each(|&side| Fault::unless_in("size", side, 1..=LARGEST, "size is [height, width]"))
    }

    /// Lists the files of a split and looks at each one's header and end.
    pub(super) fn open(&self, split: Split) -> Result<Decoded> {
        let files = Files::list(split.of(&self.train, &self.test))?;
        let sizes: Vec<Result<[usize; 2]>> = (0..files.len()).into_par_iter().map(|i| self.header(&files.source(i)?)).collect();
        let refused = sizes.iter().filter(|size| size.is_err()).count();
        let (mut smaller, [height, width]) = (0, self.size);
        for size in sizes {
            let [h, w] = size.map_err(|error| and_others(error, refused - 1))?;
            smaller += usize::from(h < height || w < width);
        }
        let note = [files.note(), (smaller > 0).then(|| format!("{smaller} images are smaller than {height} x {width} and are enlarged"))];
        let note = note.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let shape = [self.channels.count(), height, width];
        Ok(Decoded { spec: self.clone(), files, shape, note: Some(note).filter(|note| !note.is_empty()) })
    }

    /// The files of a folder or zip archive as they are stored: of one size, and grey where the first one is.
    pub(super) fn open_as_stored(path: &Path) -> Result<Decoded> {
        let first = Files::list(path)?.source(0)?;
        let bytes = first.all().map_err(|error| Refused::damaged(unread(&error)).of(&first.path))?;
        let Picture { size, channels, .. } = picture::stored(&bytes).map_err(|refused| refused.of(&first.path))?;
        let channels = if channels == 1 { Channels::Grey } else { Channels::Rgb };
        let (train, test, range) = (path.to_owned(), path.to_owned(), [-1.0, 1.0]);
        ImageFiles { train, test, labels: None, size, fit: Fit::Exact, channels, range, flip: false, dequantise: false }.open(Split::Train)
    }

    /// What the image files below a folder, or in a zip archive, are like, by their headers.
    pub(super) fn stored(path: &Path) -> Result<Stored> {
        let files = Files::list(path)?;
        let first = files.source(0)?;
        let bytes = first.all().map_err(|error| Refused::damaged(unread(&error)).of(&first.path))?;
        let Picture { channels, size, .. } = picture::stored(&bytes).map_err(|refused| refused.of(&first.path))?;
        let header = |i: usize| {
            let source = files.source(i)?;
            picture::header(&source).map_err(|refused| refused.of(&source.path))
        };
        let sizes: Vec<[usize; 2]> = (0..files.len()).into_par_iter().map(header).collect::<Result<_>>()?;
        let least = sizes.iter().fold(size, |[h, w], [height, width]| [h.min(*height), w.min(*width)]);
        let channels = if channels == 1 { Channels::Grey } else { Channels::Rgb };
        Ok(Stored { channels, least, alike: sizes.iter().all(|other| *other == size) })
    }

    pub(super) fn describe(&self, split: Split) -> Result<Summary> {
        let set = self.open(split)?;
        Ok(Summary { shape: set.shape.to_vec(), len: set.len(), note: set.note.clone(), bytes: LISTED * set.len() as u64 })
    }

    /// Height and width of a file.
    fn header(&self, source: &Source) -> Result<[usize; 2]> {
        let size = picture::header(source).and_then(|size| self.fit.check(size, self.size).map(|()| size));
        size.map_err(|refused| refused.of(&source.path))
    }
}

/// The error of the first of several files that are refused.
fn and_others(error: Error, others: usize) -> Error {
    match error {
        Error::Data { path, message, help } if others > 0 => {
            Error::Data { path, message: format!("{message}; {others} other files are refused, too"), help }
        }
        error => error,
    }
}

impl Refused {
    fn of(self, path: &Path) -> Error {
        Error::data(path, self.message, self.help)
    }
}

/// Files, each decoded when it is read.
pub(super) struct Decoded {
    spec: ImageFiles,
    files: Files,
    /// [C, H, W]
    shape: [usize; 3],
    note: Option<String>,
}

impl Decoded {
    fn picture(&self, source: &Source) -> Result<Picture, Refused> {
        let bytes = source.all().map_err(|error| Refused::damaged(unread(&error)))?;
        let picture = picture::decode(&bytes, self.shape[0])?;
        self.spec.fit.check(picture.size, self.spec.size)?;
        Ok(self.spec.fit.apply(picture, self.spec.size))
    }
}

impl Dataset for Decoded {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn len(&self) -> usize {
        self.files.len()
    }

    fn read(&self, i: usize, out: &mut [f32]) -> Result<()> {
        let source = self.files.source(i)?;
        let Picture { pixels, .. } = self.picture(&source).map_err(|refused| refused.of(&source.path))?;
        let [channels, height, width] = self.shape;
        for (c, plane) in out.chunks_exact_mut(height * width).enumerate() {
            plane.iter_mut().zip(pixels[c..].iter().step_by(channels)).for_each(|(out, &pixel)| *out = f32::from(pixel));
        }
        Ok(())
    }

    fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

#[cfg(test)]
mod tests;
