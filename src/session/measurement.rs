//! What a session's samples have to fit.

use tch::{Kind, Tensor};

use super::Session;
use crate::error::Result;
use crate::guidance::{self, Observed};
use crate::measurement::Measurement;
use crate::space::Scale;

impl Session {
    /// What was measured, in the data's units; the split of an example is opened. Error: operator, method, file or example don't fit.
    pub fn observed(&self, spec: &guidance::Spec) -> Result<Observed> {
        let observed = spec.observed(&self.shape, |split| self.dataset(split), self.plan.seed, self.device());
        observed.map_err(|refusal| refusal.within("sample.measurement").into())
    }

    /// How model space is measured, without a y.
    pub fn measurement(&self, spec: &guidance::Spec) -> Result<Measurement> {
        let operator = spec.operator.build(&self.shape, self.plan.seed, self.device()).map_err(|refusal| refusal.within("operator"));
        let operator = operator.map_err(|refusal| refusal.within("sample.measurement"))?;
        let y = Tensor::zeros([operator.rows()], (Kind::Double, self.device()));
        let (slope, shift) = self.affine();
        Ok(Measurement { operator, y, sigma: spec.noise }.in_model_space(&self.shape, slope, shift))
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
