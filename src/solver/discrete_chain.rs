//! The discrete chain of DDPM (Ho et al. 2020, arXiv 2006.11239) and DDIM (Song et al. 2021a, arXiv 2010.02502), backwards.

use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use super::trajectory::Step;
use super::{Noise, Problem, Sampler, Statistics, Watch};
use crate::dynamics::Reverse;
use crate::error::Fault;
use crate::model::ScoreModel;
use crate::sde::{Chain, Sde, level};
use crate::tensor::select;

/// The chain of [`Sde::chain`] on some of its levels, from the last one down to the one at or just before t_min; one evaluation at each.
///
/// A network in discrete time is asked at the levels it knows, one in continuous time at the time that has the level's α / σ (for VP the last
/// level lies slightly beyond t = 1). `denoise` takes the step from the lowest level to x_0 = `E[x_0 | x]`, which has no noise; without it the
/// result is the state at the lowest level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscreteChain {
    /// N; the network's, if that lives in discrete time.
    pub levels: usize,
    /// S <= N, how many levels are visited.
    pub steps: usize,
    pub spacing: Spacing,
    pub variance: Variance,
}

/// Which levels are visited, i = 0, …, S - 1 (Song et al. 2021a, appendix D.2, with both ends and no level twice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// ⌊c i⌋
    Linear,
    /// ⌊c i²⌋
    Quadratic,
}

/// The variance of a step of a chain from level t to level s, for η = 1; the noise has η times its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variance {
    /// β = σ_t² - (α_t / α_s)² σ_s², right for data of N(0, I) under VP.
    Beta,
    /// β̃ = β σ_s² / σ_t², right for data in one point.
    BetaTilde,
}

/// (α, σ) of the data, a level without noise.
pub(super) const DATA: (f64, f64) = (1.0, 0.0);

/// x_s = state · x_t + score · s(x_t, t) + noise · z: from (α_t, σ_t) to (α_s, σ_s) (Song et al. 2021a, eq. 12, where η² β̃ is σ²).
///
/// With x̂ = (x + σ_t² s) / α_t and c² = σ_s² - η² β̃ this is x_s = α_s x̂ - c σ_t s + η √variance z.
pub(super) struct Transition {
    pub state: f64,
    pub score: f64,
    pub noise: f64,
}

impl Transition {
    pub fn new((alpha_t, sigma_t): (f64, f64), (alpha_s, sigma_s): (f64, f64), eta: f64, variance: Variance) -> Transition {
        let beta = sigma_t.powi(2) - (alpha_t / alpha_s * sigma_s).powi(2);
        let beta_tilde = beta * (sigma_s / sigma_t).powi(2);
        let c = (sigma_s.powi(2) - eta * eta * beta_tilde).sqrt();
        let variance = match variance {
            Variance::Beta => beta,
            Variance::BetaTilde => beta_tilde,
        };
        Transition { state: alpha_s / alpha_t, score: alpha_s / alpha_t * sigma_t.powi(2) - c * sigma_t, noise: eta * variance.sqrt() }
    }

    /// The next state without its noise.
    pub fn mean(&self, x: &Tensor, score: &Tensor) -> Tensor {
        x * self.state + score * self.score
    }
}

/// η beyond 1 has no c: the noise of a step would be more than that of its level.
pub(super) fn check_eta(eta: f64) -> Result<(), Fault> {
    if eta > 1.0 {
        let message = format!("a step of a chain has no variance for eta = {eta}: it would exceed the noise of the level");
        return Err(Fault::new("variance", message, "use an eta of at most 1"));
    }
    Ok(())
}

impl DiscreteChain {
    /// The levels from `lowest` to `highest`, descending.
    fn visited(&self, lowest: usize, highest: usize) -> Vec<usize> {
        let (last, range) = (self.steps - 1, highest - lowest);
        let mut levels: Vec<usize> = Vec::with_capacity(self.steps);
        for i in 0..self.steps {
            let offset = match self.spacing {
                Spacing::Linear => range * i / last,
                Spacing::Quadratic => range * i * i / (last * last),
            };
            levels.push(levels.last().map_or(lowest, |before| (lowest + offset).max(before + 1)));
        }
        levels.reverse();
        levels
    }

    fn time(&self, sde: &dyn Sde, model: &dyn ScoreModel, chain: &Chain, i: usize) -> f64 {
        match model.levels() {
            Some(_) => chain.time(i),
            None => {
                let (alpha, sigma) = chain.marginal(i);
                sde.time_of_log_snr(2.0 * (alpha / sigma).ln())
            }
        }
    }
}

impl Sampler for DiscreteChain {
    fn sample(&self, reverse: &Reverse, problem: &Problem, noise: &mut Noise, watch: &mut Watch) -> (Tensor, Statistics) {
        let Reverse { sde, model, eta } = *reverse;
        let chain = sde.chain(self.levels).expect("a checked number of levels");
        let (highest, lowest) = (level(problem.span.0, self.levels), level(problem.span.1, self.levels));
        let levels = self.visited(lowest, highest);
        let mut times: Vec<f64> = levels.iter().map(|&i| self.time(sde, model, &chain, i)).collect();
        let mut marginals: Vec<(f64, f64)> = levels.iter().map(|&i| chain.marginal(i)).collect();
        if problem.denoise {
            times.push(0.0);
            marginals.push(DATA);
        }
        let mut told: Vec<f64> = times.iter().map(|t| t.min(problem.span.0)).collect();
        // The lowest level stands for t_min.
        told[self.steps - 1] = problem.span.1;
        let batch = problem.x.size()[0] as usize;
        let mut x = problem.x.shallow_clone();
        for (n, pair) in marginals.windows(2).enumerate() {
            let step = Transition::new(pair[0], pair[1], eta, self.variance);
            let score = no_grad(|| model.score(&x, &vec![times[n]; batch]));
            x = step.mean(&x, &score);
            if eta > 0.0 && pair[1] != DATA {
                x += noise(n) * step.noise;
            }
            watch(&Step::on_grid(batch, &told, n, false, &|rows, _| select(&x, rows)));
        }
        (x, Statistics::of_steps(batch, times.len() - 1, 1))
    }

    fn check(&self, sde: &dyn Sde, eta: f64, t_min: f64, network_levels: Option<usize>) -> Result<(), Fault> {
        let chain = sde.chain(self.levels)?;
        if let Some(levels) = network_levels.filter(|&levels| levels != self.levels) {
            let message = format!("the chain has {} levels, but the network knows {levels}", self.levels);
            return Err(Fault::new("levels", message, format!("give {levels}, as in [precondition.discrete]")));
        }
        let available = chain.levels() - level(t_min, self.levels);
        if !(2..=available).contains(&self.steps) {
            let message = format!("{} levels are to be visited, and there are {available} from t_min = {t_min} on", self.steps);
            return Err(Fault::new("steps", message, format!("give a number from 2 to {available}")));
        }
        check_eta(eta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_sequences_are_those_of_the_paper() {
        let visited = |steps, spacing| DiscreteChain { levels: 10, steps, spacing, variance: Variance::Beta }.visited(0, 9);
        assert_eq!(visited(4, Spacing::Linear), [9, 6, 3, 0]);
        assert_eq!(visited(4, Spacing::Quadratic), [9, 4, 1, 0]);
        assert_eq!(visited(5, Spacing::Linear), [9, 6, 4, 2, 0]);
        // ⌊9 (i / 6)²⌋ is 0, 0, 1, 2, 4, 6, 9, and no level comes twice.
        assert_eq!(visited(7, Spacing::Quadratic), [9, 6, 4, 3, 2, 1, 0]);
        assert_eq!(visited(10, Spacing::Quadratic), visited(10, Spacing::Linear));
        let part = DiscreteChain { levels: 1000, steps: 3, spacing: Spacing::Linear, variance: Variance::Beta };
        assert_eq!(part.visited(299, 999), [999, 649, 299]);
    }
}
