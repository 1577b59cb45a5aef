//! What a session's training lowers, and how low it is on examples that it never shows.

use statrs::statistics::Statistics as _;
use tch::Kind;

use super::{Session, Subject};
use crate::data::Split;
use crate::error::Result;
use crate::generator::GeneratorTraining;
use crate::latent::LatentTraining;
use crate::optim::{LossHistory, Shown, Trained};
use crate::rng::{self, Purpose};
use crate::tensor::to_vec;
use crate::train::ScoreTraining;

impl Session {
    /// What training works on; none where the score is known, or its network's weights are.
    pub fn trained(&self) -> Result<Option<Box<dyn Trained + '_>>> {
        let seed = self.plan.seed;
        let trained = self.losses_of(Split::Train, seed)?;
        Ok(match (trained, self.latent()?) {
            (Some(score), Some(space)) => Some(Box::new(LatentTraining { space, score, seed })),
            (trained, _) => trained,
        })
    }

    /// The losses of a split's examples, in a score's own space, with the draws of `seed`. Nothing is dropped in the network where it is not the
    /// training split.
    fn losses_of(&self, split: Split, seed: u64) -> Result<Option<Box<dyn Trained + '_>>> {
        Ok(match &self.subject {
            Subject::Known(..) => None,
            Subject::Score(learned, network) => {
                let Some((matching, _)) = &learned.training else { return Ok(None) };
                let of = (self.plan.scale(), self.plan.law());
                let score = ScoreTraining::new(matching, seed, learned.sde.get(), network, of)?;
                let score = if split == Split::Train { score } else { score.without_dropout() };
                Some(Box::new(match (&self.plan.condition, self.conditions(split)?) {
                    (Some(spec), Some(conditions)) => score.told(conditions, spec.dropout()),
                    _ => score,
                }))
            }
            Subject::Generator(network) => Some(Box::new(GeneratorTraining { network, seed })),
            Subject::Classifier(sde, classifier) => Some(Box::new(self.classifier_training(sde.get(), classifier, (split, seed))?)),
        })
    }

    /// The mean loss of the first `count` test examples, and its standard error; none where nothing is trained. What is drawn is the same for any
    /// weights.
    pub fn validation_loss(&self, count: usize) -> Result<Option<[f64; 2]>> {
        let seed = rng::derive(self.plan.seed, Purpose::Validation, 0);
        let (Some(subject), Some(train)) = (self.losses_of(Split::Test, seed)?, self.plan.train()) else { return Ok(None) };
        let (mut losses, examples) = (Vec::new(), (0..count).collect::<Vec<usize>>());
        for examples in examples.chunks(train.batch) {
            let x0 = self.points(Split::Test, examples, train.batch)?.to_kind(Kind::Float);
            let first = examples[0] as u64;
            let shown = Shown::whole(x0, first..first + examples.len() as u64, examples);
            losses.extend(to_vec(&subject.losses(&shown, &LossHistory::default()).of_examples.detach()));
        }
        Ok(Some([(&losses).mean(), (&losses).std_dev() / (losses.len() as f64).sqrt()]))
    }
}
