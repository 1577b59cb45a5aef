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
use super::{Split, Summary, open_file, size};
use crate::error::{Error, Fault, Result};

/// `[data.idx]`: grey images from two IDX files, plain or gzipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Idx {
    /// The file to train on; relative to the working directory.
    pub train: PathBuf,
    /// The file to measure.
    pub test: PathBuf,
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
        let [height, width] = self.downsampled([height, width], path)?;
        Ok(Summary { shape: vec![1, height + 2 * self.pad, width + 2 * self.pad], len: n, note: self.note() })
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::super::Dataset;
    use super::*;

    fn idx(n: u32, height: u32, width: u32, pixels: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, 3];
        [n, height, width].iter().for_each(|word| bytes.extend(word.to_be_bytes()));
        bytes.extend(pixels);
        bytes
    }

    fn read_maybe_gzipped(bytes: &[u8]) -> Result<Array3<u8>, String> {
        read(&mut unpacked(bytes)?)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn spec(train: &Path, pad: usize) -> Idx {
        let (train, test) = (train.to_owned(), "absent-images".into());
        Idx { train, test, downsample: 1, pad, range: [0.0, 1.0], flip: false, dequantise: true }
    }

    #[test]
    fn images_are_read_plain_or_gzipped_and_padded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images");
        let pixels = [1, 2, 3, 4, 5, 6, 250, 251, 252, 253, 254, 255];
        for bytes in [idx(2, 2, 3, &pixels), gzip(&idx(2, 2, 3, &pixels))] {
            fs::write(&path, bytes).unwrap();
            let images = spec(&path, 0).open(Split::Train).unwrap();
            assert_eq!((images.shape(), images.len()), ([1, 2, 3].as_slice(), 2));
            let mut image = [0f32; 6];
            images.read(1, &mut image);
            assert_eq!(image, [250.0, 251.0, 252.0, 253.0, 254.0, 255.0]);

            let images = spec(&path, 1).open(Split::Train).unwrap();
            assert_eq!(images.shape(), [1, 4, 5]);
            let mut image = [9f32; 20];
            images.read(0, &mut image);
            assert_eq!(image[..5], [0.0; 5]);
            assert_eq!(image[5..15], [0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 4.0, 5.0, 6.0, 0.0]);
            assert_eq!(image[15..], [0.0; 5]);
        }
    }

    #[test]
    fn squares_of_pixels_become_their_rounded_mean_and_are_padded_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images");
        // Means 2.5, 4.25, 254.75 and 0 of 2 x 2; the first is rounded up.
        let pixels = [1, 2, 4, 3, 4, 4, 4, 5, 255, 254, 255, 255, 0, 0, 0, 0];
        fs::write(&path, idx(2, 4, 2, &pixels)).unwrap();
        let halved = Idx { downsample: 2, ..spec(&path, 1) };
        let (images, summary) = (halved.open(Split::Train).unwrap(), halved.describe(Split::Train).unwrap());
        assert_eq!((images.shape(), images.len()), ([1, 4, 3].as_slice(), 2));
        assert_eq!((summary.shape.as_slice(), summary.note.as_deref()), (images.shape(), images.note()));
        assert_eq!(images.note(), Some("each pixel is the rounded mean of 2 x 2 pixels of the files"));
        let read = |i| {
            let mut image = [9f32; 12];
            images.read(i, &mut image);
            [image[4], image[7]]
        };
        assert_eq!([read(0), read(1)], [[3.0, 4.0], [255.0, 0.0]]);
        let thirds = Idx { downsample: 3, ..spec(&path, 0) };
        for error in [thirds.open(Split::Train).map(drop).unwrap_err(), thirds.describe(Split::Train).unwrap_err()] {
            let Error::Data { message, help, .. } = error else { panic!("not a data error") };
            assert_eq!(message, "holds images of 4 x 2, which squares of 3 x 3 do not fill");
            assert_eq!(help, "give data.idx.downsample as one of 1, 2, which divide height and width");
        }
    }

    #[test]
    fn each_defect_has_its_own_message() {
        let good = idx(2, 2, 2, &[7; 8]);
        let mut labels = good.clone();
        labels[3] = 1;
        let mut floats = good.clone();
        floats[2] = 0x0d;
        let mut flat = good.clone();
        flat[3] = 2;
        let (packed, long) = (gzip(&good), idx(2, 2, 2, &[7; 9]));
        let cases: [(&[u8], &str); 12] = [
            (&[], "the file is empty"),
            (&labels, "holds labels"),
            (&floats, "kind 0x0d"),
            (&flat, "2 dimensions"),
            (b"PK\x03\x04....", "is not an IDX file: it starts with the bytes [50, 4b, 03, 04]"),
            (&good[..3], "is not an IDX file"),
            (&good[..10], "its header has 10 of 16 bytes"),
            (&good[..23], "2 images of 2 x 2, 8 bytes, but 7 follow"),
            (&long, "is too long: its header promises 2 images of 2 x 2, 8 bytes, but more follow"),
            (&packed[..packed.len() - 3], "it is damaged or cut short"),
            (&idx(0, 28, 28, &[]), "holds no pixels"),
            (&idx(u32::MAX, u32::MAX, u32::MAX, &[]), "more than memory can hold"),
        ];
        for (bytes, message) in cases {
            let error = read_maybe_gzipped(bytes).unwrap_err();
            assert!(error.contains(message), "`{error}` does not say `{message}`");
            if !bytes.starts_with(&[0x1f, 0x8b]) {
                let described = described(bytes, bytes.len() as u64).map(|header| header.n);
                assert_eq!(described, Err(error), "the header and the size of a plain file tell as much");
            }
        }
    }

    #[test]
    fn a_missing_file_names_itself_and_the_script_that_brings_it() {
        let Err(Error::Data { path, message, help }) = spec(Path::new("a"), 0).open(Split::Test) else { panic!("not a data error") };
        assert_eq!(path, Path::new("absent-images"));
        assert_eq!(message, "there is no such file");
        assert!(help.contains("scripts/fetch-fashion-mnist"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read_maybe_gzipped(&bytes);
        }

        #[test]
        fn a_file_opens_exactly_when_its_header_is_true(n: u8, height in 0..6u32, width in 0..6u32, size in 0..400usize) {
            let n = u32::from(n % 16);
            let promised = (n * height * width) as usize;
            let bytes = idx(n, height, width, &vec![1; size]);
            prop_assert_eq!(read_maybe_gzipped(&bytes).is_ok(), promised > 0 && promised == size);
        }

        #[test]
        fn damaged_gzip_never_panics(at in 0..60usize, value: u8) {
            let mut bytes = gzip(&idx(2, 5, 5, &[3; 50]));
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = read_maybe_gzipped(&bytes);
        }
    }
}
