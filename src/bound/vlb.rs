//! The bound of a chain of levels, term by term (Ho et al. 2020, eq. 5; Nichol & Dhariwal 2021), for any process with affine drift.

use tch::Tensor;

use super::decoder::Decoder;
use super::level::{dimension, divergence, noised, prior_cross_entropy};
use crate::model::{At, Model, Quantity};
use crate::sde::{Level, Transition, Variance};

/// A chain of N levels with the model's steps down between them, and the decoder from the lowest.
pub struct Vlb<'a> {
    pub model: &'a dyn Model,
    /// `[N]`, from the lowest, the decoder's, to the highest, whose law the prior stands for.
    pub levels: Vec<Level>,
    pub variance: Variance,
    pub decoder: Decoder<'a>,
}

/// The standard normal draws [B, ...] that belong to a level, asked for once per level.
pub type LevelNoise<'a> = dyn FnMut(usize) -> Tensor + 'a;

impl Vlb<'_> {
    /// The terms L_0 … L_N `[B, N + 1]`, f64, nats, whose sum bounds -ln p(x_0); one draw of each expectation:
    ///
    /// ```text
    /// L_0 = E[-ln p(x_0 | x_1)],   L_N = KL(q(x_N | x_0) ‖ π),
    /// L_i = E KL(q(x_i | x_{i+1}, x_0) ‖ p(x_i | x_{i+1}))
    ///     = ½ E Σ (ln(v/β̃) + β̃/v - 1 + (z - ẑ)² (β / (α_ts σ))² / v),
    /// ```
    ///
    /// the sum being over the numbers of an example. `noise` is asked for levels 0, …, N - 1, here counted from 0.
    pub fn terms(&self, x0: &Tensor, noise: &mut LevelNoise) -> Tensor {
        let rows = x0.size()[0] as usize;
        let mut terms = vec![self.decoder.reconstruction(x0, &noise(0))];
        for (i, pair) in self.levels.windows(2).enumerate() {
            let steps = [Transition::new(pair[1], pair[0])];
            let (z, times) = (noise(i + 1), vec![pair[1].t; rows]);
            let x = noised(&pair[1], x0, &z);
            let (said, v) = self.model.with_variance(Quantity::Noise, &At::whole(&x, &times), &steps, self.variance);
            terms.push(divergence(self.model, self.variance, &steps, &z, &said, &v));
        }
        let last = self.highest();
        terms.push(prior_cross_entropy(self.model.sde(), x0, (last.alpha, last.sigma.powi(2))) - last.entropy(dimension(x0) as usize));
        Tensor::stack(&terms, 1)
    }

    pub(super) fn highest(&self) -> &Level {
        self.levels.last().unwrap_or(&self.decoder.level)
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::super::level::signal_share;
    use super::super::{DecoderLaw, Elbo};
    use super::*;
    use crate::loss::stratified;
    use crate::rng::{self, Purpose};
    use crate::tensor::to_vec;
    use crate::testing::{Bent, exact, levels, mean_and_error, mixture, normal, points, sdes};

    const N: usize = 2000;

    fn chain<'a>(model: &'a dyn Model, levels: Vec<Level>, variance: Variance) -> Vlb<'a> {
        let decoder = Decoder { model, level: levels[0], law: DecoderLaw::Tweedie };
        Vlb { model, levels, variance, decoder }
    }

    #[test]
    fn terms_are_divergences_of_the_gaussians_they_compare() {
        tch::set_num_threads(1);
        let mixture = mixture();
        for (name, sde) in sdes() {
            let exact = exact(sde, &mixture);
            for variance in [Variance::Beta, Variance::BetaTilde] {
                let levels = levels(sde, 0.01, 4);
                let x0 = Tensor::from_slice(&[0.3, -0.2]).view([1, 2]);
                let z = |i: usize| normal(20 + i as u64, &[1, 2]);
                let vlb = chain(&exact, levels.clone(), variance);
                let terms = to_vec(&vlb.terms(&x0, &mut |i| z(i)));
                assert_eq!(terms.len(), 5);
                for i in 0..3 {
                    let (below, above) = (&levels[i], &levels[i + 1]);
                    let step = Transition::new(*above, *below);
                    let x = noised(above, &x0, &z(i + 1));
                    let denoised = (&x + exact.score(&At::whole(&x, &[above.t])) * above.sigma.powi(2)) / above.alpha;
                    let (of_x, of_x0) = step.posterior_mean();
                    let mean = |x0: &Tensor| &x * of_x + x0 * of_x0;
                    let distance = (mean(&x0) - mean(&denoised)).square().sum(Kind::Double).double_value(&[]);
                    let (p, q) = (exact.variance(&step, variance), step.beta_tilde);
                    let divergence = (p / q).ln() + q / p - 1.0 + distance / (2.0 * p);
                    // the control variate, whose mean is zero
                    let surplus = z(i + 1).square().sum(Kind::Double).double_value(&[]) - 2.0;
                    let truth = divergence - surplus * signal_share(above).powi(2) * step.gain().powi(2) / (2.0 * p);
                    assert!(
                        (terms[i + 1] - truth).abs() < 1e-9 * (1.0 + truth.abs()),
                        "{name} {variance:?}: L_{} is {}, not {truth}",
                        i + 1,
                        terms[i + 1]
                    );
                }
                let (m, v, prior) = (levels[3].alpha.powi(2) * (0.09 + 0.04), levels[3].sigma.powi(2), sde.prior_std().powi(2));
                let truth = (prior / v).ln() + v / prior - 1.0 + 0.5 * m / prior;
                assert!((terms[4] - truth).abs() < 1e-9 * (1.0 + truth), "{name}: the prior's term is {}, not {truth}", terms[4]);
            }
        }
    }

    #[test]
    fn many_levels_are_continuous_time() {
        tch::set_num_threads(1);
        let (mixture, x0) = (mixture(), points(&mixture(), 2, N));
        for (name, sde) in sdes() {
            let exact = exact(sde, &mixture);
            let t_min = sde.time_of_log_snr(6.0);
            let elbo = Elbo { model: &exact, t_min };
            let decoder = Decoder { model: &exact, level: sde.level(t_min), law: DecoderLaw::Tweedie };
            let z0 = normal(0, &[N as i64, 2]);
            let limit = elbo.denoising(&x0, &stratified(&rng::uniform(3, Purpose::Time, 0, N)), &normal(99, &[N as i64, 2]))
                + decoder.offset(&x0, &z0);
            let (limit, limit_error) = mean_and_error(&limit);
            for variance in [Variance::Beta, Variance::BetaTilde] {
                let gaps: Vec<f64> = [8, 32]
                    .into_iter()
                    .map(|n| {
                        let vlb = chain(&exact, levels(sde, t_min, n), variance);
                        let sum = vlb.terms(&x0, &mut |i| normal(i as u64, &[N as i64, 2])).sum_dim_intlist(1i64, false, Kind::Double);
                        let (mean, error) = mean_and_error(&sum);
                        assert!(mean > limit - 4.0 * error.hypot(limit_error), "{name} {variance:?}: {n} levels are below the limit");
                        mean - limit
                    })
                    .collect();
                assert!(gaps[0] > 2.0 * gaps[1], "{name} {variance:?}: the gap goes from {} to {}", gaps[0], gaps[1]);
                assert!(
                    gaps[1] < if name == "linear" || name == "formula" { 1.6 } else { 1.5 },
                    "{name} {variance:?}: {} of a nat is left",
                    gaps[1]
                );
            }
        }
    }

    #[test]
    fn a_bent_score_has_a_higher_bound() {
        tch::set_num_threads(1);
        let (mixture, x0) = (mixture(), points(&mixture(), 2, N));
        for (name, sde) in sdes() {
            let exact = exact(sde, &mixture);
            let bound = |stretch, shift| {
                let model = Bent { model: &exact, stretch, angle: 0.0, shift };
                let vlb = chain(&model, levels(sde, 1e-3, 10), Variance::BetaTilde);
                vlb.terms(&x0, &mut |i| normal(i as u64, &[N as i64, 2])).sum_dim_intlist(1i64, false, Kind::Double)
            };
            let least = bound(0.0, 0.0);
            for (stretch, shift) in [(-0.2, 0.0), (0.2, 0.0), (0.0, 0.2)] {
                let (rise, error) = mean_and_error(&(bound(stretch, shift) - &least));
                assert!(rise > 4.0 * error, "{name}: bending by {stretch}, {shift} raises the bound by {rise} ± {error}");
            }
        }
    }
}
