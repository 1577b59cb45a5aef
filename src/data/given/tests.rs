use ndarray::{Array2, Array4};
use ndarray_npy::{NpzWriter, write_npy};

use super::*;
use crate::data::chosen;
use crate::tensor::to_vec;

fn numbers(path: &Path, name: Option<&str>) -> (Vec<usize>, Vec<f64>) {
    let set = open_given(path, name).unwrap_or_else(|error| panic!("{error}"));
    let all: Vec<usize> = (0..set.len()).collect();
    (set.shape().to_vec(), to_vec(&chosen(&*set, &all).unwrap()))
}

#[test]
fn one_set_of_images_is_the_same_in_every_place() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let pixels = Array4::from_shape_fn((5, 4, 6, 3), |(n, h, w, c)| (40 * n + 9 * h + 5 * w + 2 * c) as u8);
    let planes = pixels.view().permuted_axes([0, 3, 1, 2]).as_standard_layout().to_owned();
    write_npy(at("nhwc.npy"), &pixels).unwrap();
    write_npy(at("nchw.npy"), &planes).unwrap();
    let mut archive = NpzWriter::new(std::fs::File::create(at("x.npz")).unwrap());
    archive.add_array("samples", &pixels).unwrap();
    archive.add_array("evaluations", &ndarray::arr1(&[1u64; 5])).unwrap();
    archive.finish().unwrap();
    std::fs::create_dir(at("files")).unwrap();
    for (n, image) in pixels.outer_iter().enumerate() {
        let bytes: Vec<u8> = image.iter().copied().collect();
        image::RgbImage::from_raw(6, 4, bytes).unwrap().save(at(&format!("files/{n}.png"))).unwrap();
    }
    let expected = (vec![3, 4, 6], planes.iter().map(|&pixel| f64::from(pixel)).collect());
    for name in ["nhwc.npy", "nchw.npy", "x.npz", "files"] {
        assert_eq!(numbers(&at(name), None), expected, "{name}");
    }
    let error = open_given(&at("x.npz"), Some("others")).err().unwrap().to_string();
    assert!(error.ends_with("x.npz: holds no array others"), "{error}");
}

#[test]
fn what_can_not_be_told_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let refused = |name: &str, message: &str| {
        let error = open_given(&at(name), None).err().unwrap().to_string();
        assert!(error.contains(message), "{error}");
    };
    write_npy(at("both.npy"), &Array4::<u8>::zeros((2, 3, 4, 3))).unwrap();
    refused("both.npy", "in which the channels can't be told");
    write_npy(at("neither.npy"), &Array4::<f32>::zeros((2, 4, 4, 4))).unwrap();
    refused("neither.npy", "in which the channels can't be told");
    write_npy(at("line.npy"), &ndarray::Array1::<f32>::zeros(4)).unwrap();
    refused("line.npy", "has 1 axes");
    write_npy(at("nan.npy"), &Array2::from_elem((3, 2), f32::NAN)).unwrap();
    refused("nan.npy", "not finite");
    let mut archive = NpzWriter::new(std::fs::File::create(at("two.npz")).unwrap());
    ["first", "second"].iter().for_each(|name| archive.add_array(*name, &Array2::<f32>::zeros((3, 2))).unwrap());
    archive.finish().unwrap();
    refused("two.npz", "holds 2 arrays, none of them samples");
    assert_eq!(numbers(&at("two.npz"), Some("second")), (vec![2], vec![0.0; 6]));
    std::fs::create_dir(at("empty")).unwrap();
    refused("empty", "holds no PNG or JPEG files");
}
