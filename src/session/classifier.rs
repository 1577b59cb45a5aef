//! A session's classifier: trained beside a score, or alone.

use tch::no_grad;

use super::{Session, Subject};
use crate::classifier::{Classifier, ClassifierTraining, Spec};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::experiment;
use crate::guidance::LogProbabilities;
use crate::model::At;
use crate::run::Run;
use crate::sample::{Accuracy, Samples};
use crate::sde::Sde;
use crate::tensor::to_vec;

impl Session {
    /// What trains the classifier that the session is of, on a split, with the draws of a seed.
    pub(super) fn classifier_training<'a>(
        &'a self,
        sde: &'a dyn Sde,
        classifier: &'a Classifier,
        (split, seed): (Split, u64),
    ) -> Result<ClassifierTraining<'a>> {
        Ok(ClassifierTraining { classifier, sde, conditions: self.classes(split)?, seed })
    }

    /// The session of the classifier beside the score of `run`, with its averaged weights; none where the plan has none.
    ///
    /// Error: it is not trained yet.
    pub(super) fn classifier(&self, run: Option<&Run>) -> Result<Option<Session>> {
        if self.plan.classifier.is_none() {
            return Ok(None);
        }
        let run = run.ok_or_else(|| Error::Usage {
            message: "the classifier was not read of a run".into(),
            help: "draw with Session::sample_into".into(),
        })?;
        let path = run.path().join(Spec::NAME);
        if !path.join("experiment.toml").is_file() {
            return Err(Error::run(run.path(), "holds no classifier yet", "train it first: score-sde run with this experiment"));
        }
        let run = Run::reading(&path)?;
        let session = self.beside(&experiment::load_run(&run, &[], &[], false)?);
        session.average(&run)?;
        Ok(Some(session))
    }

    /// What the classifier says. Error: the session is of none.
    pub fn log_probabilities(&self) -> Result<LogProbabilities<'_>> {
        let (sde, classifier) = self.own_classifier()?;
        Ok(Box::new(move |at| classifier.log_probabilities(sde, at)))
    }

    /// How many samples that were given classes this classifier takes for them, at its least time; none without classes.
    pub fn accuracy(&self, samples: &Samples, batch: usize) -> Result<Option<Accuracy>> {
        let Some(classes) = &samples.classes else { return Ok(None) };
        let (sde, classifier) = self.own_classifier()?;
        let mut right = 0;
        for (x, classes) in samples.x.split(batch as i64, 0).iter().zip(classes.chunks(batch)) {
            let (x, t) = (x.to_device(self.device()), vec![classifier.t_min; classes.len()]);
            let seen = no_grad(|| classifier.log_probabilities(sde, &At::whole(&x, &t)).argmax(1, false));
            right += to_vec(&seen).iter().zip(classes).filter(|(seen, class)| **seen as usize == **class).count();
        }
        Ok(Some(Accuracy::of(right, classes.len())))
    }

    fn own_classifier(&self) -> Result<(&dyn Sde, &Classifier)> {
        match &self.subject {
            Subject::Classifier(sde, classifier) => Ok((sde.get(), classifier)),
            _ => Err(Error::Usage {
                message: "the experiment's family is no classifier".into(),
                help: "give an experiment with [sde.*] and [classifier], without a network".into(),
            }),
        }
    }
}
