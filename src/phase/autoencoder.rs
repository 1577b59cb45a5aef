//! Training the autoencoder of a latent space, or taking it from a run: a run of its own in the folder of this one.

use super::{Done, Phase, help, perform};
use crate::error::Result;
use crate::experiment;
use crate::latent::Spec;
use crate::run::Run;
use crate::run::log::Log;
use crate::session::Session;

pub struct Autoencoding;

impl Phase for Autoencoding {
    fn name(&self) -> &'static str {
        Spec::NAME
    }

    fn run(&self, session: &Session, folder: &Run, _log: &mut Log) -> Result<Done> {
        let trained = match session.plan().autoencoder() {
            None => session.copy_autoencoder(folder)?,
            Some(experiment) => {
                let place = Run::open(&folder.path().join(Spec::NAME))?;
                let loaded = experiment::parse(&place.path().display().to_string(), &experiment.resolved(), &[])?;
                loaded.claim(&place)?;
                session.ranks().wait()?;
                perform(&loaded, &session.beside(&loaded), &place)?.worked
            }
        };
        let worked = session.measure_latents(folder)? || trained;
        session.ranks().wait()?;
        Ok(Done { worked, shows: None })
    }

    fn help(&self, session: &Session, folder: &Run) -> Result<()> {
        if let Some(experiment) = session.plan().autoencoder() {
            session.ranks().wait()?;
            let place = Run::reading(&folder.path().join(Spec::NAME))?;
            let loaded = experiment::parse(&place.path().display().to_string(), &experiment.resolved(), &[])?;
            help(&loaded, &session.beside(&loaded), &place)?;
        }
        session.ranks().wait()?;
        session.read_latents(folder)
    }
}
