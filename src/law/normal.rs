//! Normal laws with independent components.

use std::f64::consts::PI;

use tch::{Kind, Tensor};

/// N(μ, diag e^ω) on the last axis, a law for each place on the others.
pub struct Normal {
    /// μ [..., n].
    pub mean: Tensor,
    /// ω [..., n].
    pub log_variance: Tensor,
}

impl Normal {
    /// `log_variance` may have ones where `mean` has more.
    pub fn new(mean: Tensor, log_variance: &Tensor) -> Normal {
        let log_variance = log_variance.expand_as(&mean);
        Normal { mean, log_variance }
    }

    /// z = μ + e^(ω/2) ε for `noise` ε [..., n].
    pub fn draw(&self, noise: &Tensor) -> Tensor {
        &self.mean + (&self.log_variance * 0.5).exp() * noise
    }

    /// ln N(z; μ, diag e^ω) [...], nats.
    pub fn log_density(&self, z: &Tensor) -> Tensor {
        let squares = (z - &self.mean).square() * self.log_variance.neg().exp();
        over_components(&(squares + &self.log_variance + (2.0 * PI).ln())) * -0.5
    }

    /// H = ½ Σ (ω + ln 2πe) [...], nats.
    pub fn entropy(&self) -> Tensor {
        over_components(&(&self.log_variance + (2.0 * PI).ln() + 1.0)) * 0.5
    }

    /// KL(self ‖ p) = ½ Σ (e^d - 1 - d + (μ - μ_p)² e^-ω_p) with d = ω - ω_p, [...], nats.
    pub fn divergence(&self, p: &Normal) -> Tensor {
        let wider = &self.log_variance - &p.log_variance;
        let distance = (&self.mean - &p.mean).square() * p.log_variance.neg().exp();
        over_components(&(wider.expm1() - wider + distance)) * 0.5
    }

    /// KL(self ‖ N(0, I)) [...], nats.
    pub fn divergence_from_standard(&self) -> Tensor {
        let omega = &self.log_variance;
        over_components(&(omega.expm1() - omega + self.mean.square())) * 0.5
    }
}

/// The sum over the last axis.
fn over_components(x: &Tensor) -> Tensor {
    x.sum_dim_intlist(-1i64, false, None::<Kind>)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::testing::{gaussian, largest, mean_and_error, normal};

    /// Two laws in three dimensions, [2, 3].
    fn laws(seed: u64) -> Normal {
        Normal::new(normal(seed, &[2, 3]), &(normal(seed + 1, &[1, 3]) * 0.5))
    }

    #[test]
    fn its_density_is_the_mixtures_of_one_component() {
        tch::set_num_threads(1);
        let law = Normal::new(Tensor::full([4, 2], 0.3, (Kind::Double, Device::Cpu)), &Tensor::from_slice(&[2.0 * 0.7f64.ln()]));
        let x = normal(5, &[4, 2]);
        let truth = crate::testing::exact(&crate::testing::VP, &gaussian(2, 0.3, 0.7)).log_density(&x, &[0.0; 4]);
        assert!(largest(&(law.log_density(&x) - truth)) < 1e-12);
    }

    #[test]
    fn entropy_and_divergences_are_means_over_draws() {
        tch::set_num_threads(1);
        const N: i64 = 20_000;
        let (q, p) = (laws(1), laws(3));
        let standard = Normal::new(Tensor::zeros_like(&q.mean), &Tensor::from_slice(&[0.0]));
        let z = q.draw(&normal(7, &[N, 2, 3]));
        let of_q = q.log_density(&z);
        for i in 0..2 {
            let check = |name: &str, draws: Tensor, truth: Tensor| {
                let (mean, error) = mean_and_error(&draws.select(1, i));
                let truth = truth.double_value(&[i]);
                assert!((mean - truth).abs() < 4.0 * error, "{name}: {mean} ± {error} is not {truth}");
            };
            check("entropy", -&of_q, q.entropy());
            check("divergence", &of_q - p.log_density(&z), q.divergence(&p));
            check("from N(0, I)", &of_q - standard.log_density(&z), q.divergence_from_standard());
        }
        assert!(largest(&(q.divergence(&standard) - q.divergence_from_standard())) < 1e-12);
    }
}
