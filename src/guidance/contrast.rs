//! A model that goes away from another one.

use super::Strength;
use crate::model::{At, Decorator, Model, Prediction};
use crate::tensor::column;

/// D + w (D - D'): what the model says, further away from what a guide says.
///
/// With the same model without its condition for the guide it is classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598, eq. 6): its
/// score is that of p_t(x | c)^(1 + w) / p_t(x)^w at each t. With a worse model of the same it is autoguidance (Karras et al. 2024, arXiv
/// 2406.02507, eq. 3). w = 0 is the model itself.
pub struct Contrast<'a> {
    pub model: Box<dyn Model + 'a>,
    /// Of the same process; none for the model itself without its condition.
    pub guide: Option<Box<dyn Model + 'a>>,
    /// w.
    pub strength: Strength,
}

impl Decorator for Contrast<'_> {
    fn inner(&self) -> &dyn Model {
        &*self.model
    }

    fn decorated(&self, at: &At) -> Prediction {
        let said = self.model.predict(at);
        let weights: Vec<f64> = at.t.iter().map(|&t| self.strength.at(&*self.model, t)).collect();
        if weights.iter().all(|&weight| weight == 0.0) {
            return said;
        }
        let guide = self.guide.as_deref().unwrap_or(&*self.model);
        let away = match self.guide {
            Some(_) => guide.predict(at),
            None => guide.predict(&At { condition: None, ..*at }),
        };
        let away = away.into_quantity(said.quantity, self.sde(), &|t| guide.level(t), at);
        let value = &said.value + (&said.value - away) * column(at.x, weights);
        Prediction { value, ..said }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::law::GaussianMixture;
    use crate::model::{ExactScore, Given, Quantity};
    use crate::sde::Sde;
    use crate::testing::{VP, component, exact, largest, mixture, normal, sdes};

    const T: [f64; 4] = [1e-3, 0.2, 0.6, 1.0];

    fn classes(of: &[i64]) -> Tensor {
        Tensor::from_slice(of).one_hot(2).to_kind(Kind::Float)
    }

    fn guided<'a>(sde: &'a dyn Sde, law: &GaussianMixture, weight: f64, noise: Option<[f64; 2]>) -> Contrast<'a> {
        Contrast { model: Box::new(exact(sde, law)), guide: None, strength: Strength { weight, noise } }
    }

    #[test]
    fn given_a_class_the_exact_score_is_that_of_its_component_and_without_weight_guidance_leaves_it() {
        tch::set_num_threads(1);
        let law = mixture();
        for (name, sde) in sdes() {
            let x = normal(1, &[4, 2]) * sde.prior_std();
            let at = At::whole(&x, &T);
            let (model, guided) = (exact(sde, &law), guided(sde, &law, 0.0, None));
            for k in 0..2 {
                let truth = exact(sde, &component(&law, k)).score(&at);
                for model in [&model as &dyn Model, &guided] {
                    let given = Given { model, condition: Some(classes(&[k as i64])) };
                    assert!(largest(&((given.score(&at) - &truth) / &truth)) < 1e-10, "{name}, class {k}");
                }
            }
            let unknown = Given { model: &guided, condition: Some(Tensor::zeros([1, 2], (Kind::Float, Device::Cpu))) };
            assert_eq!(unknown.score(&at), model.score(&at), "{name}: a row of zeros says nothing");
        }
    }

    /// ∇ [(1 + w) ln p_t(x | c) - w ln p_t(x)], each example of a class of its own.
    #[test]
    fn with_weight_it_is_the_score_of_the_tilted_law() {
        tch::set_num_threads(1);
        let (law, weight) = (mixture(), 1.7);
        for (name, sde) in sdes() {
            let x = (normal(1, &[4, 2]) * sde.prior_std()).set_requires_grad(true);
            let whole = exact(sde, &law).log_density(&x, &T);
            let parts = [0, 1].map(|k| exact(sde, &component(&law, k)).log_density(&x, &T));
            let own = Tensor::stack(&parts, 1).gather(1, &Tensor::from_slice(&[0i64, 1, 1, 0]).unsqueeze(1), false).squeeze_dim(1);
            let tilted: Tensor = own * (1.0 + weight) - whole * weight;
            let truth = Tensor::run_backward(&[tilted.sum(Kind::Double)], &[&x], false, false).remove(0);
            let guided = guided(sde, &law, weight, None);
            let given = Given { model: &guided, condition: Some(classes(&[0, 1, 1, 0])) };
            let x = x.detach();
            let off = (given.score(&At::whole(&x, &T)) - &truth) / truth.abs().clamp_min(1e-3);
            assert!(largest(&off) < 1e-9, "{name}: {}", largest(&off));
        }
    }

    #[test]
    fn beyond_its_noise_there_is_no_guidance() {
        tch::set_num_threads(1);
        let (law, ratio) = (mixture(), |t: f64| VP.sigma(t) / VP.alpha(t));
        let x = normal(1, &[4, 2]);
        let at = At { condition: Some(&classes(&[0])), ..At::whole(&x, &T) };
        let between = guided(&VP, &law, 2.0, Some([ratio(0.1), ratio(0.7)])).score(&at);
        let (with, without) = (guided(&VP, &law, 2.0, None).score(&at), guided(&VP, &law, 0.0, None).score(&at));
        for (i, within) in [false, true, true, false].into_iter().enumerate() {
            let i = i as i64;
            assert_eq!(between.get(i), if within { with.get(i) } else { without.get(i) }, "t = {}", T[i as usize]);
        }
        assert!(largest(&(with - without)) > 0.1);
    }

    /// A guide with another quantity, of a wider law.
    #[test]
    fn a_worse_model_guides_whatever_it_predicts() {
        tch::set_num_threads(1);
        struct Denoiser<'a>(ExactScore<'a>);
        impl Model for Denoiser<'_> {
            fn sde(&self) -> &dyn Sde {
                self.0.sde()
            }
            fn predict(&self, at: &At) -> Prediction {
                Prediction::of(Quantity::Data, self.0.data(at))
            }
        }
        let (law, wide) = (mixture(), mixture().scaled(1.5));
        for (name, sde) in sdes() {
            let x = normal(1, &[4, 2]) * sde.prior_std();
            let at = At::whole(&x, &T);
            let (good, bad) = (exact(sde, &law).score(&at), exact(sde, &wide).score(&at));
            let truth = &good + (&good - bad) * 0.8;
            let guide: Box<dyn Model> = Box::new(Denoiser(exact(sde, &wide)));
            let guided =
                Contrast { model: Box::new(exact(sde, &law)), guide: Some(guide), strength: Strength { weight: 0.8, noise: None } };
            assert!(largest(&((guided.score(&at) - &truth) / truth.abs().clamp_min(1e-3))) < 1e-8, "{name}");
        }
    }
}
