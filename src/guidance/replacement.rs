//! What is known of x put in its place, at its level of noise.

use tch::Tensor;

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
    /// other. None where A Aᵀ is no multiple of the identity.
    pub fn new(measurement: &'a Measurement, visits: usize) -> Option<Replacement<'a>> {
        measurement.operator.gram().map(|gram| Replacement { measurement, visits, gram })
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
