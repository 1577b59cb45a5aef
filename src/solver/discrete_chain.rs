//! The discrete chain of DDPM (Ho et al. 2020, arXiv 2006.11239) and DDIM (Song et al. 2021a, arXiv 2010.02502), backwards.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use super::sampler::{Noise, Problem, Sampler, Solution, Statistics};
use super::trajectory::{Step, Watch};
use crate::dynamics::Reverse;
use crate::error::{Fault, Result};
use crate::model::{At, Quantity};
use crate::sde::{Level, Sde, Transition, Variance, place_of};
use crate::tensor::select;

/// The chain of [`Sde::chain`] on some of its levels, from the last one down to the one at or just before t_min; one evaluation at each.
///
/// A network in discrete time is asked at the levels it knows, one in continuous time at the time that has the level's α / σ (for VP the last
/// level lies slightly beyond t = 1). `denoise` takes the step from the lowest level to x_0 = `E[x_0 | x]`, which has no noise; without it the
/// result is the state at the lowest level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscreteChain {
    /// N, 2 to 1,000,000; the network's, if that lives in discrete time.
    pub levels: usize,
    /// S, how many levels are visited, 2 to N.
    pub steps: usize,
    pub spacing: Spacing,
    pub variance: Variance,
}

/// Which levels are visited, i = 0, …, S - 1 (Song et al. 2021a, appendix D.2, with both ends and no level twice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// ⌊c i⌋
    Linear,
    /// ⌊c i²⌋
    Quadratic,
}

/// η beyond 1 has no c: the noise of a step would be more than that of its level. The analytic and the learnt variance are of η = 1.
pub(super) fn check_noise(variance: Variance, eta: f64) -> Result<(), Fault> {
    if eta > 1.0 {
        let message = format!("a step of a chain has no variance for eta = {eta}: it would exceed the noise of the level");
        return Err(Fault::new("variance", message, "use an eta of at most 1"));
    }
    if matches!(variance, Variance::Analytic | Variance::Learned) && eta != 1.0 {
        let name = if variance == Variance::Analytic { "analytic" } else { "learned" };
        let message = format!("the {name} variance is of the reverse SDE, and eta is {eta}");
        return Err(Fault::new("variance", message, "use dynamics = \"reverse-sde\", or the variance \"beta-tilde\""));
    }
    Ok(())
}

impl DiscreteChain {
    /// S levels from `lowest` to `highest`, or all where there are fewer, descending.
    fn visited(&self, lowest: usize, highest: usize) -> Vec<usize> {
        let range = highest - lowest;
        let steps = self.steps.min(range + 1);
        let last = (steps - 1).max(1);
        let mut levels: Vec<usize> = Vec::with_capacity(steps);
        for i in 0..steps {
            let offset = match self.spacing {
                Spacing::Linear => range * i / last,
                Spacing::Quadratic => range * i * i / (last * last),
            };
            levels.push(levels.last().map_or(lowest, |before| (lowest + offset).max(before + 1)));
        }
        levels.reverse();
        levels
    }
}

impl Sampler for DiscreteChain {
    fn solve(&self, reverse: &Reverse, x: &Tensor, span: (f64, f64), noise: &mut Noise, watch: &mut Watch) -> Result<Solution> {
        self.sample(reverse, &Problem { x, span, denoise: false }, noise, watch)
    }

    fn sample(&self, reverse: &Reverse, problem: &Problem, noise: &mut Noise, watch: &mut Watch) -> Result<Solution> {
        let Reverse { model, eta } = *reverse;
        let chain = model.sde().chain(self.levels)?;
        let (highest, lowest) = (place_of(problem.span.0, self.levels), place_of(problem.span.1, self.levels));
        let mut levels: Vec<Level> = self.visited(lowest, highest).into_iter().map(|i| model.asked(&chain.levels()[i])).collect();
        if problem.denoise {
            levels.push(Level::DATA);
        }
        let mut told: Vec<f64> = levels.iter().map(|level| level.t.min(problem.span.0)).collect();
        // The lowest level stands for t_min.
        told[levels.len() - 1 - usize::from(problem.denoise)] = problem.span.1;
        let batch = problem.x.size()[0] as usize;
        let mut x = problem.x.shallow_clone();
        for (n, pair) in levels.windows(2).enumerate() {
            let transition = Transition::new(pair[0], pair[1]);
            let (of_x, of_score) = transition.reverse_mean(eta);
            let times = vec![pair[0].t; batch];
            let (score, variance) = no_grad(|| model.with_variance(Quantity::Score, &At::whole(&x, &times), &[transition], self.variance));
            x = x * of_x + score * of_score;
            if eta > 0.0 && pair[1] != Level::DATA {
                x += noise(n) * (variance.sqrt() * eta).to_kind(x.kind());
            }
            watch(&Step::on_grid(batch, &told, n, false, &|rows, _| select(&x, rows)));
        }
        Ok((x, Statistics::of_steps(batch, levels.len() - 1, 1)))
    }

    fn check(&self, sde: &dyn Sde, eta: f64, t_min: f64, network_levels: Option<usize>) -> Result<(), Fault> {
        let chain = sde.chain(self.levels)?;
        if let Some(levels) = network_levels.filter(|&levels| levels != self.levels) {
            let message = format!("the chain has {} levels, but the network knows {levels}", self.levels);
            return Err(Fault::new("levels", message, format!("give {levels}, as in [precondition.discrete]")));
        }
        let available = chain.len() - place_of(t_min, self.levels);
        if !(2..=available).contains(&self.steps) {
            let message = format!("{} levels are to be visited, and there are {available} from t_min = {t_min} on", self.steps);
            return Err(Fault::new("steps", message, format!("give a number from 2 to {available}")));
        }
        check_noise(self.variance, eta)
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
        assert_eq!((part.visited(4, 5), part.visited(4, 4)), (vec![5, 4], vec![4]), "a short way has all of its levels");
    }
}
