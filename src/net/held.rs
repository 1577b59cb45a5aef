//! Roughly how many numbers a network holds for one example: what its memory is estimated from.
//!
//! The rules count the tensors that a layer's gradient needs. Measured against whole runs of every network here (peak of the process, batches
//! of 1 to 256 images and 1000 to 100,000 vectors, on a CPU), an estimate made of them is within a factor of 2.

use super::block::BlockKind;
use super::{NetworkSpec, dit, mlp, ncsnpp};

/// Numbers for one example, in the network's own kind. They are f64, which no size overflows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// In a pass whose gradient is asked for, by the weights or by the input: frozen weights save little, since the layers keep what their
    /// gradient by the input needs.
    pub with_graph: f64,
    /// At the widest place of a pass without a graph.
    pub without_graph: f64,
}

impl NetworkSpec {
    /// For data of `shape`, which [`NetworkSpec::check`] has passed.
    pub fn held(&self, shape: &[usize]) -> Held {
        match (self, shape) {
            (NetworkSpec::Ncsnpp(spec), &[images, height, width]) => u_net(spec, [images, height, width]),
            (NetworkSpec::Ddpm(spec), &[images, height, width]) => u_net(&spec.as_ncsnpp(), [images, height, width]),
            (NetworkSpec::Adm(spec), &[images, height, width]) => u_net(&spec.as_ncsnpp(), [images, height, width]),
            (NetworkSpec::Dit(spec), &[images, height, width]) => transformer(spec, [images, height, width]),
            (NetworkSpec::Mlp(spec), _) => residual(spec, shape.iter().product::<usize>() as f64),
            // What goes into the sigmoid and what comes out, and the input and the output.
            (NetworkSpec::TiedAutoencoder(spec), _) => {
                let (hidden, dimension) = (spec.hidden as f64, shape.iter().product::<usize>() as f64);
                Held { with_graph: 2.0 * (hidden + dimension), without_graph: 2.0 * hidden + dimension }
            }
            // Nobody knows what a program of others holds.
            (NetworkSpec::Torchscript(_), _) => Held { with_graph: 0.0, without_graph: 0.0 },
            (_, shape) => unreachable!("a checked U-Net has images, not {shape:?}"),
        }
    }
}

/// Sums of layers and their activations, and the embedded inputs.
fn residual(spec: &mlp::Spec, dimension: f64) -> Held {
    let (width, depth) = (spec.width as f64, spec.depth as f64);
    let projections = match spec.input {
        mlp::InputSpec::Plain => 0.0,
        mlp::InputSpec::Fourier { count, .. } => count as f64,
    };
    // Angles, sines, cosines, and both beside x; the label has a quarter of the width in frequencies.
    let inputs = 3.0 * dimension + 5.0 * projections + width;
    Held { with_graph: (3.0 * depth + 3.0) * width + inputs, without_graph: 5.0 * width + inputs }
}

fn u_net(spec: &ncsnpp::Spec, [images, height, width]: [usize; 3]) -> Held {
    let levels = spec.levels(width);
    let pixels = |level: usize| (height >> level) as f64 * (width >> level) as f64;
    // A byte for each number.
    let mask = if spec.dropout > 0.0 { 0.25 } else { 0.0 };
    // What is normalised, and active, before each of the two convolutions.
    let block = |inputs: i64, outputs: i64| 2.0 * inputs as f64 + (2.0 + mask) * outputs as f64;
    // Query, key, value, their normalised input and what comes out; the weights of each pixel for each, before and after the softmax.
    let attention = |width: i64, pixels: f64| 8.0 * width as f64 * pixels + 2.0 * pixels * pixels;
    let (mut graph, mut kept, mut widest) = (0.0, 0.0, 0f64);
    for (i, level) in levels.iter().enumerate() {
        let (pixels, last) = (pixels(i), i + 1 == levels.len());
        let attends = if spec.attention.contains(&level.size) { 1.0 } else { 0.0 };
        for &inputs in level.down.iter().chain(&level.up) {
            graph += block(inputs, level.width) * pixels;
            widest = widest.max((2 * inputs + 3 * level.width) as f64 * pixels);
        }
        let up = if spec.up_attention.is_last() { 1 } else { level.up.len() };
        graph += attends * (level.down.len() + up) as f64 * attention(level.width, pixels);
        widest = widest.max(attends * attention(level.width, pixels));
        kept += level.down.len() as f64 * level.width as f64 * pixels;
        if !last {
            // Half a size down and up again, inside a block or as a layer.
            let tensors = if spec.block == BlockKind::Biggan { 9.0 } else { 3.0 };
            graph += tensors * level.width as f64 * pixels;
        } else {
            graph += 2.0 * block(level.width, level.width) * pixels + attention(level.width, pixels);
            widest = widest.max(attention(level.width, pixels));
        }
    }
    let ends = (4.0 * images as f64 + 2.0 * spec.channels as f64) * pixels(0);
    // A backward pass holds the gradients of the widest place beside the graph.
    Held { with_graph: graph + ends + widest, without_graph: kept + widest + ends }
}

/// Of each block two normalised inputs with their scaled forms, query, key and value, what the heads give, their weights before and after the softmax, and the
/// hidden layer twice.
fn transformer(spec: &dit::Spec, [images, height, width]: [usize; 3]) -> Held {
    let tokens = (height / spec.patch) as f64 * (width / spec.patch) as f64;
    let (features, heads) = (spec.width as f64, spec.heads as f64);
    let block = 18.0 * features * tokens + 2.0 * heads * tokens * tokens;
    let ends = 4.0 * (images * height * width) as f64 + 4.0 * features * tokens;
    Held { with_graph: (spec.depth as f64 + 1.0) * block + ends, without_graph: block + ends }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_with_width_depth_and_size_as_layers_do() {
        let mlp = |width: usize, depth: usize| {
            let text = format!("[mlp]\nwidth = {width}\ndepth = {depth}\ninput = 'plain'\nembedding = 'positional'");
            toml::from_str::<NetworkSpec>(&text).unwrap().held(&[2])
        };
        assert_eq!(mlp(64, 1).with_graph - 6.0, 7.0 * 64.0);
        assert_eq!(mlp(64, 9).with_graph - mlp(64, 8).with_graph, 3.0 * 64.0);
        assert_eq!(mlp(64, 9).without_graph, mlp(64, 1).without_graph);

        let ddpm = |channels: usize, attention: &str, size: usize| {
            let text = format!(
                "[ddpm]\nchannels = {channels}\nmultipliers = [1, 2]\nblocks = 1\nattention = {attention}\ndropout = 0.0\n\
                 resample_with_convolution = true\nconditional = true"
            );
            toml::from_str::<NetworkSpec>(&text).unwrap().held(&[3, size, size])
        };
        let ratio = |a: Held, b: Held| [a.with_graph / b.with_graph, a.without_graph / b.without_graph];
        assert!(ratio(ddpm(128, "[]", 32), ddpm(64, "[]", 32)).into_iter().all(|ratio| (1.7..2.0).contains(&ratio)));
        // The middle attends to every pair of pixels.
        assert!(ratio(ddpm(64, "[]", 64), ddpm(64, "[]", 32)).into_iter().all(|ratio| (4.0..8.0).contains(&ratio)));
        assert!(ddpm(64, "[32]", 32).with_graph > ddpm(64, "[]", 32).with_graph + 2.0 * 1024.0 * 1024.0);
    }
}
