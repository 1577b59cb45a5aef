//! The law of z in x_t = α x_0 + σ z.

use statrs::function::gamma::ln_gamma;

/// A law of z in any number N of dimensions, the same in all directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoiseLaw {
    /// N(0, I).
    Normal,
    /// Student's: p(z) ∝ (1 + ‖z‖² / ν)^(-(ν + N) / 2), which is N(0, I) divided by √(χ²_ν / ν), and N(0, I) itself for ν → ∞.
    Student {
        /// ν, above 0.
        freedom: f64,
    },
}

impl NoiseLaw {
    /// ln of the density of σ z at x in nats, given σ², ‖x‖² and N.
    pub fn log_density(self, variance: f64, squared_norm: f64, dimension: usize) -> f64 {
        use std::f64::consts::PI;
        let n = dimension as f64;
        match self {
            NoiseLaw::Normal => -0.5 * (n * (2.0 * PI * variance).ln() + squared_norm / variance),
            NoiseLaw::Student { freedom } => {
                let half = 0.5 * (freedom + n);
                let normaliser = ln_gamma(half) - ln_gamma(0.5 * freedom) - 0.5 * n * (freedom * PI * variance).ln();
                normaliser - half * (squared_norm / (freedom * variance)).ln_1p()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_are_normalised_in_the_plane() {
        for law in [NoiseLaw::Normal, NoiseLaw::Student { freedom: 1.0 }, NoiseLaw::Student { freedom: 7.5 }] {
            // ∫ p(r) 2 π r dr with r = e^y.
            let h = 1e-3;
            let mass: f64 = (-20_000..20_000)
                .map(|i| (h * f64::from(i)).exp())
                .map(|r| h * 2.0 * std::f64::consts::PI * r * r * law.log_density(0.25, r * r, 2).exp())
                .sum();
            assert!((mass - 1.0).abs() < 1e-6, "{law:?}: {mass}");
        }
    }

    #[test]
    fn many_degrees_of_freedom_are_the_normal_law() {
        let student = NoiseLaw::Student { freedom: 1e7 };
        for (square, dimension) in [(0.0, 1), (3.0, 2), (200.0, 100)] {
            let (got, truth) = [student, NoiseLaw::Normal].map(|law| law.log_density(4.0, square, dimension)).into();
            assert!((got - truth).abs() < 1e-3, "{got} is not {truth}");
        }
    }
}
