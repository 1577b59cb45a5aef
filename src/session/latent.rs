//! The latent space of a session: an autoencoder's run in the folder of the score's, and what was measured of its latent variables.

use serde_json::{Value, json};

use super::{Machine, Session};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::experiment::Loaded;
use crate::latent::{self, LatentSpace, Source, Spec, Spread};
use crate::run::{Run, checkpoint};

const MEASURED: &str = "autoencoder.json";

impl Session {
    /// A session of another experiment on the same machine.
    pub fn beside(&self, loaded: &Loaded) -> Session {
        Session::new(loaded, Machine { threads: Some(tch::get_num_threads()), ..self.machine }).among(self.ranks.clone())
    }

    /// The latent space that was read of a run; none where the score is of the data themselves. Error: nothing was read yet.
    pub fn latent(&self) -> Result<Option<&LatentSpace>> {
        match (&self.vae, self.latent.get()) {
            (None, _) => Ok(None),
            (Some(_), Some(space)) => Ok(Some(space)),
            (Some(_), None) => Err(Error::Usage {
                message: "the latent space was not read of a run".into(),
                help: "open the run: Session::open, or call Session::average with it".into(),
            }),
        }
    }

    /// Copies the autoencoder of the run that the plan names into `run`; false where a whole one is there already.
    pub fn copy_autoencoder(&self, run: &Run) -> Result<bool> {
        let to = run.path().join(Spec::NAME);
        let Some(Source::Run(from)) = self.plan.latent.as_ref().map(Spec::source).transpose()? else { return Ok(false) };
        if to.join("experiment.toml").is_file() && matches!(checkpoint::latest(&Run::reading(&to)?), Ok(Some(_))) {
            return Ok(false);
        }
        let source = Run::reading(from)?;
        let newest = checkpoint::latest(&source)?.ok_or_else(|| no_weights(&source))?;
        let place = Run::open(&to)?;
        // The experiment last, since it is what makes the folder a run.
        for name in [&checkpoint::name(newest.step), "run.json", "experiment.toml"] {
            let missing = || Error::run(source.path(), format!("has lost its {name}"), "name a run that is whole: score-sde verify RUN");
            place.write(name, &source.read(name)?.ok_or_else(missing)?)?;
        }
        Ok(true)
    }

    /// Measures the latent variables of the autoencoder in `run`, and reads the latent space; false where they are measured already.
    pub fn measure_latents(&self, run: &Run) -> Result<bool> {
        let Some(spec) = &self.plan.latent else { return Ok(false) };
        let (space, of) = self.unscaled(spec, run)?;
        let worked = !run.is_done(Spec::NAME, &of)?;
        let spread = if worked {
            let measured = latent::measure(&space, self.dataset(Split::Train)?, self.plan.data.flip(), spec.examples, self.plan.seed)?;
            let mut product = run.product(Spec::NAME, of);
            product.write_json(MEASURED, &measured)?;
            product.finish()?;
            measured
        } else {
            read_spread(run)?
        };
        self.latent.get_or_init(|| space.scaled(&spread));
        Ok(worked)
    }

    /// Reads the latent space of `run`, once. Error: it has none yet.
    pub fn read_latents(&self, run: &Run) -> Result<()> {
        let Some(spec) = self.plan.latent.as_ref().filter(|_| self.latent.get().is_none()) else { return Ok(()) };
        let (space, of) = self.unscaled(spec, run)?;
        if !run.is_done(Spec::NAME, &of)? {
            return Err(Error::run(run.path(), "has not measured its latent variables yet", GO_ON));
        }
        let spread = read_spread(run)?;
        self.latent.get_or_init(|| space.scaled(&spread));
        Ok(())
    }

    /// The space with r = 1, and all that r depends on.
    fn unscaled(&self, spec: &Spec, run: &Run) -> Result<(LatentSpace, Value)> {
        let vae = self.vae.as_ref().expect("a plan with a latent space is loaded with its autoencoder");
        let path = run.path().join(Spec::NAME);
        if !path.join("experiment.toml").is_file() {
            return Err(Error::run(run.path(), "holds no autoencoder yet", "train it first: score-sde run with this experiment"));
        }
        let source = Run::reading(&path)?;
        let newest = checkpoint::latest(&source)?.ok_or_else(|| no_weights(&source))?;
        let (space, weights) = LatentSpace::open(vae, (&self.shape, self.scale()), &newest, self.device())?;
        Ok((space, json!({ "examples": spec.examples, "weights": weights })))
    }
}

const GO_ON: &str = "score-sde run with this experiment goes on with it";

fn read_spread(run: &Run) -> Result<Spread> {
    let measured = run.read(MEASURED)?.unwrap_or_default();
    serde_json::from_slice(&measured).map_err(|e| Error::run(run.folder().at(MEASURED), e.to_string(), GO_ON))
}

fn no_weights(run: &Run) -> Error {
    Error::run(run.path(), "holds no checkpoint yet", "train the autoencoder first: score-sde run with its experiment")
}
