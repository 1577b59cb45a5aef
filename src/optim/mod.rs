//! Optimisation on whole buffers: all trainable numbers are one flat tensor, and so are their gradient, moments and average.

mod adam;
mod ema;
mod parameters;

pub use adam::{Adam, Block, clip_by_norm, warm_up};
pub use ema::Ema;
pub use parameters::{Builder, Init, Parameters};
