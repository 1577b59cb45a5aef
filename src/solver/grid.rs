//! Time grids, as functions of (α, σ).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::sde::Sde;

/// Where a fixed-step solver stops on its way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum TimeGrid {
    /// Equal steps in t.
    Uniform {
        /// 1 to 1,000,000.
        steps: usize,
    },
    /// Equal steps in (σ/α)^(1/ρ) (Karras et al. 2022, eq. 5).
    Karras {
        /// 1 to 1,000,000.
        steps: usize,
        /// ρ, at least 1; EDM uses 7.
        rho: f64,
    },
    /// Equal steps in ln(α²/σ²).
    LogSnr {
        /// 1 to 1,000,000.
        steps: usize,
    },
}

/// Steps of a way on a grid.
pub(super) const MOST_STEPS: usize = 1_000_000;

impl TimeGrid {
    pub fn steps(&self) -> usize {
        match self {
            TimeGrid::Uniform { steps } | TimeGrid::Karras { steps, .. } | TimeGrid::LogSnr { steps } => *steps,
        }
    }

    /// steps + 1 times from `span.0` to `span.1`, both exact.
    pub fn times(&self, sde: &dyn Sde, span: (f64, f64)) -> Vec<f64> {
        let n = self.steps();
        let (start, end) = span;
        let between = |a: f64, b: f64, i: usize| a + (b - a) * i as f64 / n as f64;
        let (first, last) = (sde.log_snr(start), sde.log_snr(end));
        let time = |i: usize| match self {
            TimeGrid::Uniform { .. } => between(start, end, i),
            TimeGrid::LogSnr { .. } => sde.time_of_log_snr(between(first, last, i)),
            TimeGrid::Karras { rho, .. } => {
                let root = |log_snr: f64| (-0.5 * log_snr / rho).exp();
                sde.time_of_log_snr(-2.0 * rho * between(root(first), root(last), i).ln())
            }
        };
        (0..=n)
            .map(|i| {
                if i == 0 {
                    start
                } else if i == n {
                    end
                } else {
                    time(i)
                }
            })
            .collect()
    }

    /// Twice the steps.
    pub(super) fn refined(self) -> TimeGrid {
        match self {
            TimeGrid::Uniform { steps } => TimeGrid::Uniform { steps: 2 * steps },
            TimeGrid::Karras { steps, rho } => TimeGrid::Karras { steps: 2 * steps, rho },
            TimeGrid::LogSnr { steps } => TimeGrid::LogSnr { steps: 2 * steps },
        }
    }

    pub fn check(&self) -> Result<(), Fault> {
        let table = match self {
            TimeGrid::Uniform { .. } => "uniform",
            TimeGrid::Karras { .. } => "karras",
            TimeGrid::LogSnr { .. } => "log-snr",
        };
        Fault::unless_in(&format!("grid.{table}.steps"), self.steps(), 1..=MOST_STEPS, "a few hundred are usual")?;
        match self {
            TimeGrid::Karras { rho, .. } if !(*rho >= 1.0 && rho.is_finite()) => {
                Err(Fault::new("grid.karras.rho", format!("rho is {rho}"), "give a number of at least 1; EDM uses 7.0"))
            }
            _ => Ok(()),
        }
    }
}
