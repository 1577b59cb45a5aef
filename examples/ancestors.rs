//! Puts runs on one data set of vectors beside each other: a table of their likelihoods, and a picture of their samples.
//! `scripts/ancestors` calls it:
//!
//! ```text
//! cargo run --release --example ancestors -- PICTURE.png runs/ancestors/nice runs/ancestors/vae
//! ```

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use image::imageops::thumbnail;
use ndarray::Array2;
use ndarray_npy::NpzReader;
use score_sde::plot::{png, scatters};
use serde_json::Value;

/// The plane is shown up to here on both axes; the checkerboard ends at 4.
const SIDE: f64 = 4.6;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args().skip(1).map(PathBuf::from);
    let picture = paths.next().ok_or("usage: ancestors PICTURE.png RUN...")?;
    let runs: Vec<PathBuf> = paths.collect();
    println!("| run | -ln p, nats | bound, nats | evaluations a sample |\n| --- | ---: | ---: | ---: |");
    let mut panels = Vec::new();
    for run in &runs {
        let name = run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        println!("{}", row(&name, run)?);
        panels.push((name, samples(run)?));
    }
    let panels = scatters(&panels);
    // A page shows it at half the size.
    fs::write(&picture, png(&thumbnail(&panels, panels.width() / 2, panels.height() / 2)))?;
    Ok(())
}

/// The likelihood and the bound of a run, where it has them, with their standard errors.
fn row(name: &str, run: &Path) -> Result<String, Box<dyn Error>> {
    let json = |file: &str| -> Result<Value, Box<dyn Error>> { Ok(serde_json::from_slice(&fs::read(run.join(file))?)?) };
    let likelihood = if run.join("likelihood.json").exists() { json("likelihood.json")? } else { Value::Null };
    let with_error = |value: &Value| match (value["mean"].as_f64(), value["standard_error"].as_f64()) {
        (Some(mean), Some(error)) => format!("{mean:.3} ± {error:.3}"),
        _ => "-".to_owned(),
    };
    let evaluations = json("samples/samples.json")?["evaluations"]["mean"].as_f64();
    let evaluations = evaluations.map_or("1".to_owned(), |evaluations| format!("{evaluations:.0}"));
    Ok(format!("| `{name}` | {} | {} | {evaluations} |", with_error(&likelihood["nats"]), with_error(&likelihood["bound"]["nats"])))
}

/// The points of a run within the plane's side.
fn samples(run: &Path) -> Result<Vec<[f64; 2]>, Box<dyn Error>> {
    let x: Array2<f32> = NpzReader::new(File::open(run.join("samples/samples.npz"))?)?.by_name("samples")?;
    let points = x.rows().into_iter().map(|row| [f64::from(row[0]), f64::from(row[1])]);
    Ok(points.filter(|point| point.iter().all(|x| x.abs() <= SIDE)).collect())
}
