//! The layers that hold parameters, named as in the reference's checkpoints.

use tch::Tensor;

use super::dropout::Mask;
use super::native::{self, Then};
use crate::optim::{Builder, Init};

/// Variance scaling over the average fan, uniform: U(-b, b) with b² = 3 scale / ((fan_in + fan_out) / 2); scale 1 is Glorot & Bengio
/// 2010, eq. 16. A layer that should start at zero gets scale 0, which stands for 1e-10 as in the reference.
fn average_fan(scale: f64, fan_in: i64, fan_out: i64) -> Init {
    let scale = if scale == 0.0 { 1e-10 } else { scale };
    Init::Uniform((3.0 * scale / ((fan_in + fan_out) as f64 / 2.0)).sqrt())
}

/// y = W x + b on the last axis; `weight` [outputs, inputs].
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub fn new(builder: &Builder, inputs: i64, outputs: i64, scale: f64) -> Linear {
        Linear {
            weight: builder.parameter("weight", &[outputs, inputs], average_fan(scale, inputs, outputs)),
            bias: builder.parameter("bias", &[outputs], Init::Constant(0.0)),
        }
    }

    /// A layer that gives 0 until it is trained.
    pub fn zero(builder: &Builder, inputs: i64, outputs: i64) -> Linear {
        let zeros = |name, shape: &[i64]| builder.parameter(name, shape, Init::Constant(0.0));
        Linear { weight: zeros("weight", &[outputs, inputs]), bias: zeros("bias", &[outputs]) }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}

/// Cross-correlation of [B, inputs, H, W] with a square kernel of odd size k; `weight` [outputs, inputs, k, k].
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    padding: i64,
}

impl Conv2d {
    pub fn new(builder: &Builder, inputs: i64, outputs: i64, size: i64, scale: f64) -> Conv2d {
        let field = size * size;
        Conv2d {
            weight: builder.parameter("weight", &[outputs, inputs, size, size], average_fan(scale, inputs * field, outputs * field)),
            bias: builder.parameter("bias", &[outputs], Init::Constant(0.0)),
            padding: size / 2,
        }
    }

    /// Zeros around the image keep its size.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.conv2d(&self.weight, Some(&self.bias), [1, 1], [self.padding, self.padding], [1, 1], 1)
    }

    /// Every second position only, no padding: H -> (H - k) / 2 + 1.
    pub fn down(&self, x: &Tensor) -> Tensor {
        x.conv2d(&self.weight, Some(&self.bias), [2, 2], [0, 0], [1, 1], 1)
    }

    /// The same correlation on an image with zeros put between its pixels, without padding and without the bias: H -> 2 (H - 1) + k.
    pub fn up(&self, x: &Tensor) -> Tensor {
        let weight = self.weight.flip([2, 3]).transpose(0, 1);
        x.conv_transpose2d(&weight, None::<&Tensor>, [2, 2], [0, 0], [0, 0], 1, [1, 1])
    }

    /// The bias, shaped to be added to an image.
    pub fn bias(&self) -> Tensor {
        self.bias.view([1, -1, 1, 1])
    }
}

/// "Network in network": the same linear map of the channels at every pixel; `W` [inputs, outputs], `b` `[outputs]`.
pub struct Nin {
    weight: Tensor,
    bias: Tensor,
}

impl Nin {
    pub fn new(builder: &Builder, inputs: i64, outputs: i64, scale: f64) -> Nin {
        Nin {
            weight: builder.parameter("W", &[inputs, outputs], average_fan(scale, inputs, outputs)),
            bias: builder.parameter("b", &[outputs], Init::Constant(0.0)),
        }
    }

    /// Of pixels [..., inputs].
    pub fn on_pixels(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight.tr(), Some(&self.bias))
    }

    /// Of images [B, inputs, H, W].
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.on_pixels(&x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
    }
}

/// Group normalisation with a learned scale and shift per channel. Wu & He 2018; ε = 1e-6.
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
}

impl GroupNorm {
    pub fn new(builder: &Builder, channels: i64, groups: i64) -> GroupNorm {
        GroupNorm {
            weight: builder.parameter("weight", &[channels], Init::Constant(1.0)),
            bias: builder.parameter("bias", &[channels], Init::Constant(0.0)),
            groups,
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        native::norm(x, &self.weight, &self.bias, self.groups, &Then::Nothing)
    }

    /// SiLU of it, with what `mask` drops.
    pub(super) fn active(&self, x: &Tensor, mask: Option<&Mask>) -> Tensor {
        native::norm(x, &self.weight, &self.bias, self.groups, &Then::Silu(mask))
    }
}

/// x + h, divided by √2 where `rescale`, so that the sum of two independent signals of variance 1 has variance 1.
pub fn merge(x: &Tensor, h: &Tensor, rescale: bool) -> Tensor {
    let mut sum = x + h;
    if rescale { sum.g_mul_scalar_(std::f64::consts::FRAC_1_SQRT_2) } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, no_grad};

    #[test]
    fn weights_start_with_the_variance_of_their_average_fan() {
        tch::set_num_threads(1);
        let builder = Builder::new(1, Kind::Double, Device::Cpu);
        let layers = [
            (Linear::new(&builder, 128, 512, 1.0).weight, 1.0 / 320.0),
            (Conv2d::new(&builder, 64, 128, 3, 1.0).weight, 1.0 / (9.0 * 96.0)),
            (Conv2d::new(&builder, 64, 128, 3, 0.0).weight, 1e-10 / (9.0 * 96.0)),
            (Nin::new(&builder, 256, 128, 0.1).weight, 0.1 / 192.0),
        ];
        for (weight, variance) in layers {
            let ratio = weight.var(false).double_value(&[]) / variance;
            assert!((ratio - 1.0).abs() < 0.02, "{:?}: variance is {ratio} of what it should be", weight.size());
        }
    }

    #[test]
    fn up_is_the_same_correlation_on_a_stretched_image() {
        tch::set_num_threads(1);
        let builder = Builder::new(2, Kind::Double, Device::Cpu);
        let layer = Conv2d::new(&builder, 2, 3, 3, 1.0);
        no_grad(|| {
            let x = Tensor::randn([2, 2, 4, 5], (Kind::Double, Device::Cpu));
            let stretched = Tensor::zeros([2, 2, 7, 9], (Kind::Double, Device::Cpu));
            stretched.slice(2, 0, 7, 2).slice(3, 0, 9, 2).copy_(&x);
            let truth = layer.forward(&stretched.constant_pad_nd([1, 1, 1, 1]));
            assert!((layer.up(&x) + layer.bias() - truth).abs().max().double_value(&[]) < 1e-14);
        });
    }
}
