//! The models of a session.

use super::{Session, Subject};
use crate::error::{Error, Result};
use crate::model::{DynamicThresholding, ExactScore, Measured, Model, Rescheduled, ScoreSpec};
use crate::sample::{Sample, Thresholding};
use crate::space::Scale;

impl Session {
    /// The score's model with its present weights, and with what its analytic variance is made of, once that is read. Error: the family has
    /// no score.
    pub fn model(&self) -> Result<Box<dyn Model + '_>> {
        let model: Box<dyn Model + '_> = match &self.subject {
            Subject::Score(learned, network) => Box::new(network.model(learned.sde.get())),
            Subject::Known(sde, ScoreSpec::GaussianMixture(mixture)) => Box::new(ExactScore::new(sde.get(), mixture, self.device())),
            Subject::Generator(_) | Subject::Classifier(..) => {
                return Err(Error::Usage {
                    message: "the experiment's family has no score".into(),
                    help: "ask for its generator, or give an experiment with [sde.*] and [network.*] or [score.*]".into(),
                });
            }
        };
        Ok(match self.squares.get() {
            Some(squares) => Box::new(Measured { model, squares }),
            None => model,
        })
    }

    /// The model as `[sample]` asks it, before any guidance: on its path, and with its thresholding. Error: the family has no score.
    pub fn sampling_model(&self, spec: &Sample) -> Result<Box<dyn Model + '_>> {
        Ok(self.thresholded(self.on_path(spec)?, spec.thresholding))
    }

    /// The model on the path of `[sample]`.
    pub(super) fn on_path(&self, spec: &Sample) -> Result<Box<dyn Model + '_>> {
        let model = self.model()?;
        Ok(match &spec.path {
            Some(path) => Box::new(Rescheduled { model, sde: path.clone() }),
            None => model,
        })
    }

    pub(super) fn thresholded<'a>(&self, model: Box<dyn Model + 'a>, thresholding: Option<Thresholding>) -> Box<dyn Model + 'a> {
        match (thresholding, self.plan.scale()) {
            (Some(Thresholding { quantile }), Scale::Pixels { range, .. }) => Box::new(DynamicThresholding { model, range, quantile }),
            _ => model,
        }
    }
}
