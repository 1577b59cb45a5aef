#![doc = include_str!("../docs/architecture.md")]
#![deny(unsafe_code)]

pub mod bound;
pub mod cli;
pub mod data;
pub mod dequantisation;
pub mod divergence;
pub mod dynamics;
pub mod error;
pub mod experiment;
pub mod file;
pub mod interrupt;
pub mod lab;
pub mod law;
pub mod likelihood;
pub mod loss;
pub mod memory;
pub mod metric;
pub mod model;
pub mod net;
pub mod optim;
pub mod parity;
pub mod phase;
pub mod plot;
pub mod progress;
pub mod pth;
pub mod rng;
pub mod run;
pub mod sample;
pub mod sde;
pub mod session;
pub mod solver;
pub mod space;
pub mod tensor;
#[doc(hidden)]
pub mod testing;
pub mod train;
