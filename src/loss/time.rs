//! The law of t: how often training looks at each time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Weighting;
use super::inverse::Inverse;
use crate::error::Fault;
use crate::sde::Sde;

/// `[train] time`: the density p(t) on [t_min, 1] that times are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum TimeSpec {
    /// U(t_min, 1).
    Uniform,
    /// p ∝ g² / σ², under which the log-SNR is uniform (Song et al. 2021b, arXiv 2101.09258, sec. 5): the likelihood weighting's losses
    /// have one scale.
    Likelihood,
    /// p ∝ w, whichever weighting is chosen ([`Weighting::at`]): its losses have one scale.
    Weighting,
    /// ln(σ / α) ~ N(mean, std²), cut to [t_min, 1] (Karras et al. 2022, arXiv 2206.00364, inverse 1: -1.2 and 1.2 for data in [-1, 1]).
    LogNormal {
        /// Of ln(σ / α), between its values at t_min and at 1.
        mean: f64,
        /// At least 0.01.
        std: f64,
    },
    /// p_i ∝ √E L_i² of the last ten losses of each level, in discrete time; uniform until there are so many (Nichol & Dhariwal 2021, arXiv
    /// 2102.09672, sec. 3.3), which takes some 30 N examples. It needs `importance = true`: each loss is divided by N p_i, and
    /// the mean stays what it is.
    LossAware,
    /// One time alone, as denoising autoencoders are trained (Vincent 2011).
    Level {
        /// t, at least t_min.
        t: f64,
    },
}

impl TimeSpec {
    /// The law on [t_min, 1] for one process and weighting, which have passed their checks; of levels that are drawn by their losses the one
    /// they start with.
    pub fn law<'a>(&self, sde: &'a dyn Sde, weighting: Weighting, t_min: f64) -> TimeLaw<'a> {
        // (ln σ / α)' = g² / 2σ².
        let rate = |t: f64| (sde.diffusion(t) / sde.sigma(t)).powi(2);
        match *self {
            TimeSpec::Uniform | TimeSpec::LossAware => TimeLaw::uniform(t_min),
            TimeSpec::Likelihood => TimeLaw::proportional_to(rate, t_min),
            TimeSpec::Weighting => TimeLaw::proportional_to(move |t| weighting.at(sde, t), t_min),
            TimeSpec::Level { t } => TimeLaw { t_min, shape: Shape::Point(t) },
            TimeSpec::LogNormal { mean, std } => {
                TimeLaw::proportional_to(move |t| rate(t) * (-0.5 * ((-0.5 * sde.log_snr(t) - mean) / std).powi(2)).exp(), t_min)
            }
        }
    }

    /// Whether there is such a law on [t_min, 1]; a fault's key is relative to `time`.
    pub fn check(&self, sde: &dyn Sde, t_min: f64) -> Result<(), Fault> {
        if let TimeSpec::Level { t } = *self
            && !(t_min..=1.0).contains(&t)
        {
            return Err(Fault::new("level.t", format!("t is {t}"), format!("give a time from t_min = {t_min} to 1")));
        }
        let TimeSpec::LogNormal { mean, std } = *self else { return Ok(()) };
        let [first, last] = [t_min, 1.0].map(|t| -0.5 * sde.log_snr(t));
        if !(first < mean && mean < last) {
            let message = format!("mean is {mean}, but ln(σ/α) goes from {first:.2} at t_min to {last:.2} at t = 1");
            return Err(Fault::new("log-normal.mean", message, "give a number between them; EDM uses -1.2 for data in [-1, 1]"));
        }
        if !(std >= 0.01 && std.is_finite()) {
            return Err(Fault::new("log-normal.std", format!("std is {std}"), "give at least 0.01; EDM uses 1.2"));
        }
        Ok(())
    }
}

/// Of independent u_i ~ U(0, 1), one in each stratum: (i + u_i) / n. Each t of a batch then has its part of the law, and a mean over a
/// batch, whose expectation stays, varies less.
pub fn stratified(u: &[f64]) -> Vec<f64> {
    let n = u.len() as f64;
    u.iter().enumerate().map(|(i, u)| (i as f64 + u) / n).collect()
}

/// A law of t on [t_min, 1] with its inverse distribution function.
pub struct TimeLaw<'a> {
    t_min: f64,
    shape: Shape<'a>,
}

enum Shape<'a> {
    /// The inverse is a line.
    Uniform,
    Density(Inverse<'a>),
    Point(f64),
}

impl<'a> TimeLaw<'a> {
    /// U(t_min, 1).
    pub fn uniform(t_min: f64) -> TimeLaw<'a> {
        TimeLaw { t_min, shape: Shape::Uniform }
    }

    /// p ∝ `weight`, which is positive on [t_min, 1] (it may underflow to 0 in places) and has no poles there; 0 < t_min < 1.
    pub fn proportional_to(weight: impl Fn(f64) -> f64 + Send + Sync + 'a, t_min: f64) -> TimeLaw<'a> {
        TimeLaw { t_min, shape: Shape::Density(Inverse::new(Box::new(weight), t_min)) }
    }

    /// The t below which the part u of the law lies, u in [0, 1]: of a uniform u, a draw.
    pub fn time(&self, u: f64) -> f64 {
        match &self.shape {
            Shape::Uniform => self.t_min + u * (1.0 - self.t_min),
            Shape::Density(inverse) => inverse.time(u).clamp(self.t_min, 1.0),
            Shape::Point(t) => *t,
        }
    }

    /// The part of the law up to t in [t_min, 1].
    pub fn cdf(&self, t: f64) -> f64 {
        match &self.shape {
            Shape::Uniform => (t - self.t_min) / (1.0 - self.t_min),
            Shape::Density(inverse) => inverse.mass_below(t) / inverse.normaliser(),
            Shape::Point(point) => f64::from(u8::from(t >= *point)),
        }
    }

    /// p(t), normalised, for t in [t_min, 1]; infinite for a law of one time.
    pub fn density(&self, t: f64) -> f64 {
        self.weight(t) / self.normaliser()
    }

    /// Z = ∫ weight dt over [t_min, 1], where p = weight / Z; 1 - t_min for the uniform law, whose weight is 1.
    pub fn normaliser(&self) -> f64 {
        match &self.shape {
            Shape::Uniform => 1.0 - self.t_min,
            Shape::Density(inverse) => inverse.normaliser(),
            Shape::Point(_) => 1.0,
        }
    }

    /// 1 / (p(t) (1 - t_min)), the factor with which a mean over this law is one over U(t_min, 1). On the likelihood weighting under its
    /// own law it leaves the constant w = Z / (1 - t_min).
    pub fn importance(&self, t: f64) -> f64 {
        self.normaliser() / (self.weight(t) * (1.0 - self.t_min))
    }

    fn weight(&self, t: f64) -> f64 {
        match &self.shape {
            Shape::Uniform => 1.0,
            Shape::Density(inverse) => inverse.weight(t),
            Shape::Point(_) => f64::INFINITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{SDES, SUB_VP, VE, VP};

    /// Parts of the law, dense at both ends.
    fn parts() -> impl Iterator<Item = f64> {
        let inner = (1..200).map(|i| i as f64 / 200.0);
        inner.chain([0.0, 1e-12, 1e-9, 1e-6, 1e-3, 0.999, 1.0 - 1e-6, 1.0 - 1e-9, 1.0 - 1e-12, 1.0])
    }

    #[test]
    fn the_likelihood_law_is_uniform_in_log_snr() {
        for (name, sde) in SDES {
            for t_min in [1e-2, 1e-3, 1e-5] {
                let law = TimeSpec::Likelihood.law(sde, Weighting::Variance, t_min);
                let [first, last] = [t_min, 1.0].map(|t| sde.log_snr(t));
                assert!((law.normaliser() / (first - last) - 1.0).abs() < 1e-11, "{name} {t_min}: Z = {}", law.normaliser());
                for u in parts() {
                    let (t, truth) = (law.time(u), sde.time_of_log_snr(first + u * (last - first)));
                    assert!((t / truth - 1.0).abs() < 1e-9, "{name} {t_min}: {t} is not {truth} at u = {u}");
                    let weight = Weighting::Likelihood.at(sde, t) * law.importance(t);
                    assert!((weight * (1.0 - t_min) / law.normaliser() - 1.0).abs() < 1e-12, "{weight} at t = {t}");
                    assert!((law.density(t) * (first - last) / (sde.diffusion(t) / sde.sigma(t)).powi(2) - 1.0).abs() < 1e-11);
                }
            }
        }
    }

    #[test]
    fn normalisers_are_those_of_the_published_formulas() {
        let sdes: [(&dyn Sde, f64, f64); 4] = [
            (&VP, 1e-5, 23.8644724),
            (&SUB_VP, 1e-2, 22.4841358),
            (&SUB_VP, 1e-5, 37.6789457),
            (&VE, 1e-5, 2.0 * 5000f64.ln() * (1.0 - 1e-5)),
        ];
        for (sde, t_min, truth) in sdes {
            let z = TimeSpec::Likelihood.law(sde, Weighting::Variance, t_min).normaliser();
            assert!((z - truth).abs() < 1e-7, "{z} is not {truth} at t_min = {t_min}");
        }
    }

    /// VP: g² / σ² = B' / (1 - e^-B) with B = ∫β, whose integral is ln(e^B - 1).
    #[test]
    fn vps_likelihood_law_has_its_closed_form() {
        let t_min = 1e-5;
        let law = TimeSpec::Likelihood.law(&VP, Weighting::Variance, t_min);
        let integral = |t: f64| (0.1 * t + 9.95 * t * t).exp_m1().ln();
        let [first, last] = [t_min, 1.0].map(integral);
        for u in parts() {
            let b = (first + u * (last - first)).exp().ln_1p();
            let truth = 2.0 * b / (0.1 + (0.01 + 4.0 * 9.95 * b).sqrt());
            assert!((law.time(u) / truth - 1.0).abs() < 1e-10, "{} is not {truth} at u = {u}", law.time(u));
        }
    }

    #[test]
    fn the_log_normal_law_is_normal_in_the_logarithm_of_the_noise() {
        use statrs::distribution::{ContinuousCDF, Normal};
        for (name, sde) in SDES {
            let (mean, std) = (-1.2, 1.2);
            let law = TimeSpec::LogNormal { mean, std }.law(sde, Weighting::Variance, 1e-4);
            let normal = Normal::new(mean, std).unwrap();
            let level = |t: f64| normal.cdf(-0.5 * sde.log_snr(t));
            for u in parts() {
                let t = law.time(u);
                let part = (level(t) - level(1e-4)) / (level(1.0) - level(1e-4));
                // The error function behind the truth has eleven digits or so.
                assert!((part - u).abs() < 1e-9, "{name}: {part} of the normal law lies below t = {t}, not {u}");
            }
        }
    }

    #[test]
    fn the_inverse_is_one_for_every_process_weighting_and_law() {
        let weightings = [
            Weighting::Variance,
            Weighting::Likelihood,
            Weighting::Edm { sigma_data: 0.5 },
            Weighting::MinSnr { gamma: 5.0 },
            Weighting::SoftMinSnr { gamma: 5.0 },
        ];
        let narrow = TimeSpec::LogNormal { mean: 0.0, std: 0.01 };
        let laws = [TimeSpec::Uniform, TimeSpec::Likelihood, TimeSpec::LogNormal { mean: -1.2, std: 1.2 }, narrow];
        let choices = weightings.map(|weighting| (TimeSpec::Weighting, weighting)).into_iter();
        for (spec, weighting) in choices.chain(laws.map(|spec| (spec, Weighting::Variance))) {
            for (name, sde) in SDES {
                for t_min in [1e-2, 1e-5] {
                    let law = spec.law(sde, weighting, t_min);
                    let mut before = t_min;
                    for u in parts() {
                        let t = law.time(u);
                        assert!((t_min..=1.0).contains(&t), "{t}");
                        assert!((law.cdf(t) - u).abs() < 1e-11, "{spec:?} {weighting:?} {name} {t_min}: {} is not {u}", law.cdf(t));
                        if (0.005..0.996).contains(&u) {
                            assert!(t > before, "{spec:?}: not monotone at u = {u}");
                            before = t;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn importance_makes_a_mean_over_the_law_one_over_uniform_times() {
        for (name, sde) in SDES {
            let t_min = 1e-3;
            for spec in [TimeSpec::Uniform, TimeSpec::Likelihood] {
                let law = spec.law(sde, Weighting::Variance, t_min);
                let n = 20_000;
                let mean: f64 = (0..n)
                    .map(|i| {
                        let t = law.time((i as f64 + 0.5) / n as f64);
                        law.importance(t) * (3.0 * t).sin() / n as f64
                    })
                    .sum();
                let truth = ((3.0 * t_min).cos() - 3f64.cos()) / 3.0 / (1.0 - t_min);
                assert!((mean - truth).abs() < 1e-4, "{name} {spec:?}: {mean} is not {truth}");
            }
        }
    }

    #[test]
    fn one_time_is_drawn_alone() {
        let law = TimeSpec::Level { t: 0.3 }.law(&VP, Weighting::Variance, 1e-4);
        assert!(parts().all(|u| law.time(u) == 0.3));
        assert_eq!([law.cdf(0.29), law.cdf(0.3)], [0.0, 1.0]);
        assert_eq!(TimeSpec::Level { t: 0.3 }.check(&VP, 1e-4), Ok(()));
        for t in [1e-5, 1.1, f64::NAN] {
            assert_eq!(TimeSpec::Level { t }.check(&VP, 1e-4).unwrap_err().key, "level.t");
        }
    }

    #[test]
    fn log_normal_laws_outside_the_processs_noise_are_refused() {
        let key = |mean, std| TimeSpec::LogNormal { mean, std }.check(&VP, 1e-4).map_err(|fault| fault.key);
        assert_eq!(key(-9.0, 1.0), Err("log-normal.mean".into()));
        assert_eq!(key(6.0, 1.0), Err("log-normal.mean".into()));
        assert_eq!(key(-1.2, 0.0), Err("log-normal.std".into()));
        assert_eq!(key(-1.2, f64::NAN), Err("log-normal.std".into()));
        assert_eq!(key(-1.2, 1.2), Ok(()));
    }
}
