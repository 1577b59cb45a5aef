//! What a network is told of an example beside its noise label.

use tch::{Kind, Tensor};

use super::layers::Linear;
use crate::optim::{Builder, Init};

/// What a network is told beside x.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// `[B]`: the noise label c_noise of each example, or `[1]` where they share it; in the network's kind.
    pub noise: &'a Tensor,
    /// [B, M]: a class, one-hot, or other numbers, in any kind; a row of zeros, or `None` for all of them, says that nothing is known.
    pub condition: Option<&'a Tensor>,
}

impl<'a> Told<'a> {
    /// Nothing but the noise label.
    pub fn noise(noise: &'a Tensor) -> Told<'a> {
        Told { noise, condition: None }
    }
}

/// B SiLU(A c + a) + b, which is added to an embedded noise label.
pub(super) struct Conditioning {
    width: i64,
    hidden: Linear,
    output: Linear,
}

impl Conditioning {
    /// For conditions of so many numbers, if any, as so many features.
    pub fn new(width: usize, features: i64, builder: &Builder) -> Option<Conditioning> {
        let width = width as i64;
        (width > 0).then(|| Conditioning {
            width,
            hidden: Linear::new(&builder.part("hidden"), width, features, 1.0),
            output: Linear::new(&builder.part("output"), features, features, 1.0),
        })
    }

    /// `label` [B or 1, features] and the condition.
    pub fn added(&self, label: Tensor, condition: Option<&Tensor>) -> Tensor {
        let condition = match condition {
            Some(condition) => condition.to_kind(label.kind()),
            None => Tensor::zeros([1, self.width], (label.kind(), label.device())),
        };
        label + self.output.forward(&self.hidden.forward(&condition).silu())
    }
}

/// A vector for each class, and one for an unknown one, which are added to an embedded noise label; of other numbers their linear combination, to
/// which that of an unknown class belongs with what they lack of 1.
pub(super) struct Classes {
    /// [features, M + 1]
    weight: Tensor,
}

impl Classes {
    /// For conditions of so many numbers, if any, as so many features.
    pub fn new(count: usize, features: i64, builder: &Builder) -> Option<Classes> {
        (count > 0).then(|| Classes { weight: builder.parameter("weight", &[features, count as i64 + 1], Init::Normal(0.02)) })
    }

    /// `label` [B or 1, features] and the condition.
    pub fn added(&self, label: Tensor, condition: Option<&Tensor>) -> Tensor {
        let known = match condition {
            Some(condition) => condition.to_kind(label.kind()),
            None => Tensor::zeros([1, self.weight.size()[1] - 1], (label.kind(), label.device())),
        };
        let rest = known.sum_dim_intlist(1i64, true, None::<Kind>).neg() + 1.0;
        label + Tensor::cat(&[known, rest], 1).linear(&self.weight, None::<&Tensor>)
    }
}
