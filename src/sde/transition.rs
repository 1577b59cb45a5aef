//! The step between two levels of noise: of the forward process, of its reverse given x_0, and of the family that runs backwards.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Level;

/// The variance of a model's step p(x_s | x_t) from a level t down to a level s, whose mean is that of q(x_s | x_t, x_0) with Tweedie's
/// x̂_0 for x_0 (Ho et al. 2020, sec. 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variance {
    /// β = σ_t² - α_ts² σ_s², the forward step's: right for x_0 ~ N(0, I) under VP.
    Beta,
    /// β̃ = β σ_s² / σ_t², the posterior's: right for an x_0 that is known.
    BetaTilde,
    /// β̃ + γ² E‖z - ẑ‖² / D, with which the bound of a chain is least, whatever the network (Bao et al. 2022b, arXiv 2206.07309),
    /// γ of [`Transition::gain`]. For an exact score E‖z - ẑ‖² is D - E‖ẑ‖², and the step is the nearest Gaussian to the reverse process's
    /// (Bao et al. 2022a, arXiv 2201.06503, theorem 1). It is kept between β̃ and β̃ + γ². `[analytic_variance]` measures it.
    Analytic,
    /// β^v β̃^(1-v) with the network's own v for each number of x (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 15), which has
    /// `[precondition.discrete]` `variance = "learned"`. The v of one step serves any longer step from the same level.
    Learned,
}

/// From a level t down to a level s below it. With α_ts = α_t / α_s the forward step is x_t = α_ts x_s + √β z, and its reverse given x_0
/// q(x_s | x_t, x_0) = N(μ_q, β̃ I) (Ho et al. 2020, eq. 6 and 7; in (α, σ) Kingma et al. 2021, appendix A).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    above: Level,
    below: Level,
    /// β.
    pub beta: f64,
    /// β̃.
    pub beta_tilde: f64,
}

impl Transition {
    /// `below` may be [`Level::DATA`].
    pub fn new(above: Level, below: Level) -> Transition {
        // σ_t² (1 - e^(λ_t - λ_s)), which does not cancel for neighbours.
        let beta = -above.sigma.powi(2) * (above.log_snr() - below.log_snr()).exp_m1();
        Transition { above, below, beta, beta_tilde: beta * (below.sigma / above.sigma).powi(2) }
    }

    /// α_ts.
    pub fn shrinkage(&self) -> f64 {
        self.above.alpha / self.below.alpha
    }

    /// The level that the step comes from.
    pub fn above(&self) -> &Level {
        &self.above
    }

    /// The level that it leads to.
    pub fn below(&self) -> &Level {
        &self.below
    }

    /// The variance of a step, where E‖z - ẑ‖² / D is `error` at the level above; of a learnt one its middle, v = ½.
    pub fn variance(&self, variance: Variance, error: f64) -> f64 {
        match variance {
            Variance::Beta => self.beta,
            Variance::BetaTilde => self.beta_tilde,
            Variance::Analytic => self.beta_tilde + self.gain().powi(2) * error.clamp(0.0, 1.0),
            Variance::Learned => self.beta * (-0.5 * self.span()).exp(),
        }
    }

    /// ln(β / β̃), so that β^v β̃^(1-v) = β e^((v - 1) span). Down to the data β̃ is 0; the paper clips it to that of the step before, here it is
    /// clipped to β, and v has no say: such a step is a decoder's.
    pub fn span(&self) -> f64 {
        if self.beta_tilde > 0.0 { (self.beta / self.beta_tilde).ln() } else { 0.0 }
    }

    /// The factors on x_t and x_0 in μ_q.
    pub fn posterior_mean(&self) -> (f64, f64) {
        let variance = self.above.sigma.powi(2);
        (self.shrinkage() * self.below.sigma.powi(2) / variance, self.below.alpha * self.beta / variance)
    }

    /// β / (α_ts σ_t), the factor on z + σ_t s in the distance of μ_q from the model's mean, which has x̂_0 in place of x_0.
    pub fn gain(&self) -> f64 {
        self.beta / (self.shrinkage() * self.above.sigma)
    }

    /// The factors on x_t and on the score s(x_t, t) in the mean of the family's step (Song et al. 2021a, eq. 12, where η² β̃ is σ²)
    ///
    /// ```text
    /// α_s x̂ - c σ_t s = x / α_ts + (σ_t² / α_ts - c σ_t) s,   x̂ = (x + σ_t² s) / α_t,   c² = σ_s² - η² β̃,
    /// ```
    ///
    /// for η in [0, 1]; at η = 1 it is μ_q with x̂ for x_0.
    pub fn reverse_mean(&self, eta: f64) -> (f64, f64) {
        let c = (self.below.sigma.powi(2) - eta * eta * self.beta_tilde).sqrt();
        let grown = self.above.sigma / self.shrinkage();
        // σ_t (grown - c), where grown² - c² = β / α_ts² + η² β̃.
        let score = self.above.sigma * (self.beta / self.shrinkage().powi(2) + eta * eta * self.beta_tilde) / (grown + c);
        (1.0 / self.shrinkage(), score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sde::Sde;
    use crate::testing::{VP, sdes};

    /// Every pair is one joint Gaussian of (x_s, x_t) given x_0.
    #[test]
    fn a_step_forward_and_its_reverse_are_one_joint_gaussian() {
        for (name, sde) in sdes() {
            for (s, t) in [(1e-4, 1e-3), (0.2, 0.21), (0.3, sde.horizon())] {
                let (below, above) = (sde.level(s), sde.level(t));
                let step = Transition::new(above, below);
                let (of_x, of_x0) = step.posterior_mean();
                let close = |got: f64, truth: f64| assert!((got / truth - 1.0).abs() < 1e-6, "{name} {s} {t}: {got} is not {truth}");
                // the marginal mean and variance of x_s, and its covariance with x_t, given x_0
                close(of_x * above.alpha + of_x0, below.alpha);
                close(of_x.powi(2) * above.sigma.powi(2) + step.beta_tilde, below.sigma.powi(2));
                close(of_x * above.sigma.powi(2), above.alpha / below.alpha * below.sigma.powi(2));
                close(step.gain(), of_x0 * above.sigma / above.alpha);
                close(step.beta, above.sigma.powi(2) - (above.alpha / below.alpha * below.sigma).powi(2));
                // η = 1 is the posterior with x̂ = (x + σ² s) / α
                let (state, score) = step.reverse_mean(1.0);
                close(state, of_x + of_x0 / above.alpha);
                close(score, of_x0 * above.sigma.powi(2) / above.alpha);
                // any η leaves the variance of x_s: with s = -(x - α x_0) / σ², x_s - α_s x_0 = (state - score / σ²)(x - α x_0) + η √β̃ z
                for eta in [0.0, 0.4, 1.0] {
                    let (state, score) = step.reverse_mean(eta);
                    let share = state - score / above.sigma.powi(2);
                    close(share.powi(2) * above.sigma.powi(2) + eta * eta * step.beta_tilde, below.sigma.powi(2));
                }
            }
        }
    }

    /// A step of relative length 1e-9 keeps six digits, where σ_t² - α_ts² σ_s² would keep none.
    #[test]
    fn neighbours_do_not_cancel() {
        let (t, h) = (0.5, 1e-12);
        let step = Transition::new(VP.level(t), VP.level(t - h));
        assert!((step.beta / (VP.diffusion(t).powi(2) * h) - 1.0).abs() < 1e-3, "{}", step.beta / (VP.diffusion(t).powi(2) * h));
        let (_, score) = step.reverse_mean(0.0);
        assert!((score / (0.5 * VP.diffusion(t).powi(2) * h) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn the_last_step_ends_at_the_denoised_state() {
        let above = VP.level(0.1);
        let step = Transition::new(above, Level::DATA);
        let (state, score) = step.reverse_mean(0.3);
        assert!((state - 1.0 / above.alpha).abs() < 1e-14 && (score - above.sigma.powi(2) / above.alpha).abs() < 1e-14);
        assert_eq!(step.beta_tilde, 0.0);
        // Whatever v is: a power of 0 would be 0 or no number.
        assert_eq!((step.span(), step.variance(Variance::Learned, 0.0)), (0.0, step.beta));
    }
}
