//! The encoder q(x_t | x_0) = N(α x_0, σ² I) at one level of noise, and between two.

use std::f64::consts::PI;

use tch::{Kind, Tensor};

use crate::loss::denoising_errors;
use crate::model::Model;
use crate::sde::{Level, Sde, Transition, Variance};
use crate::tensor::{column, column_of_kind, sum_per_example};

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

/// One draw of E KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)) `[B]`, f64, for the steps from some levels down, one an example or one for all, and a
/// model that says ẑ [B, ...] there and has the variances v of [`Model::with_variance`]: over the numbers of an example the sum of
///
/// ```text
/// ½ (γ² (z - ẑ)² / v + ln(v/β̃) + β̃/v - 1 - c (z² - 1)),   c = w² γ² / v(½),
/// ```
///
/// γ of [`Transition::gain`]. The last term, of mean zero, is the control variate ([`signal_share`]); its v must not depend on z, so that of a
/// learnt variance is its middle.
pub(super) fn divergence(model: &dyn Model, variance: Variance, steps: &[Transition], z: &Tensor, noise: &Tensor, v: &Tensor) -> Tensor {
    let of = |number: &dyn Fn(&Transition) -> f64| column_of_kind(Kind::Double, z, steps.iter().map(number));
    let error = (z - noise).to_kind(Kind::Double).square() * of(&|step| step.gain().powi(2));
    let ratio = of(&|step| step.beta_tilde) / v;
    let control = of(&|step| (signal_share(step.above()) * step.gain()).powi(2) / model.variance(step, variance));
    let terms = error / v + (&ratio - 1.0 - ratio.log()) - (z.to_kind(Kind::Double).square() - 1.0) * control;
    sum_per_example(&terms) * 0.5
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
    use crate::model::{At, Quantity};
    use crate::tensor::to_vec;
    use crate::testing::{Interpolating, chained, exact, gaussian, mean_and_error, normal, sdes};

    /// Where v is a function of x_t, and so of z: the divergence written out, of which the control variate takes variance and no mean.
    #[test]
    fn a_divergence_with_a_variance_that_depends_on_the_noise_has_no_bias() {
        tch::set_num_threads(1);
        const N: i64 = 20_000;
        let law = gaussian(2, 0.0, 1.0);
        let x0 = Tensor::from_slice(&[0.9, -1.1]).view([1, 2]).repeat([N, 1]);
        let z = normal(0, &[N, 2]);
        for (name, sde) in chained() {
            let exact = exact(sde, &law);
            let model = Interpolating { model: &exact, v: |x: &Tensor| (x.abs() * -1.0).exp() };
            let (below, above) = (sde.level(sde.time_of_log_snr(2.0)), sde.level(sde.time_of_log_snr(-1.0)));
            let (steps, x) = ([Transition::new(above, below)], noised(&above, &x0, &z));
            let times = vec![above.t; N as usize];
            let (noise, v) = model.with_variance(Quantity::Noise, &At::whole(&x, &times), &steps, Variance::Learned);
            let drawn = divergence(&model, Variance::Learned, &steps, &z, &noise, &v);
            let (ratio, gain) = (v.reciprocal() * steps[0].beta_tilde, steps[0].gain());
            let terms = (&z - noise).square() * (gain * gain) / v - ratio.log() + ratio - 1.0;
            let truth = sum_per_example(&terms) * 0.5;
            let (apart, error) = mean_and_error(&(&drawn - &truth));
            assert!(apart.abs() < 4.0 * error, "{name}: a bias of {apart} ± {error}");
            let [drawn, truth] = [drawn, truth].map(|draws| draws.var(true).double_value(&[]));
            assert!(drawn < truth, "{name}: a variance of {drawn} with the control variate, {truth} without");
        }
    }

    #[test]
    fn nothing_but_its_mean_is_left_of_the_error_at_the_centre_of_a_normal_law() {
        tch::set_num_threads(1);
        let mixture = gaussian(1, 0.0, 1.0);
        for (name, sde) in sdes() {
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
        for (name, sde) in sdes() {
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
