//! Training a classifier.

use std::sync::Arc;

use tch::{Kind, Tensor};

use super::Classifier;
use crate::data::Conditions;
use crate::law::noise_rows;
use crate::loss::stratified;
use crate::model::At;
use crate::optim::{BatchTimes, LossHistory, Losses, Parameters, Shown, Trained};
use crate::rng::{self, Purpose};
use crate::sde::Sde;
use crate::tensor::column_of;

/// What lowers -ln p(c | x_t, t), with t ~ U(t_min, 1) in equal parts of a batch and x_t = α x_0 + σ z.
pub struct ClassifierTraining<'a> {
    pub classifier: &'a Classifier,
    pub sde: &'a dyn Sde,
    /// The classes of the examples.
    pub conditions: Arc<Conditions>,
    pub seed: u64,
}

impl Trained for ClassifierTraining<'_> {
    fn parameters(&self) -> &Parameters {
        &self.classifier.parameters
    }

    fn losses(&self, shown: &Shown, _history: &LossHistory) -> Losses {
        let ClassifierTraining { classifier, sde, seed, .. } = *self;
        let t_min = classifier.t_min;
        let Shown { x0, positions, examples, batch } = shown;
        let u = stratified(&rng::uniform_rows(seed, Purpose::Time, batch.clone(), 0));
        let all: Vec<f64> = u.into_iter().map(|u| t_min + (sde.horizon() - t_min) * u).collect();
        let t = &all[shown.places()];
        let z = noise_rows(sde.noise(), seed, Purpose::Noise, positions.clone(), 0, &x0.size()[1..], classifier.device);
        let x = x0 * column_of(x0, t, |t| sde.alpha(t)) + z * column_of(x0, t, |t| sde.sigma(t));
        let logs = classifier.log_probabilities(sde, &At::whole(&x, t));
        let truth = self.conditions.of(examples).to_device(classifier.device);
        let of_examples = -(&logs * &truth).sum_dim_intlist(1i64, false, None::<Kind>);
        let right = right(&logs, &truth);
        let log_snr = all.iter().map(|&t| sde.level(t).log_snr()).collect();
        Losses { of_examples, t: Some(BatchTimes { t: all, log_snr, drawn: None }), parts: vec![right] }
    }

    fn parts(&self) -> Vec<&str> {
        vec!["train/accuracy"]
    }
}

/// 1 where the most likely class is the true one, `[B]`.
fn right(logs: &Tensor, truth: &Tensor) -> Tensor {
    logs.argmax(1, false).eq_tensor(&truth.argmax(1, false)).to_kind(Kind::Float)
}
