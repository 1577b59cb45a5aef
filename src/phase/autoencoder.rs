//! Training the autoencoder of a latent space, or taking it from a run: a run of its own in the folder of this one.

use super::{Done, Phase, perform};
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
                perform(&loaded, &session.beside(&loaded), &place)?.worked
            }
        };
        Ok(Done { worked: session.measure_latents(folder)? || trained, shows: None })
    }
}
