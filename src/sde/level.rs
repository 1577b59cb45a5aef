//! One level of noise: the marginal q(x_t | x_0) = N(α x_0, σ² I) at a time, and how fast it changes.

use std::f64::consts::{E, PI};

/// A time with its (α, σ), which are a process's or those of a chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    pub t: f64,
    pub alpha: f64,
    pub sigma: f64,
}

/// (α', σ') at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    pub alpha: f64,
    pub sigma: f64,
}

impl Level {
    /// The data themselves, without noise.
    pub const DATA: Level = Level { t: 0.0, alpha: 1.0, sigma: 0.0 };

    /// λ = ln(α² / σ²).
    pub fn log_snr(&self) -> f64 {
        2.0 * (self.alpha.ln() - self.sigma.ln())
    }

    /// The entropy of q(x_t | x_0) in D dimensions, nats.
    pub fn entropy(&self, dimension: usize) -> f64 {
        normal_entropy(self.sigma.powi(2), dimension)
    }
}

/// ½ D ln(2πe v), the entropy of N(μ, v I) in D dimensions, nats.
pub fn normal_entropy(v: f64, dimension: usize) -> f64 {
    0.5 * dimension as f64 * (2.0 * PI * E * v).ln()
}
