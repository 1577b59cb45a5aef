//! What is known of x put in its place, at its level of noise.

use tch::Tensor;

use crate::error::Fault;
use crate::measurement::Measurement;
use crate::sde::Level;
use crate::solver::Constraint;

/// x ← x + A⁺ (α y + σ A z - A x) for A with A Aᵀ = c I and a normal z: in the span of A's rows x becomes a draw of q(x_t | x_0) (Song et al.
/// 2021, appendix I), elsewhere it stays. σ_y is taken for 0.
pub struct Replacement<'a> {
    measurement: &'a Measurement,
    visits: usize,
    /// c.
    gram: f64,
}

impl<'a> Replacement<'a> {
    /// Of a measurement in model space. With more `visits` of each time (Lugmayr et al. 2022) what is put in and what stays come to fit each
    /// other. Fault: A Aᵀ is no multiple of the identity.
    pub fn new(measurement: &'a Measurement, visits: usize) -> Result<Replacement<'a>, Fault> {
        let gram = measurement.operator.gram().ok_or_else(Replacement::needs_orthogonal_rows)?;
        Ok(Replacement { measurement, visits, gram })
    }

    /// The fault of an operator with no such A Aᵀ, its key relative to `[sample.measurement]`.
    pub fn needs_orthogonal_rows() -> Fault {
        let help = "use the operators mask, grey or downsampling, or the methods moment-matching or pseudo-inverse";
        Fault::new("method", "replacement needs an operator with orthogonal rows", help)
    }

    /// y and A.
    pub fn measurement(&self) -> &Measurement {
        self.measurement
    }

    /// x with α y + `noise` [B, M] for A x.
    fn with(&self, x: &Tensor, alpha: f64, noise: &Tensor) -> Tensor {
        let Measurement { operator, y, .. } = self.measurement;
        x + operator.adjoint(&(y.to_kind(x.kind()) * alpha + noise - operator.apply(x))) / self.gram
    }
}

impl Constraint for Replacement<'_> {
    fn state(&self, x: &Tensor, level: &Level, noise: &Tensor) -> Tensor {
        self.with(x, level.alpha, &(self.measurement.operator.apply(noise) * level.sigma))
    }

    fn mean(&self, x: &Tensor, level: &Level) -> Tensor {
        self.with(x, level.alpha, &Tensor::zeros([1], (x.kind(), x.device())))
    }

    fn visits(&self) -> usize {
        self.visits
    }
}
