//! Compares two sets of features, X [N, D] and Y [M, D], by every metric, and prints JSON:
//!
//! ```text
//! cargo run --release --example measure_features -- x.npy y.npy 5
//! ```
//!
//! The number is k of the neighbours of precision and recall. The estimators that other programs have are those of their defaults, but for
//! the size of torch-fidelity's subsets, which is 100, and TF-GAN's blocks, which are of 100 at most.

use score_sde::error::{Error, Result};
use score_sde::metric::{
    Features, Frechet, OfParts, Support, authenticity, energy_distance, kid, kid_of_blocks, kid_of_subsets, median_distance, mmd, nearest,
    vendi,
};
use serde_json::json;
use tch::Tensor;

fn main() -> Result<()> {
    let usage = |message: &str| Error::Usage { message: message.into(), help: "measure_features x.npy y.npy NEIGHBOURS".into() };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [x, y, neighbours] = &arguments[..] else { return Err(usage("there are three arguments")) };
    let read = |path: &String| Features::new(path, &Tensor::read_npy(path).map_err(|e| usage(&e.to_string()))?, 1);
    let (x, y) = (read(x)?, read(y)?);
    let bandwidth = median_distance(&x, &y)?;
    let support = Support::new(&x, &y, neighbours.parse().map_err(|_| usage("the number of neighbours is a whole number"))?)?;
    let near = nearest(&x, &y)?;
    let OfParts { mean, deviation } = kid_of_subsets(&x, &y, 100, 100, 2020)?;
    let of_three = Support::new(&x, &y, 3)?;
    let measured = json!({
        "frechet": Frechet::new(&x, &y)?.plain.value,
        "kid": kid(&x, &y)?.value,
        "median_distance": bandwidth,
        "mmd": mmd(&x, &y, bandwidth)?.value,
        "precision": support.precision.value,
        "recall": support.recall.value,
        "density": support.density.value,
        "coverage": support.coverage.value,
        "torch_fidelity_kid": mean,
        "torch_fidelity_kid_deviation": deviation,
        "torch_fidelity_precision": of_three.precision.value,
        "torch_fidelity_recall": of_three.recall.value,
        "tf_gan_kid": kid_of_blocks(&x, &y, 100)?.mean,
        "energy": energy_distance(&x, &y)?.value,
        "vendi": vendi(&x)?.value,
        "nearest_distances": near.distances,
        "nearest_places": near.places,
        "authenticity": authenticity(&x, &y)?.value,
    });
    println!("{measured}");
    Ok(())
}
