//! Images at half and at double size.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::layers::Conv2d;
use crate::error::Fault;
use crate::optim::Builder;

/// The filter of resampling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum FilterSpec {
    /// Mean of 2x2 pixels down, nearest neighbour up.
    Naive,
    /// A separable low-pass filter given by the taps of one axis, normalised here: `[1, 3, 3, 1]` in the reference. Zhang 2019; Karras et
    /// al. 2020, app. B.
    Fir(Vec<f64>),
}

impl FilterSpec {
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            FilterSpec::Fir(taps) if taps.len() % 2 == 1 || taps.is_empty() || !(taps.iter().sum::<f64>().abs() > 0.0) => Err(Fault::new(
                "resample.fir",
                format!("the filter's taps are {taps:?}"),
                "give an even number of taps whose sum is not 0, such as [1, 3, 3, 1]",
            )),
            _ => Ok(()),
        }
    }
}

/// Which way the size goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Down,
    Up,
}

/// Resampling without parameters: [B, C, H, W] -> [B, C, H/2, W/2] or [B, C, 2H, 2W].
pub enum Filter {
    Naive,
    /// The normalised two-dimensional filter [1, 1, L, L].
    Fir(Tensor),
}

impl Filter {
    pub fn new(spec: &FilterSpec, builder: &Builder) -> Filter {
        match spec {
            FilterSpec::Naive => Filter::Naive,
            FilterSpec::Fir(taps) => {
                let (kind, device) = builder.options();
                let taps = Tensor::from_slice(taps);
                let taps = &taps / taps.sum(None);
                Filter::Fir(taps.outer(&taps).unsqueeze(0).unsqueeze(0).to_kind(kind).to_device(device))
            }
        }
    }

    pub fn apply(&self, x: &Tensor, direction: Direction) -> Tensor {
        match (self, direction) {
            (Filter::Naive, Direction::Down) => x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None),
            (Filter::Naive, Direction::Up) => {
                let (_, _, height, width) = x.size4().expect("an image batch [B, C, H, W]");
                x.upsample_nearest2d([2 * height, 2 * width], None, None)
            }
            (Filter::Fir(kernel), Direction::Down) => correlate(x, kernel, 2, kernel.size()[3] / 2 - 1),
            // Zeros between the pixels take three quarters of the mass, hence the 4.
            (Filter::Fir(kernel), Direction::Up) => {
                let (channels, padding) = (x.size()[1], kernel.size()[3] / 2 - 1);
                let weight = (kernel * 4.0).expand([channels, 1, -1, -1], false);
                x.conv_transpose2d(&weight, None::<&Tensor>, [2, 2], [padding; 2], [0, 0], channels, [1, 1])
            }
        }
    }
}

/// Every channel filtered alone: one grouped convolution, no copy of the image.
fn correlate(x: &Tensor, kernel: &Tensor, stride: i64, padding: i64) -> Tensor {
    let channels = x.size()[1];
    let weight = kernel.flip([2, 3]).expand([channels, 1, -1, -1], false);
    x.conv2d(&weight, None::<&Tensor>, [stride; 2], [padding; 2], [1, 1], channels)
}

/// Resampling as a layer of its own, with a learned 3x3 convolution or without.
pub struct Resample {
    filter: Filter,
    convolution: Option<Conv2d>,
    direction: Direction,
}

impl Resample {
    /// The filter alone.
    pub fn plain(spec: &FilterSpec, direction: Direction, builder: &Builder) -> Resample {
        Resample { filter: Filter::new(spec, builder), convolution: None, direction }
    }

    /// With a convolution; it is called `Conv_0`, or `Conv2d_0` where it is one with a FIR filter, as in the reference.
    pub fn convolved(spec: &FilterSpec, direction: Direction, inputs: i64, outputs: i64, builder: &Builder) -> Resample {
        let name = if *spec == FilterSpec::Naive { "Conv_0" } else { "Conv2d_0" };
        let convolution = Conv2d::new(&builder.part(name), inputs, outputs, 3, 1.0);
        Resample { convolution: Some(convolution), ..Resample::plain(spec, direction, builder) }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let Some(convolution) = &self.convolution else { return self.filter.apply(x, self.direction) };
        match (&self.filter, self.direction) {
            (Filter::Naive, Direction::Down) => convolution.down(&x.constant_pad_nd([0, 1, 0, 1])),
            (Filter::Naive, Direction::Up) => convolution.forward(&self.filter.apply(x, Direction::Up)),
            (Filter::Fir(kernel), Direction::Down) => convolution.down(&correlate(x, kernel, 1, kernel.size()[3] / 2)),
            (Filter::Fir(kernel), Direction::Up) => {
                let padding = kernel.size()[3] / 2 - 1;
                correlate(&convolution.up(x), &(kernel * 4.0), 1, padding) + convolution.bias()
            }
        }
    }
}
