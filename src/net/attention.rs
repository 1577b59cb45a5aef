//! Self-attention over the pixels of an image.

use tch::Tensor;

use super::block::Style;
use super::layers::{GroupNorm, Nin, merge};
use crate::optim::Builder;

/// One head: softmax(qᵀ k / √C) over all pixels. Vaswani et al. 2017, eq. 1; Ho et al. 2020, app. B.
pub struct Attention {
    norm: GroupNorm,
    query: Nin,
    key: Nin,
    value: Nin,
    out: Nin,
    rescale: bool,
}

impl Attention {
    pub fn new(channels: i64, style: &Style, builder: &Builder) -> Attention {
        let nin = |name, scale| Nin::new(&builder.part(name), channels, channels, scale);
        Attention {
            norm: style.norm(&builder.part("GroupNorm_0"), channels),
            query: nin("NIN_0", 0.1),
            key: nin("NIN_1", 0.1),
            value: nin("NIN_2", 0.1),
            out: nin("NIN_3", style.init_scale),
            rescale: style.skip_rescale,
        }
    }

    /// Plain matrix products on pixels [B, H W, C], as they are in memory: measured on a CPU they are as fast as the fused attention operator
    /// on the 256 pixels at which these networks attend, and unlike it they have second derivatives.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (_, channels, height, width) = x.size4().expect("an image batch [B, C, H, W]");
        let pixels = self.norm.forward(x).permute([0, 2, 3, 1]).flatten(1, 2);
        let [query, key, value] = [&self.query, &self.key, &self.value].map(|nin| nin.on_pixels(&pixels));
        let weights = (query * (channels as f64).powf(-0.5)).bmm(&key.transpose(1, 2)).softmax(-1, None);
        let h = self.out.on_pixels(&weights.bmm(&value)).unflatten(1, [height, width]).permute([0, 3, 1, 2]);
        merge(x, &h, self.rescale)
    }
}
