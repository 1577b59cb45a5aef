//! What holds for a path that is known by its levels and slopes alone.

use super::{LEAST_SIGNAL, Level, Sde, Slope};
use crate::error::Fault;

/// Times at which a path is looked at before it is used.
const LOOKS: usize = 1000;

/// The t in [0, 1] at which the log-SNR is `lambda`, or the end that is nearest to it: Newton's method on the logarithm of σ / α, halving
/// where it would leave the bracket.
pub(super) fn time_of_log_snr<S: Sde + ?Sized>(sde: &S, lambda: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    let mut t = 0.5;
    for _ in 0..200 {
        let (Level { alpha, sigma, .. }, slope) = (sde.level(t), sde.slope(t));
        let excess = sigma.ln() - alpha.ln() + 0.5 * lambda;
        (low, high) = if excess > 0.0 { (low, t) } else { (t, high) };
        // In ln t, in which most paths are straight near 0.
        let newton = t * (-excess / (t * (slope.sigma / sigma - slope.alpha / alpha))).exp();
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        let moved = (next - t).abs();
        t = next;
        if moved <= 1e-15 * t {
            break;
        }
    }
    t
}

/// The last time at which α / σ is at least [`LEAST_SIGNAL`], for a path that ends without a signal; else 1.
pub(super) fn horizon<S: Sde + ?Sized>(sde: &S) -> f64 {
    let Level { alpha, sigma, .. } = sde.level(1.0);
    if alpha < 1e-3 * LEAST_SIGNAL * sigma { time_of_log_snr(sde, 2.0 * LEAST_SIGNAL.ln()) } else { 1.0 }
}

/// Whether this is a path: from the data, α = 1, on, its signal falls against its noise, and both are finite. A fault's key is `alpha` or `sigma`.
pub(super) fn check<S: Sde + ?Sized>(sde: &S) -> Result<(), Fault> {
    let help = "give functions with alpha(0) = 1, alpha >= 0, sigma > 0 after t = 0, and alpha / sigma falling all the way to t = 1";
    let fault = |key: &str, message: String| Err(Fault::new(key, message, help));
    let start = sde.level(0.0);
    if (start.alpha - 1.0).abs() > 1e-6 {
        return fault("alpha", format!("alpha is {} at t = 0, and the data themselves have 1", start.alpha));
    }
    let mut before = start;
    for t in (1..=LOOKS).map(|i| i as f64 / LOOKS as f64) {
        let (here, Slope { alpha, sigma }) = (sde.level(t), sde.slope(t));
        if !(here.alpha >= 0.0 && here.alpha.is_finite() && (alpha.is_finite() || t == 1.0)) {
            return fault("alpha", format!("alpha is {}, its slope {alpha}, at t = {t}", here.alpha));
        }
        if !(here.sigma > 0.0 && here.sigma.is_finite() && (sigma.is_finite() || t == 1.0)) {
            return fault("sigma", format!("sigma is {}, its slope {sigma}, at t = {t}", here.sigma));
        }
        if here.alpha * before.sigma >= before.alpha * here.sigma {
            let ratio = |level: &Level| level.alpha / level.sigma;
            let message = format!("alpha / sigma does not fall from t = {} ({}) to t = {t} ({})", before.t, ratio(&before), ratio(&here));
            return fault("sigma", message);
        }
        before = here;
    }
    Ok(())
}
