//! Training a score: t, z → the objective.

use std::ops::Range;
use std::sync::Arc;

use tch::{Kind, Tensor};

use super::matching::ScoreMatching;
use super::times::{Draw, Times};
use crate::bound::{ChainLoss, DecoderLaw};
use crate::data::Conditions;
use crate::error::Fault;
use crate::law::{GaussianMixture, noise_rows};
use crate::loss::{
    Batch, Objective, denoising_score_matching, explicit_score_matching, implicit_score_matching, paired_by_transport,
    sliced_score_matching,
};
use crate::model::{ExactScore, Given, Model, ScoreNetwork};
use crate::net::Dropout;
use crate::optim::{BatchTimes, LossHistory, Losses, Parameters, Shown, Trained};
use crate::rng::{self, Purpose};
use crate::sde::{Sde, Variance};
use crate::space::Scale;
use crate::tensor::column;

/// A network that becomes the score of a process.
pub struct ScoreTraining<'a> {
    seed: u64,
    sde: &'a dyn Sde,
    network: &'a ScoreNetwork,
    times: Times<'a>,
    loss: Box<Loss<'a>>,
    parts: &'static [&'static str],
    told: Option<Told>,
    /// Whether the network drops what its dropout says.
    drops: bool,
}

/// What the network is told of the examples.
struct Told {
    conditions: Arc<Conditions>,
    /// The probability with which it is hidden.
    dropout: f64,
    /// The shares of the classes `[K]`, and what the curves of their losses are called; empty where there are none, or too many to look at.
    shares: Tensor,
    curves: Vec<String>,
}

/// Classes with curves of their own.
const MOST_CURVES: usize = 32;

/// What else a loss asks of a batch.
struct Asked {
    /// Of its examples, in the run.
    positions: Range<u64>,
    /// What the network is told of them.
    condition: Option<Tensor>,
}

/// The losses `[B]` of a batch, and what they are made of.
type Loss<'a> = dyn Fn(&dyn Model, &Batch, &Asked) -> (Tensor, Vec<Tensor>) + 'a;

/// Losses that are made of nothing else.
fn alone<'a>(loss: impl Fn(&dyn Model, &Batch, &Asked) -> Tensor + 'a) -> Box<Loss<'a>> {
    Box::new(move |score, batch, asked| (loss(score, batch, asked), Vec::new()))
}

impl<'a> ScoreTraining<'a> {
    /// `spec` has passed its checks under `sde`. What is learnt is of this scale, and of this law where that is known. Error: the objective can't
    /// serve network or data.
    pub fn new(
        spec: &'a ScoreMatching,
        seed: u64,
        sde: &'a dyn Sde,
        network: &'a ScoreNetwork,
        (scale, law): (Scale, Option<GaussianMixture>),
    ) -> Result<ScoreTraining<'a>, Fault> {
        let chain = network.model(sde).chain().cloned();
        let reduction = spec.reduction;
        let of_chain = |table, variance| {
            let chain = chain.clone().ok_or_else(|| ScoreMatching::needs_levels(table))?;
            Ok::<_, Fault>(ChainLoss { chain, variance, law: DecoderLaw::of(scale), reduction })
        };
        let mut parts: &[&str] = &[];
        let loss: Box<Loss> = match &spec.objective {
            Objective::Denoising => alone(move |score, batch, _| denoising_score_matching(score, reduction, batch)),
            Objective::Explicit => {
                let exact = ExactScore::new(sde, &law.ok_or_else(ScoreMatching::needs_law)?, network.device);
                alone(move |score, batch, asked| {
                    let truth = Given { model: &exact, condition: asked.condition.as_ref().map(Tensor::shallow_clone) };
                    explicit_score_matching(score, &truth, reduction, batch)
                })
            }
            Objective::Implicit { curvature } => alone(move |score, batch, _| implicit_score_matching(score, reduction, *curvature, batch)),
            Objective::Sliced { projections, law, variance_reduced } => alone(move |score, batch, asked| {
                let (dimension, device) = (batch.dimension() as i64, batch.x0.device());
                let draw = |j| rng::rows(*law, seed, Purpose::Projection, asked.positions.clone(), j, &[dimension], device);
                let projections = Tensor::stack(&(0..*projections as u64).map(draw).collect::<Vec<_>>(), 0);
                sliced_score_matching(score, reduction, *variance_reduced, &projections, batch)
            }),
            Objective::Vlb { variance } => {
                let of_chain = of_chain("vlb", *variance)?;
                alone(move |score, batch, _| of_chain.bound(score, batch))
            }
            Objective::Hybrid { vlb } => {
                let of_chain = of_chain("hybrid", Variance::Learned)?;
                parts = &["train/simple", "train/vlb"];
                Box::new(move |score, batch, _| {
                    let [simple, bound] = of_chain.hybrid(score, batch);
                    (&simple + &bound * *vlb, vec![simple, bound])
                })
            }
        };
        Ok(ScoreTraining { seed, sde, network, times: Times::new(spec, sde, chain), loss, parts, told: None, drops: true })
    }

    /// With a network that drops nothing, as it is asked after training.
    pub fn without_dropout(self) -> ScoreTraining<'a> {
        ScoreTraining { drops: false, ..self }
    }

    /// With what is known of the examples, which is hidden with a probability.
    pub fn told(self, conditions: Arc<Conditions>, dropout: f64) -> ScoreTraining<'a> {
        let shares = conditions.shares().filter(|shares| shares.len() <= MOST_CURVES).unwrap_or_default();
        let curves = (0..shares.len()).map(|class| format!("train/loss_of_class_{class}")).collect();
        let shares = Tensor::from_slice(&shares).to_kind(Kind::Float).to_device(self.network.device);
        ScoreTraining { told: Some(Told { conditions, dropout, shares, curves }), ..self }
    }

    /// The losses of each class over its share, `[B]` each and 0 for the others, so that their means are the mean losses of the classes.
    fn of_classes(&self, of_examples: &Tensor, examples: &[usize]) -> Vec<Tensor> {
        let Some(Told { conditions, shares, curves, .. }) = &self.told else { return Vec::new() };
        if curves.is_empty() {
            return Vec::new();
        }
        let classes = conditions.of(examples).to_device(self.network.device) / shares;
        (of_examples.detach().unsqueeze(1) * classes).unbind(1)
    }

    /// What is known of the examples [B, M], a row of zeros where it is hidden.
    fn condition(&self, Shown { positions, examples, .. }: &Shown) -> Option<Tensor> {
        let Told { conditions, dropout, .. } = self.told.as_ref()?;
        let known = conditions.of(examples);
        if *dropout == 0.0 {
            return Some(known.to_device(self.network.device));
        }
        let u = rng::uniform_rows(self.seed, Purpose::Hidden, positions.clone(), 0);
        let shown = u.into_iter().map(|u| f64::from(u8::from(u >= *dropout)));
        Some((&known * column(&known, shown)).to_device(self.network.device))
    }
}

impl Trained for ScoreTraining<'_> {
    fn parameters(&self) -> &Parameters {
        &self.network.parameters
    }

    fn losses(&self, shown: &Shown, history: &LossHistory) -> Losses {
        let Shown { x0, positions, batch, .. } = shown;
        let ScoreTraining { seed, sde, network, .. } = *self;
        let Draw { t, log_snr, w, drawn } = self.times.draw(&rng::uniform_rows(seed, Purpose::Time, batch.clone(), 0), history);
        let part = shown.places();
        let z = noise_rows(sde.noise(), seed, Purpose::Noise, positions.clone(), 0, &x0.size()[1..], network.device);
        let z = if sde.pairs_by_transport() { paired_by_transport(x0, &z) } else { z };
        let dropout = Dropout::new(seed, positions.clone());
        let asked = Asked { positions: positions.clone(), condition: self.condition(shown) };
        let model = if self.drops { &network.in_training(sde, &dropout) } else { &network.model(sde) };
        let model = Given { model, condition: asked.condition.as_ref().map(Tensor::shallow_clone) };
        let (of_examples, mut parts) = (self.loss)(&model, &Batch { x0, t: &t[part.clone()], z: &z, w: &w[part] }, &asked);
        parts.extend(self.of_classes(&of_examples, shown.examples));
        Losses { of_examples, t: Some(BatchTimes { t, log_snr, drawn }), parts }
    }

    fn couples_batch(&self) -> Option<&'static str> {
        self.sde.pairs_by_transport().then_some("optimal transport pairs all examples of a batch with its noise")
    }

    fn parts(&self) -> Vec<&str> {
        let of_classes = self.told.iter().flat_map(|told| told.curves.iter().map(String::as_str));
        self.parts.iter().copied().chain(of_classes).collect()
    }
}
