//! A conditional flow of affine coupling layers (Dinh et al. 2017, arXiv 1605.08803) from noise to images, given an image.

use tch::{Kind, Tensor};

use super::layers::Conv2d;
use crate::optim::Builder;
use crate::tensor::sum_per_example;

/// h = f(ε; condition), invertible in ε for every condition; ε, h and the condition are [B, C, H, W].
///
/// Layer l keeps the pixels of one colour of a checkerboard and maps the others, h ← h eˢ + t, with s and t of a small convolutional
/// network that sees what is kept and the condition. Layer 0 keeps nothing and sees the condition alone. A new flow is h = 1.702 ε.
pub struct CouplingFlow {
    layers: Vec<Coupling>,
}

struct Coupling {
    /// 1 where a pixel is kept, 0 where it is mapped [1, 1, H, W].
    kept: Tensor,
    input: Conv2d,
    hidden: Conv2d,
    output: Conv2d,
}

/// The standard deviation of the normal law that is closest to the logistic one: its sigmoid is nearly uniform.
const SPREAD: f64 = 1.702;

/// Bound of |s|.
const MOST: f64 = 3.0;

impl CouplingFlow {
    /// At least one layer, for images [C, H, W]; `channels` of the small networks.
    pub fn new([c, h, w]: [usize; 3], layers: usize, channels: usize, builder: &Builder) -> CouplingFlow {
        let (c, h, w, channels) = (c as i64, h as i64, w as i64, channels as i64);
        let options = builder.options();
        let colours = (Tensor::arange(h, options).view([1, 1, h, 1]) + Tensor::arange(w, options).view([1, 1, 1, w])).remainder(2.0);
        let layer = |l: usize| {
            let builder = builder.part(l);
            let conv = |name: &str, inputs, outputs, scale| Conv2d::new(&builder.part(name), inputs, outputs, 3, scale);
            let kept = match l {
                0 => colours.zeros_like(),
                _ if l.is_multiple_of(2) => colours.copy(),
                _ => 1.0 - &colours,
            };
            Coupling {
                kept,
                input: conv("input", 2 * c, channels, 1.0),
                hidden: conv("hidden", channels, channels, 1.0),
                output: conv("output", channels, 2 * c, 0.0),
            }
        };
        CouplingFlow { layers: (0..layers).map(layer).collect() }
    }

    /// h and ln |det ∂h/∂ε| `[B]`, f64.
    pub fn forward(&self, noise: &Tensor, condition: &Tensor) -> (Tensor, Tensor) {
        let start = (noise * SPREAD, noise.size()[1..].iter().product::<i64>() as f64 * SPREAD.ln());
        let log_det = Tensor::full([noise.size()[0]], start.1, (Kind::Double, noise.device()));
        self.layers.iter().fold((start.0, log_det), |(h, log_det), layer| {
            let (h, change) = layer.forward(&h, condition);
            (h, log_det + change)
        })
    }
}

impl Coupling {
    fn forward(&self, h: &Tensor, condition: &Tensor) -> (Tensor, Tensor) {
        let seen = Tensor::cat(&[h * &self.kept, condition.shallow_clone()], 1);
        let features = self.hidden.forward(&self.input.forward(&seen).silu()).silu();
        let parts = self.output.forward(&features);
        let channels = h.size()[1];
        let (s, shift) = (parts.narrow(1, 0, channels), parts.narrow(1, channels, channels));
        let mapped = 1.0 - &self.kept;
        let s: Tensor = (s / MOST).tanh() * (&mapped * MOST);
        let h = h * s.exp() + shift * mapped;
        (h, sum_per_example(&s.to_kind(Kind::Double)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, normal};
    use tch::{Device, no_grad};

    #[test]
    fn the_log_determinant_is_that_of_the_jacobian() {
        tch::set_num_threads(1);
        let builder = Builder::new(1, Kind::Double, Device::Cpu);
        let flow = CouplingFlow::new([2, 2, 3], 4, 8, &builder);
        let parameters = builder.finish();
        let draw = |index, shape: &[i64]| normal(2, Purpose::Noise, index, shape, Device::Cpu).to_kind(Kind::Double);
        let (noise, condition) = (draw(0, &[1, 2, 2, 3]).set_requires_grad(true), draw(1, &[1, 2, 2, 3]));
        let jacobian = |noise: &Tensor| {
            let h = flow.forward(noise, &condition).0.flatten(0, -1);
            let rows: Vec<Tensor> =
                (0..12).map(|i| Tensor::run_backward(&[h.get(i)], &[noise], true, false).remove(0).flatten(0, -1)).collect();
            Tensor::stack(&rows, 0)
        };
        let new = flow.forward(&noise, &condition);
        assert!((new.0 - &noise * 1.702).abs().max().double_value(&[]) < 1e-4, "a new flow is 1.702 ε");

        let size = parameters.flat().size();
        let _ = no_grad(|| parameters.flat().shallow_clone().g_add_(&(draw(3, &size) * 0.2)));
        let (h, log_det) = flow.forward(&noise, &condition);
        let jacobian = jacobian(&noise);
        let truth = Tensor::linalg_slogdet(&jacobian).1.double_value(&[]);
        assert!((log_det.double_value(&[0]) - truth).abs() < 1e-10, "{} is not {truth}", log_det.double_value(&[0]));
        assert!((truth - 12.0 * 1.702f64.ln()).abs() > 0.1, "the layers do something");
        assert!((h - &noise * 1.702).abs().min().double_value(&[]) > 1e-3, "every pixel is mapped");
        let other = flow.forward(&noise, &(condition + 1.0)).1;
        assert!((other - log_det).abs().double_value(&[0]) > 1e-3, "the condition matters");
    }
}
