//! The exact score of a Gaussian mixture under any SDE.

use nalgebra::{DMatrix, SymmetricEigen};
use tch::{Device, Kind, Tensor};

use super::{At, Model, Prediction, Quantity};
use crate::law::GaussianMixture;
use crate::sde::Sde;
use crate::tensor::column_of;

/// p_t = Σ_k w_k N(α μ_k, α² C_k + σ² I). With C_k = U diag(e) Uᵀ all of it is a few batched products. The components are its classes: given
/// a class, p_t is that component.
pub struct ExactScore<'a> {
    sde: &'a dyn Sde,
    /// ln w [K, 1]
    log_weights: Tensor,
    /// μ [K, 1, D]
    means: Tensor,
    /// U [K, D, D]
    vectors: Tensor,
    /// e [K, 1, D]
    values: Tensor,
}

impl<'a> ExactScore<'a> {
    pub fn new(sde: &'a dyn Sde, mixture: &GaussianMixture, device: Device) -> ExactScore<'a> {
        let (k, d) = (mixture.weights.len() as i64, mixture.dimension());
        let (mut vectors, mut values) = (Vec::new(), Vec::new());
        for c in &mixture.covariances {
            let eigen = SymmetricEigen::new(DMatrix::from_row_slice(d, d, &c.concat()));
            // nalgebra stores columns first, and the matrix is wanted rows first.
            vectors.extend_from_slice(eigen.eigenvectors.transpose().as_slice());
            values.extend_from_slice(eigen.eigenvalues.as_slice());
        }
        let log_weights: Vec<f64> = mixture.normalised_weights().iter().map(|w| w.ln()).collect();
        let d = d as i64;
        let tensor = |values: &[f64], shape: &[i64]| Tensor::from_slice(values).view(shape).to_device(device);
        ExactScore {
            sde,
            log_weights: tensor(&log_weights, &[k, 1]),
            means: tensor(&mixture.means.concat(), &[k, 1, d]),
            vectors: tensor(&vectors, &[k, d, d]),
            values: tensor(&values, &[k, 1, d]),
        }
    }

    /// Per component: ln(w_k N_k) [K, B] and U-frame residuals over variances [K, B, D].
    fn components(&self, x: &Tensor, t: &[f64]) -> (Tensor, Tensor) {
        let x = x.to_kind(Kind::Double);
        let alpha = column_of(&x, t, |t| self.sde.alpha(t));
        let variance = column_of(&x, t, |t| self.sde.sigma(t).powi(2));
        let residual = (x.unsqueeze(0) - &alpha * &self.means).matmul(&self.vectors);
        let variances = alpha.square() * &self.values + variance;
        let scaled = &residual / &variances;
        let d = x.size()[1] as f64;
        let quadratic = (&residual * &scaled + variances.log()).sum_dim_intlist(2i64, false, None::<Kind>);
        let log_density = (quadratic + d * (2.0 * std::f64::consts::PI).ln()) * -0.5;
        (log_density + &self.log_weights, scaled)
    }

    /// ln p_t(x) `[B]` in nats, f64.
    pub fn log_density(&self, x: &Tensor, t: &[f64]) -> Tensor {
        self.components(x, t).0.logsumexp(0i64, false)
    }
}

/// What a condition [B, K] adds to ln w [K, B]: nothing for the class, and -∞ for the others.
fn log_chances(condition: &Tensor) -> Tensor {
    let condition = condition.to_kind(Kind::Double);
    let unknown = condition.sum_dim_intlist(1i64, true, None::<Kind>).eq(0.0).to_kind(Kind::Double);
    (condition + unknown).log().tr()
}

impl Model for ExactScore<'_> {
    fn sde(&self) -> &dyn Sde {
        self.sde
    }

    /// v = Σ_k r_k (α ε_k - σ x̂_k) with responsibilities r = softmax_k ln(w_k N_k), where with the residual y_k = (α² C_k + σ² I)⁻¹ (x - α μ_k)
    /// ε_k = σ y_k and x̂_k = μ_k + α C_k y_k. It is finite at every α and σ, and loses no digit where either is small.
    fn predict(&self, at: &At) -> Prediction {
        let (log_joint, scaled) = self.components(at.x, at.t);
        let log_joint = at.known().map_or(log_joint.shallow_clone(), |condition| log_joint + log_chances(&condition));
        let responsibilities = log_joint.softmax(0, None::<Kind>).unsqueeze(-1);
        let of = |f: &dyn Fn(f64) -> f64| column_of(&at.x.to_kind(Kind::Double), at.t, f);
        let turned = (&scaled - &scaled * &self.values).matmul(&self.vectors.transpose(1, 2));
        let v = turned * of(&|t| self.sde.alpha(t) * self.sde.sigma(t)) - &self.means * of(&|t| self.sde.sigma(t));
        let v = (responsibilities * v).sum_dim_intlist(0i64, false, None::<Kind>).to_kind(at.x.kind());
        Prediction::of(Quantity::V, v)
    }

    fn last_time(&self) -> f64 {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{largest, mixture, sdes};

    #[test]
    fn score_is_the_gradient_of_the_log_density() {
        tch::set_num_threads(1);
        let mixture = mixture();
        for (name, sde) in sdes() {
            let exact = ExactScore::new(sde, &mixture, Device::Cpu);
            let t = [1e-5, 0.2, 0.7, 1.0];
            let x = Tensor::from_slice(&[0.3, -0.2, 1.0, 1.5, -2.0, 0.1, 0.4, 0.9]).view([4, 2]).set_requires_grad(true);
            let log_density = exact.log_density(&x, &t);
            let gradient = Tensor::run_backward(&[log_density.sum(Kind::Double)], &[&x], false, false).remove(0);
            assert!(largest(&(gradient - exact.score(&At::whole(&x, &t)))) < 1e-12, "{name}");
            if sde.sigma(1e-5) < 0.005 {
                let factored = mixture.factored();
                assert!((factored.log_density(&[0.3, -0.2]) - log_density.double_value(&[0])).abs() < 1e-3);
            }
        }
    }
}
