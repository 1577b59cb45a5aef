//! Laws that are known in closed form.

mod gaussian_mixture;
mod noise;
mod normal;
mod posterior;

pub use gaussian_mixture::{FactoredMixture, GaussianMixture};
pub use noise::noise_rows;
pub use normal::Normal;
