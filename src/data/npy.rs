//! NumPy arrays of vectors or images, in `.npy` files and `.npz` archives.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::array::{Array, is_npz};
use super::source::Archive;
use super::{Dataset, LabelFiles, Split, Summary};
use crate::error::{Error, Fault, Result};

/// `[data.npy-vectors]`: two arrays [N, D] of integers or floating-point numbers, taken as f32. In row-major order and not compressed they stay
/// on disk and may be larger than memory; each split is read once before it is used, to see that all numbers are finite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NpyVectors {
    /// The file to train on, `.npy` or `.npz`; relative to the experiment's folder or else to the working directory.
    pub train: PathBuf,
    /// The file to measure; it may be the same `.npz`.
    pub test: PathBuf,
    /// The names of the arrays in `.npz` archives; left out, there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrays: Option<Arrays>,
    /// The classes of the vectors; left out, they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelFiles>,
    /// What vectors are divided by for model space, above 0.
    pub scale: f64,
}

/// `[data.npy-images]`: two arrays of whole numbers from 0 to 255, of any integer or floating-point kind. In row-major order and not compressed
/// they stay on disk and may be larger than memory; where they are not uint8, each split is read once before it is used, to see that all are
/// pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NpyImages {
    /// The file to train on, `.npy` or `.npz`; relative to the experiment's folder or else to the working directory.
    pub train: PathBuf,
    /// The file to measure; it may be the same `.npz`.
    pub test: PathBuf,
    /// The names of the arrays in `.npz` archives; left out, there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrays: Option<Arrays>,
    /// The classes of the images; left out, they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelFiles>,
    pub layout: Layout,
    /// The model's values of black and white, such as [-1, 1] or [0, 1].
    pub range: [f64; 2],
    /// Whether training mirrors each image with probability one half.
    pub flip: bool,
    /// Whether training adds uniform noise within a pixel's bin.
    pub dequantise: bool,
}

/// The names of arrays in `.npz` archives, as numpy.savez was given them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Arrays {
    /// Of the examples to train on.
    pub train: String,
    /// Of the examples to measure.
    pub test: String,
}

/// The axes of an array of images: number, channels, height, width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    Nhw,
    Nchw,
    Nhwc,
}

impl Arrays {
    /// Names belong to archives, and to nothing else.
    pub(super) fn check(arrays: Option<&Arrays>, paths: [&Path; 2]) -> Result<(), Fault> {
        match (paths.into_iter().find(|path| is_npz(path)), arrays) {
            (Some(path), None) => Err(Fault::new(
                "arrays",
                format!("{} is an archive, which may hold several arrays", path.display()),
                "give their names: arrays = { train = \"...\", test = \"...\" }",
            )),
            (None, Some(_)) => Err(Fault::new("arrays", "neither train nor test ends with .npz", "remove it, or name .npz archives")),
            _ => Ok(()),
        }
    }

    /// The array of a split, by its header alone.
    pub(super) fn open(arrays: Option<&Arrays>, split: Split, (train, test): (&Path, &Path)) -> Result<Array> {
        Array::open(split.of(train, test), arrays.map(|Arrays { train, test }| split.of(&train[..], &test[..])))
    }
}

impl NpyVectors {
    pub fn check(&self) -> Result<(), Fault> {
        Arrays::check(self.arrays.as_ref(), [&self.train, &self.test])
    }

    pub(super) fn open(&self, split: Split) -> Result<ArrayOfVectors> {
        let set = ArrayOfVectors { array: self.array(split)?.ready()? };
        if set.array.holds_floats() { set.check().map(|()| set) } else { Ok(set) }
    }

    pub(super) fn describe(&self, split: Split) -> Result<Summary> {
        let array = self.array(split)?;
        Ok(Summary { shape: vec![array.width()], len: array.shape[0], note: None, bytes: array.bytes() })
    }

    fn array(&self, split: Split) -> Result<Array> {
        of_vectors(Arrays::open(self.arrays.as_ref(), split, (&self.train, &self.test))?)
    }
}

const NO_VECTORS: &str = "an array [N, D] of finite numbers is wanted: numpy.save(path, x.astype(\"float32\"))";

fn of_vectors(array: Array) -> Result<Array> {
    match array.shape.len() {
        2 => Ok(array),
        axes => Err(Error::data(array.path(), format!("has {axes} axes, shape {:?}, not [\"N\", \"D\"]", array.shape), NO_VECTORS)),
    }
}

/// N and D of an `.npy` file of vectors, by its header.
pub(super) fn describe_vectors(path: &Path) -> Result<[usize; 2]> {
    let array = of_vectors(Array::open(path, None)?)?;
    Ok([array.shape[0], array.shape[1]])
}

/// The vectors of an `.npy` file, in memory.
pub(super) fn read_vectors(path: &Path) -> Result<Array2<f32>> {
    let set = ArrayOfVectors { array: of_vectors(Array::open(path, None)?)?.ready()? };
    let (n, d) = (set.len(), set.shape()[0]);
    let mut values = Array2::zeros((n, d));
    values.outer_iter_mut().enumerate().try_for_each(|(i, mut row)| set.read(i, row.as_slice_mut().expect("rows are one by one")))?;
    Ok(values)
}

/// Vectors in an array, each read by its place.
pub(super) struct ArrayOfVectors {
    array: Array,
}

impl ArrayOfVectors {
    /// Reads all once. Error: a number is not finite.
    fn check(&self) -> Result<()> {
        in_blocks(&self.array, |first, block: &[f32]| {
            block.chunks(self.array.width()).enumerate().try_for_each(|(i, row)| self.check_row(first + i, row))
        })
    }

    fn check_row(&self, i: usize, row: &[f32]) -> Result<()> {
        match row.iter().all(|x| x.is_finite()) {
            true => Ok(()),
            false => {
                let shown: Vec<f32> = row.iter().copied().filter(|x| !x.is_finite()).take(3).collect();
                Err(Error::data(self.array.path(), format!("row {i} holds numbers that are not finite in f32: {shown:?}"), NO_VECTORS))
            }
        }
    }
}

impl Dataset for ArrayOfVectors {
    fn shape(&self) -> &[usize] {
        &self.array.shape[1..]
    }

    fn len(&self) -> usize {
        self.array.shape[0]
    }

    fn read(&self, i: usize, out: &mut [f32]) -> Result<()> {
        self.array.rows(i, out, |x| x as f32)?;
        self.check_row(i, out)
    }
}

impl NpyImages {
    pub fn check(&self) -> Result<(), Fault> {
        Arrays::check(self.arrays.as_ref(), [&self.train, &self.test])
    }

    pub(super) fn open(&self, split: Split) -> Result<ArrayOfImages> {
        let set = self.array(split)?.ready()?;
        if !set.array.holds_bytes() {
            in_blocks(&set.array, |first, block: &[f32]| set.check(first, block))?;
        }
        Ok(set)
    }

    pub(super) fn describe(&self, split: Split) -> Result<Summary> {
        let set = self.array(split)?;
        Ok(Summary { shape: set.shape.to_vec(), len: set.len(), note: None, bytes: set.array.bytes() })
    }

    fn array(&self, split: Split) -> Result<ArrayOfImages> {
        ArrayOfImages::new(Arrays::open(self.arrays.as_ref(), split, (&self.train, &self.test))?, self.layout)
    }
}

const NO_IMAGES: &str = "whole numbers from 0 to 255 whose axes are those of `layout` are wanted: numpy.save(path, x.astype(\"uint8\")), \
                         or, of x in [0, 1], numpy.save(path, (255 * x).round().astype(\"uint8\"))";

/// Images in an array, each read by its place.
pub(super) struct ArrayOfImages {
    array: Array,
    layout: Layout,
    /// [C, H, W]
    shape: [usize; 3],
}

impl ArrayOfImages {
    fn new(array: Array, layout: Layout) -> Result<ArrayOfImages> {
        let shape = match (layout, &array.shape[..]) {
            (Layout::Nhw, &[_, h, w]) => [1, h, w],
            (Layout::Nchw, &[_, c, h, w]) | (Layout::Nhwc, &[_, h, w, c]) => [c, h, w],
            (_, shape) => {
                let message = format!("has {} axes, shape {shape:?}, not {layout:?}", shape.len());
                return Err(Error::data(array.path(), message, NO_IMAGES));
            }
        };
        Ok(ArrayOfImages { array, layout, shape })
    }

    fn ready(self) -> Result<ArrayOfImages> {
        Ok(ArrayOfImages { array: self.array.ready()?, ..self })
    }

    /// Error: a number of the images from `first` on is no pixel.
    fn check(&self, first: usize, values: &[f32]) -> Result<()> {
        match values.iter().position(|x| !((0.0..=255.0).contains(x) && x.fract() == 0.0)) {
            None => Ok(()),
            Some(place) => {
                let message = format!("image {} holds {}, which is no pixel", first + place / self.array.width(), values[place]);
                Err(Error::data(self.array.path(), message, NO_IMAGES))
            }
        }
    }
}

impl Dataset for ArrayOfImages {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn len(&self) -> usize {
        self.array.shape[0]
    }

    fn read(&self, i: usize, out: &mut [f32]) -> Result<()> {
        self.array.rows(i, out, |x| x as f32)?;
        self.check(i, out)?;
        if self.layout == Layout::Nhwc && self.shape[0] > 1 {
            let (rows, planes) = (out.to_vec(), self.shape[1] * self.shape[2]);
            out.iter_mut().enumerate().for_each(|(k, out)| *out = rows[k % planes * self.shape[0] + k / planes]);
        }
        Ok(())
    }
}

/// Numbers that are looked at together.
const BLOCK: usize = 1 << 18;

/// Hands all rows to `look` once, in blocks, in parallel, each with the number of its first row.
fn in_blocks(array: &Array, look: impl Fn(usize, &[f32]) -> Result<()> + Sync) -> Result<()> {
    let (n, width) = (array.shape[0], array.width());
    let rows = (BLOCK / width).max(1);
    (0..n.div_ceil(rows)).into_par_iter().try_for_each(|block| {
        let first = block * rows;
        let mut values = vec![0.0; rows.min(n - first) * width];
        array.rows(first, &mut values, |x| x as f32)?;
        look(first, &values)
    })
}

/// The shape and the numbers, in row-major order, of an array of integers or floating-point numbers; `name` is its name in an `.npz` archive.
///
/// Error: there is no such file or array, or it is damaged, of another type, or empty.
pub fn read_array(path: &Path, name: &str) -> Result<(Vec<usize>, Vec<f64>)> {
    let array = Array::open(path, Some(name))?;
    Ok((array.shape.clone(), array.numbers()?))
}

/// Whether a file is an `.npz` archive with all of these arrays.
pub fn holds_arrays(path: &Path, names: &[&str]) -> bool {
    let holds = |archive: Archive| names.iter().all(|name| archive.arrays().contains(name));
    is_npz(path) && Archive::open(path, "").is_ok_and(holds)
}

/// The same of an `.npy` file.
pub fn read_npy(path: &Path) -> Result<(Vec<usize>, Vec<f64>)> {
    let array = Array::open(path, None)?;
    Ok((array.shape.clone(), array.numbers()?))
}

#[cfg(test)]
mod tests;
