//! Vectors and images in arrays, and what is refused.

use std::fs;

use ndarray::{Array, Array4, Dimension, ShapeBuilder, array};
use ndarray_npy::{WritableElement, WriteNpyExt};

use super::*;

/// A file of an array, and the folder it lives as long as.
fn npy<A: WritableElement, D: Dimension>(array: &Array<A, D>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    array.write_npy(fs::File::create(&path).unwrap()).unwrap();
    (folder, path)
}

fn vectors<A: WritableElement, D: Dimension>(array: &Array<A, D>) -> Result<Vec<Vec<f32>>, String> {
    let (_folder, path) = npy(array);
    let spec = NpyVectors { train: path.clone(), test: path, arrays: None, labels: None, scale: 1.0 };
    let open = || {
        let set = spec.open(Split::Train)?;
        assert_eq!(spec.describe(Split::Train)?, Summary { shape: set.shape().to_vec(), len: set.len(), note: None, bytes: 0 });
        let mut row = vec![0.0; set.shape()[0]];
        (0..set.len()).map(|i| set.read(i, &mut row).map(|()| row.clone())).collect::<Result<_>>()
    };
    open().map_err(|error: Error| error.to_string())
}

fn images<A: WritableElement, D: Dimension>(array: &Array<A, D>, layout: Layout) -> Result<Vec<f32>, String> {
    let (_folder, path) = npy(array);
    let spec =
        NpyImages { train: path.clone(), test: path, arrays: None, labels: None, layout, range: [0.0, 1.0], flip: false, dequantise: true };
    let open = || {
        let set = spec.open(Split::Test)?;
        assert_eq!(spec.describe(Split::Test)?.shape, set.shape());
        let mut image = vec![0.0; set.shape().iter().product()];
        set.read(set.len() - 1, &mut image)?;
        Ok(image)
    };
    open().map_err(|error: Error| error.to_string())
}

#[test]
fn vectors_of_any_kind_are_read() {
    let truth = vec![vec![1.0f32, 2.0, 3.0], vec![4.0, 5.0, 6.5]];
    assert_eq!(vectors(&array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.5]]).unwrap(), truth);
    assert_eq!(vectors(&array![[1.0f64, 2.0, 3.0], [4.0, 5.0, 6.5]]).unwrap(), truth);
    assert_eq!(vectors(&array![[1i64, -2]]).unwrap(), [[1.0, -2.0]]);
}

#[test]
fn layouts_become_channels_height_width() {
    let nchw = Array4::from_shape_fn((2, 3, 4, 5), |(n, c, h, w)| (n * 100 + c * 30 + h * 5 + w) as u8);
    let nhwc = nchw.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    let mut fortran = Array4::zeros((2, 4, 5, 3).f());
    fortran.assign(&nhwc);
    let truth: Vec<f32> = (0..60).map(|k| (100 + k / 20 * 30 + k % 20) as f32).collect();
    assert_eq!(images(&nchw, Layout::Nchw).unwrap(), truth);
    assert_eq!(images(&nhwc.mapv(i32::from), Layout::Nhwc).unwrap(), truth);
    assert_eq!(images(&nhwc.mapv(f64::from), Layout::Nhwc).unwrap(), truth);
    // Loaded, as its description says.
    let (_folder, path) = npy(&fortran);
    let set = ArrayOfImages::new(super::Array::open(&path, None).unwrap(), Layout::Nhwc).unwrap();
    assert_eq!(set.array.bytes(), 2 * 120);
    let mut image = [0.0; 60];
    set.ready().unwrap().read(1, &mut image).unwrap();
    assert_eq!(image[..], truth);
    assert_eq!(images(&ndarray::Array3::from_elem((7, 4, 5), 9u8), Layout::Nhw).unwrap(), [9.0; 20]);
}

#[test]
fn what_is_no_vector_and_no_pixel_is_named() {
    let refused = |result: Result<Vec<f32>, String>, message: &str| {
        let error = result.unwrap_err();
        assert!(error.contains("x.npy: ") && error.contains(message), "`{error}` does not say `{message}`");
    };
    let first = |rows: Result<Vec<Vec<f32>>, String>| rows.map(|rows| rows[0].clone());
    refused(first(vectors(&array![1.0f32, 2.0])), "has 1 axes, shape [2], not [\"N\", \"D\"]");
    refused(first(vectors(&array![[1.0f32, 2.0], [3.0, f32::NAN]])), "row 1 holds numbers that are not finite in f32: [NaN]");
    refused(first(vectors(&array![[1e300f64]])), "row 0");
    refused(images(&Array::from_elem((3, 4), 1u8), Layout::Nchw), "has 2 axes, shape [3, 4], not Nchw");
    refused(images(&Array::from_elem((3, 4, 4), 0.5f32), Layout::Nhw), "image 0 holds 0.5, which is no pixel");
    refused(images(&Array::from_shape_fn((3, 2, 2), |(i, ..)| 200 * i as i16), Layout::Nhw), "image 2 holds 400, which is no pixel");
}

#[test]
fn a_file_that_changes_is_an_error_of_the_example() {
    let (_folder, path) = npy(&array![[1.0f32, 2.0], [3.0, 4.0]]);
    let spec = NpyVectors { train: path.clone(), test: path.clone(), arrays: None, labels: None, scale: 1.0 };
    let set = spec.open(Split::Train).unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let mut row = [0.0; 2];
    set.read(0, &mut row).unwrap();
    assert_eq!(row, [1.0, 2.0]);
    assert!(set.read(1, &mut row).unwrap_err().to_string().ends_with("x.npy: is cut short"));
    fs::write(&path, [&bytes[..bytes.len() - 4], &f32::NAN.to_le_bytes()].concat()).unwrap();
    for error in [set.read(1, &mut row).unwrap_err(), read_vectors(&path).unwrap_err()] {
        assert!(error.to_string().contains("x.npy: row 1 holds numbers that are not finite"), "{error}");
    }
}

#[test]
fn names_belong_to_archives() {
    let key = |train: &str, arrays: bool| {
        let arrays = arrays.then(|| Arrays { train: "a".into(), test: "b".into() });
        NpyVectors { train: train.into(), test: "x.npy".into(), arrays, labels: None, scale: 1.0 }.check().map_err(|fault| fault.key)
    };
    assert_eq!([key("x.npy", false), key("x.npz", true)], [Ok(()), Ok(())]);
    assert_eq!([key("x.npy", true), key("x.npz", false)], [Err("arrays".to_owned()), Err("arrays".to_owned())]);
}
