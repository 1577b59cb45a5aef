//! The times of a step's examples, and how much each of them counts.

use super::ScoreMatching;
use crate::loss::{TimeLaw, TimeSpec, stratified};
use crate::optim::{Drawn, LossHistory};
use crate::sde::{Chain, Sde};

pub(super) struct Times<'a> {
    spec: &'a ScoreMatching,
    sde: &'a dyn Sde,
    /// Of a network in discrete time.
    chain: Option<Chain>,
    law: TimeLaw<'a>,
}

/// The times of a whole batch.
pub(super) struct Draw {
    pub t: Vec<f64>,
    /// ln α²/σ² there.
    pub log_snr: Vec<f64>,
    /// The weight w on ‖σ s + z‖² of each example.
    pub w: Vec<f64>,
    /// Where they were drawn by the losses before.
    pub drawn: Option<Drawn>,
}

impl<'a> Times<'a> {
    /// `spec` has passed its checks.
    pub fn new(spec: &'a ScoreMatching, sde: &'a dyn Sde, chain: Option<Chain>) -> Times<'a> {
        Times { spec, sde, chain, law: spec.time.law(sde, spec.weighting, spec.t_min) }
    }

    /// From independent u ~ U[0, 1), one an example.
    pub fn draw(&self, u: &[f64], history: &LossHistory) -> Draw {
        let u = if self.spec.stratified { stratified(u) } else { u.to_vec() };
        match &self.chain {
            None => {
                let t: Vec<f64> = u.into_iter().map(|u| self.law.time(u)).collect();
                let importance = |t: f64| if self.spec.importance { self.law.importance(t) } else { 1.0 };
                let w = t.iter().map(|&t| self.spec.weighting.at(self.sde, t) * importance(t)).collect();
                let log_snr = t.iter().map(|&t| self.sde.level(t).log_snr()).collect();
                Draw { t, log_snr, w, drawn: None }
            }
            Some(chain) => self.levels(chain, &u, history),
        }
    }

    /// Levels, all of them drawn alike or by their losses.
    fn levels(&self, chain: &Chain, u: &[f64], history: &LossHistory) -> Draw {
        let by_losses = self.spec.time == TimeSpec::LossAware;
        let drawn = if by_losses { history.draw(chain.len(), u) } else { LossHistory::default().draw(chain.len(), u) };
        let t: Vec<f64> = drawn.at.iter().map(|&i| chain.time(i)).collect();
        let weight = |(&t, share): (&f64, &f64)| self.spec.weighting.at_level(self.sde, &chain.level(t)) / share;
        let w = t.iter().zip(&drawn.share).map(weight).collect();
        let log_snr = t.iter().map(|&t| chain.level(t).log_snr()).collect();
        Draw { t, log_snr, w, drawn: by_losses.then_some(drawn) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    use crate::bound::{ChainLoss, DecoderLaw};
    use crate::loss::{Batch, Objective, Reduction, TimeSpec, Weighting};
    use crate::rng::{self, Purpose};
    use crate::sde::Variance;
    use crate::tensor::{column_of, to_vec};
    use crate::testing::{Formula, VP, mean_and_error, normal};

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
        let Draw { t, w, .. } = Times::new(spec, &VP, None).draw(u, &LossHistory::default());
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
        let Draw { t, w, drawn, .. } = times.draw(&[0.5; 30], &LossHistory::default());
        assert!(drawn.is_none());
        assert_eq!(t, (0..30).map(|i| chain.time(i)).collect::<Vec<_>>());
        for (t, w) in t.iter().zip(w) {
            let snr = chain.level(*t).log_snr().exp();
            assert!((w - (5.0 / snr).min(1.0)).abs() < 1e-12);
        }
        assert_eq!(times.draw(&[1.0 - f64::EPSILON / 2.0; 30], &LossHistory::default()).t[29], 1.0);
    }

    /// The bound's losses of a Gaussian score on uniform data: from level to level they differ by orders of magnitude.
    #[test]
    fn levels_drawn_by_their_losses_keep_the_mean_of_a_bound_and_lower_its_variance() {
        tch::set_num_threads(1);
        const N: usize = 20_000;
        let chain = VP.chain(40).unwrap();
        let score = |x: &Tensor, t: &[f64]| -x / column_of(x, t, |t| chain.level(t).alpha.powi(2) / 3.0 + chain.level(t).sigma.powi(2));
        let model = Formula { sde: &VP, chain: Some(chain.clone()), score };
        let loss = ChainLoss { chain: chain.clone(), variance: Variance::Beta, law: DecoderLaw::Tweedie, reduction: Reduction::HalfSum };
        let times = |time: &str| spec("'variance'", time, true, false);
        let mut history = LossHistory::default();
        let mut draw = |time: &str, seed: u64| {
            let x0: Vec<f64> = rng::uniform(seed, Purpose::Data, 0, N).iter().map(|u| 2.0 * u - 1.0).collect();
            let (x0, z) = (Tensor::from_slice(&x0).view([-1, 1]), normal(seed, &[N as i64, 1]));
            let spec = times(time);
            let Draw { t, w, drawn, .. } =
                Times::new(&spec, &VP, Some(chain.clone())).draw(&rng::uniform(seed, Purpose::Time, 0, N), &history);
            let losses = loss.bound(&model, &Batch { x0: &x0, t: &t, z: &z, w: &w });
            // As training does after a step.
            drawn.iter().for_each(|drawn| history.add(drawn, &to_vec(&losses)));
            mean_and_error(&losses)
        };
        let uniform = draw("'uniform'", 1);
        let first = draw("'loss-aware'", 2);
        let aware = draw("'loss-aware'", 3);
        println!("uniform {uniform:?}, at first {first:?}, aware {aware:?}");
        for (mean, error) in [first, aware] {
            assert!((mean - uniform.0).abs() < 4.0 * error.hypot(uniform.1), "{mean} ± {error} is not {uniform:?}");
        }
        assert!((first.1 / uniform.1 - 1.0).abs() < 0.3, "before there are losses all levels are drawn alike: {first:?}");
        assert!(aware.1 < 0.5 * uniform.1, "{aware:?} does not vary less than {uniform:?}");
    }
}
