//! A model that is told what is known of its examples.

use tch::Tensor;

use super::{At, Model, Prediction};
use crate::sde::{Chain, Sde};

/// The model of x_t given a condition, whatever is said where it is asked. Decorators that need the model without it, such as classifier-free
/// guidance, stand inside.
pub struct Given<'a> {
    pub model: &'a dyn Model,
    /// As in [`At::condition`].
    pub condition: Option<Tensor>,
}

impl Model for Given<'_> {
    fn sde(&self) -> &dyn Sde {
        self.model.sde()
    }

    fn predict(&self, at: &At) -> Prediction {
        self.model.predict(&At { condition: self.condition.as_ref(), ..*at })
    }

    fn chain(&self) -> Option<&Chain> {
        self.model.chain()
    }

    fn mean_square_error(&self, log_snr: f64) -> f64 {
        self.model.mean_square_error(log_snr)
    }
}
