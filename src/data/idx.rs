//! IDX files of images, the format of MNIST and Fashion-MNIST: big-endian header, then one byte a pixel.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use ndarray::{Array3, Array4, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arrays::Images;
use super::{LabelFiles, Split, Summary, open_file, size};
use crate::error::{Error, Fault, Result};

/// `[data.idx]`: grey images from two IDX files, plain or gzipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Idx {
    /// The file to train on; relative to the experiment's folder or else to the working directory.
    pub train: PathBuf,
    /// The file to measure.
    pub test: PathBuf,
    /// The classes of the images; left out, they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelFiles>,
    /// Pixels of the files on each side that are averaged to one, and rounded to a whole value, 1 to 8; it divides their height and width. 2
    /// makes 14 x 14 of 28 x 28. Left out, 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub downsample: usize,
    /// Black pixels added on each side after that, 0 to 256; 2 makes 32 x 32 of 28 x 28.
    pub pad: usize,
    /// The model's values of black and white, such as [-1, 1] or [0, 1].
    pub range: [f64; 2],
    /// Whether training mirrors each image with probability one half.
    pub flip: bool,
    /// Whether training adds uniform noise within a pixel's bin.
    pub dequantise: bool,
}

const CURE: &str = "for Fashion-MNIST run scripts/fetch-fashion-mnist, which fills data/fashion-mnist; for another set correct the path";
const LARGEST_PAD: usize = 256;

fn one() -> usize {
    1
}

fn is_one(n: &usize) -> bool {
    *n == 1
}

impl Idx {
    pub fn check(&self) -> Result<(), Fault> {
        Fault::unless_in("downsample", self.downsample, 1..=8, "1 leaves the images as they are")?;
        if self.pad > LARGEST_PAD {
            return Err(Fault::new(
                "pad",
                format!("pad is {}", self.pad),
                format!("give the pixels added on each side, from 0 to {LARGEST_PAD}"),
            ));
        }
        Ok(())
    }

    pub(super) fn open(&self, split: Split) -> Result<Images> {
        let (path, file) = self.file(split)?;
        let images = unpacked(BufReader::new(file)).and_then(|mut source| read(&mut source)).map_err(|message| wrong(path, message))?;
        let (_, height, width) = images.dim();
        self.downsampled([height, width], path)?;
        Ok(Images { pixels: padded(&averaged(&images, self.downsample), self.pad), note: self.note() })
    }

    pub(super) fn describe(&self, split: Split) -> Result<Summary> {
        let (path, file) = self.file(split)?;
        let size = size(&file, path)?;
        let Header { n, height, width } = described(BufReader::new(file), size).map_err(|message| wrong(path, message))?;
        let pixels = |[height, width]: [usize; 2]| n.saturating_mul(height.saturating_mul(width)) as u64;
        let bare = pixels([height, width]);
        let [height, width] = self.downsampled([height, width], path)?.map(|side| side + 2 * self.pad);
        // The file's pixels, and what becomes of them.
        let bytes = bare.saturating_add(pixels([height, width]));
        Ok(Summary { shape: vec![1, height, width], len: n, note: self.note(), bytes })
    }

    /// The height and width that a file's have become. Error: they can't be divided.
    fn downsampled(&self, sides: [usize; 2], path: &Path) -> Result<[usize; 2]> {
        let [height, width] = sides;
        if sides.iter().all(|side| side.is_multiple_of(self.downsample)) {
            return Ok(sides.map(|side| side / self.downsample));
        }
        let choices: Vec<String> = (1..=8).filter(|n| sides.iter().all(|side| side.is_multiple_of(*n))).map(|n| n.to_string()).collect();
        let message = format!("holds images of {height} x {width}, which squares of {0} x {0} do not fill", self.downsample);
        Err(Error::data(path, message, format!("give data.idx.downsample as one of {}, which divide height and width", choices.join(", "))))
    }

    fn note(&self) -> Option<String> {
        (self.downsample > 1).then(|| format!("each pixel is the rounded mean of {0} x {0} pixels of the files", self.downsample))
    }

    fn file(&self, split: Split) -> Result<(&Path, File)> {
        let path: &Path = split.of(&self.train, &self.test);
        Ok((path, open_file(path, CURE)?))
    }
}

fn wrong(path: &Path, message: String) -> Error {
    Error::data(path, message, "an IDX file of images starts with the bytes 00 00 08 03, its count, height and width; bring a fresh copy")
}

/// The means of squares of n x n pixels, rounded to whole values, a half upwards; n divides height and width.
fn averaged(images: &Array3<u8>, n: usize) -> Array3<u8> {
    let (count, height, width) = images.dim();
    Array3::from_shape_fn((count, height / n, width / n), |(i, y, x)| {
        let square = images.slice(s![i, n * y..n * (y + 1), n * x..n * (x + 1)]);
        let sum: usize = square.iter().map(|&pixel| usize::from(pixel)).sum();
        ((2 * sum + n * n) / (2 * n * n)) as u8
    })
}

fn padded(images: &Array3<u8>, pad: usize) -> Array4<u8> {
    let (n, height, width) = images.dim();
    let mut pixels = Array4::zeros((n, 1, height + 2 * pad, width + 2 * pad));
    pixels.slice_mut(s![.., 0, pad..pad + height, pad..pad + width]).assign(images);
    pixels
}

fn gzipped(source: &mut impl BufRead) -> Result<bool, String> {
    let start = source.fill_buf().map_err(|error| format!("cannot be read: {error}"))?;
    Ok(start.starts_with(&[0x1f, 0x8b]))
}

fn unpacked<'a>(mut source: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>, String> {
    Ok(if gzipped(&mut source)? { Box::new(GzDecoder::new(source)) } else { Box::new(source) })
}

/// The header of a file of `size` bytes, which is held to that size unless the file is gzipped.
fn described(mut source: impl BufRead, size: u64) -> Result<Header, String> {
    let plain = !gzipped(&mut source)?;
    let header = Header::read(&mut unpacked(source)?)?;
    if plain {
        header.is_followed_by(size.saturating_sub(HEADER as u64))?;
    }
    Ok(header)
}

/// Bytes before the pixels.
const HEADER: usize = 16;

/// What a file promises: images and their size in pixels, all of them at least 1, together no more than `usize` can count.
struct Header {
    n: usize,
    height: usize,
    width: usize,
}

impl Header {
    fn read(source: &mut impl Read) -> Result<Header, String> {
        let header = up_to(HEADER, source)?;
        match header[..] {
            [] => return Err("the file is empty".to_owned()),
            [0, 0, 8, 3, ..] => (),
            [0, 0, 8, 1, ..] => return Err("holds labels; the file of images is wanted".to_owned()),
            [0, 0, 8, dims, ..] => return Err(format!("holds bytes in {dims} dimensions; images have 3: count, height and width")),
            [0, 0, kind, 1..=4, ..] => return Err(format!("holds numbers of kind 0x{kind:02x}; pixels are bytes, kind 0x08")),
            _ => return Err(format!("is not an IDX file: it starts with the bytes {:02x?}", &header[..header.len().min(4)])),
        }
        let words: Vec<usize> = header.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
        let [_, n, height, width] = words[..] else {
            return Err(format!("is cut short: its header has {} of {HEADER} bytes", header.len()));
        };
        if n == 0 || height == 0 || width == 0 {
            return Err(format!("holds no pixels: {n} images of {height} x {width}"));
        }
        let header = Header { n, height, width };
        match n.checked_mul(height).and_then(|size| size.checked_mul(width)) {
            Some(_) => Ok(header),
            None => Err(format!("{}, more than memory can hold", header.promise())),
        }
    }

    /// Bytes of pixels.
    fn size(&self) -> usize {
        self.n * self.height * self.width
    }

    fn promise(&self) -> String {
        format!("its header promises {} images of {} x {}", self.n, self.height, self.width)
    }

    fn is_followed_by(&self, bytes: u64) -> Result<(), String> {
        let (promise, size) = (self.promise(), self.size());
        match bytes.cmp(&(size as u64)) {
            Ordering::Less => Err(format!("is cut short: {promise}, {size} bytes, but {bytes} follow")),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(format!("is too long: {promise}, {size} bytes, but more follow")),
        }
    }
}

/// The next bytes of a file, so many or all that are left.
fn up_to(most: usize, source: &mut impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let result = source.take(most as u64).read_to_end(&mut bytes);
    result.map(|_| bytes).map_err(|error| format!("cannot be read to its end, it is damaged or cut short: {error}"))
}

/// [N, H, W]. What the header promises is never allocated before it has been read.
fn read(source: &mut impl Read) -> Result<Array3<u8>, String> {
    let header = Header::read(source)?;
    let mut pixels = up_to(header.size(), source)?;
    header.is_followed_by((pixels.len() + up_to(1, source)?.len()) as u64)?;
    pixels.shrink_to_fit();
    Array3::from_shape_vec((header.n, header.height, header.width), pixels).map_err(|error| format!("{}: {error}", header.promise()))
}

/// The labels in a file, plain or gzipped: a header of two words, then one byte each.
pub(super) fn labels(bytes: &[u8]) -> Result<Vec<i64>, String> {
    let mut source = unpacked(bytes)?;
    let header = up_to(8, &mut source)?;
    match header[..] {
        [] => Err("the file is empty".to_owned()),
        [0, 0, 8, 1, a, b, c, d] => {
            let n = u32::from_be_bytes([a, b, c, d]) as usize;
            let labels = up_to(n.saturating_add(1), &mut source)?;
            match labels.len().cmp(&n) {
                _ if n == 0 => Err("holds no labels".to_owned()),
                Ordering::Equal => Ok(labels.into_iter().map(i64::from).collect()),
                Ordering::Less => Err(format!("is cut short: its header promises {n} labels, but {} follow", labels.len())),
                Ordering::Greater => Err(format!("is too long: its header promises {n} labels, but more follow")),
            }
        }
        [0, 0, 8, 3, ..] => Err("holds images; the file of labels is wanted".to_owned()),
        _ => Err("is neither an .npy file nor an IDX file of labels, which starts with the bytes 00 00 08 01 and its count".to_owned()),
    }
}

#[cfg(test)]
mod tests;
