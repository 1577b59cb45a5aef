//! Writes CIFAR-10 as PNG files, a folder for each class, for a run on files:
//!
//! ```text
//! cargo run --release --example cifar10_files -- data/cifar-10-batches-bin data/cifar10-files
//! score-sde run experiments/image_files.toml
//! ```

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use image::{Rgb, RgbImage};
use score_sde::data::{Cifar10, Data, Split};

const SIDE: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args().skip(1).map(PathBuf::from);
    let (Some(folder), Some(out)) = (paths.next(), paths.next()) else { return Err("usage: cifar10_files FOLDER OUT".into()) };
    let data = Data::Cifar10(Cifar10 { folder, range: [0.0, 1.0], flip: false, dequantise: false });
    for (split, name) in [(Split::Train, "train"), (Split::Test, "test")] {
        let (set, labels) = (data.open(split, 0)?, data.labels(split, 0)?);
        let mut planes = vec![0.0; 3 * SIDE * SIDE];
        for (i, label) in labels.iter().enumerate() {
            set.read(i, &mut planes)?;
            let pixel = |x: u32, y: u32| std::array::from_fn(|c| planes[(c * SIDE + y as usize) * SIDE + x as usize] as u8);
            let class = out.join(name).join(label.to_string());
            fs::create_dir_all(&class)?;
            RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| Rgb(pixel(x, y))).save(class.join(format!("{i:05}.png")))?;
        }
        println!("{}: {} files", out.join(name).display(), labels.len());
    }
    Ok(())
}
