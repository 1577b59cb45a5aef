//! The numbers that were measured.

use tch::{Device, Kind, Tensor};

use super::spec::{Observation, Spec};
use crate::data::{Dataset, Summary, chosen, read_npy};
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
    /// Errors: operator, file or example don't fit.
    pub fn check_against(&self, shape: &[usize], seed: u64, set: Option<&Summary>) -> Result<(), Refusal> {
        let operator = self.operator.build(shape, seed, Device::Cpu).map_err(|refusal| refusal.within("operator"))?;
        if self.method.replaces().is_some() && operator.gram().is_none() {
            let help = "use the operators mask, grey or downsampling, or the methods moment-matching or pseudo-inverse";
            return Err(Fault::new("method", "replacement needs an operator with orthogonal rows", help).into());
        }
        match &self.observation {
            Observation::File(_) => self.y_of_file(&*operator).map(drop),
            Observation::Example { index, .. } => set.map_or(Ok(()), |set| Ok(within(*index, set.len)?)),
        }
    }

    /// What is measured; `dataset` is the split of an example. Errors as of [`Spec::check_against`].
    pub fn observed(&self, dataset: &dyn Dataset, seed: u64, device: Device) -> Result<Observed, Refusal> {
        let operator = self.operator.build(dataset.shape(), seed, device).map_err(|refusal| refusal.within("operator"))?;
        let (y, example) = match self.observation {
            Observation::File(_) => (self.y_of_file(&*operator)?.to_device(device), None),
            Observation::Example { index, .. } => {
                within(index, dataset.len())?;
                let example = chosen(dataset, &[index]);
                let noise = rng::rows(Law::Gaussian, seed, Purpose::Measurement, 1..2, 0, &[operator.rows()], device);
                let y = operator.apply(&example.to_device(device).to_kind(Kind::Double)) + noise.to_kind(Kind::Double) * self.noise;
                (y.squeeze_dim(0), Some(example))
            }
        };
        Ok(Observed { measurement: Measurement { operator, y, sigma: self.noise }, example })
    }

    fn y_of_file(&self, operator: &dyn Operator) -> Result<Tensor, Refusal> {
        let Observation::File(path) = &self.observation else {
            return Err(Fault::new("observation", "it is no file", "give a file").into());
        };
        let (shape, y) = read_npy(path)?;
        if y.len() as i64 != operator.rows() || y.iter().any(|y| !y.is_finite()) {
            let message = format!("has shape {shape:?}, and this operator measures {} finite numbers", operator.rows());
            return Err(Error::data(path, message, "give y = A x, in the data's units").into());
        }
        Ok(Tensor::from_slice(&y))
    }
}

fn within(index: usize, len: usize) -> Result<(), Fault> {
    if index < len {
        return Ok(());
    }
    let message = format!("there is no example {index}: the split has {len}, counted from 0");
    Err(Fault::new("observation.example.index", message, format!("give a number up to {}", len - 1)))
}
