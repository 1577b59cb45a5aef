//! `[condition.*]`: what a model is told of an example.

use std::path::PathBuf;

use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Data, Split, npy};
use crate::error::{Error, Fault, Result};

/// `[condition.*]`: a network is told of each example, beside its noise label, what is known of it, and learns the law of x given that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum ConditionSpec {
    /// The class, by the labels of the data.
    Class(Class),
    /// Numbers of a file: with parameters of a simulator for the data and what it made of them here, the law is the posterior.
    Vector(Vector),
}

/// `[condition.class]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// The probability, 0 or more and below 1, with which training hides the class, so that the network learns the law of all classes as well
    /// (Ho & Salimans 2022, arXiv 2207.12598, who use 0.1 and 0.2); guidance needs it. For a network; an exact score knows both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
}

/// `[condition.vector]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// An `.npy` array [N, M] of numbers with a row for each example to train on, in their order.
    pub train: PathBuf,
    /// The same for the examples to measure.
    pub test: PathBuf,
    /// What the numbers are divided by, above 0.
    pub scale: f64,
    /// As in `[condition.class]`.
    pub dropout: f64,
}

/// What is known of the examples of a split.
pub struct Conditions {
    rows: Rows,
    /// M.
    width: usize,
}

enum Rows {
    Classes(Vec<u32>),
    Vectors(Array2<f32>, f64),
}

impl ConditionSpec {
    /// The table under `[condition]`.
    pub fn name(&self) -> &'static str {
        match self {
            ConditionSpec::Class(_) => "class",
            ConditionSpec::Vector(_) => "vector",
        }
    }

    /// A fault's key is relative to `[condition]`. A network learns; a known score does not.
    pub fn check(&self, data: &Data, learns: bool) -> Result<(), Fault> {
        match self {
            ConditionSpec::Class(_) if !data.has_labels() => {
                let help = match data.label_key() {
                    Some((key, choices)) => format!("give {key} = {choices}"),
                    None => {
                        "use data with labels: images, idx, npy-images, npy-vectors, csv, cifar10, imagenet or gaussian-mixture".to_owned()
                    }
                };
                return Err(Fault::new("class", format!("the data, [data.{}], have no labels", data.name()), help));
            }
            ConditionSpec::Vector(Vector { scale, .. }) if !(*scale > 0.0 && scale.is_finite()) => {
                return Err(Fault::new("vector.scale", format!("scale is {scale}"), "give a number above 0, such as 1.0"));
            }
            ConditionSpec::Vector(_) if !learns => {
                return Err(Fault::new("vector", "an exact score knows classes alone", "train a network, or use [condition.class]"));
            }
            _ => {}
        }
        let key = format!("{}.dropout", self.name());
        match (self.written_dropout(), learns) {
            (Some(_), false) => Err(Fault::new(key, "an exact score is not trained", "remove it")),
            (None, true) => Err(Fault::new(key, "there is no dropout", "give 0.1, or 0 for a network that always sees the class")),
            (Some(dropout), true) if !(0.0..1.0).contains(&dropout) => {
                Err(Fault::new(key, format!("dropout is {dropout}"), "give a probability, 0 or more and below 1, such as 0.1"))
            }
            _ => Ok(()),
        }
    }

    /// Whether one row means the same to both.
    pub fn tells_as(&self, other: &ConditionSpec) -> bool {
        match (self, other) {
            (ConditionSpec::Class(_), ConditionSpec::Class(_)) => true,
            (ConditionSpec::Vector(here), ConditionSpec::Vector(there)) => here.scale == there.scale,
            _ => false,
        }
    }

    fn written_dropout(&self) -> Option<f64> {
        match self {
            ConditionSpec::Class(Class { dropout }) => *dropout,
            ConditionSpec::Vector(Vector { dropout, .. }) => Some(*dropout),
        }
    }

    /// The probability with which training hides what is known.
    pub fn dropout(&self) -> f64 {
        self.written_dropout().unwrap_or_default()
    }

    /// Whether the model knows the law of x without a condition as well.
    pub fn knows_all(&self) -> bool {
        self.written_dropout() != Some(0.0)
    }

    /// The numbers M that a network is told, by the training split: as many as there are classes, or one and those of the file.
    pub fn width(&self, data: &Data) -> Result<usize> {
        Ok(match self {
            ConditionSpec::Class(_) => data.classes()?,
            ConditionSpec::Vector(Vector { train, .. }) => 1 + npy::describe_vectors(train)?[1],
        })
    }

    /// What is known of the `len` examples of a split, in `width` numbers. Errors: of the files, which must fit the examples and each other.
    pub fn open(&self, data: &Data, split: Split, seed: u64, len: usize, width: usize) -> Result<Conditions> {
        let help = "give as many rows as the split has examples, of what training has";
        let rows = match self {
            ConditionSpec::Class(_) => {
                let labels = data.labels(split, seed)?;
                let key = data.label_key().map_or_else(String::new, |(key, _)| key);
                let fits = labels.len() == len;
                if let Some(class) = labels.iter().find(|class| **class as usize >= width).filter(|_| fits) {
                    let message = format!("its labels hold class {class}, and those for training only 0 to {}", width - 1);
                    return Err(Fault::new(key, message, "train with all classes").into());
                }
                if !fits {
                    let message = format!("there are {} labels for {len} examples", labels.len());
                    return Err(Fault::new(key, message, help).into());
                }
                Rows::Classes(labels)
            }
            ConditionSpec::Vector(Vector { train, test, scale, .. }) => {
                let path = split.of(train, test);
                let values = npy::read_vectors(path)?;
                if values.dim() != (len, width - 1) {
                    let message = format!("has shape {:?}, and [{len}, {}] is wanted", values.shape(), width - 1);
                    return Err(Error::data(path, message, help));
                }
                Rows::Vectors(values, *scale)
            }
        };
        Ok(Conditions { rows, width })
    }

    /// What a network is told of a vector `[M - 1]` in the units of its file.
    pub fn row_of(&self, values: &[f64]) -> Vec<f32> {
        let scale = if let ConditionSpec::Vector(vector) = self { vector.scale } else { 1.0 };
        told(values.iter().copied(), scale).collect()
    }
}

/// That something is known, and what.
fn told(values: impl Iterator<Item = f64>, scale: f64) -> impl Iterator<Item = f32> {
    std::iter::once(1.0).chain(values.map(move |value| (value / scale) as f32))
}

impl Conditions {
    /// The class of an example, where it has one.
    pub fn class(&self, example: usize) -> Option<usize> {
        match &self.rows {
            Rows::Classes(labels) => Some(labels[example] as usize),
            Rows::Vectors(..) => None,
        }
    }

    /// The share of each class among the examples, where there are classes; 1 of one that no example has.
    pub fn shares(&self) -> Option<Vec<f64>> {
        let Rows::Classes(labels) = &self.rows else { return None };
        let mut shares = vec![0.0; self.width];
        labels.iter().for_each(|label| shares[*label as usize] += 1.0 / labels.len() as f64);
        shares.iter_mut().filter(|share| **share == 0.0).for_each(|share| *share = 1.0);
        Some(shares)
    }

    /// [B, M], f32, on the CPU: a class as a one and zeros, a vector as a one and its numbers, so that no row is all zeros.
    pub fn of(&self, examples: &[usize]) -> Tensor {
        let mut rows = vec![0f32; examples.len() * self.width];
        for (row, &example) in rows.chunks_exact_mut(self.width).zip(examples) {
            match &self.rows {
                Rows::Classes(labels) => row[labels[example] as usize] = 1.0,
                Rows::Vectors(values, scale) => {
                    let values = values.row(example);
                    row.iter_mut().zip(told(values.iter().map(|&value| f64::from(value)), *scale)).for_each(|(out, value)| *out = value);
                }
            }
        }
        Tensor::from_slice(&rows).view([examples.len() as i64, self.width as i64])
    }
}
