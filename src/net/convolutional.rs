//! Plain convolutional networks between images and smaller ones.

use tch::Tensor;

use super::layers::Conv2d;
use crate::optim::Builder;

/// Images [B, inputs, H, W] -> [B, outputs, H / 2^depth, W / 2^depth]: h ← SiLU(A h + b) with `width` features, then `depth` times the mean of
/// 2 x 2 places and such a layer with twice as many, and an affine map; all with kernels of 3 x 3.
pub struct Contracting {
    layers: Vec<Conv2d>,
}

/// The other way round: [B, inputs, h, w] -> [B, outputs, 2^depth h, 2^depth w], nearest neighbours in place of means, and `width` features in
/// the last layer but one.
pub struct Expanding {
    layers: Vec<Conv2d>,
}

/// Kernels of 3 x 3 from each number of channels to the next.
fn layers(channels: &[i64], builder: &Builder) -> Vec<Conv2d> {
    let pairs = channels.windows(2).enumerate();
    pairs.map(|(l, pair)| Conv2d::new(&builder.part(l), pair[0], pair[1], 3, 1.0)).collect()
}

/// The features of the hidden layers, from the largest image to the smallest.
fn features(width: i64, depth: usize) -> impl DoubleEndedIterator<Item = i64> {
    (0..=depth).map(move |l| width << l)
}

impl Contracting {
    pub fn new([inputs, width, outputs]: [i64; 3], depth: usize, builder: &Builder) -> Contracting {
        let channels: Vec<i64> = [inputs].into_iter().chain(features(width, depth)).chain([outputs]).collect();
        Contracting { layers: layers(&channels, builder) }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (last, hidden) = self.layers.split_last().expect("there is a last layer");
        let halved = |h: Tensor| h.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>);
        let h = hidden[0].forward(x).silu();
        last.forward(&hidden[1..].iter().fold(h, |h, layer| layer.forward(&halved(h)).silu()))
    }

    /// Roughly how many numbers a pass of either network keeps for its gradient, for one example of so many `places`.
    pub fn held([images, width, latent]: [usize; 3], depth: usize, places: usize) -> f64 {
        let level = |l: usize| (3 * (width << l)) as f64 * places as f64 / 4f64.powi(l as i32);
        (images * places) as f64 + (0..=depth).map(level).sum::<f64>() + latent as f64 * places as f64 / 4f64.powi(depth as i32)
    }
}

impl Expanding {
    pub fn new([inputs, width, outputs]: [i64; 3], depth: usize, builder: &Builder) -> Expanding {
        let channels: Vec<i64> = [inputs].into_iter().chain(features(width, depth).rev()).chain([outputs]).collect();
        Expanding { layers: layers(&channels, builder) }
    }

    pub fn forward(&self, z: &Tensor) -> Tensor {
        let (last, hidden) = self.layers.split_last().expect("there is a last layer");
        let doubled = |h: &Tensor| h.upsample_nearest2d([2 * h.size()[2], 2 * h.size()[3]], None::<f64>, None::<f64>);
        let h = hidden[0].forward(z).silu();
        last.forward(&hidden[1..].iter().fold(h, |h, layer| layer.forward(&doubled(&h)).silu()))
    }
}
