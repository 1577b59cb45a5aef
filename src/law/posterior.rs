//! The law of a mixture given a linear measurement, again a mixture.

use std::f64::consts::PI;

use nalgebra::{Cholesky, DMatrix, DVector};

use super::GaussianMixture;

impl GaussianMixture {
    /// The law of x given y = A x + σ n with n ~ N(0, I), A [M, D] and σ > 0. With S_k = A C_k Aᵀ + σ² I and K_k = C_k Aᵀ S_k⁻¹
    ///
    /// ```text
    /// w'_k ∝ w_k N(y; A μ_k, S_k),   μ'_k = μ_k + K_k (y - A μ_k),   C'_k = C_k - K_k A C_k.
    /// ```
    ///
    /// Only for a mixture that passed its check. A component that y makes impossible in f64 is left out.
    pub fn posterior(&self, a: &DMatrix<f64>, y: &[f64], sigma: f64) -> GaussianMixture {
        let (d, y) = (self.dimension(), DVector::from_column_slice(y));
        let component = |(mean, covariance): (&Vec<f64>, &Vec<Vec<f64>>)| {
            let (mean, c) = (DVector::from_column_slice(mean), DMatrix::from_row_slice(d, d, &covariance.concat()));
            let residual = &y - a * &mean;
            let ac = a * &c;
            let s = &ac * a.transpose() + DMatrix::identity(y.len(), y.len()) * (sigma * sigma);
            let factor = Cholesky::new(s).expect("a positive definite matrix, since sigma > 0");
            let log_det: f64 = factor.l_dirty().diagonal().iter().map(|l| l.ln()).sum();
            let log_density = -0.5 * (residual.dot(&factor.solve(&residual)) + y.len() as f64 * (2.0 * PI).ln()) - log_det;
            let mean = mean + ac.transpose() * factor.solve(&residual);
            let c = c - ac.transpose() * factor.solve(&ac);
            let c = (&c + c.transpose()) * 0.5;
            let rows = c.row_iter().map(|row| row.iter().copied().collect()).collect::<Vec<Vec<f64>>>();
            (log_density, mean.as_slice().to_vec(), rows)
        };
        let posteriors: Vec<_> = self.means.iter().zip(&self.covariances).map(component).collect();
        let log_weights: Vec<f64> = posteriors.iter().zip(self.normalised_weights()).map(|((log_p, ..), w)| log_p + w.ln()).collect();
        let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut mixture = GaussianMixture { weights: Vec::new(), means: Vec::new(), covariances: Vec::new() };
        for ((_, mean, covariance), log_weight) in posteriors.into_iter().zip(log_weights) {
            let weight = (log_weight - largest).exp();
            if weight > 0.0 {
                mixture.weights.push(weight);
                mixture.means.push(mean);
                mixture.covariances.push(covariance);
            }
        }
        mixture
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::mixture;

    /// Bayes' rule, point by point: ln p(x | y) - ln p(x) - ln N(y; A x, σ²) is the same number for all x.
    #[test]
    fn it_is_bayes_rule() {
        let prior = mixture();
        let d = prior.dimension();
        let a = DMatrix::from_row_slice(3, d, &(0..3 * d).map(|i| ((i * i + 1) as f64).sin()).collect::<Vec<_>>());
        for (y, sigma) in [([0.3, -0.4, 1.0], 0.5), ([-1.0, 0.2, 0.1], 0.05)] {
            let posterior = prior.posterior(&a, &y, sigma);
            posterior.check().unwrap();
            let (before, after) = (prior.factored(), posterior.factored());
            let evidence = |x: &[f64]| {
                let residual = DVector::from_column_slice(&y) - &a * DVector::from_column_slice(x);
                let likelihood = -0.5 * residual.norm_squared() / (sigma * sigma) - 3.0 * (sigma * (2.0 * PI).sqrt()).ln();
                before.log_density(x) + likelihood - after.log_density(x)
            };
            let all: Vec<f64> = (0..8).map(|i| evidence(&(0..d).map(|j| ((3 * i + 5 * j) as f64).cos()).collect::<Vec<_>>())).collect();
            assert!(all.iter().all(|value| (value - all[0]).abs() < 1e-8 * (1.0 + all[0].abs())), "{all:?}");
        }
    }
}
