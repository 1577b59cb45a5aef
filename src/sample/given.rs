//! `[sample.given]`: what samples of a conditional model are given.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::data::{ConditionSpec, Split};
use crate::error::Fault;
use crate::tensor::select;

/// `[sample.given]`: what is known of the samples, of a model with `[condition.*]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum GivenSpec {
    /// All classes in turn: sample i is of class i mod K. The picture has a row for each.
    EachClass,
    /// These classes in turn.
    Classes(Vec<usize>),
    /// What is known of one example.
    Example {
        split: Split,
        /// Counted from 0.
        index: usize,
    },
    /// What is known of the first `count` examples of a split, in turn.
    Examples {
        split: Split,
        /// 1 to as many as the split has.
        count: usize,
    },
    /// An `.npy` file of M numbers, in the units of the files of `[condition.vector]`.
    File(PathBuf),
}

impl GivenSpec {
    /// A fault's key is relative to `[sample.given]`.
    pub fn check(&self, condition: &ConditionSpec) -> Result<(), Fault> {
        match (self, condition) {
            (GivenSpec::Classes(classes), ConditionSpec::Class(_)) if classes.is_empty() => {
                Err(Fault::new("classes", "there are no classes", "give some, such as [0, 1], or given = \"each-class\""))
            }
            (GivenSpec::EachClass | GivenSpec::Classes(_), ConditionSpec::Vector(_)) => {
                let help = "give example = { split = \"test\", index = 0 } or file = \"x.npy\"";
                Err(Fault::new("", "the condition, [condition.vector], is no class", help))
            }
            (GivenSpec::Examples { count: 0, .. }, _) => Err(Fault::new("examples.count", "there are no examples", "give at least 1")),
            (GivenSpec::File(_), ConditionSpec::Class(_)) => {
                Err(Fault::new("file", "the condition is a class, [condition.class]", "give classes = [0, 1], or given = \"each-class\""))
            }
            _ => Ok(()),
        }
    }

    /// Whether the model can be told of these, of `classes` classes. A fault's key is relative to `[sample.given]`.
    pub fn check_against(&self, classes: usize) -> Result<(), Fault> {
        let GivenSpec::Classes(wanted) = self else { return Ok(()) };
        match wanted.iter().find(|class| **class >= classes) {
            None => Ok(()),
            Some(class) => {
                let message = format!("there is no class {class}: the data have {classes}, counted from 0");
                Err(Fault::new("classes", message, format!("give numbers up to {}", classes - 1)))
            }
        }
    }
}

/// What samples are given.
pub enum Known {
    /// Sample i is of class `wanted[i mod len]`, of so many.
    Classes { wanted: Vec<usize>, classes: usize },
    /// What the model is told of sample i is row i mod N [N, M].
    Rows(Tensor),
}

impl Known {
    /// What the model is told of these samples [rows, M], or [1, M].
    pub fn of(&self, rows: Range<u64>) -> Tensor {
        match self {
            Known::Classes { classes, .. } => {
                let told: Vec<i64> = rows.filter_map(|row| self.class(row)).map(|class| class as i64).collect();
                Tensor::from_slice(&told).one_hot(*classes as i64).to_kind(tch::Kind::Float)
            }
            Known::Rows(told) if told.size()[0] == 1 => told.shallow_clone(),
            Known::Rows(told) => select(told, &rows.map(|row| (row % told.size()[0] as u64) as usize).collect::<Vec<_>>()),
        }
    }

    /// What the model is told, but for classes.
    pub fn rows(&self) -> Option<&Tensor> {
        match self {
            Known::Classes { .. } => None,
            Known::Rows(told) => Some(told),
        }
    }

    /// How many different things samples are given.
    pub fn alternatives(&self) -> usize {
        match self {
            Known::Classes { wanted, .. } => wanted.iter().collect::<BTreeSet<_>>().len(),
            Known::Rows(told) => told.size()[0] as usize,
        }
    }

    /// The class of a sample.
    pub fn class(&self, row: u64) -> Option<usize> {
        match self {
            Known::Classes { wanted, .. } => Some(wanted[(row % wanted.len() as u64) as usize]),
            Known::Rows(_) => None,
        }
    }
}
