//! Classifiers p(c | x_t, t) of x at any level of noise (Song et al. 2021, appendix I; Dhariwal & Nichol 2021, arXiv 2105.05233, sec. 4).

mod features;
mod training;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::error::Fault;
use crate::model::At;
use crate::net::Held;
use crate::net::classifier::Logits;
use crate::optim::{Builder, Parameters};
use crate::run::CLASSIFIER;
use crate::sde::Sde;
use crate::tensor::column_of;
use crate::train::Train;
pub use features::ClassifierFeatures;
pub use training::ClassifierTraining;

/// `[classifier]`: a network that tells the class of an example from x_t and t, for guidance and to say how many samples are of the class they
/// were given. Beside a score it is trained before samples are drawn, as a run of its own in the folder `classifier/`; without one it is all
/// that the experiment trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Features of every layer, 8 to 8192.
    pub width: usize,
    /// Residual blocks, 0 to 1000; for images each halves them first.
    pub depth: usize,
    /// The least time that is trained at, in (0, 1).
    pub t_min: f64,
    /// How it is trained: the keys of `[train]` that are not for scores.
    pub train: Train,
}

impl Spec {
    /// The folder of the classifier's run in that of the score's.
    pub const NAME: &str = CLASSIFIER;

    /// A fault's key is relative to `[classifier]`.
    pub fn check(&self) -> Result<(), Fault> {
        Fault::unless_in("width", self.width, 8..=8192, "32 serves small images")?;
        Fault::unless_in("depth", self.depth, 0..=1000, "2 serves small images")?;
        if !(self.t_min > 0.0 && self.t_min < 1.0) {
            return Err(Fault::new("t_min", format!("t_min is {}", self.t_min), "give a number between 0 and 1, such as 1e-3"));
        }
        let train = &self.train;
        let checked = train.check().and_then(|()| train.check_without_score()).and_then(|()| train.check_without_samples());
        checked.map_err(|fault| fault.within("train"))
    }

    /// Whether it can serve examples of `shape`. A fault's key is relative to `[classifier]`.
    pub fn check_against(&self, shape: &[usize]) -> Result<(), Fault> {
        let halved = |side: usize| self.depth < usize::BITS as usize && side >> self.depth > 0;
        if shape.len() == 3 && !shape[1..].iter().all(|&side| halved(side)) {
            let message = format!("images of {} x {} can't be halved {} times", shape[1], shape[2], self.depth);
            return Err(Fault::new("depth", message, "give fewer blocks"));
        }
        Ok(())
    }

    /// With what changes no weights left out.
    pub fn without_operational(&self) -> Spec {
        Spec { train: self.train.without_operational(), ..self.clone() }
    }

    /// Trainable parameters, counted without building it.
    pub fn parameter_count(&self, shape: &[usize], classes: usize) -> usize {
        let builder = Builder::dry();
        Logits::new(shape, classes, self.width, self.depth, &builder);
        builder.trainable()
    }

    /// Roughly what a pass holds for one example of `shape`.
    pub fn held(&self, shape: &[usize]) -> Held {
        let with_graph = Logits::held(shape, self.width, self.depth);
        Held { with_graph, without_graph: with_graph }
    }
}

/// A classifier with its parameters.
pub struct Classifier {
    pub parameters: Parameters,
    logits: Logits,
    /// The least time that it is trained at.
    pub t_min: f64,
    pub device: Device,
}

impl Classifier {
    /// For examples of `shape` with fresh weights; the specification has passed its checks.
    pub fn new(spec: &Spec, shape: &[usize], classes: usize, seed: u64, device: Device) -> Classifier {
        let builder = Builder::new(seed, Kind::Float, device);
        let logits = Logits::new(shape, classes, spec.width, spec.depth, &builder);
        Classifier { parameters: builder.finish(), logits, t_min: spec.t_min, device }
    }

    /// ln p(c | x_t) [B, classes], f32.
    pub fn log_probabilities(&self, sde: &dyn Sde, at: &At) -> Tensor {
        self.logits.of_features(&self.features(sde, at)).log_softmax(1, None::<Kind>)
    }

    /// What the last layer makes logits of, [B, width], f32: of x / √(α² + σ²) and the label ¼ ln(σ/α).
    pub fn features(&self, sde: &dyn Sde, at: &At) -> Tensor {
        let x = at.x.to_kind(Kind::Float);
        let x = &x * column_of(&x, at.t, |t| sde.alpha(t).hypot(sde.sigma(t)).recip());
        let label = column_of(&x, at.t, |t| -0.125 * sde.log_snr(t)).view(-1);
        self.logits.features(&x, &label)
    }
}
