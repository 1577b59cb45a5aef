//! A plain network for vectors.

use tch::Tensor;

use super::layers::Linear;
use crate::optim::Builder;

/// Vectors [B, inputs] -> [B, outputs] by `depth` hidden layers of `width` features, h ← SiLU(A h + b), and an affine map; with depth 0 the
/// affine map alone.
pub struct Perceptron {
    layers: Vec<Linear>,
}

impl Perceptron {
    /// The last layer begins with Glorot's variance times `scale`; 0 stands for as good as none.
    pub fn new([inputs, width, outputs]: [i64; 3], depth: usize, scale: f64, builder: &Builder) -> Perceptron {
        let features = |l: usize| if l == 0 { inputs } else { width };
        let hidden = (0..depth).map(|l| Linear::new(&builder.part(l), features(l), width, 1.0));
        Perceptron { layers: hidden.chain([Linear::new(&builder.part(depth), features(depth), outputs, scale)]).collect() }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (last, hidden) = self.layers.split_last().expect("there is a last layer");
        let features = hidden.iter().fold(x.shallow_clone(), |h, layer| layer.forward(&h).silu());
        last.forward(&features)
    }

    /// Roughly how many numbers a pass keeps for its gradient, for one example.
    pub fn held([inputs, width, outputs]: [usize; 3], depth: usize) -> f64 {
        (inputs + 2 * width * depth + outputs) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{largest, normal};
    use tch::{Device, Kind};

    #[test]
    fn without_hidden_layers_it_is_affine_and_with_them_it_is_not() {
        tch::set_num_threads(1);
        for depth in [0, 1, 3] {
            let builder = Builder::new(1, Kind::Double, Device::Cpu);
            let network = Perceptron::new([3, 8, 2], depth, 1.0, &builder);
            assert_eq!(builder.finish().count(), [8, 50, 194][depth.min(2)], "depth {depth}");
            let (x, y) = (normal(0, &[5, 3]), normal(1, &[5, 3]));
            let bend = network.forward(&((&x + &y) * 0.5)) - (network.forward(&x) + network.forward(&y)) * 0.5;
            assert_eq!(largest(&bend) < 1e-12, depth == 0, "depth {depth}: {}", largest(&bend));
        }
    }
}
