//! The times of a step's examples, and how much each of them counts.

use super::ScoreMatching;
use crate::loss::{TimeLaw, stratified};
use crate::sde::{Chain, Level, Sde};

pub(super) struct Times<'a> {
    spec: &'a ScoreMatching,
    sde: &'a dyn Sde,
    /// Of a network in discrete time.
    chain: Option<Chain>,
    law: TimeLaw<'a>,
}

impl<'a> Times<'a> {
    /// `spec` has passed its checks.
    pub fn new(spec: &'a ScoreMatching, sde: &'a dyn Sde, chain: Option<Chain>) -> Times<'a> {
        Times { spec, sde, chain, law: spec.time.law(sde, spec.weighting, spec.t_min) }
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
        match &self.chain {
            None => self.law.time(u),
            // The last stratum's u may round to 1.
            Some(chain) => chain.time(((u * chain.len() as f64) as usize).min(chain.len() - 1)),
        }
    }

    fn level(&self, t: f64) -> Level {
        self.chain.as_ref().map_or_else(|| self.sde.level(t), |chain| chain.level(t))
    }

    fn weight(&self, t: f64) -> f64 {
        let weight = self.spec.weighting.at_level(self.sde, &self.level(t));
        if self.spec.importance && self.chain.is_none() { weight * self.law.importance(t) } else { weight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::{Objective, Reduction, TimeSpec, Weighting};
    use crate::rng::{self, Purpose};
    use crate::testing::VP;

    fn spec(weighting: &str, time: &str, importance: bool, stratified: bool) -> ScoreMatching {
        let keys = format!("weighting = {weighting}\ntime = {time}");
        #[derive(serde::Deserialize)]
        struct Laws {
            weighting: Weighting,
            time: TimeSpec,
        }
        let Laws { weighting, time } = toml::from_str(&keys).unwrap();
        let (objective, reduction) = (Objective::Denoising, Reduction::Mean);
        ScoreMatching { objective, weighting, reduction, time, importance, stratified, t_min: 1e-3 }
    }

    /// The mean of w sin t.
    fn mean(spec: &ScoreMatching, u: &[f64]) -> f64 {
        let (t, w) = Times::new(spec, &VP, None).draw(u);
        t.iter().zip(&w).map(|(t, w)| w * t.sin()).sum::<f64>() / u.len() as f64
    }

    #[test]
    fn the_law_changes_the_objective_only_without_importance_weights() {
        let u = rng::uniform(1, Purpose::Time, 0, 4000);
        let mean = |law: &str, importance: bool| mean(&spec("'likelihood'", law, importance, true), &u);
        let truth = mean("'uniform'", true);
        assert_eq!(truth, mean("'uniform'", false));
        for law in ["'likelihood'", "'weighting'", "{ log-normal = { mean = 0, std = 2 } }"] {
            assert!((mean(law, true) / truth - 1.0).abs() < 2e-3, "{law}: {} is not {truth}", mean(law, true));
            assert!((mean(law, false) / truth - 1.0).abs() > 0.1, "{law}: {} is {truth}", mean(law, false));
        }
    }

    #[test]
    fn strata_share_the_law_evenly() {
        let error = |stratified| {
            let squares = (0..50).map(|step| {
                (mean(&spec("'variance'", "'uniform'", true, stratified), &rng::uniform(1, Purpose::Time, step, 100)) - 0.4597).powi(2)
            });
            (squares.sum::<f64>() / 50.0).sqrt()
        };
        println!("error of a batch's mean: {:.5} with independent times, {:.5} with strata", error(false), error(true));
        assert!(error(true) < 0.1 * error(false));
    }

    #[test]
    fn all_levels_are_drawn_and_weighed_by_their_own_noise() {
        let chain = VP.chain(30).unwrap();
        let spec = spec("{ min-snr = { gamma = 5 } }", "'uniform'", true, true);
        let times = Times::new(&spec, &VP, Some(chain.clone()));
        let (t, w) = times.draw(&[0.5; 30]);
        assert_eq!(t, (0..30).map(|i| chain.time(i)).collect::<Vec<_>>());
        for (t, w) in t.iter().zip(w) {
            let snr = chain.level(*t).log_snr().exp();
            assert!((w - (5.0 / snr).min(1.0)).abs() < 1e-12);
        }
        assert_eq!(times.draw(&[1.0 - f64::EPSILON / 2.0; 30]).0[29], 1.0);
    }
}
