//! The entropy of a step of the reverse process, and its bounds (Sohl-Dickstein et al. 2015, arXiv 1503.03585, sec. 2.6 and eq. 21 to 24).
//!
//! ```text
//! H(X_t | X_s) + H(X_s | X_0) - H(X_t | X_0)  <=  H(X_s | X_t)  <=  H(X_t | X_s)
//! ```
//!
//! for a step from a level t down to a level s. As the three on the left are Gaussians with the variances β, σ_s² and σ_t², it is the
//! entropy of β̃ = β σ_s² / σ_t²; the right is that of β. So the two variances of DDPM are the ends of what the data can make of a step (Ho
//! et al. 2020, sec. 3.2).

use crate::sde::{Transition, Variance, normal_entropy};

/// The lower and the upper bound of H(X_s | X_t), nats. The lower holds for any data; the upper where noise does not take entropy away,
/// H(X_s) <= H(X_t), as under VE always and under VP where the data are no wider than the prior. A step to the data has β̃ = 0, and the
/// lower bound is -∞.
pub fn reverse_entropy_bounds(step: &Transition, dimension: usize) -> [f64; 2] {
    [normal_entropy(step.beta_tilde, dimension), normal_entropy(step.beta, dimension)]
}

/// An upper bound of H(X_s | X_t) that needs no such condition, nats: with the analytic variance, `error` E‖z - ẑ‖² / D of the exact score
/// at t, the step's Gaussian has the mean variance of X_s given X_t, and none of that variance has more entropy.
pub fn analytic_entropy(step: &Transition, error: f64, dimension: usize) -> f64 {
    normal_entropy(step.variance(Variance::Analytic, error), dimension)
}

/// H(X_s | X_t) = H(X_t | X_s) + H(X_s) - H(X_t) from the entropies of the two levels, nats.
pub fn reverse_entropy(step: &Transition, below: f64, above: f64, dimension: usize) -> f64 {
    normal_entropy(step.beta, dimension) + below - above
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::law::GaussianMixture;
    use crate::model::{At, Model};
    use crate::sde::{Level, Sde};
    use crate::testing::{exact, gaussian, levels, sdes};

    #[test]
    fn the_bounds_are_made_of_the_three_entropies() {
        for (name, sde) in sdes() {
            for pair in levels(sde, 1e-3, 6).windows(2) {
                let step = Transition::new(pair[1], pair[0]);
                let [lower, upper] = reverse_entropy_bounds(&step, 3);
                let truth = upper + pair[0].entropy(3) - pair[1].entropy(3);
                assert!((lower - truth).abs() < 1e-9, "{name}: {lower} is not {truth}");
            }
        }
    }

    /// The law of x_t of some data: its entropy, and E‖ẑ‖² of its score, by a sum over a fine grid on the line.
    fn measured(sde: &dyn Sde, law: &GaussianMixture, level: &Level) -> (f64, f64) {
        let exact = exact(sde, law);
        let reach = 3.0 * level.alpha + 8.0 * (level.alpha.powi(2) + level.sigma.powi(2)).sqrt();
        let n = 4001;
        let x = Tensor::linspace(-reach, reach, n, (Kind::Double, Device::Cpu)).view([n, 1]);
        let t = vec![level.t; n as usize];
        let log_density = exact.log_density(&x, &t);
        let mass = log_density.exp() * (2.0 * reach / (n - 1) as f64);
        let mean = |values: Tensor| (values * &mass).sum(Kind::Double).double_value(&[]);
        (-mean(log_density.copy()), mean(exact.noise(&At::whole(&x, &t)).square().view(-1)))
    }

    #[test]
    fn the_entropy_of_a_step_lies_between_its_bounds() {
        tch::set_num_threads(1);
        // Narrower than the prior, so that entropy grows under every process.
        let one = |mean: f64, variance: f64| (vec![mean], vec![vec![variance]]);
        let ((low, c), (high, d)) = (one(-0.8, 0.01), one(0.7, 0.04));
        let mixture = GaussianMixture { weights: vec![1.0, 2.0], means: vec![low, high], covariances: vec![c, d] };
        for (world, law) in [("Gaussian", gaussian(1, 0.3, 0.5)), ("mixture", mixture)] {
            for (name, sde) in sdes() {
                let levels = levels(sde, sde.time_of_log_snr(4.0), 8);
                for pair in levels.windows(2) {
                    let step = Transition::new(pair[1], pair[0]);
                    let ((below, _), (above, square)) = (measured(sde, &law, &pair[0]), measured(sde, &law, &pair[1]));
                    let [lower, upper] = reverse_entropy_bounds(&step, 1);
                    let (truth, analytic) = (reverse_entropy(&step, below, above, 1), analytic_entropy(&step, 1.0 - square, 1));
                    println!("{world}, {name}, t = {:.3}: {lower:.4} <= {truth:.4} <= {analytic:.4} <= {upper:.4}", pair[1].t);
                    assert!(lower < truth && truth < upper, "{world}, {name}: {truth} is not within {lower} and {upper}");
                    assert!(truth < analytic + 1e-6, "{world}, {name}: {truth} is above that of the analytic variance, {analytic}");
                    if world == "Gaussian" {
                        let spread = |level: &Level| (0.5 * level.alpha).powi(2) + level.sigma.powi(2);
                        let variance = 1.0 / (1.0 / spread(&pair[0]) + step.shrinkage().powi(2) / step.beta);
                        let closed = normal_entropy(variance, 1);
                        assert!((truth - closed).abs() < 1e-6, "{name}: {truth} is not {closed}");
                        assert!((analytic - closed).abs() < 1e-6, "{name}: of a Gaussian the analytic variance is the very one");
                    }
                }
            }
        }
    }
}
