//! The model that a session's samples are guided by.

use std::path::Path;

use super::{Machine, Session};
use crate::error::{Error, Result};
use crate::experiment::{self, Family};
use crate::guidance::{Autoguidance, Classified, Contrast, Guidance, Product};
use crate::model::Model;
use crate::run::Run;
use crate::run::checkpoint::Choice;
use crate::sample::Sample;

impl Session {
    /// What can be known of samples before anything is trained: what they are given is there, and a run that guides them fits.
    pub fn check_samples(&self, spec: &Sample) -> Result<()> {
        self.known(spec)?;
        if let Some(Guidance::Autoguidance(Autoguidance { run: Some(run), .. })) = &spec.guidance {
            let run = Run::reading(run)?;
            self.accept(&Session::new(&experiment::load_run(&run, &[], &[], false)?, self.machine), run.path(), spec)?;
        }
        Ok(())
    }

    /// The session of autoguidance with its weights taken, where `[sample.guidance]` asks for one; `run` is the session's own.
    ///
    /// Errors: there is no such run or checkpoint; its process or its data are others.
    pub(super) fn guide(&self, spec: &Sample, run: Option<&Run>) -> Result<Option<Session>> {
        let Some(Guidance::Autoguidance(Autoguidance { run: other, step, .. })) = &spec.guidance else { return Ok(None) };
        let opened = other.as_deref().map(Run::reading).transpose()?;
        let run = opened.as_ref().or(run).ok_or_else(|| Error::Usage {
            message: "the checkpoint that guides is one of a run, and there is no run here".into(),
            help: "give sample.guidance.autoguidance.run, or draw with Session::sample_into".into(),
        })?;
        let machine = Machine { quiet: true, threads: Some(tch::get_num_threads()), ..self.machine };
        let guide = Session::new(&experiment::load_run(run, &[], &[], false)?, machine);
        self.accept(&guide, run.path(), spec)?;
        guide.average_of(run, step.map_or(Choice::Newest, Choice::Step))?;
        Ok(Some(guide))
    }

    /// The model that samples are drawn of, before any measurement.
    pub(super) fn guided<'a>(
        &'a self,
        spec: &Sample,
        guide: Option<Box<dyn Model + 'a>>,
        classifier: Option<&'a Session>,
    ) -> Result<Box<dyn Model + 'a>> {
        let model = self.on_path(spec)?;
        Ok(match (&spec.guidance, classifier) {
            (None, _) => model,
            (Some(Guidance::Classifier(strength)), Some(classifier)) => {
                let told = self.plan.condition.is_some();
                Box::new(Classified { model, classifier: classifier.log_probabilities()?, strength: *strength, told })
            }
            (Some(Guidance::Classifier(_)), None) => {
                let help = "give [classifier], and sample.given";
                return Err(Error::Usage { message: "there is no classifier that could guide".into(), help: help.into() });
            }
            (Some(Guidance::ClassifierFree(strength)), _) => Box::new(Contrast { model, guide: None, strength: *strength }),
            (Some(Guidance::Autoguidance(spec)), _) => Box::new(Contrast { model, guide, strength: spec.strength() }),
            (Some(Guidance::Product(factor)), _) => {
                let (slope, shift) = self.affine();
                Box::new(Product { model, factor: factor.in_model_space(1.0 / slope, -shift / slope) })
            }
        })
    }

    /// Error: what the guide is a model of is something else.
    fn accept(&self, guide: &Session, path: &Path, spec: &Sample) -> Result<()> {
        let unfit = |message: String| {
            let help = "give sample.guidance.autoguidance.run, a run with the same [sde.*], data and [condition.*]";
            Err(Error::run(path, message, help))
        };
        let (Family::Score(own), Family::Score(other)) = (&self.plan.family, &guide.plan.family) else {
            return unfit("holds no score network".into());
        };
        if own.sde != other.sde {
            return unfit(format!("is of another process than this run: {:?}, and here {:?}", other.sde, own.sde));
        }
        if (&self.model_shape, self.plan.scale()) != (&guide.model_shape, guide.plan.scale()) {
            return unfit(format!(
                "is of data of shape {:?} with another shape or scale than here, {:?}",
                guide.model_shape, self.model_shape
            ));
        }
        if spec.given.is_none() && guide.plan.condition.as_ref().is_some_and(|condition| !condition.knows_all()) {
            return unfit("knows no law without a condition, and these samples are given nothing".into());
        }
        match (&guide.plan.condition, &self.plan.condition) {
            (None, _) => Ok(()),
            (Some(there), Some(here)) if guide.condition == self.condition && there.tells_as(here) => Ok(()),
            _ => unfit("is told something else of each example than this run".into()),
        }
    }
}
