//! Linear measurements y = A x + σ n of an example, n ~ N(0, I).

mod blur;
mod downsampling;
mod grey;
mod mask;
mod matrix;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Fault};
use crate::tensor::{select, to_vec};
pub use blur::Blur;
pub use downsampling::Downsampling;
pub use grey::Grey;
pub use mask::Mask;
pub use matrix::Matrix;

/// A linear map of examples [B, ...] to measurements [B, M], in the kind of its input.
pub trait Operator {
    /// A x.
    fn apply(&self, x: &Tensor) -> Tensor;
    /// Aᵀ y, of the examples' shape.
    fn adjoint(&self, y: &Tensor) -> Tensor;
    /// M.
    fn rows(&self) -> i64;
    /// c, where A Aᵀ = c I.
    fn gram(&self) -> Option<f64> {
        None
    }
}

/// A, and its shape without the batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum OperatorSpec {
    /// The numbers of an example that are seen.
    Mask(mask::Spec),
    /// Colour images: the mean of the channels times √C, as the first row of an orthogonal transform has it; the reference's colourisation.
    Grey {},
    /// A Gaussian blur of images, or of the components of vectors as they follow each other; 0 (black) beyond the edges.
    Blur(blur::Spec),
    /// The means of blocks of `factor` x `factor` pixels of images, or of `factor` components of vectors.
    Downsampling(downsampling::Spec),
    /// Any matrix [M, D] of an `.npy` file, on the numbers of an example in their order [C, H, W].
    Matrix(matrix::Spec),
}

impl OperatorSpec {
    /// The operator for examples of `shape`. A fault's key is relative to the operator's table.
    ///
    /// Errors: it does not fit the shape; a file is missing, damaged or of another shape.
    pub fn build(&self, shape: &[usize], seed: u64, device: Device) -> Result<Box<dyn Operator>, Refusal> {
        Ok(match self {
            OperatorSpec::Mask(spec) => Box::new(Mask::new(spec, shape, seed, device).map_err(|refusal| refusal.within("mask"))?),
            OperatorSpec::Grey {} => Box::new(Grey::new(shape).map_err(|fault| fault.within("grey"))?),
            OperatorSpec::Blur(spec) => Box::new(Blur::new(spec, shape, device).map_err(|fault| fault.within("blur"))?),
            OperatorSpec::Downsampling(spec) => Box::new(Downsampling::new(spec, shape).map_err(|fault| fault.within("downsampling"))?),
            OperatorSpec::Matrix(spec) => Box::new(Matrix::new(spec, shape, device).map_err(|refusal| refusal.within("matrix"))?),
        })
    }
}

/// Why there is no such operator.
#[derive(Debug)]
pub enum Refusal {
    Fault(Fault),
    File(Error),
}

impl Refusal {
    /// With the key relative to the table around it.
    pub fn within(self, table: &str) -> Refusal {
        match self {
            Refusal::Fault(fault) => Refusal::Fault(fault.within(table)),
            Refusal::File(error) => Refusal::File(error),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Fault(fault) => fault.into(),
            Refusal::File(error) => error,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::Fault(fault)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::File(error)
    }
}

/// A measurement that was made: A, y and σ in the space of the examples.
pub struct Measurement {
    pub operator: Box<dyn Operator>,
    /// y `[M]` of all examples, or [B, M], one of each example of the batch that is solved for; f64.
    pub y: Tensor,
    /// σ, above 0.
    pub sigma: f64,
}

impl Measurement {
    /// The same in model space, where x = slope · x_model + shift: A x_model = (y - A shift) / slope.
    pub fn in_model_space(self, shape: &[usize], slope: f64, shift: f64) -> Measurement {
        let sizes: Vec<i64> = std::iter::once(1).chain(shape.iter().map(|&n| n as i64)).collect();
        let shift = self.operator.apply(&Tensor::full(sizes.as_slice(), shift, (Kind::Double, self.y.device())));
        Measurement { y: (&self.y - shift.squeeze_dim(0)) / slope, sigma: self.sigma / slope, operator: self.operator }
    }

    /// y - A x [B, M] for x [B, ...], of these rows of the batch; `None` for all of them ([`At::rows`](crate::model::At::rows)).
    pub fn residual(&self, x: &Tensor, rows: Option<&[usize]>) -> Tensor {
        let y = match rows {
            Some(rows) if self.y.dim() == 2 => select(&self.y, rows),
            _ => self.y.shallow_clone(),
        };
        y.to_kind(x.kind()) - self.operator.apply(x)
    }
}

/// What tells an operator from others: the numbers of what its adjoint makes of one vector, whose own are all different.
pub fn mark_of(operator: &dyn Operator, device: Device) -> Vec<f64> {
    to_vec(&operator.adjoint(&(Tensor::arange(operator.rows(), (Kind::Double, device)) + 1.0).sqrt().unsqueeze(0)))
}

/// The matrix [M, D] of an operator on examples of `shape`, f64.
pub fn matrix_of(operator: &dyn Operator, shape: &[usize], device: Device) -> Tensor {
    let d = shape.iter().product::<usize>() as i64;
    let sizes: Vec<i64> = std::iter::once(d).chain(shape.iter().map(|&n| n as i64)).collect();
    operator.apply(&Tensor::eye(d, (Kind::Double, device)).view(sizes.as_slice())).tr()
}

/// [C, H, W]; a vector is one line of one channel. Fault: the data are neither.
fn planes(shape: &[usize], operator: &str) -> Result<[i64; 3], Fault> {
    match shape {
        &[d] => Ok([1, 1, d as i64]),
        _ => image(shape, operator),
    }
}

/// [C, H, W], or why there is none.
fn image(shape: &[usize], operator: &str) -> Result<[i64; 3], Fault> {
    match shape {
        &[channels, height, width] => Ok([channels as i64, height as i64, width as i64]),
        _ => {
            let message = format!("{operator} is of images, and the data are of shape {shape:?}");
            Err(Fault::new("", message, "use mask or matrix"))
        }
    }
}

#[cfg(test)]
mod tests;
