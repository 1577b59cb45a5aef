//! Laws of time under every process.

use super::*;
use crate::testing::{LINEAR, SUB_VP, VE, VP, sdes};

/// Parts of the law, dense at both ends.
fn parts() -> impl Iterator<Item = f64> {
    let inner = (1..200).map(|i| i as f64 / 200.0);
    inner.chain([0.0, 1e-12, 1e-9, 1e-6, 1e-3, 0.999, 1.0 - 1e-6, 1.0 - 1e-9, 1.0 - 1e-12, 1.0])
}

#[test]
fn the_likelihood_law_is_uniform_in_log_snr() {
    for (name, sde) in sdes() {
        for t_min in [1e-2, 1e-3, 1e-5] {
            let law = TimeSpec::Likelihood.law(sde, Weighting::Variance, t_min);
            let [first, last] = [t_min, sde.horizon()].map(|t| sde.log_snr(t));
            assert!((law.normaliser() / (first - last) - 1.0).abs() < 1e-11, "{name} {t_min}: Z = {}", law.normaliser());
            for u in parts() {
                let (t, truth) = (law.time(u), sde.time_of_log_snr(first + u * (last - first)));
                assert!((t / truth - 1.0).abs() < 1e-9, "{name} {t_min}: {t} is not {truth} at u = {u}");
                let weight = Weighting::Likelihood.at(sde, t) * law.importance(t);
                assert!((weight * (sde.horizon() - t_min) / law.normaliser() - 1.0).abs() < 1e-12, "{weight} at t = {t}");
                assert!((law.density(t) * (first - last) / (sde.diffusion(t) / sde.sigma(t)).powi(2) - 1.0).abs() < 1e-11);
            }
        }
    }
}

#[test]
fn normalisers_are_those_of_the_published_formulas() {
    let sdes: [(&dyn Sde, f64, f64); 4] =
        [(&VP, 1e-5, 23.8644724), (&SUB_VP, 1e-2, 22.4841358), (&SUB_VP, 1e-5, 37.6789457), (&VE, 1e-5, 2.0 * 5000f64.ln() * (1.0 - 1e-5))];
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
    for (name, sde) in sdes() {
        let (mean, std) = (-1.2, 1.2);
        let law = TimeSpec::LogNormal { mean, std }.law(sde, Weighting::Variance, 1e-4);
        let normal = Normal::new(mean, std).unwrap();
        let level = |t: f64| normal.cdf(-0.5 * sde.log_snr(t));
        for u in parts() {
            let t = law.time(u);
            let part = (level(t) - level(1e-4)) / (level(sde.horizon()) - level(1e-4));
            // The error function behind the truth has eleven digits or so.
            assert!((part - u).abs() < 1e-9, "{name}: {part} of the normal law lies below t = {t}, not {u}");
        }
    }
}

#[test]
fn the_logit_normal_law_of_a_straight_path_is_its_log_normal_one() {
    let (mean, std) = (0.3, 0.8);
    let laws =
        [TimeSpec::LogitNormal { mean, std }, TimeSpec::LogNormal { mean, std }].map(|spec| spec.law(&LINEAR, Weighting::Variance, 1e-3));
    for u in parts() {
        let [t, truth] = [0, 1].map(|i: usize| laws[i].time(u));
        assert!((t / truth - 1.0).abs() < 1e-9, "{t} is not {truth} at u = {u}");
    }
    // Under another process it is the same law but for what lies beyond its horizon.
    let law = TimeSpec::LogitNormal { mean, std }.law(&VP, Weighting::Variance, 1e-3);
    assert!(parts().filter(|u| *u < 0.99999).all(|u| (law.time(u) - laws[0].time(u)).abs() < 1e-6));
}

#[test]
fn the_inverse_is_one_for_every_process_weighting_and_law() {
    let weightings = [
        Weighting::Variance,
        Weighting::Likelihood,
        Weighting::Velocity,
        Weighting::Edm { sigma_data: 0.5 },
        Weighting::MinSnr { gamma: 5.0 },
        Weighting::SoftMinSnr { gamma: 5.0 },
    ];
    let narrow = TimeSpec::LogNormal { mean: 0.0, std: 0.01 };
    let laws = [TimeSpec::Uniform, TimeSpec::Likelihood, TimeSpec::LogNormal { mean: -1.2, std: 1.2 }, narrow];
    let choices = weightings.map(|weighting| (TimeSpec::Weighting, weighting)).into_iter();
    for (spec, weighting) in choices.chain(laws.map(|spec| (spec, Weighting::Variance))) {
        for (name, sde) in sdes() {
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
    for (name, sde) in sdes() {
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
            let t_max = sde.horizon();
            let truth = ((3.0 * t_min).cos() - (3.0 * t_max).cos()) / 3.0 / (t_max - t_min);
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
