//! score-sde

pub mod data;
pub mod error;
pub mod net;
pub mod optim;
pub mod picture;
pub mod progress;
pub mod rng;
pub mod run;
