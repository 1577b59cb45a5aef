//! What every process must be.

use super::*;
use crate::testing::{SUB_VP, VE, VP, sdes};

#[test]
fn moments_solve_their_differential_equations() {
    for (name, sde) in sdes() {
        for t in [0.01, 0.1, 0.3, 0.5, 0.77, 0.99] {
            let h = 1e-5;
            let slope = |f: &dyn Fn(f64) -> f64| (f(t + h) - f(t - h)) / (2.0 * h);
            let (f, g) = (sde.drift(t), sde.diffusion(t));
            let alpha_slope = slope(&|t| sde.alpha(t));
            assert!((alpha_slope - f * sde.alpha(t)).abs() < 1e-7, "{name}: α' = f α at t = {t}");
            let variance_slope = slope(&|t| sde.sigma(t).powi(2));
            let truth = 2.0 * f * sde.sigma(t).powi(2) + g * g;
            assert!((variance_slope - truth).abs() < 1e-7 * (1.0 + truth.abs()), "{name}: (σ²)' = 2 f σ² + g² at t = {t}");
            let (got, sigma_slope) = (sde.slope(t), slope(&|t| sde.sigma(t)));
            assert!((got.alpha - alpha_slope).abs() < 1e-7, "{name}: α' at t = {t}");
            assert!((got.sigma - sigma_slope).abs() < 1e-6 * (1.0 + sigma_slope.abs()), "{name}: σ' at t = {t}");
        }
    }
}

/// A process that is known by its levels and slopes alone.
struct Path<'a>(&'a dyn Sde);

impl Sde for Path<'_> {
    fn level(&self, t: f64) -> Level {
        self.0.level(t)
    }
    fn slope(&self, t: f64) -> Slope {
        self.0.slope(t)
    }
}

#[test]
fn all_else_follows_from_levels_and_slopes() {
    for (name, sde) in sdes() {
        let path = Path(sde);
        for t in [1e-3, 0.3, 0.99] {
            let back = [&path as &dyn Sde, sde].map(|sde| sde.time_of_log_snr(sde.log_snr(t)));
            for (got, truth) in [(path.drift(t), sde.drift(t)), (path.diffusion(t), sde.diffusion(t)), back.into()] {
                assert!((got - truth).abs() < 1e-9 * (1.0 + truth.abs()), "{name} at t = {t}: {got} is not {truth}");
            }
        }
        assert!((path.horizon() / sde.horizon() - 1.0).abs() < 1e-9 && (path.prior_std() / sde.prior_std() - 1.0).abs() < 1e-4, "{name}");
    }
}

#[test]
fn log_snr_has_an_inverse() {
    for (name, sde) in sdes() {
        for t in [1e-5, 1e-3, 0.02, 0.3, 0.5, 0.9, 1.0] {
            let back = sde.time_of_log_snr(sde.log_snr(t));
            assert!((back - t).abs() < 1e-9 * (1.0 + t), "{name}: {t} came back as {back}");
        }
    }
}

#[test]
fn constants_are_the_references() {
    let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-6, "{a} is not {b}");
    close(VP.alpha(1.0), 0.006571586);
    close(VP.sigma(1.0), 0.9999784);
    close(VP.alpha(0.5), 0.2811829);
    close(VP.sigma(0.5), 0.9596542);
    close(VP.sigma(1e-3), 0.01048542);
    close(VP.sigma(1e-5), 0.001000497);
    close(SUB_VP.sigma(0.5), 0.9209362);
    close(SUB_VP.diffusion(0.5), 3.160249);
    close(SUB_VP.sigma(1e-3), 1.099440e-4);
    close(SUB_VP.sigma(1e-5), 1.0009945e-6);
    close(VE.sigma(0.5), std::f64::consts::FRAC_1_SQRT_2); // √(σ_min σ_max)
    close(VE.diffusion(1.0), 206.36367);
    close(VE.prior_std(), 50.0);
}

#[test]
fn prior_density_is_normalised() {
    // Narrow enough for a sum over a grid.
    let ve = Ve { sigma_min: 0.01, sigma_max: 3.0 };
    let mass: f64 = (-4000..4000).map(|i| 0.01 * ve.prior_log_density((0.01 * i as f64).powi(2), 1).exp()).sum();
    assert!((mass - 1.0).abs() < 1e-6, "{mass}");
}

#[test]
fn wrong_constants_name_their_key() {
    let fault = SdeSpec::Ve(Ve { sigma_min: 2.0, sigma_max: 1.0 }).check().unwrap_err();
    assert_eq!(fault.key, "ve.sigma_max");
    let fault = SdeSpec::Vp(Vp { beta_min: 0.0, beta_max: 1.0 }).check().unwrap_err();
    assert_eq!(fault.key, "vp.beta_min");
    let fault = SdeSpec::SubVp(SubVp { beta_min: 1.0, beta_max: f64::NAN }).check().unwrap_err();
    assert_eq!(fault.key, "sub-vp.beta_max");
}
