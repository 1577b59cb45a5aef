//! score-sde

pub mod data;
pub mod error;
pub mod net;
pub mod optim;
pub mod rng;
pub mod score;
pub mod sde;
pub mod tensor;
