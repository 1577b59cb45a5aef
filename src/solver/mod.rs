//! Solvers: time grids; Runge-Kutta tableaus with one loop for fixed grids and one for adaptive steps; exponential methods, multi-step and
//! single-step; EDM's Heun with churn; methods for dynamics with noise; the samplers of Song et al. and the chains before them.
//!
//! # Do they draw from the law?
//!
#![doc = include_str!("laws.md")]

mod adaptive;
mod adaptive_sde;
mod control;
mod discrete_chain;
mod dop853;
mod edm;
mod exponential;
mod fixed;
mod general;
mod grid;
mod langevin;
mod multi_step;
mod predictor_corrector;
mod sampler;
mod single_step;
mod spec;
mod sra;
mod tableau;
mod trajectory;

pub use control::{Adaptive, Control};
pub use discrete_chain::{DiscreteChain, Spacing};
pub use edm::Churn;
pub use fixed::unrolled;
pub use general::{General, Stochastic};
pub use grid::TimeGrid;
pub use langevin::{AnnealedLangevin, Corrector, Norms, StepFactor};
pub use multi_step::{DeisVariable, GaussianStep, UniPcVariant};
pub use predictor_corrector::{Constraint, Predictor, PredictorCorrector, Visit};
pub use sampler::{Cost, Counts, Noise, Problem, Sampler, Solution, Statistics};
pub use spec::SolverSpec;
pub use tableau::{RK4, Tableau};
pub use trajectory::{Step, Trajectory, Watch};

#[cfg(test)]
mod tests;
