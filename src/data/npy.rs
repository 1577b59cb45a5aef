//! NumPy `.npy` arrays of vectors or images.

use std::fmt::Debug;
use std::io::Read;
use std::path::{Path, PathBuf};

use memmap2::{MmapMut, MmapOptions};
use ndarray::{Array2, Array4, ArrayView2, ArrayView4, ArrayViewD, Axis, Ix1, Ix2, Ix3, Ix4};
use ndarray_npy::{ViewElement, ViewNpyError, ViewNpyExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zip::ZipArchive;
use zip::result::ZipError;

use super::arrays::{Images, Vectors};
use super::{LabelFiles, Split, Summary, open_file};
use crate::error::{Error, Result};

/// `[data.npy-vectors]`: two arrays [N, D] of f32 or f64, kept as f32.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NpyVectors {
    /// The file to train on; relative to the working directory.
    pub train: PathBuf,
    /// The file to measure.
    pub test: PathBuf,
    /// The classes of the vectors; left out, they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelFiles>,
    /// What vectors are divided by for model space, above 0.
    pub scale: f64,
}

/// `[data.npy-images]`: two arrays of u8.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NpyImages {
    /// The file to train on; relative to the working directory.
    pub train: PathBuf,
    /// The file to measure.
    pub test: PathBuf,
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

/// The axes of an array of images: number, channels, height, width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    Nhw,
    Nchw,
    Nhwc,
}

impl NpyVectors {
    pub(super) fn open(&self, split: Split) -> Result<Vectors> {
        Ok(Vectors { values: open_vectors(split.of(&self.train, &self.test))?, log_density: Box::new(|_| None) })
    }

    pub(super) fn describe(&self, split: Split) -> Result<Summary> {
        let [len, dimension] = describe_vectors(split.of(&self.train, &self.test))?;
        Ok(Summary { shape: vec![dimension], len, note: None })
    }
}

/// An array [N, D] of numbers.
pub(super) fn open_vectors(path: &Path) -> Result<Array2<f32>> {
    vectors(&read(path)?).map_err(|message| no_vectors(path, message))
}

/// N and D of such an array, by its header.
pub(super) fn describe_vectors(path: &Path) -> Result<[usize; 2]> {
    let (len, dimension) = shape_of_vectors(&header(path)?).map_err(|message| no_vectors(path, message))?;
    Ok([len, dimension])
}

fn no_vectors(path: &Path, message: String) -> Error {
    Error::data(path, message, "an array [N, D] of float32 or float64 is wanted: numpy.save(path, x.astype(\"float32\"))")
}

impl NpyImages {
    pub(super) fn open(&self, split: Split) -> Result<Images> {
        let path = split.of(&self.train, &self.test);
        let pixels = images(&read(path)?, self.layout).map_err(|message| NpyImages::wrong(path, message))?;
        Ok(Images { pixels, note: None })
    }

    pub(super) fn describe(&self, split: Split) -> Result<Summary> {
        let path = split.of(&self.train, &self.test);
        let bytes = header(path)?;
        let shape = view_of_images(&bytes, self.layout).map_err(|message| NpyImages::wrong(path, message))?.shape().to_vec();
        Ok(Summary { shape: shape[1..].to_vec(), len: shape[0], note: None })
    }

    fn wrong(path: &Path, message: String) -> Error {
        let help = "an array of uint8 whose axes are those of `layout` is wanted: numpy.save(path, x.astype(\"uint8\"))";
        Error::data(path, message, help)
    }
}

const CURE: &str = "save the array there with numpy.save, or correct the path";

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path, CURE)?.read_to_end(&mut bytes).map_err(|error| Error::io("read", path, error))?;
    Ok(bytes)
}

/// The shape and the numbers, in row-major order, of an array of uint8, float32 or float64; `name` is its name in an `.npz` archive.
///
/// Error: there is no such file or array, or it is damaged, of another type, or empty.
pub fn read_array(path: &Path, name: &str) -> Result<(Vec<usize>, Vec<f64>)> {
    let bytes = match path.extension() {
        Some(extension) if extension == "npz" => {
            let wrong = |error: ZipError| Error::data(path, format!("holds no array {name}: {error}"), CURE);
            let mut archive = ZipArchive::new(open_file(path, CURE)?).map_err(wrong)?;
            let mut bytes = Vec::new();
            let mut file = archive.by_name(&format!("{name}.npy")).map_err(wrong)?;
            file.read_to_end(&mut bytes).map_err(|error| Error::io("read", path, error))?;
            bytes
        }
        _ => read(path)?,
    };
    numbers(&bytes).map_err(|message| Error::data(path, message, CURE))
}

/// The same of an `.npy` file.
pub fn read_npy(path: &Path) -> Result<(Vec<usize>, Vec<f64>)> {
    numbers(&read(path)?).map_err(|message| Error::data(path, message, CURE))
}

fn numbers(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f64>), String> {
    fn of<A: ViewElement + Copy + Into<f64>>(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f64>), String> {
        let array = view::<A>(bytes, "uint8, float32 or float64")?;
        Ok((array.shape().to_vec(), array.iter().map(|&value| value.into()).collect()))
    }
    match () {
        _ if holds::<f64>(bytes) => of::<f64>(bytes),
        _ if holds::<f32>(bytes) => of::<f32>(bytes),
        _ => of::<u8>(bytes),
    }
}

/// Bytes of a file that may be its header.
const HEADER: usize = 1 << 16;

/// A file whose header alone is going to be read; in the place of the rest are zeros, which take no memory until somebody looks.
fn header(path: &Path) -> Result<MmapMut> {
    let mut file = open_file(path, CURE)?;
    let io = |error| Error::io("read", path, error);
    let length = file.metadata().map_err(io)?.len() as usize;
    let mut bytes = MmapOptions::new().len(length).no_reserve_swap().map_anon().map_err(io)?;
    file.read_exact(&mut bytes[..length.min(HEADER)]).map_err(io)?;
    Ok(bytes)
}

/// The array in a file, in C or Fortran order.
fn view<'a, A: ViewElement>(bytes: &'a [u8], expected: &str) -> Result<ArrayViewD<'a, A>, String> {
    let array = ArrayViewD::view_npy(bytes).map_err(|error| match error {
        _ if bytes.is_empty() => "the file is empty".to_owned(),
        ViewNpyError::Io(_) => "is cut short within its header".to_owned(),
        ViewNpyError::ParseHeader(error) => format!("is not an .npy file: {error}"),
        ViewNpyError::WrongDescriptor(found) => format!("holds elements of type {found}, not {expected}"),
        ViewNpyError::NonNativeEndian => "holds numbers in the byte order of another machine".to_owned(),
        ViewNpyError::MissingBytes(n) => format!("is cut short: {n} bytes are missing"),
        ViewNpyError::ExtraBytes(n) => format!("is too long: {n} bytes follow the array"),
        other => other.to_string(),
    })?;
    if array.is_empty() {
        return Err(format!("holds nothing: its shape is {:?}", array.shape()));
    }
    Ok(array)
}

fn wrong_rank(shape: &[usize], expected: impl Debug) -> String {
    format!("has {} axes, shape {shape:?}, not {expected:?}", shape.len())
}

/// Rows of either precision.
enum Rows<'a> {
    Single(ArrayView2<'a, f32>),
    Double(ArrayView2<'a, f64>),
}

/// Whether a file may hold elements of this type.
fn holds<A: ViewElement>(bytes: &[u8]) -> bool {
    !matches!(ArrayViewD::<A>::view_npy(bytes), Err(ViewNpyError::WrongDescriptor(_)))
}

fn view_of_vectors(bytes: &[u8]) -> Result<Rows<'_>, String> {
    let expected = "float32 or float64";
    match holds::<f64>(bytes) {
        true => matrix(view(bytes, expected)?).map(Rows::Double),
        false => matrix(view(bytes, expected)?).map(Rows::Single),
    }
}

fn matrix<A>(array: ArrayViewD<A>) -> Result<ArrayView2<A>, String> {
    let shape = array.shape().to_vec();
    array.into_dimensionality::<Ix2>().map_err(|_| wrong_rank(&shape, ["N", "D"]))
}

fn shape_of_vectors(bytes: &[u8]) -> Result<(usize, usize), String> {
    Ok(match view_of_vectors(bytes)? {
        Rows::Single(rows) => rows.dim(),
        Rows::Double(rows) => rows.dim(),
    })
}

/// A copy in row-major order.
fn vectors(bytes: &[u8]) -> Result<Array2<f32>, String> {
    let values = match view_of_vectors(bytes)? {
        Rows::Single(rows) => copy(rows, |x| x),
        Rows::Double(rows) => copy(rows, |x| x as f32),
    };
    match values.outer_iter().position(|row| row.iter().any(|x| !x.is_finite())) {
        Some(i) => Err(format!("row {i} holds a number that is not finite in f32: {}", values.row(i))),
        None => Ok(values),
    }
}

fn copy<A: Copy>(rows: ArrayView2<A>, convert: impl Fn(A) -> f32) -> Array2<f32> {
    let mut values = Array2::zeros(rows.dim());
    values.zip_mut_with(&rows, |value, x| *value = convert(*x));
    values
}

fn view_of_images(bytes: &[u8], layout: Layout) -> Result<ArrayView4<'_, u8>, String> {
    let array = view::<u8>(bytes, "uint8")?;
    let shape = array.shape().to_vec();
    let nchw = match layout {
        Layout::Nhw => array.into_dimensionality::<Ix3>().map(|array| array.insert_axis(Axis(1))),
        Layout::Nchw => array.into_dimensionality::<Ix4>(),
        Layout::Nhwc => array.into_dimensionality::<Ix4>().map(|array| array.permuted_axes([0, 3, 1, 2])),
    };
    nchw.map_err(|_| wrong_rank(&shape, layout))
}

/// A copy [N, C, H, W] in row-major order.
fn images(bytes: &[u8], layout: Layout) -> Result<Array4<u8>, String> {
    Ok(view_of_images(bytes, layout)?.as_standard_layout().into_owned())
}

/// Whole numbers of any kind in an array `[N]`.
pub(super) fn labels(bytes: &[u8]) -> Result<Vec<i64>, String> {
    fn whole<A: ViewElement + Copy + TryInto<i64>>(bytes: &[u8]) -> Result<Vec<i64>, String> {
        let array = view::<A>(bytes, "a kind of whole numbers")?;
        let shape = array.shape().to_vec();
        let row = array.into_dimensionality::<Ix1>().map_err(|_| wrong_rank(&shape, ["N"]))?;
        row.iter().map(|&label| label.try_into().map_err(|_| "holds a number above 2^63".to_owned())).collect()
    }
    match () {
        _ if holds::<i64>(bytes) => whole::<i64>(bytes),
        _ if holds::<i32>(bytes) => whole::<i32>(bytes),
        _ if holds::<i16>(bytes) => whole::<i16>(bytes),
        _ if holds::<i8>(bytes) => whole::<i8>(bytes),
        _ if holds::<u64>(bytes) => whole::<u64>(bytes),
        _ if holds::<u32>(bytes) => whole::<u32>(bytes),
        _ if holds::<u16>(bytes) => whole::<u16>(bytes),
        _ => whole::<u8>(bytes),
    }
}

#[cfg(test)]
mod tests;
