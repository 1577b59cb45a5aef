//! Optimisation on whole buffers: all trainable numbers are one flat tensor, and so are their gradient, moments and average.

pub mod parameters;
