//! Any linear map of a file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::{Operator, Refusal};
use crate::data::read_npy;
use crate::error::{Error, Fault};

/// Where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// An `.npy` file [M, D] of f32 or f64.
    pub file: PathBuf,
}

/// A given by its numbers.
pub struct Matrix {
    /// [M, D], f64.
    a: Tensor,
    /// Of one example.
    shape: Vec<i64>,
}

impl Matrix {
    pub fn new(Spec { file: path }: &Spec, shape: &[usize], device: Device) -> Result<Matrix, Refusal> {
        let d = shape.iter().product::<usize>();
        let (found, values) = read_npy(path)?;
        if found.len() != 2 || found[1] != d || found[0] == 0 {
            let message = format!("has shape {found:?}, and a matrix for these data has [M, {d}]");
            return Err(Error::data(path, message, "give a row for each measured number").into());
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Fault::new("file", format!("{} holds numbers that are not finite", path.display()), "give finite numbers").into());
        }
        Ok(Matrix::of(&Tensor::from_slice(&values).view([found[0] as i64, d as i64]).to_device(device), shape))
    }

    /// A [M, D], f64, on examples of `shape`.
    pub fn of(a: &Tensor, shape: &[usize]) -> Matrix {
        Matrix { a: a.shallow_clone(), shape: shape.iter().map(|&n| n as i64).collect() }
    }
}

impl Operator for Matrix {
    fn apply(&self, x: &Tensor) -> Tensor {
        x.flatten(1, -1).matmul(&self.a.to_kind(x.kind()).tr())
    }

    fn adjoint(&self, y: &Tensor) -> Tensor {
        let size = [&[y.size()[0]], self.shape.as_slice()].concat();
        y.matmul(&self.a.to_kind(y.kind())).view(size.as_slice())
    }

    fn rows(&self) -> i64 {
        self.a.size()[0]
    }
}
