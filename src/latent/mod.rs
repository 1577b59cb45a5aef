//! Latent spaces (Vahdat et al. 2021, arXiv 2106.05931; Rombach et al. 2022, arXiv 2112.10752): a score of what an autoencoder makes of
//! the data.
//!
//! An autoencoder, trained before, has the encoder q(z | x) and the decoder p(x | z) of a VAE. The score is that of y = z / r, with r the root
//! mean square of z over the data. The law of x is then ∫ p(y) p(x | r y) dy, and for y ~ q(y | x)
//!
//! ```text
//! -ln p(x) <= E_q[-ln p(x | r y) + ln q(y | x)] + E_q[-ln p(y)]
//! ```
//!
//! with -ln p(y) the score's own likelihood, or a bound of that.

mod space;
mod training;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
use crate::generator::vae;
use crate::run::AUTOENCODER;
use crate::train::Train;
pub use space::{Encoded, LatentSpace, Spread, measure};
pub use training::LatentTraining;

/// `[space.*]`: where the score lives, if that is not the data's own space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum SpaceSpec {
    Latent(Spec),
}

/// `[space.latent]`: the latent variables of a VAE, either trained as the run's first phase by the tables `vae` and `train`, or taken from a
/// `run`. Either way it is a run of its own, in the folder `autoencoder/` of the score's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The training examples over which r, the root mean square of the latent variables, is measured, 1 to as many as there are.
    pub examples: usize,
    /// A run of `[vae]` on the same data, relative to the experiment's folder or else to the working directory; its newest averaged weights are copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<PathBuf>,
    /// The keys of `[vae]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae: Option<vae::Spec>,
    /// How it is trained: the keys of `[train]` that are not for scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<Train>,
}

/// Where an autoencoder comes from.
pub enum Source<'a> {
    Run(&'a PathBuf),
    Trained(&'a vae::Spec, &'a Train),
}

impl Spec {
    /// The folder of the autoencoder's run in that of the score's, and the product that says r.
    pub const NAME: &str = AUTOENCODER;

    /// A fault's key is relative to `[space.latent]`.
    pub fn source(&self) -> Result<Source<'_>, Fault> {
        match (&self.run, &self.vae, &self.train) {
            (Some(run), None, None) if run.as_os_str().is_empty() => {
                Err(Fault::new("run", "run is empty", "give the folder of a run of [vae]"))
            }
            (Some(run), None, None) => Ok(Source::Run(run)),
            (None, Some(vae), Some(train)) => Ok(Source::Trained(vae, train)),
            (Some(_), ..) => Err(Fault::new("run", "a run is trained already", "keep run, or vae and train")),
            (None, ..) => {
                let help = "give space.latent.vae and space.latent.train to train one, or space.latent.run, the folder of a run of [vae]";
                Err(Fault::new("", "there is no autoencoder", help))
            }
        }
    }

    /// With what changes no weights left out.
    pub fn without_operational(&self) -> Spec {
        Spec { train: self.train.as_ref().map(Train::without_operational), ..self.clone() }
    }

    /// Whether a split for training of so many examples has enough.
    pub fn check_against(&self, len: usize) -> Result<(), Fault> {
        Fault::unless_in("examples", self.examples, 1..=len, "there are no more for training")
    }

    /// A fault's key is relative to `[space.latent]`.
    pub fn check(&self) -> Result<(), Fault> {
        Fault::unless_in("examples", self.examples, 1..=1_000_000_000, "10000 tell it to a hundredth")?;
        match self.source()? {
            Source::Run(_) => Ok(()),
            Source::Trained(_, train) => {
                let checked = train.check().and_then(|()| train.check_without_score()).and_then(|()| train.check_without_samples());
                checked.map_err(|fault| fault.within("train"))
            }
        }
    }
}
