//! Laws that are known in closed form.

mod gaussian_mixture;

pub use gaussian_mixture::{FactoredMixture, GaussianMixture};
