//! Some numbers of an example.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{Operator, Refusal, image};
use crate::data::read_npy;
use crate::error::{Error, Fault};
use crate::rng::{self, Purpose};
use crate::tensor::to_vec;

/// Which numbers are seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Spec {
    /// Images: all but a box [top, left, height, width], in pixels.
    HiddenBox([usize; 4]),
    /// Each place of an image, or each component of a vector, with this probability, in (0, 1): a function of the seed.
    Random(f64),
    /// Components of a vector, counted from 0, in rising order: that of y.
    Components(Vec<usize>),
    /// An `.npy` file [H, W] or `[D]` of numbers, those that are not 0 where an example is seen.
    File(PathBuf),
}

/// A picks the numbers that are seen.
pub struct Mask {
    /// Where they are in an example, `[M]`.
    places: Tensor,
    /// Of one example.
    shape: Vec<i64>,
}

impl Mask {
    pub fn new(spec: &Spec, shape: &[usize], seed: u64, device: Device) -> Result<Mask, Refusal> {
        let places = shape[shape.len().saturating_sub(2)..].iter().product::<usize>();
        let seen = match spec {
            Spec::HiddenBox(hidden) => outside(*hidden, shape)?,
            Spec::Random(probability) if *probability > 0.0 && *probability < 1.0 => {
                rng::uniform(seed, Purpose::Measurement, 0, places).into_iter().map(|u| u < *probability).collect()
            }
            Spec::Random(probability) => {
                return Err(Fault::new("random", format!("the probability is {probability}"), "give a number between 0 and 1").into());
            }
            Spec::Components(chosen) => components(chosen, shape)?,
            Spec::File(path) => of_file(path, shape)?,
        };
        Ok(Mask::seeing(&seen, shape, device)?)
    }

    /// `seen` of each place; of an image all channels of it.
    pub fn seeing(seen: &[bool], shape: &[usize], device: Device) -> Result<Mask, Fault> {
        let channels = shape.iter().product::<usize>() / seen.len();
        let of_channel = |c: usize| seen.iter().enumerate().filter(|(_, seen)| **seen).map(move |(i, _)| (c * seen.len() + i) as i64);
        let places: Vec<i64> = (0..channels).flat_map(of_channel).collect();
        if places.is_empty() {
            return Err(Fault::new("", "nothing of an example is seen", "leave out the measurement, or show more"));
        }
        Ok(Mask { places: Tensor::from_slice(&places).to_device(device), shape: shape.iter().map(|&n| n as i64).collect() })
    }
}

fn outside([top, left, height, width]: [usize; 4], shape: &[usize]) -> Result<Vec<bool>, Fault> {
    let [_, h, w] = image(shape, "a box")?.map(|n| n as usize);
    if height == 0 || width == 0 || top.saturating_add(height) > h || left.saturating_add(width) > w {
        let message = format!("the box [{top}, {left}, {height}, {width}] is not within {h} x {w} pixels");
        return Err(Fault::new("hidden-box", message, "give [top, left, height, width] of a box within the image"));
    }
    let hidden = |i: usize| (top..top + height).contains(&(i / w)) && (left..left + width).contains(&(i % w));
    Ok((0..h * w).map(|i| !hidden(i)).collect())
}

fn components(chosen: &[usize], shape: &[usize]) -> Result<Vec<bool>, Fault> {
    let &[d] = shape else {
        return Err(Fault::new("components", "the data are images", "use hidden-box, random or file"));
    };
    if !chosen.is_sorted_by(|a, b| a < b) {
        return Err(Fault::new("components", "they are not in rising order", "give each once, the lowest first: so y has them"));
    }
    if let Some(beyond) = chosen.iter().find(|&&i| i >= d) {
        let message = format!("there is no component {beyond}: the data have {d}, counted from 0");
        return Err(Fault::new("components", message, format!("give numbers up to {}", d - 1)));
    }
    Ok((0..d).map(|i| chosen.contains(&i)).collect())
}

fn of_file(path: &PathBuf, shape: &[usize]) -> Result<Vec<bool>, Error> {
    let expected = match *shape {
        [_, h, w] => vec![h, w],
        _ => shape.to_vec(),
    };
    let (found, values) = read_npy(path)?;
    if found != expected {
        let message = format!("has shape {found:?}, and a mask of these data has {expected:?}");
        return Err(Error::data(path, message, "give a mask of one example"));
    }
    if values.iter().any(|value| value.is_nan()) {
        return Err(Error::data(path, "holds what is not a number", "give 0 where nothing is seen"));
    }
    Ok(values.iter().map(|&value| value != 0.0).collect())
}

impl Operator for Mask {
    fn apply(&self, x: &Tensor) -> Tensor {
        x.flatten(1, -1).index_select(1, &self.places)
    }

    fn adjoint(&self, y: &Tensor) -> Tensor {
        let size = [&[y.size()[0]], self.shape.as_slice()].concat();
        let flat = Tensor::zeros([size[0], size[1..].iter().product()], (y.kind(), y.device()));
        flat.index_copy(1, &self.places, y).view(size.as_slice())
    }

    fn rows(&self) -> i64 {
        self.places.size()[0]
    }

    fn gram(&self) -> Option<f64> {
        Some(1.0)
    }
}

impl Mask {
    /// 1 where an example is seen, 0 elsewhere: [1, ...].
    pub fn seen(&self) -> Tensor {
        self.adjoint(&Tensor::ones([1, self.rows()], (Kind::Double, self.places.device())))
    }

    /// The places of the numbers in an example.
    pub fn places(&self) -> Vec<usize> {
        to_vec(&self.places).into_iter().map(|place| place as usize).collect()
    }
}
