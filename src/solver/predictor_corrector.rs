//! Predictor-corrector sampling (Song et al. 2021, arXiv 2011.13456, sec. 4.2, algorithms 2 and 3, appendices E to G).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::discrete_chain::check_noise;
use super::grid::{MOST_STEPS, TimeGrid};
use super::langevin::{Corrector, Norms};
use super::sampler::{Noise, Problem, Sampler, Solution, Statistics, tweedie};
use super::trajectory::{Step, Watch};
use crate::dynamics::{Dynamics, Reverse};
use crate::error::{Fault, Result};
use crate::model::{At, Quantity};
use crate::sde::{Chain, Level, Sde, Transition, Variance, place_of};
use crate::tensor::{column, select};

/// At N equally spaced times from 1 to t_min, both included, or those of them that are left of a start further down: first the corrector's
/// steps, then one of the predictor.
///
/// The predictor's step is 1 / N of the process, so that the one at t_min arrives at the data; `denoise` leaves the noise of that one out,
/// as in the reference. (Without a predictor the state stays at t_min, and `denoise` is Tweedie's formula there.) The reverse family's η, 0
/// for the probability flow, is the predictor's; the corrector's noise is its own. N has nothing to do with the levels of a network.
///
/// N steps of 1 / N don't fit N - 1 intervals of [t_min, 1], and some variance is left: with N = 1000, t_min = 1e-3 and `denoise`, N(0, 0.5²)
/// comes out with +0.09 % under VP by `euler-maruyama` and +0.76 % by `reverse-diffusion`, +0.16 % under sub-VP by either, +0.04 % and
/// +1.66 % under VE; twice the steps halve it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictorCorrector {
    /// N, 2 to 1,000,000; the reference uses 1000, which leaves 0.04 % (VE, `euler-maruyama`) to 1.7 % (VE, `reverse-diffusion`) of variance too
    /// much.
    pub steps: usize,
    pub predictor: Predictor,
    pub corrector: Corrector,
}

/// The step that leads from one time to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Predictor {
    /// No prediction: the state stays at t_min.
    None,
    /// A step of dt = -1 / N.
    EulerMaruyama,
    /// The process discretised in N steps, reversed: x' = x - f + G z (appendix E).
    ReverseDiffusion,
    /// A step down the chain with N levels, for processes that have one. The reference's: variance `beta` for VP, `beta-tilde` for VE.
    Ancestral { variance: Variance },
}

/// What keeps the states of a walk to something that is known of them.
pub trait Constraint {
    /// The state [B, ...] that belongs to x, which is at this level; `noise` is a normal draw [B, ...].
    fn state(&self, x: &Tensor, level: &Level, noise: &Tensor) -> Tensor;
    /// The same for a mean, without noise.
    fn mean(&self, x: &Tensor, level: &Level) -> Tensor;
    /// How often each time is gone through, with a step of the forward process back to it in between.
    fn visits(&self) -> usize {
        1
    }
}

/// What came of one time.
pub struct Visit<'a> {
    /// 0, …, one for each time.
    pub step: usize,
    /// x after the corrector.
    pub corrected: &'a Tensor,
    /// x after the predictor without its noise, and with it.
    pub mean: &'a Tensor,
    pub predicted: &'a Tensor,
}

impl PredictorCorrector {
    /// Solves `problem`; `see` is told of the last visit of every time. A `constraint` is kept after the corrector, and again after the
    /// predictor: at the level that its step began from, as in the reference, but at the one that it led to before the way back.
    ///
    /// Normal draws are counted in order: at each visit one for each step of the corrector, one for the constraint, one for the predictor, again
    /// one for the constraint, and one for the way back, each if there is such a thing. The predictor's is not asked for where η = 0.
    ///
    /// Error: the process has no chain with as many levels for an ancestral predictor.
    pub fn walk(
        &self,
        reverse: &Reverse,
        problem: &Problem,
        constraint: Option<&dyn Constraint>,
        noise: &mut Noise,
        see: &mut dyn FnMut(&Visit),
    ) -> Result<Solution, Fault> {
        let _no_grad = tch::no_grad_guard();
        let batch = problem.x.size()[0] as usize;
        let corrections = self.corrector.steps();
        let predictions = usize::from(self.predictor != Predictor::None);
        let chain = match self.predictor {
            Predictor::Ancestral { .. } => Some(reverse.sde().chain(self.steps)?),
            _ => None,
        };
        let mut x = problem.x.shallow_clone();
        let mut mean = x.shallow_clone();
        let times = self.times(reverse, problem.span);
        let visits = constraint.map_or(1, Constraint::visits);
        let mut count = 0..;
        // From the last time the predictor leads to the data, and there is no way back.
        let visits_of = |i: usize| if i + 1 < times.len() { visits } else { 1 };
        for (i, visit) in (0..times.len()).flat_map(|i| (1..=visits_of(i)).map(move |visit| (i, visit))) {
            let (t, level) = (times[i], reverse.model.level(times[i]));
            let below = times.get(i + 1).filter(|_| visit < visits).map(|&t| reverse.model.level(t));
            let mut next = || count.next().unwrap_or_default();
            for _ in 0..corrections {
                let draw = next();
                x = self.corrector.correct(reverse, &x, t, self.steps, || noise(draw));
            }
            if let Some(constraint) = constraint {
                x = constraint.state(&x, &level, &noise(next()));
            }
            let corrected = x.shallow_clone();
            mean = x.shallow_clone();
            if predictions > 0 {
                let (gain, draw);
                ((mean, gain), draw) = (self.predict(reverse, chain.as_ref(), &corrected, t), next());
                x = if reverse.eta > 0.0 { &mean + noise(draw) * gain } else { mean.shallow_clone() };
            }
            if let Some(constraint) = constraint {
                x = constraint.state(&x, &below.unwrap_or(level), &noise(next()));
                mean = constraint.mean(&mean, &below.unwrap_or(level));
            }
            match below {
                None => see(&Visit { step: i, corrected: &corrected, mean: &mean, predicted: &x }),
                Some(below) => {
                    let back = Transition::new(level, below);
                    x = x * back.shrinkage() + noise(next()) * back.beta.sqrt();
                }
            }
        }
        let statistics = Statistics::of_steps(batch, visits * (times.len() - 1) + 1, corrections + predictions);
        Ok(match (problem.denoise, predictions) {
            (false, _) => (x, statistics),
            (true, 0) => tweedie(reverse, (x, statistics), problem.span.1),
            (true, _) => (mean, statistics),
        })
    }

    /// As [`Sampler::sample`], with the states kept to a constraint.
    pub fn sample_within(
        &self,
        reverse: &Reverse,
        problem: &Problem,
        constraint: Option<&dyn Constraint>,
        noise: &mut Noise,
        watch: &mut Watch,
    ) -> Result<Solution> {
        let batch = problem.x.size()[0] as usize;
        let mut times = self.times(reverse, problem.span);
        // A predictor leads to the next time, and from the last one to the data; a corrector alone leads nowhere.
        match self.predictor {
            Predictor::None => times.insert(0, problem.span.0),
            _ => times.push(0.0),
        }
        let solution = self.walk(reverse, problem, constraint, noise, &mut |visit| {
            watch(&Step::on_grid(batch, &times, visit.step, false, &|rows, _| select(visit.predicted, rows)));
        })?;
        Ok(solution)
    }

    /// Those at or below where the way begins: a step of 1 / N is as long wherever that is.
    pub(super) fn times(&self, reverse: &Reverse, (start, end): (f64, f64)) -> Vec<f64> {
        let mut times = TimeGrid::Uniform { steps: self.steps - 1 }.times(reverse.sde(), (self.last_start(reverse), end));
        times.retain(|&t| t <= start);
        times
    }

    /// The last time at which it can begin: Euler and Maruyama's predictor asks for the process's own drift, α' / α.
    pub(super) fn last_start(&self, reverse: &Reverse) -> f64 {
        if self.predictor == Predictor::EulerMaruyama { reverse.sde().horizon() } else { reverse.model.last_time() }
    }

    /// The mean of the next state, and the factor on its noise.
    fn predict(&self, reverse: &Reverse, chain: Option<&Chain>, x: &Tensor, t: f64) -> (Tensor, Tensor) {
        let n = self.steps as f64;
        let times = vec![t; x.size()[0] as usize];
        let at = At::whole(x, &times);
        match (&self.predictor, chain) {
            (Predictor::Ancestral { variance }, Some(chain)) => {
                let transition = chain.step(t);
                let (of_x, of_score) = transition.reverse_mean(reverse.eta);
                let (score, variance) = reverse.model.with_variance(Quantity::Score, &at, &[transition], *variance);
                (x * of_x + score * of_score, (variance.sqrt() * reverse.eta).to_kind(x.kind()))
            }
            (Predictor::ReverseDiffusion, _) => {
                let (f, gain) = reverse.discretised(&at, self.steps);
                (x - f, gain)
            }
            _ => (x - reverse.drift(&at) / n, column(x, [reverse.diffusion(t) / n.sqrt()])),
        }
    }

    /// What speaks against this in D dimensions.
    pub(super) fn doubt(&self, dimension: usize) -> Option<Fault> {
        self.corrector.doubt(dimension).map(|fault| fault.within("corrector"))
    }

    /// Of the steps down a chain.
    pub(super) fn variance(&self) -> Option<Variance> {
        match self.predictor {
            Predictor::Ancestral { variance } => Some(variance),
            _ => None,
        }
    }

    /// Whether examples of a batch depend on each other.
    pub fn couples_batch(&self) -> bool {
        matches!(self.corrector, Corrector::Langevin { norms: Norms::Batch, .. })
    }
}

impl Sampler for PredictorCorrector {
    fn solve(&self, reverse: &Reverse, x: &Tensor, span: (f64, f64), noise: &mut Noise, watch: &mut Watch) -> Result<Solution> {
        self.sample(reverse, &Problem { x, span, denoise: false }, noise, watch)
    }

    fn sample(&self, reverse: &Reverse, problem: &Problem, noise: &mut Noise, watch: &mut Watch) -> Result<Solution> {
        self.sample_within(reverse, problem, None, noise, watch)
    }

    fn check(&self, sde: &dyn Sde, eta: f64, t_min: f64, _network_levels: Option<usize>) -> Result<(), Fault> {
        Fault::unless_in("steps", self.steps, 2..=MOST_STEPS, "the reference uses 1000")?;
        if self.predictor == Predictor::None && self.corrector == Corrector::None {
            return Err(Fault::new("predictor", "neither predictor nor corrector moves anything", "give one of them"));
        }
        self.corrector.check().map_err(|fault| fault.within("corrector"))?;
        if let Predictor::Ancestral { variance } = self.predictor {
            let missing = |fault: Fault| {
                let message = format!("ancestral sampling goes down a chain with as many levels as steps: {}", fault.message);
                Fault::new("predictor", message, format!("{}; or another predictor", fault.help))
            };
            sde.chain(self.steps).map_err(missing)?;
            check_noise(variance, eta).map_err(|fault| fault.within("predictor.ancestral"))?;
        }
        if self.predictor != Predictor::None && place_of(t_min, self.steps) > 0 {
            let help = format!("give at most {}, or a smaller t_min", (1.0 / t_min) as usize);
            return Err(Fault::new(
                "steps",
                format!("the last of {} steps starts at t_min = {t_min}, and is shorter than that", self.steps),
                help,
            ));
        }
        let kept = |t: f64| 1.0 + sde.discretised(t, self.steps).0;
        let discretised = self.predictor == Predictor::ReverseDiffusion || self.corrector.is_discretised();
        let grid = TimeGrid::Uniform { steps: self.steps - 1 };
        if discretised && !grid.times(sde, (1.0, t_min)).into_iter().all(|t| kept(t) > 0.0) {
            let message = format!("{} are too few: one of so many steps of the process keeps nothing of its state", self.steps);
            return Err(Fault::new("steps", message, "give more steps; the reference uses 1000"));
        }
        Ok(())
    }
}
