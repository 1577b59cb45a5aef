//! The bound in continuous time, by its denoising and its implicit form.

use tch::{Kind, Tensor};

use super::level::{denoising_error, dimension, kernel, prior_cross_entropy, surplus};
use crate::divergence::Probes;
use crate::model::{At, Model};
use crate::sde::{Level, Sde};
use crate::tensor::{column, sum_per_example};

/// Bounds E[-ln p_{t_min}(x)], the law of the reverse SDE at t_min:
///
/// ```text
/// E[-ln π(x_1)] - D ln(α_1 / α_{t_min}) + ½ ∫ E[‖z + σ s‖² - ‖z‖²] dλ        (denoising)
/// E[-ln π(x_1)] - D ln(α_1 / α_{t_min}) + ½ ∫ σ² E[‖s‖² + 2 div s] dλ        (implicit)
/// ```
///
/// over λ from λ(1) to λ(t_min); by Stein's identity, E[s · z] = σ E[div s], they are the same number. It is tight where s is the score
/// of the process from some law of x_0 on, but for E[ln p_1(x_1) - ln π(x_1)]. With a [`super::Decoder`]'s offset it bounds -ln p(x_0).
pub struct Elbo<'a> {
    pub model: &'a dyn Model,
    pub t_min: f64,
}

/// What the bound's point x is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// x_0: the bound is an average over x_{t_min} ~ q(x_{t_min} | x_0).
    Zero,
    /// x_{t_min} itself.
    TMin,
}

impl Elbo<'_> {
    fn sde(&self) -> &dyn Sde {
        self.model.sde()
    }

    /// The levels at the shares u in [0, 1] of the way from λ(t_min) to λ(1).
    pub fn levels(&self, u: &[f64]) -> Vec<Level> {
        let (highest, span) = (self.sde().log_snr(self.t_min), self.span());
        u.iter().map(|u| self.sde().level(self.sde().time_of_log_snr(highest - u * span))).collect()
    }

    /// That at which the prior stands for the law of x: t = 1, or the horizon of a process that ends without a signal.
    fn last(&self) -> Level {
        self.sde().level(self.sde().horizon())
    }

    /// λ(t_min) - λ(1) = ∫ g²/σ² dt.
    pub fn span(&self) -> f64 {
        self.sde().log_snr(self.t_min) - self.sde().log_snr(self.sde().horizon())
    }

    /// E[-ln π(x_1)] - D ln(α_1 / α_{t_min}) `[B]` given x, with x_1 = a x + √v z.
    fn ends(&self, x: &Tensor, kernel: (f64, f64)) -> Tensor {
        let shrinkage = (self.last().alpha / self.sde().alpha(self.t_min)).ln();
        prior_cross_entropy(self.sde(), x, kernel) - dimension(x) * shrinkage
    }

    /// One draw of the denoising form `[B]`, f64, from x_0: `x0`, `z` [B, ...], one `u` in [0, 1) per example. It can be differentiated
    /// through `x0`.
    pub fn denoising(&self, x0: &Tensor, u: &[f64], z: &Tensor) -> Tensor {
        let levels = self.levels(u);
        let error = denoising_error(self.model, x0, &levels, z) - dimension(x0);
        let last = self.last();
        self.ends(x0, (last.alpha, last.sigma.powi(2))) + error * (0.5 * self.span())
    }

    /// One draw of the implicit form `[B]`, f64, without a graph; its divergence by the `probes`.
    ///
    /// The control variate (σ √v / (α² + σ²))² (‖z‖² - D), of mean zero, is what ‖σ s‖² holds of ‖z‖² for x_0 ~ N(0, I).
    pub fn implicit(&self, start: Start, x: &Tensor, u: &[f64], z: &Tensor, probes: &Probes) -> Tensor {
        let lowest = self.sde().level(self.t_min);
        let from_start = |level: &Level| match start {
            Start::Zero => (level.alpha, level.sigma.powi(2)),
            Start::TMin => kernel(level, &lowest),
        };
        let levels = self.levels(u);
        let of = |f: &dyn Fn(&Level) -> f64| column(x, levels.iter().map(f));
        let state = x * of(&|level| from_start(level).0) + z * of(&|level| from_start(level).1.sqrt());
        let times: Vec<f64> = levels.iter().map(|level| level.t).collect();
        let (score, estimates) = probes.value_and_divergence(|x| self.model.score(&At::whole(x, &times)), &state);
        let divergence = estimates.mean_dim(1i64, false, Kind::Double);
        let terms = sum_per_example(&score.to_kind(Kind::Double).square()) + divergence * 2.0;
        let variance = of(&|level| level.sigma.powi(2)).view(-1);
        let share = of(&|level| level.sigma.powi(2) * from_start(level).1 / (level.alpha.powi(2) + level.sigma.powi(2)).powi(2)).view(-1);
        let last = self.last();
        self.ends(x, from_start(&last)) + (terms * variance - surplus(z) * share) * (0.5 * self.span())
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::super::level::noised;
    use super::*;
    use crate::loss::stratified;
    use crate::model::ExactScore;
    use crate::rng::{self, Law, Purpose};
    use crate::testing::{Bent, VP, exact, gaussian, mean_and_error, mixture, never_asked, normal, points, sdes};

    const N: usize = 10_000;
    const T_MIN: f64 = 1e-3;

    /// Shares of the way, one in each of N equal parts.
    fn shares() -> Vec<f64> {
        stratified(&rng::uniform(3, Purpose::Time, 0, N))
    }

    /// E[ln p_1(x_1) - ln π(x_1)] for x_1 = a x + √v z: what even the exact score leaves of the bound.
    fn excess(sde: &dyn Sde, exact: &ExactScore, x: &Tensor, (a, v): (f64, f64)) -> f64 {
        let x1 = x * a + normal(9, &[N as i64, 2]) * v.sqrt();
        let prior = sum_per_example(&x1.square()) * (-0.5 / sde.prior_std().powi(2));
        let prior = prior - (2.0 * std::f64::consts::PI * sde.prior_std().powi(2)).ln();
        (exact.log_density(&x1, &[sde.horizon(); N]) - prior).mean(Kind::Double).double_value(&[])
    }

    #[test]
    fn with_the_exact_score_every_form_is_tight_at_every_point() {
        tch::set_num_threads(1);
        let mixture = mixture();
        for (name, sde) in sdes() {
            let exact = exact(sde, &mixture);
            let elbo = Elbo { model: &exact, t_min: T_MIN };
            let (lowest, last) = (sde.level(T_MIN), sde.level(sde.horizon()));
            for (i, point) in [[0.3, -0.2], [2.0, 1.5]].iter().enumerate() {
                let x = Tensor::from_slice(point).view([1, 2]).repeat([N as i64, 1]);
                let (u, z) = (shares(), normal(i as u64, &[N as i64, 2]));
                let at_t_min = |x: &Tensor| -exact.log_density(x, &[T_MIN; N]).mean(Kind::Double).double_value(&[]);
                let from_zero =
                    at_t_min(&noised(&lowest, &x, &normal(7, &[N as i64, 2]))) + excess(sde, &exact, &x, (last.alpha, last.sigma.powi(2)));
                let from_t_min = at_t_min(&x) + excess(sde, &exact, &x, kernel(&last, &lowest));
                let probes = Probes::Random(rng::rows(Law::Rademacher, 1, Purpose::Probe, 0..N as u64, 0, &[2], Device::Cpu).unsqueeze(0));
                let forms = [
                    ("denoising", elbo.denoising(&x, &u, &z), from_zero),
                    ("implicit", elbo.implicit(Start::Zero, &x, &u, &z, &Probes::Exact), from_zero),
                    ("sliced", elbo.implicit(Start::Zero, &x, &u, &z, &probes), from_zero),
                    ("implicit from t_min", elbo.implicit(Start::TMin, &x, &u, &z, &Probes::Exact), from_t_min),
                ];
                for (form, draws, truth) in forms {
                    let (mean, error) = mean_and_error(&draws);
                    assert!(error < 0.25, "{name}, {form}: an error of {error} shows nothing");
                    assert!((mean - truth).abs() < 4.0 * error, "{name}, {form} at {point:?}: {mean} ± {error} is not {truth}");
                }
            }
        }
    }

    #[test]
    fn over_the_data_a_bent_score_is_above_the_entropy_and_the_exact_one_at_it() {
        tch::set_num_threads(1);
        let mixture = mixture();
        let x0 = points(&mixture, 2, N);
        for (name, sde) in sdes() {
            let exact = exact(sde, &mixture);
            let bound = |stretch, shift| {
                let model = Bent { model: &exact, stretch, angle: 0.0, shift };
                Elbo { model: &model, t_min: T_MIN }.denoising(&x0, &shares(), &normal(0, &[N as i64, 2]))
            };
            let least = bound(0.0, 0.0);
            let x_t_min = noised(&sde.level(T_MIN), &x0, &normal(7, &[N as i64, 2]));
            let (gap, error) = mean_and_error(&(&least + exact.log_density(&x_t_min, &[T_MIN; N])));
            assert!((-4.0 * error..4.0 * error + 0.01).contains(&gap), "{name}: {gap} ± {error} above the truth");
            for (stretch, shift) in [(-0.2, 0.0), (0.2, 0.0), (0.0, -0.2), (0.0, 0.2)] {
                let (rise, error) = mean_and_error(&(bound(stretch, shift) - &least));
                assert!(rise > 4.0 * error, "{name}: bending by {stretch}, {shift} raises the bound by {rise} ± {error}");
            }
        }
    }

    /// At the centre of N(0, I) the implicit form is its mean and a multiple of ‖z‖² - D, which the control variate takes.
    #[test]
    fn nothing_varies_at_the_centre_of_a_normal_law() {
        tch::set_num_threads(1);
        let law = gaussian(2, 0.0, 1.0);
        let (x, z) = (Tensor::zeros([50, 2], (Kind::Double, Device::Cpu)), normal(0, &[50, 2]));
        for (name, sde) in sdes() {
            let exact = exact(sde, &law);
            let elbo = Elbo { model: &exact, t_min: T_MIN };
            for start in [Start::Zero, Start::TMin] {
                for u in [0.5, 0.8, 0.99] {
                    let draws = elbo.implicit(start, &x, &[u; 50], &z, &Probes::Exact);
                    let spread = (draws.max() - draws.min()).double_value(&[]);
                    assert!(spread < 1e-9, "{name} {start:?} at u = {u}: a spread of {spread}");
                }
            }
        }
    }

    #[test]
    fn the_share_of_the_way_is_a_law_of_time_proportional_to_g2_over_sigma2() {
        for (name, sde) in sdes() {
            let elbo = Elbo { model: &never_asked(sde), t_min: 1e-5 };
            let level = |u: f64| elbo.levels(&[u])[0];
            assert!((level(0.0).t / 1e-5 - 1.0).abs() < 1e-6 && (level(1.0).t - sde.horizon()).abs() < 1e-9, "{name}: the ends");
            for u in [0.1, 0.5, 0.9] {
                let h = 1e-5;
                let slope = (level(u + h).t - level(u - h).t) / (2.0 * h);
                let t = level(u).t;
                let density = (sde.diffusion(t) / sde.sigma(t)).powi(2) / elbo.span();
                assert!((slope * density - 1.0).abs() < 1e-5, "{name} at u = {u}");
            }
        }
        // the normaliser ∫ g²/σ² dt of VP from 1e-5 to 1, as published
        assert!((Elbo { model: &never_asked(&VP), t_min: 1e-5 }.span() - 23.8644724).abs() < 1e-6);
    }
}
