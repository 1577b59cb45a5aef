//! The cosine schedule of Nichol & Dhariwal 2021 (arXiv 2102.09672, eq. 17) as a variance-preserving process, and its chain.

use std::f64::consts::FRAC_PI_2;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chain::place_of;
use super::{Chain, Level, Sde, Slope, check_levels};
use crate::error::Fault;

/// α(t) = cos φ(t) / cos φ(0) with φ(t) = π/2 (end t + s) / (1 + s), σ² = 1 - α², prior N(0, I); so f = -φ' tan φ and g² = 2 φ' tan φ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cosine {
    /// s, in [0, 1): keeps the first steps from being too small; the paper uses 0.008. With s = 0 and end = 1 it is the path α = cos(π t / 2),
    /// σ = sin(π t / 2) of stochastic interpolants.
    pub s: f64,
    /// Where on the paper's way to no signal at all the process ends, in (0, 1]: at 1 whoever divides by α ends where α / σ is 0.001. 0.9999 in
    /// discrete time, where the paper ends at 1 and holds β_i to at most 0.999, as the chain here does, and where an error of a noise
    /// prediction counts 1 / α: let the network predict v or the data. 0.995 in continuous time, whose α(1) is 0.008.
    pub end: f64,
}

/// The largest β_i of the chain.
const LARGEST: f64 = 0.999;

impl Cosine {
    /// φ(t).
    fn angle(&self, t: f64) -> f64 {
        FRAC_PI_2 * (self.end * t + self.s) / (1.0 + self.s)
    }

    /// φ'.
    fn rate(&self) -> f64 {
        FRAC_PI_2 * self.end / (1.0 + self.s)
    }

    /// β_i, of the step from time i / N to (i + 1) / N.
    fn beta_of_level(&self, i: usize, levels: usize) -> f64 {
        let [from, to] = [i, i + 1].map(|i| self.angle(i as f64 / levels as f64));
        // 1 - cos² φ_to / cos² φ_from, which does not cancel.
        ((to - from).sin() * (to + from).sin() / from.cos().powi(2)).min(LARGEST)
    }
}

impl Sde for Cosine {
    fn drift(&self, t: f64) -> f64 {
        -self.rate() * self.angle(t).tan()
    }
    fn diffusion(&self, t: f64) -> f64 {
        (2.0 * self.rate() * self.angle(t).tan()).sqrt()
    }
    fn level(&self, t: f64) -> Level {
        let (start, here) = (self.angle(0.0), self.angle(t));
        let sigma = ((here - start).sin() * (here + start).sin()).sqrt() / start.cos();
        Level { t, alpha: here.cos() / start.cos(), sigma }
    }
    /// σ σ' = -α α'.
    fn slope(&self, t: f64) -> Slope {
        let Level { alpha, sigma, .. } = self.level(t);
        let slope = -self.rate() * self.angle(t).sin() / self.angle(0.0).cos();
        Slope { alpha: slope, sigma: -alpha * slope / sigma }
    }
    fn prior_std(&self) -> f64 {
        1.0
    }
    /// cos φ = α cos φ(0) and sin² φ = sin² φ(0) + σ² cos² φ(0), with α² = 1 / (1 + e^-λ) and σ² = 1 / (1 + e^λ).
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        let (sin, cos) = self.angle(0.0).sin_cos();
        let height = (sin * sin + cos * cos / (1.0 + lambda.exp())).sqrt();
        let angle = height.atan2(cos / (1.0 + (-lambda).exp()).sqrt());
        ((1.0 + self.s) * angle / FRAC_PI_2 - self.s) / self.end
    }
    /// √(1 - β_i) x + √β_i z.
    fn discretised(&self, t: f64, steps: usize) -> (f64, f64) {
        let beta = self.beta_of_level(place_of(t, steps), steps);
        (-beta / (1.0 + (1.0 - beta).sqrt()), beta.sqrt())
    }
    /// α_i² = Π_{j <= i} (1 - β_j), σ_i² = 1 - α_i².
    fn chain(&self, levels: usize) -> Result<Chain, Fault> {
        check_levels(levels)?;
        let marginals = (0..levels).scan(0.0, |log_alpha, i| {
            *log_alpha += 0.5 * (-self.beta_of_level(i, levels)).ln_1p();
            Some((log_alpha.exp(), (-(2.0 * *log_alpha).exp_m1()).sqrt()))
        });
        Ok(Chain::new(levels, marginals))
    }
    fn check(&self) -> Result<(), Fault> {
        let wrong = |key: &str, value: f64, help: &str| Err(Fault::new(key, format!("{key} is {value}"), help));
        match (self.s, self.end) {
            (s, _) if !(0.0..1.0).contains(&s) => wrong("s", s, "give a number of at least 0 and below 1; the paper uses 0.008"),
            (_, end) if !(end > 0.0 && end <= 1.0) => {
                wrong("end", end, "give a number above 0 and at most 1, such as 0.9999 in discrete time and 0.995 else")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the paper's T = 1000 and s: ᾱ_t = f(t) / f(0), f(t) = cos²((t / T + s) / (1 + s) · π/2), β_t = min(1 - ᾱ_t / ᾱ_(t-1), 0.999).
    #[test]
    fn the_chain_is_the_papers_but_for_its_very_end() {
        let steps = 1000;
        let f = |t: usize| (((t as f64 / steps as f64) + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2);
        let chain = Cosine { s: 0.008, end: 0.9999 }.chain(steps).unwrap();
        let mut product = 1.0;
        for t in 1..=steps {
            product *= 1.0 - (1.0 - f(t) / f(t - 1)).min(0.999);
            let got = chain.levels()[t - 1].alpha.powi(2);
            // What lies between 0.9999 and 1 is a tenth of a step at the end.
            assert!((got - product).abs() < 1e-4, "ᾱ_{t} is {got}, not {product}");
        }
        assert!(chain.levels()[999].alpha < 2e-4);
    }

    #[test]
    fn wrong_constants_name_their_key() {
        let key = |s, end| Cosine { s, end }.check().unwrap_err().key;
        assert_eq!([key(-0.1, 0.9), key(0.008, 1.1), key(f64::NAN, 0.9)], ["s", "end", "s"]);
    }
}
