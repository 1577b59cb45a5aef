//! Arrays of both kinds and orders, and damaged ones.

use ndarray::{Array, Dimension, ShapeBuilder, array};
use ndarray_npy::{WritableElement, WriteNpyExt};
use proptest::prelude::*;

use super::super::Dataset;
use super::*;

fn npy<A: WritableElement, D: Dimension>(array: &Array<A, D>) -> Vec<u8> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).unwrap();
    bytes
}

#[test]
fn vectors_of_both_precisions_and_orders_are_read() {
    let truth = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.5]];
    let mut fortran = Array2::zeros((2, 3).f());
    fortran.assign(&truth);
    assert!(!fortran.is_standard_layout());
    for bytes in [npy(&truth), npy(&fortran), npy(&truth.mapv(f64::from)), npy(&fortran.mapv(f64::from))] {
        let values = vectors(&bytes).unwrap();
        assert_eq!(values, truth);
        assert!(values.is_standard_layout());
    }
}

#[test]
fn layouts_become_channels_height_width() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.npy");
    let nchw = Array4::from_shape_fn((2, 3, 4, 5), |(n, c, h, w)| (n * 100 + c * 30 + h * 5 + w) as u8);
    let nhwc = nchw.view().permuted_axes([0, 2, 3, 1]);
    let mut fortran = Array4::zeros((2, 4, 5, 3).f());
    fortran.assign(&nhwc);
    let cases = [(Layout::Nchw, npy(&nchw)), (Layout::Nhwc, npy(&nhwc.as_standard_layout().into_owned())), (Layout::Nhwc, npy(&fortran))];
    for (layout, bytes) in cases {
        std::fs::write(&path, bytes).unwrap();
        let spec =
            NpyImages { train: path.clone(), test: path.clone(), labels: None, layout, range: [0.0, 1.0], flip: false, dequantise: true };
        let images = spec.open(Split::Test).unwrap();
        assert_eq!((images.shape(), images.len()), ([3, 4, 5].as_slice(), 2));
        let mut image = [0f32; 60];
        images.read(1, &mut image).unwrap();
        assert!((0..60).all(|k| image[k] == (100 + k / 20 * 30 + k % 20) as f32), "{layout:?}");
    }
    assert_eq!(images(&npy(&ndarray::Array3::from_elem((7, 4, 5), 9u8)), Layout::Nhw).unwrap().dim(), (7, 1, 4, 5));
}

#[test]
fn each_defect_has_its_own_message() {
    let good = npy(&array![[1.0f64, 2.0], [3.0, 4.0]]);
    let cases = [
        (vec![], "the file is empty"),
        (good[..20].to_vec(), "is cut short within its header"),
        (b"not an array at all".to_vec(), "is not an .npy file"),
        (good[..good.len() - 3].to_vec(), "is cut short: 3 bytes are missing"),
        ([good.as_slice(), &[0, 0]].concat(), "is too long: 2 bytes follow the array"),
        (npy(&array![[1i32, 2]]), "type '<i4', not float32 or float64"),
        (npy(&array![1.0f32, 2.0]), "has 1 axes, shape [2], not [\"N\", \"D\"]"),
        (npy(&Array2::<f32>::zeros((0, 2))), "holds nothing: its shape is [0, 2]"),
        (npy(&array![[1.0f32, 2.0], [3.0, f32::NAN]]), "row 1 holds a number that is not finite in f32: [3, NaN]"),
        (npy(&array![[1e300f64]]), "row 0"),
    ];
    for (bytes, message) in cases {
        let error = vectors(&bytes).unwrap_err();
        assert!(error.contains(message), "`{error}` does not say `{message}`");
    }
    let error = images(&good, Layout::Nhw).unwrap_err();
    assert!(error.contains("type '<f8', not uint8"), "{error}");
    let error = images(&npy(&Array2::<u8>::zeros((3, 4))), Layout::Nchw).unwrap_err();
    assert!(error.contains("has 2 axes, shape [3, 4], not Nchw"), "{error}");
}

proptest! {
    #[test]
    fn damaged_bytes_never_panic(at in 0..144usize, value: u8) {
        let mut bytes = npy(&array![[1.0f64, 2.0]]);
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = (vectors(&bytes), images(&bytes, Layout::Nhw));
    }
}
