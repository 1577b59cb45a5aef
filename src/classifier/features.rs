//! Features of examples by a classifier that was trained here.

use tch::{Device, Kind, Tensor, no_grad};

use super::Classifier;
use crate::error::{Error, Result};
use crate::model::At;
use crate::net::FeatureNetwork;
use crate::sde::SdeSpec;
use crate::space::Scale;

/// What a classifier's last layer makes logits of: [B, width], for α x with x an example in model space, the mean of its states at the least time
/// that the classifier was trained at.
pub struct ClassifierFeatures {
    pub classifier: Classifier,
    pub sde: SdeSpec,
    /// From data units to those that the classifier was trained in.
    pub scale: Scale,
    /// Of an example.
    pub shape: Vec<usize>,
}

impl FeatureNetwork for ClassifierFeatures {
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        let ClassifierFeatures { classifier, sde, scale, shape } = self;
        let seen: Vec<usize> = x.size()[1..].iter().map(|n| *n as usize).collect();
        if seen != *shape {
            let message = format!("the classifier was trained on examples of shape {shape:?}, and these have {seen:?}");
            return Err(Error::Usage { message, help: "name the run of a classifier of such examples, or other features".into() });
        }
        let (sde, t) = (sde.get(), vec![classifier.t_min; x.size()[0] as usize]);
        let x = (scale.centres(x) * sde.alpha(classifier.t_min)).to_kind(Kind::Float).to_device(classifier.device);
        Ok(no_grad(|| classifier.features(sde, &At::whole(&x, &t))).to_device(Device::Cpu))
    }
}
