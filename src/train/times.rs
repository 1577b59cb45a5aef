//! The times of a step's examples, and how much each of them counts.

use super::Train;
use crate::loss::{TimeLaw, stratified};
use crate::model::Model;

pub(super) struct Times<'a> {
    spec: &'a Train,
    model: &'a dyn Model,
    law: TimeLaw<'a>,
}

impl<'a> Times<'a> {
    /// `spec` has passed its checks.
    pub fn new(spec: &'a Train, model: &'a dyn Model) -> Times<'a> {
        Times { spec, model, law: spec.time.law(model.sde(), spec.weighting, spec.t_min) }
    }

    /// t and the weight w on ‖σ s + z‖² of each example, from independent u ~ U[0, 1).
    pub fn draw(&self, u: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let u = if self.spec.stratified { stratified(u) } else { u.to_vec() };
        let t: Vec<f64> = u.into_iter().map(|u| self.time(u)).collect();
        let w = t.iter().map(|&t| self.weight(t)).collect();
        (t, w)
    }

    /// In discrete time all levels are drawn alike.
    fn time(&self, u: f64) -> f64 {
        match self.model.chain() {
            None => self.law.time(u),
            // The last stratum's u may round to 1.
            Some(chain) => chain.time(((u * chain.len() as f64) as usize).min(chain.len() - 1)),
        }
    }

    fn weight(&self, t: f64) -> f64 {
        let weight = self.spec.weighting.at_level(self.model.sde(), &self.model.level(t));
        if self.spec.importance && self.model.chain().is_none() { weight * self.law.importance(t) } else { weight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{self, Purpose};
    use crate::sde::Sde;
    use crate::testing::{Formula, VP, never_asked};
    use tch::Tensor;

    fn spec(choices: &str) -> Train {
        let rest = "steps = 1\nbatch = 1\nlr = 1\nwarmup = 0\nclip = 1\nbetas = [0, 0]\neps = 1\nweight_decay = 0\nema = 0\ncheckpoint_every = 1\n\
                    objective = 'denoising'\nreduction = 'mean'\nt_min = 1e-3\n";
        toml::from_str(&format!("{rest}{choices}")).unwrap()
    }

    /// The mean of w sin t.
    fn mean(spec: &Train, u: &[f64]) -> f64 {
        let (t, w) = Times::new(spec, &never_asked(&VP)).draw(u);
        t.iter().zip(&w).map(|(t, w)| w * t.sin()).sum::<f64>() / u.len() as f64
    }

    #[test]
    fn the_law_changes_the_objective_only_without_importance_weights() {
        let u = rng::uniform(1, Purpose::Time, 0, 4000);
        let mean = |law: &str, importance: bool| {
            mean(&spec(&format!("weighting = 'likelihood'\ntime = {law}\nimportance = {importance}\nstratified = true")), &u)
        };
        let truth = mean("'uniform'", true);
        assert_eq!(truth, mean("'uniform'", false));
        for law in ["'likelihood'", "'weighting'", "{ log-normal = { mean = 0, std = 2 } }"] {
            assert!((mean(law, true) / truth - 1.0).abs() < 2e-3, "{law}: {} is not {truth}", mean(law, true));
            assert!((mean(law, false) / truth - 1.0).abs() > 0.1, "{law}: {} is {truth}", mean(law, false));
        }
    }

    #[test]
    fn strata_share_the_law_evenly() {
        let choices = |stratified| format!("weighting = 'variance'\ntime = 'uniform'\nimportance = true\nstratified = {stratified}");
        let error = |stratified| {
            let squares =
                (0..50).map(|step| (mean(&spec(&choices(stratified)), &rng::uniform(1, Purpose::Time, step, 100)) - 0.4597).powi(2));
            (squares.sum::<f64>() / 50.0).sqrt()
        };
        println!("error of a batch's mean: {:.5} with independent times, {:.5} with strata", error(false), error(true));
        assert!(error(true) < 0.1 * error(false));
    }

    #[test]
    fn all_levels_are_drawn_and_weighed_by_their_own_noise() {
        let chain = VP.chain(30).unwrap();
        let model = Formula { sde: &VP, chain: Some(chain.clone()), score: |x: &Tensor, _: &[f64]| x.zeros_like() };
        let spec = spec("weighting = { min-snr = { gamma = 5 } }\ntime = 'uniform'\nimportance = true\nstratified = true");
        let times = Times::new(&spec, &model);
        let (t, w) = times.draw(&[0.5; 30]);
        assert_eq!(t, (0..30).map(|i| chain.time(i)).collect::<Vec<_>>());
        for (t, w) in t.iter().zip(w) {
            let snr = chain.level(*t).log_snr().exp();
            assert!((w - (5.0 / snr).min(1.0)).abs() < 1e-12);
        }
        assert_eq!(times.draw(&[1.0 - f64::EPSILON / 2.0; 30]).0[29], 1.0);
    }
}
