//! Mixtures of Gaussians: the world in which everything is known in closed form.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::error::Fault;

/// p(x) = Σ_k w_k N(x; μ_k, C_k), weights in any unit (they are normalised).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GaussianMixture {
    /// `[K]`: weights above 0 in any unit.
    pub weights: Vec<f64>,
    /// `[K][D]`: μ_k.
    pub means: Vec<Vec<f64>>,
    /// `[K][D][D]`: C_k, symmetric and positive definite.
    pub covariances: Vec<Vec<Vec<f64>>>,
}

impl GaussianMixture {
    /// D.
    pub fn dimension(&self) -> usize {
        self.means[0].len()
    }

    /// The law of `factor` times x.
    pub fn scaled(&self, factor: f64) -> GaussianMixture {
        let times = |row: &Vec<f64>, factor: f64| row.iter().map(|number| number * factor).collect::<Vec<_>>();
        let means = self.means.iter().map(|mean| times(mean, factor)).collect();
        let covariances = self.covariances.iter().map(|c| c.iter().map(|row| times(row, factor * factor)).collect()).collect();
        GaussianMixture { weights: self.weights.clone(), means, covariances }
    }

    pub fn check(&self) -> Result<(), Fault> {
        let k = self.weights.len();
        if k == 0 || self.weights.iter().any(|w| w.is_nan() || *w <= 0.0) || !self.weights.iter().sum::<f64>().is_finite() {
            let message = match self.weights.iter().find(|w| w.is_nan() || **w <= 0.0 || w.is_infinite()) {
                Some(weight) => format!("a weight is {weight}"),
                None => format!("{k} weights have no finite sum"),
            };
            return Err(Fault::new("weights", message, "give one number above 0 for each component"));
        }
        let d = self.means.first().map_or(0, Vec::len);
        if self.means.len() != k || d == 0 || self.means.iter().any(|mean| mean.len() != d || mean.iter().any(|m| !m.is_finite())) {
            return Err(Fault::new(
                "means",
                format!("there are {k} weights"),
                format!("give {k} means, all of one length, of finite numbers"),
            ));
        }
        let square = |c: &Vec<Vec<f64>>| c.len() == d && c.iter().all(|row| row.len() == d);
        if self.covariances.len() != k || !self.covariances.iter().all(square) {
            return Err(Fault::new(
                "covariances",
                format!("there are {k} means of length {d}"),
                format!("give {k} matrices of {d} rows of {d} numbers"),
            ));
        }
        for (i, c) in self.covariances.iter().enumerate() {
            let finite = c.iter().flatten().all(|entry| entry.is_finite());
            let symmetric = (0..d).all(|a| (0..a).all(|b| (c[a][b] - c[b][a]).abs() <= 1e-12 * (1.0 + c[a][b].abs())));
            if !finite || !symmetric || self.cholesky(i).is_none() {
                return Err(Fault::new(
                    "covariances",
                    format!("covariance {} is not symmetric and positive definite", i + 1),
                    "a covariance equals its transpose and has positive eigenvalues",
                ));
            }
        }
        Ok(())
    }

    /// P(x_axis <= value) for x = α x_0 + σ z with x_0 of this law.
    pub fn marginal_cdf(&self, axis: usize, value: f64, alpha: f64, sigma: f64) -> f64 {
        let components = self.normalised_weights().into_iter().zip(self.means.iter().zip(&self.covariances));
        let share = |(weight, (mean, covariance)): (f64, (&Vec<f64>, &Vec<Vec<f64>>))| {
            let std = (alpha * alpha * covariance[axis][axis] + sigma * sigma).sqrt();
            weight * Normal::standard().cdf((value - alpha * mean[axis]) / std)
        };
        components.map(share).sum()
    }

    /// w_k with Σ w = 1.
    pub fn normalised_weights(&self) -> Vec<f64> {
        let total: f64 = self.weights.iter().sum();
        self.weights.iter().map(|w| w / total).collect()
    }

    fn cholesky(&self, k: usize) -> Option<Cholesky<f64, Dyn>> {
        let d = self.dimension();
        Cholesky::new(DMatrix::from_row_slice(d, d, &self.covariances[k].concat()))
    }

    /// The mixture with its covariances factored, ready to draw from and to evaluate. Only for a mixture that passed `check`.
    pub fn factored(&self) -> FactoredMixture {
        let components = self.normalised_weights().into_iter().enumerate().map(|(k, weight)| Component {
            weight,
            mean: DVector::from_vec(self.means[k].clone()),
            factor: self.cholesky(k).expect("a checked covariance is positive definite"),
        });
        FactoredMixture { components: components.collect() }
    }
}

struct Component {
    weight: f64,
    mean: DVector<f64>,
    factor: Cholesky<f64, Dyn>,
}

/// A mixture with C_k = L_k L_kᵀ at hand.
pub struct FactoredMixture {
    components: Vec<Component>,
}

impl FactoredMixture {
    /// The component k of the point that the same generator would give.
    pub fn component(&self, rng: &mut impl Rng) -> usize {
        let mut u: f64 = rng.random();
        let last = self.components.len() - 1;
        let chosen = self.components[..last].iter().position(|c| {
            u -= c.weight;
            u < 0.0
        });
        chosen.unwrap_or(last)
    }

    /// One point x = μ_k + L_k z ~ p.
    pub fn sample(&self, rng: &mut impl Rng) -> Vec<f64> {
        let component = &self.components[self.component(rng)];
        let z = DVector::from_fn(component.mean.len(), |_, _| rng.sample(StandardNormal));
        (&component.mean + component.factor.l() * z).as_slice().to_vec()
    }

    /// ln p(x) in nats.
    pub fn log_density(&self, x: &[f64]) -> f64 {
        let terms: Vec<f64> = self.components.iter().map(|c| c.weight.ln() + c.log_density(x)).collect();
        let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()
    }
}

impl Component {
    /// ln N(x; μ, L Lᵀ) = -½ ‖L⁻¹ (x - μ)‖² - Σ ln L_ii - ½ D ln 2π.
    fn log_density(&self, x: &[f64]) -> f64 {
        let factor = self.factor.l_dirty();
        let whitened = factor
            .solve_lower_triangular(&(DVector::from_column_slice(x) - &self.mean))
            .expect("a Cholesky factor has no zero on its diagonal");
        let log_det: f64 = factor.diagonal().iter().map(|l| l.ln()).sum();
        -0.5 * (whitened.norm_squared() + x.len() as f64 * (2.0 * std::f64::consts::PI).ln()) - log_det
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, generator};
    use crate::testing::mixture;

    #[test]
    fn density_is_normalised_and_samples_have_its_moments() {
        let mixture = mixture();
        mixture.check().unwrap();
        let factored = mixture.factored();
        let h = 0.05;
        let mut mass = 0.0;
        for i in -120..120 {
            for j in -120..120 {
                mass += h * h * factored.log_density(&[i as f64 * h, j as f64 * h]).exp();
            }
        }
        assert!((mass - 1.0).abs() < 1e-6, "{mass}");

        let n = 100_000;
        let mut rng = generator(5, Purpose::Data, 0);
        let points: Vec<Vec<f64>> = (0..n).map(|_| factored.sample(&mut rng)).collect();
        let mean = |f: &dyn Fn(&[f64]) -> f64| points.iter().map(|x| f(x)).sum::<f64>() / n as f64;
        assert!((mean(&|x| x[0]) - 1.0 / 3.0).abs() < 0.015);
        assert!((mean(&|x| x[1]) - 1.0 / 6.0).abs() < 0.015);
        let second = (0.2 - 0.5) / 3.0 + -0.1 * 2.0 / 3.0;
        assert!((mean(&|x| x[0] * x[1]) - second).abs() < 0.02);
    }

    #[test]
    fn wrong_mixtures_name_their_key() {
        let key = |change: &dyn Fn(&mut GaussianMixture)| {
            let mut mixture = mixture();
            change(&mut mixture);
            mixture.check().unwrap_err().key
        };
        assert_eq!(key(&|m| m.weights[0] = -1.0), "weights");
        assert_eq!(key(&|m| m.means[1] = vec![0.0]), "means");
        assert_eq!(key(&|m| m.covariances[0][0] = vec![0.3]), "covariances");
        assert_eq!(key(&|m| m.covariances[0][0][1] = 0.9), "covariances");
        assert_eq!(key(&|m| m.covariances[1] = vec![vec![1.0, 2.0], vec![2.0, 1.0]]), "covariances");
    }
}
