//! What a likelihood is said in: nats of vectors, bits/dim of pixels.

use std::f64::consts::LN_2;

use serde::Serialize;

use crate::space::Scale;

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Nats,
    BitsPerDim,
}

impl Unit {
    pub fn of(scale: Scale) -> Unit {
        match scale {
            Scale::Vectors { .. } => Unit::Nats,
            Scale::Pixels { .. } => Unit::BitsPerDim,
        }
    }

    /// What nats of so many dimensions are multiplied by.
    pub fn per_nat(self, dimension: usize) -> f64 {
        match self {
            Unit::Nats => 1.0,
            Unit::BitsPerDim => 1.0 / (dimension as f64 * LN_2),
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Nats => "nats",
            Unit::BitsPerDim => "bits/dim",
        }
    }

    /// Of curves: the mean, its standard error, the mean of its bound, and how the examples are spread.
    pub fn tags(self) -> [&'static str; 4] {
        match self {
            Unit::Nats => ["likelihood/nats", "likelihood/nats_standard_error", "likelihood/bound_nats", "likelihood/of_examples_nats"],
            Unit::BitsPerDim => [
                "likelihood/bits_per_dim",
                "likelihood/bits_per_dim_standard_error",
                "likelihood/bound_bits_per_dim",
                "likelihood/of_examples_bits_per_dim",
            ],
        }
    }
}
