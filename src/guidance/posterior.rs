//! A model of x given a measurement.

use tch::{Kind, Tensor};

use super::pseudo_inverse::PseudoInverse;
use super::{conjugate_gradients, term};
use crate::divergence::Linearised;
use crate::measurement::Measurement;
use crate::model::{At, Decorator, Model, Prediction};
use crate::tensor::column_of;

/// The score of x_t given y.
pub struct Posterior<'a> {
    pub(super) model: &'a dyn Model,
    /// In model space.
    pub(super) measurement: &'a Measurement,
    pub(super) solved: Solved,
}

/// How (σ_y² I + A V Aᵀ) u = y - A x̂ is solved.
pub(super) enum Solved {
    /// Not at all: the term is -1000 ζ/g² ∇‖y - A x̂‖.
    Dps {
        strength: f64,
    },
    /// V = r² I.
    PseudoInverse(PseudoInverse),
    MomentMatching {
        iterations: usize,
    },
}

/// Steps of the chain that a strength of DPS is of.
const STEPS: f64 = 1000.0;

impl Posterior<'_> {
    /// ∇ ln p(y | x_t) [B, ...] from x̂ with its graph.
    fn term(&self, point: &Linearised, at: &At) -> Tensor {
        let Measurement { operator, sigma, .. } = self.measurement;
        let denoised = point.y.detach();
        let residual = self.measurement.residual(&denoised, at.rows);
        let column = |of: &dyn Fn(f64) -> f64| column_of(&residual, at.t, of);
        let pulled = |u: &Tensor, again: bool| point.pull(&operator.adjoint(u).flatten(1, -1), again).view_as(at.x);
        let noise = sigma * sigma;
        match &self.solved {
            Solved::Dps { strength } => {
                let norm = residual.square().sum_dim_intlist(1i64, true, None::<Kind>).sqrt().clamp_min(f64::MIN_POSITIVE);
                let rate = column(&|t| STEPS * strength / self.sde().diffusion(t).powi(2));
                pulled(&(&residual / norm * rate), false)
            }
            Solved::PseudoInverse(width) => {
                let u = width.solve(&residual, at.t, &|t| self.model.level(t));
                pulled(&u, false)
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

impl Decorator for Posterior<'_> {
    fn inner(&self) -> &dyn Model {
        self.model
    }

    fn decorated(&self, at: &At) -> Prediction {
        term::of_denoised(self.model, at, |point| self.term(point, at))
    }
}
