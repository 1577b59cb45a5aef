//! Features and logits of images by EfficientNet-Lite0, in numbers that NumPy reads:
//!
//! ```text
//! cargo run --release --example image_features -- data/features/efficientnet-lite0.pth x.npy out.npz 2
//! ```
//!
//! `x.npy` holds pixels from 0 to 255, f32, [N, C, H, W]; `out.npz` gets features [N, 1280] and logits [N, 1000]. The last number is that of
//! LibTorch's threads. How many images a second it were, without the reading, stands on standard output.

use std::path::Path;
use std::time::Instant;

use score_sde::error::{Error, Result};
use score_sde::features::EfficientNet;
use tch::{Device, Tensor};

fn main() -> Result<()> {
    let help = "image_features WEIGHTS.pth x.npy out.npz THREADS";
    let usage = |message: &str| Error::Usage { message: message.into(), help: help.into() };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, images, outputs, threads] = &arguments[..] else { return Err(usage("there are four arguments")) };
    tch::set_num_threads(threads.parse().map_err(|_| usage("the number of threads is a whole number"))?);
    let network = EfficientNet::load(Path::new(weights), Device::Cpu)?;
    let x = Tensor::read_npy(images).map_err(|e| usage(&e.to_string()))?;
    let begin = Instant::now();
    let (features, logits) = network.features_and_logits(&x)?;
    println!("{:.1}", x.size()[0] as f64 / begin.elapsed().as_secs_f64());
    Tensor::write_npz(&[("features", &features), ("logits", &logits)], outputs).map_err(|e| usage(&e.to_string()))
}
