//! Training the classifier beside a score: a run of its own in the folder of this one.

use super::{Done, Phase, help, perform};
use crate::classifier::Spec;
use crate::error::Result;
use crate::experiment;
use crate::run::Run;
use crate::run::log::Log;
use crate::session::Session;

pub struct Classifying;

impl Phase for Classifying {
    fn name(&self) -> &'static str {
        Spec::NAME
    }

    fn run(&self, session: &Session, folder: &Run, _log: &mut Log) -> Result<Done> {
        let Some(experiment) = session.plan().classifying() else { return Ok(Done { worked: false, shows: None }) };
        let place = Run::open(&folder.path().join(Spec::NAME))?;
        let loaded = experiment::parse(&place.path().display().to_string(), &experiment.resolved(), &[])?;
        loaded.claim(&place)?;
        session.ranks().wait()?;
        Ok(Done { worked: perform(&loaded, &session.beside(&loaded), &place)?.worked, shows: None })
    }

    fn help(&self, session: &Session, folder: &Run) -> Result<()> {
        let Some(experiment) = session.plan().classifying() else { return Ok(()) };
        session.ranks().wait()?;
        let place = Run::reading(&folder.path().join(Spec::NAME))?;
        let loaded = experiment::parse(&place.path().display().to_string(), &experiment.resolved(), &[])?;
        help(&loaded, &session.beside(&loaded), &place)
    }
}
