//! Files of both kinds, padded, averaged, and damaged.

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
    Idx { train, test, labels: None, downsample: 1, pad, range: [0.0, 1.0], flip: false, dequantise: true }
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
        images.read(1, &mut image).unwrap();
        assert_eq!(image, [250.0, 251.0, 252.0, 253.0, 254.0, 255.0]);

        let images = spec(&path, 1).open(Split::Train).unwrap();
        assert_eq!(images.shape(), [1, 4, 5]);
        let mut image = [9f32; 20];
        images.read(0, &mut image).unwrap();
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
        images.read(i, &mut image).unwrap();
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
