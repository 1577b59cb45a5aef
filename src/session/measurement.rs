//! What a session's samples have to fit.

use super::Session;
use crate::data::Split;
use crate::error::Result;
use crate::guidance::{self, Observation, Observed};
use crate::space::Scale;

impl Session {
    /// What was measured, in the data's units; the split of an example is opened. Error: operator, file or example don't fit.
    pub fn observed(&self, spec: &guidance::Spec) -> Result<Observed> {
        let split = match spec.observation {
            Observation::Example { split, .. } => split,
            Observation::File(_) => Split::Train,
        };
        let observed = spec.observed(&*self.dataset(split)?, self.plan.seed, self.device());
        observed.map_err(|refusal| refusal.within("sample.measurement").into())
    }

    /// Data units = slope · model space + shift; of pixels the middles of their bins.
    pub(super) fn affine(&self) -> (f64, f64) {
        match self.scale() {
            Scale::Vectors { scale } => (scale, 0.0),
            scale => {
                let slope = 1.0 / (scale.centre(1.0) - scale.centre(0.0));
                (slope, -scale.centre(0.0) * slope)
            }
        }
    }
}
