//! Pixels of both formats beside known ones, resizes beside Pillow's, classes, and every defect with its message.

use std::fs;
use std::io::{Cursor, Write};

use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, RgbImage, RgbaImage};
use proptest::prelude::*;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A colour picture whose pixels know their place.
fn placed(height: u32, width: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 200]))
}

/// What the fixtures show, made by Pillow of quality 97.
fn gradient(c: usize, y: usize, x: usize) -> f32 {
    [10 * x + 20, 12 * y + 40, 220 - 5 * x - 4 * y][c] as f32
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/fixtures/images/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn archive(files: &[(&str, Vec<u8>)]) -> TempDir {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored)).unwrap();
        archive.write_all(bytes).unwrap();
    }
    folder(&[("a.zip", archive.finish().unwrap().into_inner())])
}

fn spec(path: &Path, size: [usize; 2], fit: Fit, channels: Channels) -> ImageFiles {
    let (train, test) = (path.to_owned(), path.to_owned());
    ImageFiles { train, test, labels: None, size, fit, channels, range: [-1.0, 1.0], flip: false, dequantise: true }
}

fn read(set: &Decoded, i: usize) -> Vec<f32> {
    let mut out = vec![0.0; set.shape().iter().product()];
    set.read(i, &mut out).unwrap();
    out
}

/// The message of a folder with one good file, and this one.
fn refusal(name: &str, bytes: Vec<u8>) -> String {
    let folder = folder(&[("a.png", png(placed(4, 5))), (name, bytes)]);
    let error = spec(folder.path(), [4, 5], Fit::Exact, Channels::Rgb).open(Split::Train).err().unwrap();
    let Error::Data { path, message, help } = error else { panic!("{error} is no error of data") };
    assert!(path.ends_with(name) && !help.is_empty(), "{} {help}", path.display());
    message
}

#[test]
fn both_formats_become_planes_of_pixels() {
    let grey = GrayImage::from_fn(16, 12, |x, y| Luma([(10 * x + y) as u8]));
    let files = [
        ("a.jpg", fixture("rgb.jpg")),
        // The content decides, not the name.
        ("b.png", fixture("progressive.jpg")),
        ("c.jpeg", fixture("cmyk.jpg")),
        ("d.PNG", png(placed(12, 16))),
        ("e.jpg", png(grey)),
        ("f.jpg", fixture("grey.jpg")),
    ];
    for place in [folder(&files), archive(&files)] {
        let zip = place.path().join("a.zip");
        let path = if zip.exists() { &zip } else { place.path() };
        let set = spec(path, [12, 16], Fit::Exact, Channels::Rgb).open(Split::Train).unwrap();
        assert_eq!((set.shape(), set.len(), set.note()), (&[3, 12, 16][..], 6, None));
        let near = |i: usize, most: f32, of: &dyn Fn(usize, usize, usize) -> f32| {
            let pixels = read(&set, i);
            let far = |k: &usize| (pixels[*k] - of(k / 192, k / 16 % 12, k % 16)).abs() > most;
            assert_eq!((0..576).find(far), None, "{i}: {pixels:?}");
        };
        near(0, 4.0, &gradient);
        near(1, 12.0, &gradient);
        near(2, 8.0, &gradient);
        near(3, 0.0, &|c, y, x| [x as f32, y as f32, 200.0][c]);
        near(4, 0.0, &|_, y, x| (10 * x + y) as f32);
        near(5, 4.0, &|_, y, x| gradient(0, y, x));
    }
}

#[test]
fn colours_become_grey_by_their_luma() {
    let colours = RgbImage::from_fn(3, 1, |x, _| image::Rgb(std::array::from_fn(|c| if c == x as usize { 255 } else { 0 })));
    let folder = folder(&[("a.png", png(colours)), ("b.png", png(GrayImage::from_pixel(3, 1, Luma([77]))))]);
    let set = spec(folder.path(), [1, 3], Fit::Exact, Channels::Grey).open(Split::Train).unwrap();
    assert_eq!(set.shape(), [1, 1, 3]);
    assert_eq!([read(&set, 0), read(&set, 1)], [[76.0, 150.0, 29.0], [77.0; 3]]);
}

#[test]
fn resizes_are_those_of_pillow() {
    // Pillow 12, `Image.resize` of the part (3, 0, 16, 13) to 5 x 5, row 2, and of the whole to 6 x 4, row 1.
    let pillow = [
        (
            Filter::Box,
            [[117, 113, 138], [105, 115, 126], [149, 89, 142], [137, 105, 158], [133, 129, 125]],
            [[126, 128, 104], [125, 101, 154], [119, 121, 148], [138, 140, 116]],
        ),
        (
            Filter::Bilinear,
            [[106, 123, 133], [115, 106, 131], [144, 106, 159], [129, 108, 142], [139, 111, 123]],
            [[126, 130, 115], [121, 110, 140], [133, 125, 130], [135, 119, 129]],
        ),
        (
            Filter::Bicubic,
            [[106, 125, 135], [112, 105, 131], [151, 100, 159], [129, 106, 144], [139, 111, 119]],
            [[129, 131, 111], [121, 108, 141], [131, 126, 133], [137, 122, 127]],
        ),
        (
            Filter::Lanczos,
            [[103, 131, 136], [110, 102, 131], [158, 97, 161], [128, 107, 144], [137, 108, 115]],
            [[133, 133, 108], [118, 105, 141], [131, 128, 134], [137, 123, 127]],
        ),
    ];
    let value = |x: u32, y: u32, c: usize| ((x * 37 + y * 91 + c as u32 * 53 + x * y % 17 * 11) % 256) as u8;
    let source = RgbImage::from_fn(20, 13, |x, y| image::Rgb(std::array::from_fn(|c| value(x, y, c))));
    let folder = folder(&[("a.png", png(source))]);
    let row = |size: [usize; 2], fit: Fit, y: usize| {
        let pixels = read(&spec(folder.path(), size, fit, Channels::Rgb).open(Split::Train).unwrap(), 0);
        (0..size[1]).map(|x| std::array::from_fn(|c| pixels[(c * size[0] + y) * size[1] + x])).collect::<Vec<[f32; 3]>>()
    };
    let close = |ours: &[[f32; 3]], theirs: &[[i32; 3]]| {
        let far = ours.iter().flatten().zip(theirs.iter().flatten()).map(|(a, b)| (a - *b as f32).abs()).fold(0.0, f32::max);
        assert!(far <= 1.0 && ours.len() == theirs.len(), "{ours:?} {theirs:?}");
    };
    for (filter, crop, stretch) in pillow {
        close(&row([5, 5], Fit::Crop { filter }, 2), &crop);
        close(&row([6, 4], Fit::Stretch { filter }, 1), &stretch);
    }
}

#[test]
fn a_crop_is_in_the_middle_and_an_enlargement_is_said() {
    let folder = folder(&[("high.png", png(placed(30, 10))), ("wide.png", png(placed(10, 30))), ("small.png", png(placed(3, 3)))]);
    let filter = Filter::Box;
    let set = spec(folder.path(), [10, 10], Fit::Crop { filter }, Channels::Rgb).open(Split::Train).unwrap();
    assert_eq!(set.note(), Some("1 images are smaller than 10 x 10 and are enlarged"));
    let [high, wide] = [read(&set, 0), read(&set, 2)];
    assert!((0..100).all(|k| high[k] == (k % 10) as f32 && high[100 + k] == (10 + k / 10) as f32), "{high:?}");
    assert!((0..100).all(|k| wide[k] == (10 + k % 10) as f32 && wide[100 + k] == (k / 10) as f32), "{wide:?}");
    let set = spec(folder.path(), [20, 5], Fit::Crop { filter }, Channels::Rgb).open(Split::Train).unwrap();
    assert_eq!(read(&set, 0).len(), 300);
}

#[test]
fn each_defect_has_its_own_message() {
    let good = png(RgbImage::from_fn(5, 4, |x, y| image::Rgb([x as u8, y as u8, 99])));
    let mut vast = good.clone();
    vast[16..24].copy_from_slice(&[100_000u32.to_be_bytes(), 100_000u32.to_be_bytes()].concat());
    let sum = crc32fast::hash(&vast[12..29]).to_be_bytes();
    vast[29..33].copy_from_slice(&sum);
    let wide = ImageBuffer::from_pixel(5, 4, Luma([500u16]));
    let cases = [
        ("b.png", good[..good.len() - 20].to_vec(), "is cut short: it has no end"),
        ("b.png", good[..20].to_vec(), "is damaged or cut short"),
        ("b.jpg", fixture("rgb.jpg")[..700].to_vec(), "is cut short: it has no end"),
        ("b.png", vec![], "the file is empty"),
        ("b.png", b"GIF89a and more".to_vec(), "is neither a PNG nor a JPEG file"),
        ("b.png", vast, "says that it has 100000 x 100000 pixels"),
        ("b.png", png(DynamicImage::ImageLuma16(wide)), "has 16 bits for each colour"),
        ("b.png", png(RgbaImage::new(5, 4)), "has transparent pixels"),
        ("b.png", png(DynamicImage::ImageLumaA8(GrayAlphaImage::new(5, 4))), "has transparent pixels"),
        ("b.png", png(placed(5, 4)), "has 5 x 4 pixels, not 4 x 5"),
    ];
    for (name, bytes, message) in cases {
        let found = refusal(name, bytes);
        assert!(found.contains(message), "`{found}` does not say `{message}`");
    }
    let many = folder(&[("a.png", png(placed(4, 5))), ("b.png", vec![]), ("c.png", vec![]), ("d.png", vec![])]);
    let error = spec(many.path(), [4, 5], Fit::Exact, Channels::Rgb).describe(Split::Train).unwrap_err().to_string();
    assert!(error.ends_with("b.png: the file is empty; 2 other files are refused, too"), "{error}");
}

#[test]
fn damage_within_the_pixels_is_an_error_of_the_example() {
    let mut damaged = fixture("rgb.jpg");
    let middle = damaged.len() - 120;
    damaged.drain(middle..middle + 60);
    let mut changed = png(placed(12, 16));
    let middle = changed.len() / 2;
    changed[middle] ^= 0x55;
    let folder = folder(&[("a.jpg", damaged), ("b.png", changed), ("c.png", png(placed(12, 16)))]);
    let set = spec(folder.path(), [12, 16], Fit::Exact, Channels::Rgb).open(Split::Train).unwrap();
    let mut out = vec![0.0; 576];
    for (i, name) in ["a.jpg", "b.png"].into_iter().enumerate() {
        let error = set.read(i, &mut out).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("is damaged or cut short"), "{error}");
    }
    fs::remove_file(folder.path().join("c.png")).unwrap();
    assert!(set.read(2, &mut out).unwrap_err().to_string().contains("c.png: there is no such file"));
}

#[test]
fn folders_and_archives_without_images_are_refused() {
    let refused = |path: &Path| spec(path, [4, 5], Fit::Exact, Channels::Rgb).describe(Split::Test).unwrap_err().to_string();
    let empty = folder(&[]);
    assert!(refused(empty.path()).ends_with("holds no PNG or JPEG files"));
    assert!(refused(&empty.path().join("absent")).ends_with("absent: there is no such file"));
    let others = archive(&[("x.webp", vec![1]), ("__MACOSX/._a.png", vec![2]), (".hidden/a.png", vec![3])]);
    assert!(refused(&others.path().join("a.zip")).ends_with("a.zip: holds no PNG or JPEG files, but others, such as x.webp"));
    assert!(refused(&archive(&[]).path().join("a.zip")).ends_with("holds no PNG or JPEG files"));
    let text = folder(&[("a.zip", b"no archive".to_vec())]);
    assert!(refused(&text.path().join("a.zip")).contains("a.zip: is no zip archive, or is cut short"));
    let link = folder(&[("a.png", png(placed(4, 5)))]);
    std::os::unix::fs::symlink(link.path(), link.path().join("back")).unwrap();
    assert!(refused(link.path()).contains("back: is a link back to"));
}

#[test]
fn what_is_no_image_is_left_out_and_said() {
    let image = || png(placed(4, 5));
    let files = [("b/2.png", image()), ("README.md", vec![]), (".DS_Store", vec![]), ("../1.png", image()), ("b/10.png", image())];
    let archive = archive(&files);
    let set = spec(&archive.path().join("a.zip"), [4, 5], Fit::Exact, Channels::Rgb).open(Split::Train).unwrap();
    let names: Vec<&str> = set.files.names().map(|name| name.to_str().unwrap()).collect();
    assert_eq!(names, ["../1.png", "b/10.png", "b/2.png"]);
    assert_eq!(set.note(), Some("1 files that are no PNG or JPEG are left out, such as README.md"));
    assert_eq!(fs::read_dir(archive.path()).unwrap().count(), 1, "nothing is unpacked");
}

#[test]
fn classes_are_folders_or_a_list() {
    let image = || png(placed(4, 5));
    let labels = |train: &Path, test: &Path, labels: ImageLabels| {
        let spec = ImageFiles { test: test.to_owned(), labels: Some(labels), ..spec(train, [4, 5], Fit::Exact, Channels::Rgb) };
        [Split::Train, Split::Test].map(|split| spec.labels(split).map_err(|error| error.to_string()))
    };
    let train = folder(&[("dog/2.png", image()), ("cat/deep/er.png", image()), ("cat/1.png", image()), ("emu/a.png", image())]);
    let test = folder(&[("dog/x.png", image()), ("emu/x.png", image())]);
    assert_eq!(labels(train.path(), test.path(), ImageLabels::Folders), [Ok(vec![0, 0, 1, 2]), Ok(vec![1, 2])]);
    let [_, refused] = labels(test.path(), train.path(), ImageLabels::Folders);
    assert!(refused.unwrap_err().contains("has the class cat, which"));
    // An archive of a folder of classes.
    let wrapped = archive(&[("pets/dog/2.png", image()), ("pets/cat/1.png", image())]);
    let wrapped = wrapped.path().join("a.zip");
    assert_eq!(labels(&wrapped, &wrapped, ImageLabels::Folders)[0], Ok(vec![0, 1]));
    let flat = folder(&[("dog/2.png", image()), ("1.png", image())]);
    assert!(labels(flat.path(), flat.path(), ImageLabels::Folders)[0].as_ref().unwrap_err().ends_with("1.png: is in no folder of a class"));
    let list = |text: &str| {
        let set = archive(&[("0/b.png", image()), ("0/a.png", image()), ("dataset.json", text.into())]);
        let path = set.path().join("a.zip");
        let [labels, _] = labels(&path, &path, ImageLabels::DatasetJson);
        labels
    };
    assert_eq!(list(r#"{"labels": [["0/b.png", 3], ["0/a.png", 1], ["0/c.png", 0]]}"#), Ok(vec![1, 3]));
    for (text, message) in [
        (r#"{"labels": [["0/b.png", 3]]}"#, "has no label of 0/a.png"),
        (r#"{"labels": null}"#, "has no labels"),
        (r#"{"labels": [["0/b.png", [0.1]]]}"#, "can't be understood"),
        (r#"{"labels": [["0/b.png", 4000000000], ["0/a.png", 1]]}"#, "classes are numbers from 0 to 65535"),
        ("nonsense", "can't be understood"),
    ] {
        let error = list(text).unwrap_err();
        assert!(error.contains("a.zip/dataset.json: ") && error.contains(message), "`{error}` does not say `{message}`");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damaged_bytes_never_panic(which in 0..4usize, at in 0..2000usize, value: u8, cut in 0..2000usize) {
        let mut bytes = match which {
            3 => png(placed(9, 9)),
            _ => fixture(["rgb.jpg", "progressive.jpg", "cmyk.jpg"][which]),
        };
        let n = bytes.len();
        bytes[at % n] = value;
        bytes.truncate(n - if cut % 3 == 0 { cut % n } else { 0 });
        let _ = picture::decode(&bytes, 3);
    }
}
