//! Files and folders of examples that no experiment describes.

use std::path::Path;
use std::sync::Arc;

use super::array::{Array, is_npz};
use super::source::Archive;
use super::{Arrays, Dataset, ImageFiles, Layout, NpyImages, NpyVectors, Split};
use crate::error::{Error, Result};

/// The array of an archive that holds several.
const SAMPLES: &str = "samples";

/// The examples of an `.npy` file, of an `.npz` archive, or of the PNG and JPEG files in a folder or zip archive, as they are stored.
///
/// Arrays are vectors [N, D] of finite numbers, or whole pixel values from 0 to 255, [N, H, W], [N, H, W, C] or [N, C, H, W] with C of 1
/// or 3. `name` is that of an archive's array; left out, it is `samples`, or the only one. Image files have one size, and are grey where
/// the first one is.
///
/// Errors: there is no such file, or it holds something else.
pub fn open_given(path: &Path, name: Option<&str>) -> Result<Arc<dyn Dataset>> {
    let is_npy = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"));
    if !is_npy && !is_npz(path) {
        return Ok(Arc::new(ImageFiles::open_as_stored(path)?));
    }
    let name = if is_npz(path) { Some(array_of(path, name)?) } else { None };
    let shape = Array::open(path, name.as_deref())?.shape;
    let arrays = name.map(|name| Arrays { train: name.clone(), test: name });
    let (train, test) = (path.to_owned(), path.to_owned());
    Ok(match layout(path, &shape)? {
        None => Arc::new(NpyVectors { train, test, arrays, labels: None, scale: 1.0 }.open(Split::Train)?),
        Some(layout) => {
            let images = NpyImages { train, test, arrays, labels: None, layout, range: [-1.0, 1.0], flip: false, dequantise: false };
            Arc::new(images.open(Split::Train)?)
        }
    })
}

/// The name of an archive's array.
fn array_of(path: &Path, name: Option<&str>) -> Result<String> {
    if let Some(name) = name {
        return Ok(name.to_owned());
    }
    let archive = Archive::open(path, "correct the path")?;
    match &archive.arrays()[..] {
        [only] => Ok((*only).to_owned()),
        [] => Err(Error::data(path, "holds no arrays", "save one there: numpy.savez(path, samples=x)")),
        names if names.contains(&SAMPLES) => Ok(SAMPLES.to_owned()),
        names => {
            let help = format!("name one: {}:{}; it holds {}", path.display(), names[0], names.join(", "));
            Err(Error::data(path, format!("holds {} arrays, none of them {SAMPLES}", names.len()), help))
        }
    }
}

/// The axes of an array of images; none of an array of something else.
pub(super) fn layout(path: &Path, shape: &[usize]) -> Result<Option<Layout>> {
    let colours = |n: usize| n == 1 || n == 3;
    match *shape {
        [_, _, _] => Ok(Some(Layout::Nhw)),
        [_, first, _, last] => match (colours(first), colours(last)) {
            (true, false) => Ok(Some(Layout::Nchw)),
            (false, true) => Ok(Some(Layout::Nhwc)),
            _ => {
                let help = "images are [N, H, W, C] or [N, C, H, W] with C of 1 or 3; of other arrays give vectors: x.reshape(len(x), -1)";
                Err(Error::data(path, format!("has the shape {shape:?}, in which the channels can't be told"), help))
            }
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
