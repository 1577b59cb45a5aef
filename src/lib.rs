//! score-sde

pub mod cli;
pub mod data;
pub mod dynamics;
pub mod error;
pub mod experiment;
pub mod likelihood;
pub mod loss;
pub mod model;
pub mod net;
pub mod optim;
pub mod picture;
pub mod progress;
pub mod pth;
pub mod rng;
pub mod run;
pub mod sample;
pub mod score;
pub mod sde;
pub mod solver;
pub mod tensor;
pub mod trace;
pub mod train;
