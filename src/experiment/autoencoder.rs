//! The autoencoder of a latent space: its own experiment, and what it is.

use std::path::Path;

use super::plan::Plan;
use super::text::Text;
use super::written::Experiment;
use crate::data::Data;
use crate::error::{Error, Fault, Result};
use crate::generator::vae;
use crate::latent::{Source, Spec};
use crate::rng::{self, Purpose};
use crate::run::Run;

impl Plan {
    /// The experiment that trains the autoencoder of `[space.latent]`; none where there is none, or it comes from a run.
    pub fn autoencoder(&self) -> Option<Experiment> {
        let Ok(Source::Trained(vae, train)) = self.latent.as_ref()?.source() else { return None };
        // TOML knows no larger ones.
        let seed = rng::derive(self.seed, Purpose::Autoencoder, 0) >> 1;
        Some(Experiment { vae: Some(vae.clone()), train: Some(train.clone()), ..Experiment::bare(seed, self.data.clone()) })
    }
}

impl Plan {
    /// The experiment that trains the classifier beside a score; none where there is none.
    pub fn classifying(&self) -> Option<Experiment> {
        let (classifier, sde) = (self.classifier.clone()?, self.sde()?.clone());
        // TOML knows no larger ones.
        let seed = rng::derive(self.seed, Purpose::Classifier, 0) >> 1;
        Some(Experiment { sde: Some(sde), classifier: Some(classifier), ..Experiment::bare(seed, self.data.clone()) })
    }
}

/// The VAE of a latent space of these data: as the experiment says, or as the run has it that it is copied to or comes from.
pub(super) fn of(spec: &Spec, data: &Data, shape: &[usize], own: Option<&Run>, text: &Text) -> Result<vae::Spec> {
    let fault = |fault: Fault| text.fault(fault.within("space.latent"));
    let vae = match spec.source().map_err(fault)? {
        Source::Trained(vae, _) => vae.clone(),
        Source::Run(path) => {
            let copy = own.map(|run| run.path().join(Spec::NAME)).filter(|path| path.join("experiment.toml").is_file());
            let experiment = of_run(copy.as_deref().unwrap_or(path))?;
            if experiment.data != *data {
                let message = format!("{} is of other data: its [data] is not this one", path.display());
                return Err(fault(Fault::new("run", message, "give both the same [data], or train an autoencoder: space.latent.vae")));
            }
            let missing = || {
                let message = format!("{} is no run of [vae]", path.display());
                fault(Fault::new("run", message, "name a run of [vae], or give space.latent.vae and space.latent.train"))
            };
            experiment.vae.ok_or_else(missing)?
        }
    };
    vae.check(shape, data.scale()).map_err(|it| fault(it.within("vae")))?;
    Ok(vae)
}

fn of_run(path: &Path) -> Result<Experiment> {
    let run = Run::reading(path).map_err(|error| match error {
        Error::Run { path, message, .. } => {
            let help =
                format!("train it first: score-sde run FILE --out {}, with a FILE that has [vae] and the same [data]", path.display());
            Error::Run { path, message, help }
        }
        error => error,
    })?;
    let stored = run.path().join("experiment.toml");
    toml::from_str(&run.experiment()?.unwrap_or_default()).map_err(|e| match run.about() {
        Ok(about) => about.unreadable(&stored, e.message().trim()),
        Err(error) => error,
    })
}
