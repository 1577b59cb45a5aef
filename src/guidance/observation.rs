//! The numbers that were measured.

use std::path::Path;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::Replacement;
use super::spec::{Method, Observation, Spec};
use crate::data::{Dataset, Split, Summary, chosen, read_npy};
use crate::error::{Error, Fault};
use crate::measurement::{Measurement, Operator, Refusal};
use crate::rng::{self, Law, Purpose};

/// A measurement in the data's units, and the example that it is of, if that is known.
pub struct Observed {
    pub measurement: Measurement,
    /// [1, ...], f32.
    pub example: Option<Tensor>,
}

impl Spec {
    /// Whether there is such a measurement of data of `shape`, whose split is described. A fault's key is relative to `[sample.measurement]`.
    ///
    /// Errors: operator, method, file or example don't fit.
    pub fn check_against(&self, shape: &[usize], seed: u64, set: Option<&Summary>) -> Result<(), Refusal> {
        let operator = self.operator(shape, seed, Device::Cpu)?;
        match &self.observation {
            Observation::File(path) => y_of(path, &*operator).map(drop),
            Observation::Example { index, .. } => set.map_or(Ok(()), |set| Ok(within(*index, set.len)?)),
        }
    }

    /// What is measured of data of `shape`; `open` opens a split. Errors as of [`Spec::check_against`], and of the split.
    pub fn observed(
        &self,
        shape: &[usize],
        open: impl FnOnce(Split) -> Result<Arc<dyn Dataset>, Error>,
        seed: u64,
        device: Device,
    ) -> Result<Observed, Refusal> {
        let operator = self.operator(shape, seed, device)?;
        let (y, example) = match &self.observation {
            Observation::File(path) => (y_of(path, &*operator)?.to_device(device), None),
            Observation::Example { split, index } => {
                let dataset = open(*split)?;
                within(*index, dataset.len())?;
                let example = chosen(&*dataset, &[*index])?;
                let noise = rng::rows(Law::Gaussian, seed, Purpose::Measurement, 1..2, 0, &[operator.rows()], device);
                let y = operator.apply(&example.to_device(device).to_kind(Kind::Double)) + noise.to_kind(Kind::Double) * self.noise;
                (y.squeeze_dim(0), Some(example))
            }
        };
        Ok(Observed { measurement: Measurement { operator, y, sigma: self.noise }, example })
    }

    /// A, if the method can serve it.
    fn operator(&self, shape: &[usize], seed: u64, device: Device) -> Result<Box<dyn Operator>, Refusal> {
        let operator = self.operator.build(shape, seed, device).map_err(|refusal| refusal.within("operator"))?;
        if operator.gram().is_some() {
            return Ok(operator);
        }
        if self.method.replaces().is_some() {
            return Err(Replacement::needs_orthogonal_rows().into());
        }
        if matches!(self.method, Method::PseudoInverse { .. } | Method::Particles { .. }) && operator.rows() > MOST_ROWS {
            let message = format!("this operator measures {} numbers, too many for the eigenvectors of A Aᵀ", operator.rows());
            return Err(Fault::new("method", message, "use moment-matching, which needs none").into());
        }
        Ok(operator)
    }
}

/// Rows of an operator whose A Aᵀ is taken apart: half a gigabyte of numbers.
const MOST_ROWS: i64 = 8192;

fn y_of(path: &Path, operator: &dyn Operator) -> Result<Tensor, Refusal> {
    let (shape, y) = read_npy(path)?;
    if y.len() as i64 != operator.rows() || y.iter().any(|y| !y.is_finite()) {
        let message = format!("has shape {shape:?}, and this operator measures {} finite numbers", operator.rows());
        return Err(Error::data(path, message, "give y = A x, in the data's units").into());
    }
    Ok(Tensor::from_slice(&y))
}

fn within(index: usize, len: usize) -> Result<(), Fault> {
    if index < len {
        return Ok(());
    }
    let message = format!("there is no example {index}: the split has {len}, counted from 0");
    Err(Fault::new("observation.example.index", message, format!("give a number up to {}", len - 1)))
}
