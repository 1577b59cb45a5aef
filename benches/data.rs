//! Image files: what the look at all headers before work takes, and reading with decoding, by as many threads as `RAYON_NUM_THREADS` says.

#[path = "../src/allocator.rs"]
mod allocator;

use divan::Bencher;
use divan::counter::ItemsCount;
use image::{Rgb, RgbImage};
use score_sde::data::{Channels, Data, Filter, Fit, ImageFiles, Split, examples};
use tempfile::TempDir;

const FILES: usize = 1000;

/// A folder of square PNG files with a gradient and some noise, and its data set of 32 x 32.
fn files(side: u32) -> (TempDir, Data) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for i in 0..FILES as u32 {
        let noise = |x: u32, y: u32, c: u32| {
            let [x, y, c, i] = [(x, 7919), (y, 104_729), (c, 1_299_709), (i, 15_485_863)].map(|(n, prime)| n.wrapping_mul(prime));
            (x ^ y ^ c ^ i) >> 7 & 15
        };
        let pixel = |x, y| std::array::from_fn(|c| (100 * x / side + 100 * y / side + noise(x, y, c as u32)) as u8);
        RgbImage::from_fn(side, side, |x, y| Rgb(pixel(x, y))).save(folder.path().join(format!("{i:04}.png"))).expect("a file");
    }
    let path = folder.path().to_owned();
    let set = ImageFiles {
        train: path.clone(),
        test: path,
        labels: None,
        size: [32, 32],
        fit: Fit::Crop { filter: Filter::Lanczos },
        channels: Channels::Rgb,
        range: [-1.0, 1.0],
        flip: false,
        dequantise: false,
    };
    (folder, Data::Images(set))
}

#[divan::bench(args = [32, 128])]
fn headers(bencher: Bencher, side: u32) {
    let (_folder, data) = files(side);
    bencher.counter(ItemsCount::new(FILES)).bench(|| data.describe(Split::Train).expect("whole files"));
}

#[divan::bench(args = [32, 128])]
fn decode(bencher: Bencher, side: u32) {
    let (_folder, data) = files(side);
    let set = data.open(Split::Train, 0).expect("whole files");
    bencher.counter(ItemsCount::new(FILES)).bench(|| examples(&*set, 0..FILES).expect("whole files"));
}

fn main() {
    divan::main();
}
