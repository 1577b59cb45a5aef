//! Weightings of the times: λ(t) of the loss λ(t) ‖s(x_t, t) - ∇ ln p(x_t | x_0)‖².

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::sde::{Level, Sde};

/// λ(t) (Song et al. 2021, eq. 7), by its factor w = λ / σ² on the noise error ‖σ s + z‖². With the signal-to-noise ratio SNR = α² / σ²
/// any of them serves any process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Weighting {
    /// λ = σ², w = 1: every time's loss has the same scale. It is also DDPM's simple loss ‖ẑ - z‖² (Ho et al. 2020, eq. 14).
    Variance,
    /// λ = g², w = g² / σ²: the loss bounds the negative log-likelihood (Song et al. 2021b, arXiv 2101.09258, theorem 1).
    Likelihood,
    /// 1 on the error of the velocity, ‖u - (α' x_0 + σ' z)‖²: flow matching (Lipman et al. 2023, arXiv 2210.02747, eq. 14), w = (σ' - σ α' / α)².
    Velocity,
    /// 1 / c_out² on the denoiser's error ‖D - x_0‖², w = 1 + σ² / (α σ_data)² (Karras et al. 2022, arXiv 2206.00364, table 1): a network
    /// with EDM's preconditioning then has errors of one scale.
    Edm {
        /// The standard deviation of the data in model space.
        sigma_data: f64,
    },
    /// min(SNR, γ) on the denoiser's error, w = min(1, γ / SNR) (Hang et al. 2023, arXiv 2303.09556).
    MinSnr {
        /// γ.
        gamma: f64,
    },
    /// The same without the kink, 1 / (1 / SNR + 1 / γ) on the denoiser's error, w = γ / (γ + SNR) (Crowson et al. 2024, arXiv 2401.11605).
    SoftMinSnr {
        /// γ.
        gamma: f64,
    },
}

impl Weighting {
    /// w(t).
    pub fn at(&self, sde: &dyn Sde, t: f64) -> f64 {
        self.at_level(sde, &sde.level(t))
    }

    /// w at a level that stands for its time, as those of a chain do.
    pub fn at_level(&self, sde: &dyn Sde, level: &Level) -> f64 {
        let snr = || level.log_snr().exp();
        match self {
            Weighting::Variance => 1.0,
            Weighting::Likelihood => (sde.diffusion(level.t) / level.sigma).powi(2),
            // ½ g² / σ, where g² = 2 σ (σ' - σ α' / α).
            Weighting::Velocity => (sde.diffusion(level.t).powi(2) / (2.0 * level.sigma)).powi(2),
            Weighting::Edm { sigma_data } => 1.0 + 1.0 / (snr() * sigma_data * sigma_data),
            Weighting::MinSnr { gamma } => (gamma / snr()).min(1.0),
            Weighting::SoftMinSnr { gamma } => gamma / (gamma + snr()),
        }
    }

    /// Whether it is a rate in time, which levels of a chain don't have.
    pub fn is_rate(&self) -> bool {
        matches!(self, Weighting::Likelihood | Weighting::Velocity)
    }

    /// A fault's key is relative to `weighting`.
    pub fn check(&self) -> Result<(), Fault> {
        let (table, key, value, help) = match self {
            Weighting::Variance | Weighting::Likelihood | Weighting::Velocity => return Ok(()),
            Weighting::Edm { sigma_data } => (
                "edm",
                "sigma_data",
                sigma_data,
                "give the standard deviation of the data in model space; EDM uses 0.5 for images in [-1, 1]",
            ),
            Weighting::MinSnr { gamma } => ("min-snr", "gamma", gamma, "give a number above 0; the paper uses 5"),
            Weighting::SoftMinSnr { gamma } => ("soft-min-snr", "gamma", gamma, "give a number above 0, such as 5"),
        };
        let fault = || Fault::new(key, format!("{key} is {value}"), help).within(table);
        if *value > 0.0 && value.is_finite() { Ok(()) } else { Err(fault()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sdes;

    #[test]
    fn weightings_are_their_papers_on_the_error_of_the_denoiser() {
        for (name, sde) in sdes() {
            for t in [1e-3, 0.1, 0.3, 0.5, 0.99] {
                // ‖D - x_0‖² = (σ / α)² ‖σ s + z‖², so that w is the papers' weight times (σ / α)².
                let s = sde.sigma(t) / sde.alpha(t);
                let (sigma_data, gamma): (f64, f64) = (0.7, 5.0);
                let c_out = s * sigma_data / (s * s + sigma_data * sigma_data).sqrt();
                for (weighting, truth) in [
                    (Weighting::Variance, 1.0 / (s * s)),
                    (Weighting::Likelihood, (sde.diffusion(t) / sde.sigma(t) / s).powi(2)),
                    // ε - z = -(D - x_0) / s, and the velocity's error is α' (D - x_0) + σ' (ε - z).
                    (Weighting::Velocity, (sde.slope(t).alpha - sde.slope(t).sigma / s).powi(2)),
                    (Weighting::Edm { sigma_data }, 1.0 / (c_out * c_out)),
                    (Weighting::MinSnr { gamma }, (1.0 / (s * s)).min(gamma)),
                    (Weighting::SoftMinSnr { gamma }, 1.0 / (s * s + 1.0 / gamma)),
                ] {
                    let got = weighting.at(sde, t) / (s * s);
                    assert!(
                        (got / truth - 1.0).abs() < if weighting == Weighting::Velocity { 1e-9 } else { 1e-12 },
                        "{name}, {weighting:?} at t = {t}: {got} is not {truth}"
                    );
                }
            }
        }
    }

    #[test]
    fn wrong_weightings_name_their_key() {
        let key = |weighting: Weighting| weighting.check().unwrap_err().key;
        assert_eq!(key(Weighting::Edm { sigma_data: 0.0 }), "edm.sigma_data");
        assert_eq!(key(Weighting::MinSnr { gamma: f64::INFINITY }), "min-snr.gamma");
        assert_eq!(key(Weighting::SoftMinSnr { gamma: f64::NAN }), "soft-min-snr.gamma");
        assert!(Weighting::MinSnr { gamma: 5.0 }.check().is_ok() && Weighting::Variance.check().is_ok());
    }
}
