//! A model of x given a measurement.

use std::cell::Cell;

use tch::{Device, Kind, Tensor, no_grad};

use super::{Method, conjugate_gradients};
use crate::divergence::Linearised;
use crate::measurement::{Measurement, matrix_of};
use crate::model::{At, Model, Prediction, Quantity};
use crate::sde::{Chain, Sde};
use crate::tensor::column_of;

/// The score of x_t given y.
pub struct Posterior<'a> {
    model: &'a dyn Model,
    /// In model space.
    measurement: &'a Measurement,
    solved: Solved,
}

/// How (σ_y² I + A V Aᵀ) u = y - A x̂ is solved.
enum Solved {
    /// Not at all: the term is -1000 ζ/g² ∇‖y - A x̂‖.
    Dps {
        strength: f64,
    },
    /// V = r² I, with A Aᵀ.
    PseudoInverse {
        data_std: f64,
        gram: Gram,
    },
    MomentMatching {
        iterations: usize,
    },
}

/// A Aᵀ.
enum Gram {
    /// c I.
    Multiple(f64),
    /// U diag(e) Uᵀ: U [M, M] and e `[M]`.
    Eigen { vectors: Tensor, values: Tensor },
}

/// Steps of the chain that a strength of DPS is of.
const STEPS: f64 = 1000.0;

impl<'a> Posterior<'a> {
    /// `measurement` is in model space, of examples of `shape`; the method has passed its checks. None where it is no model, but puts y into
    /// the states of a walk.
    pub fn new(
        model: &'a dyn Model,
        measurement: &'a Measurement,
        method: &Method,
        shape: &[usize],
        device: Device,
    ) -> Option<Posterior<'a>> {
        let solved = match *method {
            Method::Dps { strength } => Solved::Dps { strength },
            Method::MomentMatching { iterations } => Solved::MomentMatching { iterations },
            Method::PseudoInverse { data_std } => Solved::PseudoInverse { data_std, gram: Gram::of(measurement, shape, device) },
            Method::Replacement | Method::Repaint { .. } => return None,
        };
        Some(Posterior { model, measurement, solved })
    }

    /// ∇ ln p(y | x_t) [B, ...] from x̂ with its graph.
    fn term(&self, point: &Linearised, at: &At) -> Tensor {
        let Measurement { operator, sigma, .. } = self.measurement;
        let denoised = point.y.detach();
        let residual = self.measurement.residual(&denoised);
        let column = |of: &dyn Fn(f64) -> f64| column_of(&residual, at.t, of);
        let pulled = |u: &Tensor, again: bool| point.pull(&operator.adjoint(u).flatten(1, -1), again).view_as(at.x);
        let noise = sigma * sigma;
        match &self.solved {
            Solved::Dps { strength } => {
                let norm = residual.square().sum_dim_intlist(1i64, true, None::<Kind>).sqrt().clamp_min(f64::MIN_POSITIVE);
                let rate = column(&|t| STEPS * strength / self.sde().diffusion(t).powi(2));
                pulled(&(&residual / norm * rate), false)
            }
            Solved::PseudoInverse { data_std, gram } => {
                let variance = column(&|t| {
                    let level = self.model.level(t);
                    let (data, noise) = (data_std.powi(2), level.sigma.powi(2));
                    data * noise / (level.alpha.powi(2) * data + noise)
                });
                pulled(&gram.solve(&variance, noise, &residual), false)
            }
            Solved::MomentMatching { iterations } => {
                let factor = column_of(at.x, at.t, |t| self.model.level(t).sigma.powi(2) / self.model.level(t).alpha);
                // Of an exact score the Jacobian is its own transpose.
                let covariance = |u: &Tensor| u * noise + operator.apply(&(pulled(u, true) * &factor));
                let u = conjugate_gradients::solve(covariance, &residual, *iterations);
                pulled(&u, false)
            }
        }
    }
}

impl Gram {
    fn of(measurement: &Measurement, shape: &[usize], device: Device) -> Gram {
        if let Some(multiple) = measurement.operator.gram() {
            return Gram::Multiple(multiple);
        }
        let a = matrix_of(&*measurement.operator, shape, device);
        let (values, vectors) = a.matmul(&a.tr()).linalg_eigh("L");
        Gram::Eigen { vectors, values }
    }

    /// (v A Aᵀ + s I)⁻¹ b [B, M] for v [B, 1].
    fn solve(&self, v: &Tensor, s: f64, b: &Tensor) -> Tensor {
        match self {
            Gram::Multiple(multiple) => b / (v * *multiple + s),
            Gram::Eigen { vectors, values } => {
                let (vectors, values) = (vectors.to_kind(b.kind()), values.to_kind(b.kind()));
                (b.matmul(&vectors) / (v * values + s)).matmul(&vectors.tr())
            }
        }
    }
}

impl Model for Posterior<'_> {
    fn sde(&self) -> &dyn Sde {
        self.model.sde()
    }

    fn predict(&self, at: &At) -> Prediction {
        let interpolation = Cell::new(None);
        let data = |x: &Tensor| {
            let at = at.moved(x);
            let mut said = self.model.predict(&at);
            interpolation.set(said.interpolation.take().map(|v| v.detach()));
            said.into_quantity(Quantity::Data, self.sde(), &|t| self.model.level(t), &at)
        };
        let point = Linearised::at(data, at.x);
        no_grad(|| {
            let term = self.term(&point, at);
            let denoised = Prediction::of(Quantity::Data, point.y.detach());
            let score = denoised.into_quantity(Quantity::Score, self.sde(), &|t| self.model.level(t), at) + term;
            Prediction { interpolation: interpolation.take(), ..Prediction::of_score(score) }
        })
    }

    fn chain(&self) -> Option<&Chain> {
        self.model.chain()
    }

    fn mean_square_error(&self, log_snr: f64) -> f64 {
        self.model.mean_square_error(log_snr)
    }
}
