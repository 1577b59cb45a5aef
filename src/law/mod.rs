//! Laws that are known in closed form.

mod gaussian_mixture;
mod noise;
mod posterior;

pub use gaussian_mixture::{FactoredMixture, GaussianMixture};
pub use noise::noise_rows;
