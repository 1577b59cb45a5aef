//! Images at half and at double size.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::layers::Conv2d;
use crate::error::Fault;
use crate::optim::Builder;

/// The filter of resampling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum FilterSpec {
    /// Mean of 2x2 pixels down, nearest neighbour up.
    Naive,
    /// A separable low-pass filter given by the 2 to 64 taps of one axis, an even number, normalised here: `[1, 3, 3, 1]` in the reference. Zhang 2019; Karras et
    /// al. 2020, app. B.
    Fir(Vec<f64>),
}

impl FilterSpec {
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            FilterSpec::Fir(taps) if !usable(taps) => Err(Fault::new(
                "resample.fir",
                format!("a filter of {} taps whose sum is {}", taps.len(), taps.iter().sum::<f64>()),
                format!("give an even number of taps, 2 to {MOST_TAPS}, whose sum is not 0, such as [1, 3, 3, 1]"),
            )),
            _ => Ok(()),
        }
    }
}

/// Taps of a filter.
const MOST_TAPS: usize = 64;

/// An odd number of taps would move the image by half a pixel.
fn usable(taps: &[f64]) -> bool {
    let sum: f64 = taps.iter().sum();
    (2..=MOST_TAPS).contains(&taps.len()) && taps.len().is_multiple_of(2) && sum.is_finite() && sum != 0.0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, normal};
    use tch::{Device, Kind};

    /// The definition: zeros after each pixel (`up` - 1 of them), zeros around, every `down`-th sum of `taps` times pixels; one axis.
    fn filter_line(line: &[f64], taps: &[f64], up: usize, down: usize, [before, after]: [usize; 2]) -> Vec<f64> {
        let mut stretched = vec![0.0; before];
        for &pixel in line {
            stretched.push(pixel);
            stretched.resize(stretched.len() + up - 1, 0.0);
        }
        stretched.resize(stretched.len() + after, 0.0);
        let sum = taps.iter().sum::<f64>() / up as f64;
        let flipped = || taps.iter().rev().map(|tap| tap / sum);
        stretched.windows(taps.len()).step_by(down).map(|w| w.iter().zip(flipped()).map(|(a, b)| a * b).sum()).collect()
    }

    fn apply(spec: &FilterSpec, direction: Direction, x: &Tensor) -> Tensor {
        Filter::new(spec, &Builder::new(0, Kind::Double, Device::Cpu)).apply(x, direction)
    }

    #[test]
    fn filters_follow_their_definition_on_each_axis() {
        tch::set_num_threads(1);
        let line = [0.3, -1.2, 2.5, 0.7, -0.4, 1.1];
        for taps in [vec![1.0, 3.0, 3.0, 1.0], vec![1.0, 2.0], vec![1.0, 5.0, 10.0, 9.0, 4.0, 2.0]] {
            let (spec, p) = (FilterSpec::Fir(taps.clone()), taps.len() - 2);
            for (direction, up, down, pad) in [(Direction::Down, 1, 2, [p / 2; 2]), (Direction::Up, 2, 1, [p / 2 + 1, p / 2])] {
                let filtered = Tensor::from_slice(&filter_line(&line, &taps, up, down, pad));
                let truth = filtered.outer(&filtered);
                let image = Tensor::from_slice(&line).outer(&Tensor::from_slice(&line));
                let y = apply(&spec, direction, &Tensor::stack(&[&image, &(&image * 2.0)], 0).unsqueeze(0));
                for (channel, factor) in [(0, 1.0), (1, 2.0)] {
                    let error = (y.get(0).get(channel) - &truth * factor).abs().max().double_value(&[]);
                    assert!(error < 1e-14, "{taps:?} {direction:?}: {error:e}");
                }
            }
        }
    }

    #[test]
    fn naive_resampling_is_the_box_filter() {
        tch::set_num_threads(1);
        let x = normal(1, Purpose::Data, 0, &[2, 3, 4, 6], Device::Cpu).to_kind(Kind::Double);
        for direction in [Direction::Down, Direction::Up] {
            let difference = apply(&FilterSpec::Naive, direction, &x) - apply(&FilterSpec::Fir(vec![1.0, 1.0]), direction, &x);
            assert!(difference.abs().max().double_value(&[]) < 1e-15);
        }
    }

    #[test]
    fn filters_that_cannot_work_are_refused() {
        for taps in [vec![], vec![1.0, 2.0, 1.0], vec![1.0, -1.0], vec![f64::NAN, 1.0]] {
            assert_eq!(FilterSpec::Fir(taps).check().unwrap_err().key, "resample.fir");
        }
        assert!(FilterSpec::Fir(vec![1.0, 3.0, 3.0, 1.0]).check().is_ok());
    }
}
