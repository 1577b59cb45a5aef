//! Puts runs on one data set beside each other: a table of their likelihoods, and a picture of their samples; vectors as points of the plane,
//! images as a row a run. `scripts/ancestors` calls it:
//!
//! ```text
//! cargo run --release --example ancestors -- PICTURE.png runs/ancestors/nice runs/ancestors/vae
//! ```

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use image::RgbImage;
use image::imageops::thumbnail;
use ndarray::{Array2, Array4, s};
use ndarray_npy::NpzReader;
use score_sde::plot::{png, scatters, strips};
use serde_json::Value;

/// The plane is shown up to here on both axes; the checkerboard ends at 4.
const SIDE: f64 = 4.6;

/// Images of a run.
const COLUMNS: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args().skip(1).map(PathBuf::from);
    let usage = "usage: ancestors PICTURE.png RUN...";
    let picture = paths.next().ok_or(usage)?;
    let runs: Vec<PathBuf> = paths.collect();
    let of_images = images(runs.first().ok_or(usage)?).is_ok();
    let (unit, key) = if of_images { ("bits/dim", "bits_per_dim") } else { ("nats", "nats") };
    println!("| run | -ln p, {unit} | bound, {unit} | evaluations a sample |\n| --- | ---: | ---: | ---: |");
    for run in &runs {
        println!("{}", row(run, key)?);
    }
    let samples = if of_images { rows(&runs)? } else { panels(&runs)? };
    fs::write(&picture, png(&samples))?;
    Ok(())
}

fn name(run: &Path) -> String {
    run.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The likelihood and the bound of a run, where it has them, with their standard errors.
fn row(run: &Path, unit: &str) -> Result<String, Box<dyn Error>> {
    let json = |file: &str| -> Result<Value, Box<dyn Error>> { Ok(serde_json::from_slice(&fs::read(run.join(file))?)?) };
    let likelihood = if run.join("likelihood.json").exists() { json("likelihood.json")? } else { Value::Null };
    let with_error = |value: &Value| match (value["mean"].as_f64(), value["standard_error"].as_f64()) {
        (Some(mean), Some(error)) => format!("{mean:.3} ± {error:.3}"),
        _ => "-".to_owned(),
    };
    let evaluations = json("samples/samples.json")?["evaluations"]["mean"].as_f64();
    let evaluations = evaluations.map_or("-".to_owned(), |evaluations| format!("{evaluations:.0}"));
    // What is measured of latent variables is a bound itself.
    let (number, bound) = match likelihood["latent"].is_null() {
        true => (&likelihood[unit], &likelihood["bound"][unit]),
        false => (&Value::Null, &likelihood[unit]),
    };
    let [number, bound] = [number, bound].map(with_error);
    Ok(format!("| `{}` | {number} | {bound} | {evaluations} |", name(run)))
}

/// A scatter plot a run.
fn panels(runs: &[PathBuf]) -> Result<RgbImage, Box<dyn Error>> {
    let panels = runs.iter().map(|run| Ok((name(run), points(run)?))).collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let panels = scatters(&panels);
    // A page shows it at half the size.
    Ok(thumbnail(&panels, panels.width() / 2, panels.height() / 2))
}

/// The points of a run within the plane's side.
fn points(run: &Path) -> Result<Vec<[f64; 2]>, Box<dyn Error>> {
    let x: Array2<f32> = samples(run)?.by_name("samples")?;
    let points = x.rows().into_iter().map(|row| [f64::from(row[0]), f64::from(row[1])]);
    Ok(points.filter(|point| point.iter().all(|x| x.abs() <= SIDE)).collect())
}

/// A row of images a run.
fn rows(runs: &[PathBuf]) -> Result<RgbImage, Box<dyn Error>> {
    let (mut pixels, mut shape) = (Vec::new(), [0; 3]);
    for run in runs {
        let images = images(run)?;
        if images.shape()[0] < COLUMNS {
            return Err(format!("{} has {} samples, and {COLUMNS} are shown", run.display(), images.shape()[0]).into());
        }
        let images = images.slice_move(s![..COLUMNS, .., .., ..]).permuted_axes([0, 3, 1, 2]);
        let here = [1, 2, 3].map(|axis| images.shape()[axis]);
        if !pixels.is_empty() && here != shape {
            return Err(format!("the images of {} are of another size than those before", run.display()).into());
        }
        shape = here;
        pixels.extend(images.iter());
    }
    Ok(strips(&pixels, &[runs.len() * COLUMNS, shape[0], shape[1], shape[2]], COLUMNS))
}

/// The images of a run [N, H, W, C]. Error: its samples are no images.
fn images(run: &Path) -> Result<Array4<u8>, Box<dyn Error>> {
    Ok(samples(run)?.by_name("samples")?)
}

fn samples(run: &Path) -> Result<NpzReader<File>, Box<dyn Error>> {
    Ok(NpzReader::new(File::open(run.join("samples/samples.npz"))?)?)
}
