//! Models that change what another one says.

use super::{At, Model, Prediction};
use crate::sde::{Chain, Sde};

/// A model of the same process and chain as another, that says something else of x_t.
pub trait Decorator {
    fn inner(&self) -> &dyn Model;
    /// What is said of x_t instead, in the kind of `at.x`.
    fn decorated(&self, at: &At) -> Prediction;
    /// As [`Model::last_time`].
    fn last_time(&self) -> f64 {
        self.inner().sde().horizon()
    }
}

impl<D: Decorator> Model for D {
    fn sde(&self) -> &dyn Sde {
        self.inner().sde()
    }

    fn predict(&self, at: &At) -> Prediction {
        self.decorated(at)
    }

    fn chain(&self) -> Option<&Chain> {
        self.inner().chain()
    }

    fn last_time(&self) -> f64 {
        Decorator::last_time(self)
    }

    fn mean_square_error(&self, log_snr: f64) -> f64 {
        self.inner().mean_square_error(log_snr)
    }
}
