//! A model that goes where a classifier sees the class that is wanted.

use tch::{Kind, Tensor};

use super::{Strength, term};
use crate::divergence::Linearised;
use crate::model::{At, Decorator, Model, Prediction};
use crate::tensor::column;

/// ln p(c | x_t) of all classes [B, classes].
pub type LogProbabilities<'a> = Box<dyn Fn(&At) -> Tensor + 'a>;

/// s + (1 + w) ∇ ln p(c | x_t) for a model of all classes, and s + w ∇ ln p(c | x_t) for one that is told c: either way the score of
/// p_t(x | c) p_t(c | x)^w (Dhariwal & Nichol 2021, arXiv 2105.05233, eq. 10), with the same meaning of w as without a classifier.
pub struct Classified<'a> {
    pub model: Box<dyn Model + 'a>,
    pub classifier: LogProbabilities<'a>,
    pub strength: Strength,
    /// Whether the model is told the class.
    pub told: bool,
}

impl Decorator for Classified<'_> {
    fn inner(&self) -> &dyn Model {
        &*self.model
    }

    fn decorated(&self, at: &At) -> Prediction {
        let said = if self.told { self.model.predict(at) } else { self.model.predict(&At { condition: None, ..*at }) };
        let own = if self.told { 0.0 } else { 1.0 };
        let weights: Vec<f64> = at.t.iter().map(|&t| own + self.strength.at(&*self.model, t)).collect();
        let Some(class) = at.known().filter(|_| weights.iter().any(|weight| *weight != 0.0)) else { return said };
        let log_probability = |x: &Tensor| {
            let logs = (self.classifier)(&at.moved(x));
            (&logs * class.to_kind(logs.kind())).sum_dim_intlist(1i64, true, None::<Kind>)
        };
        let point = Linearised::at(log_probability, at.x);
        let term = point.pull(&Tensor::ones([1, 1], (point.y.kind(), at.x.device())), false).view_as(at.x).to_kind(at.x.kind())
            * column(at.x, weights);
        term::add(&*self.model, said, at, term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::law::GaussianMixture;
    use crate::model::Given;
    use crate::sde::Sde;
    use crate::testing::{component, exact, largest, mixture, normal, sdes};

    const T: [f64; 4] = [1e-3, 0.2, 0.6, 1.0];

    /// By Bayes: ln w_c p_t(x | c) - ln p_t(x).
    fn bayes<'a>(sde: &'a dyn Sde, law: &'a GaussianMixture) -> LogProbabilities<'a> {
        Box::new(move |at| {
            let joint = |k: usize| exact(sde, &component(law, k)).log_density(at.x, at.t) + law.normalised_weights()[k].ln();
            Tensor::stack(&[joint(0), joint(1)], 1).log_softmax(1, None::<Kind>)
        })
    }

    #[test]
    fn the_exact_classifier_makes_the_score_of_a_class_of_that_of_all() {
        tch::set_num_threads(1);
        let law = mixture();
        let classes = Tensor::from_slice(&[0i64, 1, 1, 0]).one_hot(2).to_kind(Kind::Float);
        for (name, sde) in sdes() {
            let x = normal(1, &[4, 2]) * sde.prior_std();
            let at = At::whole(&x, &T);
            let given = |model: &dyn Model| Given { model, condition: Some(classes.shallow_clone()) }.score(&at);
            let (model, all) = (exact(sde, &law), exact(sde, &law).score(&at));
            let own = given(&model);
            for (weight, told) in [(0.0, false), (0.0, true), (1.5, false), (1.5, true)] {
                let classified = Classified {
                    model: Box::new(exact(sde, &law)),
                    classifier: bayes(sde, &law),
                    strength: Strength { weight, noise: None },
                    told,
                };
                // The classifier's gradient is the difference of the two scores.
                let truth = &own + (&own - &all) * weight;
                let off = largest(&((given(&classified) - &truth) / truth.abs().clamp_min(1e-3)));
                assert!(off < 1e-8, "{name}, w = {weight}, told {told}: {off}");
            }
        }
    }
}
