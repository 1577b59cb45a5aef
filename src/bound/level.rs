//! The encoder q(x_t | x_0) = N(α x_0, σ² I) at one time, and between two.

use std::f64::consts::{E, PI};

use tch::{Kind, Tensor};

use crate::model::ScoreModel;
use crate::sde::Sde;
use crate::tensor::{column, sum_per_example};

/// A time with its (α, σ), which are the SDE's or those of a chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    pub t: f64,
    pub alpha: f64,
    pub sigma: f64,
}

/// Gaussians over one step between the levels s below and t above: the encoder's x_t = α_ts x_s + √β z, and its reverse given x_0,
/// q(x_s | x_t, x_0) = N(μ_q, β̃ I) (Ho et al. 2020, eq. 6 and 7; in (α, σ) Kingma et al. 2021, appendix A).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posterior {
    /// β = σ_t² - α_ts² σ_s², the variance of x_t given x_s.
    pub beta: f64,
    /// β̃ = β σ_s² / σ_t².
    pub beta_tilde: f64,
    /// The factors on x_t and x_0 in μ_q.
    pub mean: (f64, f64),
    /// β / (α_ts σ_t), the factor on z + σ_t s in the distance of μ_q from the model's mean, which has x̂_0 in place of x_0.
    pub gain: f64,
}

impl Level {
    /// The level of an SDE at time t.
    pub fn of(sde: &dyn Sde, t: f64) -> Level {
        Level { t, alpha: sde.alpha(t), sigma: sde.sigma(t) }
    }

    /// λ = ln(α² / σ²).
    pub fn log_snr(&self) -> f64 {
        2.0 * (self.alpha.ln() - self.sigma.ln())
    }

    /// The entropy of q(x_t | x_0) in D dimensions, nats.
    pub fn entropy(&self, dimension: usize) -> f64 {
        0.5 * dimension as f64 * (2.0 * PI * E * self.sigma.powi(2)).ln()
    }

    /// x_t = α x_0 + σ z.
    pub fn noised(&self, x0: &Tensor, z: &Tensor) -> Tensor {
        x0 * self.alpha + z * self.sigma
    }

    /// (a, v) of the encoder from a level below: x_t = a x_s + √v z.
    pub fn from(&self, below: &Level) -> (f64, f64) {
        (self.alpha / below.alpha, -self.sigma.powi(2) * (self.log_snr() - below.log_snr()).exp_m1())
    }

    /// The Gaussians of the step from this level down to `below`.
    pub fn posterior(&self, below: &Level) -> Posterior {
        let (a, beta) = self.from(below);
        let variance = self.sigma.powi(2);
        Posterior {
            beta,
            beta_tilde: beta * below.sigma.powi(2) / variance,
            mean: (a * below.sigma.powi(2) / variance, below.alpha * beta / variance),
            gain: beta / (a * self.sigma),
        }
    }

    /// w = α² / (α² + σ²): for x_0 ~ N(0, I), z + σ s = w z plus what does not depend on z. So w² (‖z‖² - D), of mean zero, is taken from
    /// ‖z + σ s‖² as a control variate.
    pub(super) fn signal_share(&self) -> f64 {
        self.alpha.powi(2) / (self.alpha.powi(2) + self.sigma.powi(2))
    }
}

/// E[-ln π(x_1)] `[B]` over x_1 ~ N(a x, v I): ½ (D ln 2π p² + (a² ‖x‖² + D v) / p²) with p the prior's standard deviation.
pub(super) fn prior_cross_entropy(sde: &dyn Sde, x: &Tensor, (a, v): (f64, f64)) -> Tensor {
    let variance = sde.prior_std().powi(2);
    let d = dimension(x);
    (sum_per_example(&x.to_kind(Kind::Double).square()) * (a * a / variance) + d * ((2.0 * PI * variance).ln() + v / variance)) * 0.5
}

/// One draw of E‖z + σ s(α x_0 + σ z, t)‖² `[B]`, f64, with its control variate; one level per example.
pub(super) fn denoising_error(model: &dyn ScoreModel, x0: &Tensor, levels: &[Level], z: &Tensor) -> Tensor {
    let times: Vec<f64> = levels.iter().map(|level| level.t).collect();
    let sigma = column(x0, levels.iter().map(|level| level.sigma));
    let x = x0 * column(x0, levels.iter().map(|level| level.alpha)) + z * &sigma;
    let error = sum_per_example(&(model.score(&x, &times) * sigma + z).to_kind(Kind::Double).square());
    error - surplus(z) * column(z, levels.iter().map(|level| level.signal_share().powi(2))).view(-1)
}

/// ‖z‖² - D `[B]`, f64.
pub(super) fn surplus(z: &Tensor) -> Tensor {
    sum_per_example(&z.to_kind(Kind::Double).square()) - dimension(z)
}

/// D.
pub(super) fn dimension(x: &Tensor) -> f64 {
    x.size()[1..].iter().product::<i64>() as f64
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::super::worlds::{gaussian, normal, sdes};
    use super::*;
    use crate::model::ExactScore;
    use crate::tensor::to_vec;

    #[test]
    fn nothing_but_its_mean_is_left_of_the_error_at_the_centre_of_a_normal_law() {
        tch::set_num_threads(1);
        let mixture = gaussian(0.0, 1.0);
        for (name, sde) in sdes() {
            let exact = ExactScore::new(&*sde, &mixture, Device::Cpu);
            let levels = [1e-3, 0.2, 0.9].map(|t| Level::of(&*sde, t));
            let errors = denoising_error(&exact, &Tensor::zeros([3, 1], (Kind::Double, Device::Cpu)), &levels, &normal(0, 3, 1));
            for (error, level) in to_vec(&errors).iter().zip(levels) {
                let truth = level.signal_share().powi(2);
                assert!((error - truth).abs() < 1e-9, "{name}: {error} is not {truth}");
            }
        }
    }

    #[test]
    fn a_step_forward_and_its_reverse_are_one_joint_gaussian() {
        for (name, sde) in sdes() {
            for (s, t) in [(1e-4, 1e-3), (0.2, 0.21), (0.3, 1.0)] {
                let (below, above) = (Level::of(&*sde, s), Level::of(&*sde, t));
                let Posterior { beta, beta_tilde, mean, gain } = above.posterior(&below);
                let close = |got: f64, truth: f64| assert!((got / truth - 1.0).abs() < 1e-6, "{name} {s} {t}: {got} is not {truth}");
                // the marginal mean and variance of x_s, and its covariance with x_t, given x_0
                close(mean.0 * above.alpha + mean.1, below.alpha);
                close(mean.0.powi(2) * above.sigma.powi(2) + beta_tilde, below.sigma.powi(2));
                close(mean.0 * above.sigma.powi(2), above.alpha / below.alpha * below.sigma.powi(2));
                close(gain, mean.1 * above.sigma / above.alpha);
                close(beta, above.sigma.powi(2) - (above.alpha / below.alpha * below.sigma).powi(2));
            }
        }
    }
}
