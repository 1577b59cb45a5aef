//! What is looked at while training goes on.

use super::plan::{Family, Plan};
use super::written::Experiment;
use crate::error::Fault;
use crate::guidance::{Autoguidance, Guidance};
use crate::sample::Sample;
use crate::sde::Variance;
use crate::train::Train;

impl Plan {
    /// All that is trained, with the table that says how.
    pub(super) fn trainings(&self) -> Vec<(&'static str, &Train)> {
        let own = if matches!(self.family, Family::Classifier(..)) { "classifier.train" } else { "train" };
        let latent = self.latent.as_ref().and_then(|latent| latent.train.as_ref()).map(|train| ("space.latent.train", train));
        let classifier = self.classifier.as_ref().map(|classifier| ("classifier.train", &classifier.train));
        self.train().map(|train| (own, train)).into_iter().chain(latent).chain(classifier).collect()
    }
}

impl Experiment {
    /// What is drawn while training goes on needs nothing that comes after it.
    pub(super) fn check_drawn_early(&self) -> Result<(), Fault> {
        let shown = self.train.as_ref().filter(|train| train.sample_every.is_some());
        if let (Some(train), None, None) = (shown, &self.sample, &self.draw) {
            return train.check_without_samples().map_err(|fault| fault.within("train"));
        }
        let compared = self.evaluate.as_ref().is_some_and(|evaluate| evaluate.during_training.is_some());
        let key = match (shown, compared) {
            (Some(_), _) => "train.sample_every",
            (None, true) => "evaluate.during_training",
            (None, false) => return Ok(()),
        };
        let Some(Sample { solver, guidance, .. }) = &self.sample else { return Ok(()) };
        let late = match guidance {
            _ if solver.variance() == Some(Variance::Analytic) => "the analytic variance of their steps",
            Some(Guidance::Classifier(_)) => "the classifier that guides them",
            Some(Guidance::Autoguidance(Autoguidance { run: None, .. })) => "the checkpoint that guides them",
            _ => return Ok(()),
        };
        let message = format!("samples are drawn while training goes on, and {late} may not be there yet");
        Err(Fault::new(key, message, "remove it, and draw of checkpoints afterwards: score-sde sample RUN --step STEP"))
    }
}
