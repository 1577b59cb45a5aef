//! The encoder q(x_t | x_0) = N(α x_0, σ² I) at one level of noise, and between two.

use std::f64::consts::PI;

use tch::{Kind, Tensor};

use crate::loss::denoising_errors;
use crate::model::Model;
use crate::sde::{Level, Sde, Transition};
use crate::tensor::{column, sum_per_example};

/// x_t = α x_0 + σ z.
pub fn noised(level: &Level, x0: &Tensor, z: &Tensor) -> Tensor {
    x0 * level.alpha + z * level.sigma
}

/// (a, v) of the encoder from a level below: x_t = a x_s + √v z.
pub(super) fn kernel(above: &Level, below: &Level) -> (f64, f64) {
    let step = Transition::new(*above, *below);
    (step.shrinkage(), step.beta)
}

/// w = α² / (α² + σ²): for x_0 ~ N(0, I), z + σ s = w z plus what does not depend on z. So w² (‖z‖² - D), of mean zero, is taken from
/// ‖z + σ s‖² as a control variate.
pub(super) fn signal_share(level: &Level) -> f64 {
    level.alpha.powi(2) / (level.alpha.powi(2) + level.sigma.powi(2))
}

/// E[-ln π(x_1)] `[B]` over x_1 ~ N(a x, v I): ½ (D ln 2π p² + (a² ‖x‖² + D v) / p²) with p the prior's standard deviation.
pub(super) fn prior_cross_entropy(sde: &dyn Sde, x: &Tensor, (a, v): (f64, f64)) -> Tensor {
    let variance = sde.prior_std().powi(2);
    let d = dimension(x);
    (sum_per_example(&x.to_kind(Kind::Double).square()) * (a * a / variance) + d * ((2.0 * PI * variance).ln() + v / variance)) * 0.5
}

/// One draw of E‖z + σ s(α x_0 + σ z, t)‖² `[B]`, f64, with its control variate; one level per example.
pub(super) fn denoising_error(model: &dyn Model, x0: &Tensor, levels: &[Level], z: &Tensor) -> Tensor {
    let error = sum_per_example(&denoising_errors(model, x0, levels, z).to_kind(Kind::Double));
    error - surplus(z) * column(z, levels.iter().map(|level| signal_share(level).powi(2))).view(-1)
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

    use super::*;
    use crate::tensor::to_vec;
    use crate::testing::{SDES, exact, gaussian, normal};

    #[test]
    fn nothing_but_its_mean_is_left_of_the_error_at_the_centre_of_a_normal_law() {
        tch::set_num_threads(1);
        let mixture = gaussian(1, 0.0, 1.0);
        for (name, sde) in SDES {
            let exact = exact(sde, &mixture);
            let levels = [1e-3, 0.2, 0.9].map(|t| sde.level(t));
            let errors = denoising_error(&exact, &Tensor::zeros([3, 1], (Kind::Double, Device::Cpu)), &levels, &normal(0, &[3, 1]));
            for (error, level) in to_vec(&errors).iter().zip(levels) {
                let truth = signal_share(&level).powi(2);
                assert!((error - truth).abs() < 1e-9, "{name}: {error} is not {truth}");
            }
        }
    }

    /// For x_0 ~ N(0, I), z + σ s = w z - c x_0 with c = α σ / (α² + σ²): the control variate takes the variance 2 D w⁴ of w² ‖z‖², and
    /// 4 w² c² ‖x_0‖² of the mixed term is left.
    #[test]
    fn the_control_variate_takes_its_share_of_the_variance_and_no_more() {
        tch::set_num_threads(1);
        const N: i64 = 20_000;
        let law = gaussian(2, 0.0, 1.0);
        let x0 = Tensor::from_slice(&[0.9, -1.1]).view([1, 2]).repeat([N, 1]);
        let z = normal(0, &[N, 2]);
        for (name, sde) in SDES {
            let exact = exact(sde, &law);
            for lambda in [-1.0, 0.0, 2.0] {
                let level = sde.level(sde.time_of_log_snr(lambda));
                let levels = vec![level; N as usize];
                let w = signal_share(&level);
                let c = level.alpha * level.sigma / (level.alpha.powi(2) + level.sigma.powi(2));
                let left = 4.0 * (w * c).powi(2) * (0.81 + 1.21);
                let plain = sum_per_example(&denoising_errors(&exact, &x0, &levels, &z));
                for (errors, truth) in [(denoising_error(&exact, &x0, &levels, &z), left), (plain, left + 4.0 * w.powi(4))] {
                    let variance = errors.var(true).double_value(&[]);
                    assert!((variance / truth - 1.0).abs() < 0.1, "{name} at λ = {lambda}: a variance of {variance}, not {truth}");
                }
            }
        }
    }
}
