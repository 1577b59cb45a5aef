//! Every kind of number in both orders, plain and in archives; damage.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::FileExt;

use ndarray::{Array as Owned, Array3, Dimension, ShapeBuilder};
use ndarray_npy::{WritableElement, WriteNpyExt};
use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;

/// An `.npy` file by its format, version 1.
fn file(descr: &str, fortran: bool, shape: &[usize], numbers: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let header = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': ({shape}), }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), numbers].concat()
}

fn npy<A: WritableElement, D: Dimension>(array: &Owned<A, D>) -> Vec<u8> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).unwrap();
    bytes
}

fn read(name: &str, bytes: &[u8], array: Option<&str>) -> Result<(Vec<usize>, Vec<f64>), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let array = Array::open(&path, array).map_err(|error| error.to_string())?;
    Ok((array.shape.clone(), array.numbers().map_err(|error| error.to_string())?))
}

#[test]
fn every_kind_of_number_is_read() {
    let kinds: [(&str, Vec<u8>); 15] = [
        ("'|b1'", vec![0, 1, 1]),
        ("'|u1'", vec![0, 1, 200]),
        ("'|i1'", [0i8, 1, -2].map(|x| x as u8).to_vec()),
        ("'<u2'", [0u16, 1, 60_000].map(u16::to_le_bytes).concat()),
        ("'<i2'", [0i16, 1, -300].map(i16::to_le_bytes).concat()),
        ("'>i2'", [0i16, 1, -300].map(i16::to_be_bytes).concat()),
        ("'<u4'", [0u32, 1, 4_000_000_000].map(u32::to_le_bytes).concat()),
        ("'<i4'", [0i32, 1, -70_000].map(i32::to_le_bytes).concat()),
        ("'<u8'", [0u64, 1, 1 << 63].map(u64::to_le_bytes).concat()),
        ("'<i8'", [0i64, 1, -(1 << 40)].map(i64::to_le_bytes).concat()),
        ("'<f2'", [0x0000u16, 0x3c00, 0xc500].map(u16::to_le_bytes).concat()),
        ("'<f4'", [0f32, 1.0, -0.25].map(f32::to_le_bytes).concat()),
        ("'>f4'", [0f32, 1.0, -0.25].map(f32::to_be_bytes).concat()),
        ("'<f8'", [0f64, 1.0, 1e-300].map(f64::to_le_bytes).concat()),
        ("'>f8'", [0f64, 1.0, 1e-300].map(f64::to_be_bytes).concat()),
    ];
    let last = [1.0, 200.0, -2.0, 6e4, -300.0, -300.0, 4e9, -7e4, 2f64.powi(63), -(2f64.powi(40)), -5.0, -0.25, -0.25, 1e-300, 1e-300];
    for ((kind, numbers), last) in kinds.into_iter().zip(last) {
        assert_eq!(read("x.npy", &file(kind, false, &[3], &numbers), None), Ok((vec![3], vec![0.0, 1.0, last])), "{kind}");
    }
}

#[test]
fn both_orders_and_archives_hold_the_same_rows() {
    let truth = Array3::from_shape_fn((3, 4, 5), |(i, j, k)| (100 * i + 10 * j + k) as i16);
    let mut fortran = Array3::zeros((3, 4, 5).f());
    fortran.assign(&truth);
    let numbers: Vec<f64> = truth.iter().map(|&x| x.into()).collect();
    for (array, loaded) in [(npy(&truth), false), (npy(&fortran), true)] {
        assert_eq!(read("x.npy", &array, None), Ok((vec![3, 4, 5], numbers.clone())));
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in [("other.npy", &b"damaged"[..]), ("x.npy", &array)] {
            archive.start_file(name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored)).unwrap();
            archive.write_all(bytes).unwrap();
        }
        let archive = archive.finish().unwrap().into_inner();
        assert_eq!(read("x.npz", &archive, Some("x")), Ok((vec![3, 4, 5], numbers.clone())));
        let error = read("x.npz", &archive, Some("y")).unwrap_err();
        assert!(error.ends_with("x.npz: holds no array y"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        fs::write(&path, &array).unwrap();
        let array = Array::open(&path, None).unwrap();
        assert_eq!((array.is_loaded(), array.bytes()), (loaded, if loaded { 2 * 120 } else { 0 }));
        let array = array.ready().unwrap();
        let mut rows = [0.0; 40];
        array.rows(1, &mut rows, |x| x).unwrap();
        assert_eq!(rows, numbers[20..]);
    }
}

#[test]
fn rows_are_read_in_pieces_of_any_size() {
    let n = 3 * AT_ONCE / 8 + 5;
    let truth: Vec<f64> = (0..n).map(|i| i as f64).collect();
    let bytes = file("'<f8'", false, &[n], &truth.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    assert!(read("x.npy", &bytes, None) == Ok((vec![n], truth)));
}

#[test]
fn an_array_may_be_far_larger_than_memory() {
    // 64 GiB, of which the disk keeps the last row alone.
    let (folder, header) = (tempfile::tempdir().unwrap(), file("'|u1'", false, &[1 << 30, 64], &[]));
    let (path, start) = (folder.path().join("x.npy"), header.len() as u64);
    let disk = fs::File::create(&path).unwrap();
    disk.set_len(start + (64 << 30)).unwrap();
    disk.write_all_at(&header, 0).unwrap();
    disk.write_all_at(&[7; 64], start + (64 << 30) - 64).unwrap();
    let array = Array::open(&path, None).unwrap();
    assert_eq!((&array.shape[..], array.bytes()), (&[1 << 30, 64][..], 0));
    let array = array.ready().unwrap();
    let mut rows = [0.0; 128];
    array.rows((1 << 30) - 2, &mut rows, |x| x).unwrap();
    assert_eq!([&rows[..64], &rows[64..]], [&[0.0; 64], &[7.0; 64]]);
}

#[test]
fn each_defect_has_its_own_message() {
    let good = file("'<f8'", false, &[2, 2], &[0; 32]);
    let cases = [
        (vec![], "the file is empty"),
        (good[..4].to_vec(), "is cut short within its header"),
        (good[..20].to_vec(), "is cut short within its header"),
        (b"not an array at all".to_vec(), "is not an .npy file"),
        (b"PK\x03\x04 and more".to_vec(), "is an .npz archive"),
        (good[..good.len() - 3].to_vec(), "is cut short: 3 bytes are missing"),
        ([good.as_slice(), &[0, 0]].concat(), "is too long: 2 bytes follow the array"),
        (file("'<c8'", false, &[2], &[0; 16]), "holds elements of type <c8"),
        (file("'|S3'", false, &[1], b"abc"), "holds elements of type |S3"),
        (file("'|O'", false, &[1], b"abc"), "holds elements of type |O"),
        (file("'<f3'", false, &[1], b"abc"), "holds elements of type <f3"),
        (file("[('x', '<f4')]", false, &[1], &[0; 4]), "holds records"),
        (file("'<f4'", false, &[0, 2], &[]), "holds nothing: its shape is [0, 2]"),
        (file("'<f8'", false, &[1 << 40, 1 << 21], &[]), "is larger than memory"),
        (file("'<f8'", false, &[1 << 40, 1 << 40], &[]), "its header can't be read"),
        (file(&"(".repeat(20_000), false, &[1], &[]), "its header can't be read"),
    ];
    for (bytes, message) in cases {
        let error = read("x.npy", &bytes, None).unwrap_err();
        assert!(error.contains(message), "`{error}` does not say `{message}`");
    }
}

proptest! {
    #[test]
    fn damaged_bytes_never_panic(at in 0..144usize, value: u8) {
        let mut bytes = npy(&ndarray::array![[1.0f64, 2.0]]);
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = read("x.npy", &bytes, None);
    }
}
