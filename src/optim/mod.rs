//! Optimisation on whole buffers: all trainable numbers are one flat tensor, and so are their gradient, moments and average.

mod adam;
mod block;
mod ema;
mod history;
mod parameters;
mod part;
pub mod power_average;
mod schedule;
mod trained;

pub use adam::{Adam, clip_by_norm, warm_up};
pub use block::Block;
pub use ema::Ema;
pub use history::{Drawn, LossHistory};
pub use parameters::{Builder, Init, Parameters};
pub use part::Part;
pub use power_average::PowerAverage;
pub use schedule::Schedule;
pub use trained::{BatchTimes, Losses, Shown, Trained};
