//! A model that is told what is known of its examples.

use tch::Tensor;

use super::{At, Decorator, Model, Prediction};

/// The model of x_t given a condition, whatever is said where it is asked. Decorators that need the model without it, such as classifier-free
/// guidance, stand inside.
pub struct Given<'a> {
    pub model: &'a dyn Model,
    /// As in [`At::condition`].
    pub condition: Option<Tensor>,
}

impl Decorator for Given<'_> {
    fn inner(&self) -> &dyn Model {
        self.model
    }

    fn last_time(&self) -> f64 {
        self.model.last_time()
    }

    fn decorated(&self, at: &At) -> Prediction {
        self.model.predict(&At { condition: self.condition.as_ref(), ..*at })
    }
}
