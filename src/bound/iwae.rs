//! Tightening by k paths (Burda et al. 2016, arXiv 1509.00519): -E ln (1/k) Σ_j w_j falls with k towards -ln p(x_0).

use tch::{Kind, Tensor};

use super::level::{dimension, noised, surplus};
use super::vlb::{LevelNoise, Vlb};
use crate::model::{At, Quantity};
use crate::sde::Transition;
use crate::tensor::sum_per_example;

impl Vlb<'_> {
    /// ln w `[B]`, f64, of one path from the encoder: w = π(x_N) Π p(x_i | x_{i+1}) p(x_0 | x_1) / q(x_1, …, x_N | x_0), so that E w = p(x_0)
    /// and E[-ln w] is the sum of [`Vlb::terms`].
    ///
    /// The path is drawn from the top: `noise` is asked for levels N - 1, …, 0, here counted from 0.
    pub fn log_weight(&self, x0: &Tensor, noise: &mut LevelNoise) -> Tensor {
        let d = dimension(x0);
        let rows = x0.size()[0] as usize;
        let z = noise(self.levels.len() - 1);
        let mut x = noised(self.highest(), x0, &z);
        let prior = self.model.sde().prior_std().powi(2);
        // ln π(x_N) - ln q(x_N | x_0), both without their ½ D ln 2π
        let squares = |x: &Tensor| sum_per_example(&x.to_kind(Kind::Double).square());
        let mut log_weight = (squares(&x) / prior - squares(&z) + d * (prior.ln() - 2.0 * self.highest().sigma.ln())) * -0.5;
        for (i, pair) in self.levels.windows(2).enumerate().rev() {
            let (below, above) = (&pair[0], &pair[1]);
            let transition = Transition::new(*above, *below);
            let (of_x, of_x0) = transition.posterior_mean();
            let times = vec![above.t; rows];
            let (score, variance) = self.model.with_variance(Quantity::Score, &At::whole(&x, &times), &[transition], self.variance);
            let residual = (&x - x0 * above.alpha) / above.sigma + score * above.sigma;
            let z = noise(i);
            let step = &z * transition.beta_tilde.sqrt();
            // x_i - μ_p = √β̃ z + (μ_q - μ_p), and x_i - μ_q = √β̃ z
            let from_model = (&step - residual * transition.gain()).to_kind(Kind::Double).square() / &variance;
            let widening = (variance / transition.beta_tilde).log();
            log_weight += (sum_per_example(&(from_model + widening)) - (surplus(&z) + d)) * -0.5;
            x = x * of_x + x0 * of_x0 + step;
        }
        log_weight + self.decoder.log_density(x0, &x)
    }
}

/// -ln (1/k) Σ_j w_j `[B]` from ln w [B, k]: for k = 1 the bound of one path, and falling with k in expectation.
pub fn tightened(log_weights: &Tensor) -> Tensor {
    -(log_weights.logsumexp(1i64, false) - (log_weights.size()[1] as f64).ln())
}

#[cfg(test)]
mod tests {
    use super::super::{Decoder, DecoderLaw};
    use super::*;
    use crate::sde::{Level, Variance};
    use crate::testing::{exact, gaussian, levels, mean_and_error, normal, sdes};

    const N: usize = 1000;
    const MEAN: f64 = 0.2;
    const STD: f64 = 0.7;

    /// -ln p(x_0) of the chain that the exact score of N(MEAN, STD²) makes, a Gaussian: each step and the decoder are affine maps and noise.
    fn negative_log(vlb: &Vlb, x0: f64) -> f64 {
        let denoised = |level: &Level| {
            let variance = (level.alpha * STD).powi(2) + level.sigma.powi(2);
            let slope = level.alpha * STD * STD / variance;
            (slope, MEAN - slope * level.alpha * MEAN)
        };
        let (mut mean, mut variance) = (0.0, vlb.model.sde().prior_std().powi(2));
        for pair in vlb.levels.windows(2).rev() {
            let transition = Transition::new(pair[1], pair[0]);
            let (of_x, of_x0) = transition.posterior_mean();
            let (slope, shift) = denoised(&pair[1]);
            let slope = of_x + of_x0 * slope;
            mean = slope * mean + of_x0 * shift;
            variance = slope * slope * variance + vlb.model.variance(&transition, vlb.variance);
        }
        let (slope, shift) = denoised(&vlb.levels[0]);
        let (mean, variance) = (slope * mean + shift, slope * slope * variance + (vlb.levels[0].sigma / vlb.levels[0].alpha).powi(2));
        0.5 * ((2.0 * std::f64::consts::PI * variance).ln() + (x0 - mean).powi(2) / variance)
    }

    #[test]
    fn weights_average_to_the_chains_own_density_and_paths_tighten_the_bound() {
        tch::set_num_threads(1);
        let mixture = gaussian(1, MEAN, STD);
        for (name, sde) in sdes() {
            let exact = exact(sde, &mixture);
            // steps so short that β < 2 β̃: else a weight has no variance
            let levels = levels(sde, sde.time_of_log_snr(3.0), 25);
            for variance in [Variance::Beta, Variance::BetaTilde] {
                let decoder = Decoder { model: &exact, level: levels[0], law: DecoderLaw::Tweedie };
                let vlb = Vlb { model: &exact, levels: levels.clone(), variance, decoder };
                let x0 = Tensor::from_slice(&[0.8]).view([1, 1]).repeat([N as i64, 1]);
                let paths: Vec<Tensor> = (0..8).map(|k| vlb.log_weight(&x0, &mut |i| normal(8 * i as u64 + k, &[N as i64, 1]))).collect();
                let log_weights = Tensor::stack(&paths, 1);
                let truth = negative_log(&vlb, 0.8);
                let (mean, error) = mean_and_error(&(log_weights.exp().flatten(0, -1) * truth.exp()));
                assert!(error < 0.1 && (mean - 1.0).abs() < 4.0 * error, "{name} {variance:?}: E w / p(x_0) = {mean} ± {error}");

                // The bound of k paths, by all groups of them.
                let bound = |k: i64| tightened(&log_weights.view([-1, k])).view([N as i64, -1]).mean_dim(1i64, false, Kind::Double);
                let bounds = [1, 2, 8].map(|k| mean_and_error(&bound(k)));
                let terms = vlb.terms(&x0, &mut |i| normal(100 + i as u64, &[N as i64, 1])).sum_dim_intlist(1i64, false, Kind::Double);
                let (sum, sum_error) = mean_and_error(&terms);
                let (one, one_error) = bounds[0];
                assert!((one - sum).abs() < 4.0 * one_error.hypot(sum_error), "{name} {variance:?}: one path {one}, the terms {sum}");
                assert!(bounds[0].0 > bounds[1].0 && bounds[1].0 > bounds[2].0, "{name} {variance:?}: {bounds:?} does not fall");
                let (eight, error) = bounds[2];
                assert!(eight > truth - 4.0 * error, "{name} {variance:?}: eight paths are {eight}, below {truth}");
                assert!(eight - truth < 0.5 * (one - truth), "{name} {variance:?}: {one}, {eight}, truth {truth}");
            }
        }
    }
}
