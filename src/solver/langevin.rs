//! Langevin dynamics: steps that leave p_t as it is, and the sampler made of nothing else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use super::grid::TimeGrid;
use super::sampler::{Noise, Sampler, Solution, Statistics};
use super::trajectory::{Step, Watch};
use crate::dynamics::Reverse;
use crate::error::{Fault, Result};
use crate::model::At;
use crate::sde::Sde;
use crate::tensor::select;

/// Steps at one time t towards p_t: x' = x + h s(x, t) + √(2h) z with a new z for each (Song et al. 2021, algorithms 4 and 5).
///
/// Both rules for h carry a factor α, see [`StepFactor`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Corrector {
    /// No correction.
    None,
    /// h = 2 α (snr ‖z‖ / ‖s‖)².
    Langevin {
        /// Steps at each time, 1 to 1000.
        steps: usize,
        /// The signal-to-noise ratio of a step, above 0; the reference uses 0.16 for CIFAR-10.
        snr: f64,
        norms: Norms,
        alpha: StepFactor,
    },
    /// h = 2 α (snr σ(t))².
    AnnealedLangevin {
        /// Steps at each time, 1 to 1000.
        steps: usize,
        /// The signal-to-noise ratio of a step, above 0; the reference uses 0.16 for CIFAR-10.
        snr: f64,
        alpha: StepFactor,
    },
}

/// Which ‖z‖ / ‖s‖ sets a Langevin step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Norms {
    /// Means over the batch, as in the reference: one step for all, so that a sample depends on its batch mates, and `sample.batch` counts
    /// among the keys that change a result.
    Batch,
    /// An example's own: a sample is the same in any batch. The step then depends on x and z, which bends the law where these norms vary. A
    /// mixture of two Gaussians, N = 100, snr = 0.16: in 2 dimensions the variance comes out 4 (VP) to 22 (sub-VP) times as large and a
    /// marginal's probability is off by 0.25 to 0.34, in 4 by 0.18, in 16 the variance is 16 % too large (3 % with `batch`), in 64 by 4 % (2 %).
    PerExample,
}

/// Below so many dimensions per-example norms bend the law by more than the corrector's own step does.
const FEW: usize = 64;

/// The factor α of a Langevin step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepFactor {
    /// (1 + f)² of the step x' = (1 + f) x + G z that one of N discretised steps of the process takes at t: 1 - β_i for VP, 1 for VE, as in
    /// the reference.
    Chain,
    /// 1.
    One,
}

impl StepFactor {
    fn at(self, sde: &dyn Sde, t: f64, steps: usize) -> f64 {
        match self {
            StepFactor::Chain => (1.0 + sde.discretised(t, steps).0).powi(2),
            StepFactor::One => 1.0,
        }
    }
}

/// x + h s + √(2h) z.
fn step(x: &Tensor, h: &Tensor, score: &Tensor, z: &Tensor) -> Tensor {
    x + score * h + z * (h * 2.0).sqrt()
}

/// ‖x‖ of each example [B, 1, ...], or its mean over the batch [1, 1, ...].
fn norm(x: &Tensor, norms: Norms) -> Tensor {
    let norm = x.flatten(1, -1).square().sum_dim_intlist(1i64, true, None::<Kind>).sqrt();
    let norm = if norms == Norms::Batch { norm.mean_dim(0i64, true, None::<Kind>) } else { norm };
    let mut shape = vec![1; x.dim()];
    shape[0] = -1;
    norm.view(shape.as_slice())
}

impl Corrector {
    /// What speaks against this in D dimensions.
    pub(super) fn doubt(&self, dimension: usize) -> Option<Fault> {
        let bends = matches!(self, Corrector::Langevin { norms: Norms::PerExample, .. }) && dimension < FEW;
        bends.then(|| {
            let message = format!("per-example norms give samples another law than the data's in {dimension} dimensions");
            let help = "use norms = \"batch\", or an annealed-langevin corrector; below 64 dimensions the variance comes out too large, in 2 by a multiple";
            Fault::new("langevin.norms", message, help)
        })
    }

    /// Steps at each time.
    pub(super) fn steps(&self) -> usize {
        match self {
            Corrector::None => 0,
            Corrector::Langevin { steps, .. } | Corrector::AnnealedLangevin { steps, .. } => *steps,
        }
    }

    /// Whether α comes from the discretised process.
    pub(super) fn is_discretised(&self) -> bool {
        matches!(self, Corrector::Langevin { alpha: StepFactor::Chain, .. } | Corrector::AnnealedLangevin { alpha: StepFactor::Chain, .. })
    }

    /// One step at t of the process in `steps` steps; `z` is asked for once.
    pub(super) fn correct(&self, reverse: &Reverse, x: &Tensor, t: f64, steps: usize, z: impl FnOnce() -> Tensor) -> Tensor {
        let score = no_grad(|| reverse.model.score(&At::whole(x, &vec![t; x.size()[0] as usize])));
        let z = z();
        let h = match self {
            Corrector::None => return x.shallow_clone(),
            Corrector::Langevin { snr, norms, alpha, .. } => {
                (norm(&z, *norms) / norm(&score, *norms) * *snr).square() * (2.0 * alpha.at(reverse.sde(), t, steps))
            }
            Corrector::AnnealedLangevin { snr, alpha, .. } => {
                Tensor::from(2.0 * alpha.at(reverse.sde(), t, steps) * (snr * reverse.sde().sigma(t)).powi(2))
                    .to_kind(x.kind())
                    .to_device(x.device())
            }
        };
        step(x, &h, &score, &z)
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        let (table, steps, snr) = match self {
            Corrector::None => return Ok(()),
            Corrector::Langevin { steps, snr, .. } => ("langevin", *steps, *snr),
            Corrector::AnnealedLangevin { steps, snr, .. } => ("annealed-langevin", *steps, *snr),
        };
        Fault::unless_in(&format!("{table}.steps"), steps, 1..=1000, "corrector = \"none\" takes none")?;
        if !(snr > 0.0 && snr.is_finite()) {
            let help = "give a number above 0; the reference uses 0.16 for CIFAR-10";
            return Err(Fault::new(format!("{table}.snr"), format!("snr is {snr}"), help));
        }
        Ok(())
    }
}

/// Annealed Langevin dynamics (Song & Ermon 2019, arXiv 1907.05600, algorithm 1): Langevin steps at one noise level after the other.
///
/// The levels are of y = x_t / α(t), with noise of σ_i = σ(t_i) / α(t_i): geometric from t = 1 to t_min. A step at level i is
/// y' = y + ½ a_i ∇ ln p_i(y) + √a_i z with a_i = epsilon · σ_i² / σ_L², σ_L the last and smallest. Any SDE has such levels; the paper's are VE's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnealedLangevin {
    /// L, 1 to 100,000; the paper uses 10. 1 is Langevin dynamics at t_min alone, from the prior (the paper's sec. 3): between modes that hardly
    /// touch there, its samples stay where they were, whatever the modes' weights.
    pub levels: usize,
    /// T, 1 to 10,000; the paper uses 100.
    pub steps_per_level: usize,
    /// ε, in squared units of the data, above 0 and below 4 σ_L², where steps diverge; the paper uses 0.2 σ_L².
    pub epsilon: f64,
}

/// σ / α.
fn noise_level(sde: &dyn Sde, t: f64) -> f64 {
    (-0.5 * sde.log_snr(t)).exp()
}

impl Sampler for AnnealedLangevin {
    fn solve(&self, reverse: &Reverse, x: &Tensor, span: (f64, f64), noise: &mut Noise, watch: &mut Watch) -> Result<Solution> {
        let sde = reverse.sde();
        let batch = x.size()[0] as usize;
        let mut x = x.shallow_clone();
        // In x, a step is of size a α², and the state shrinks by α's as the level changes.
        let share = self.epsilon / noise_level(sde, span.1).powi(2);
        let mut times = if self.levels == 1 { vec![span.1] } else { TimeGrid::LogSnr { steps: self.levels - 1 }.times(sde, span) };
        // The first level is where the start is.
        times.insert(0, span.0);
        let mut alpha = sde.alpha(span.0);
        for (i, &t) in times[1..].iter().enumerate() {
            x = &x * (sde.alpha(t) / alpha);
            alpha = sde.alpha(t);
            let h = Tensor::from(0.5 * share * sde.sigma(t).powi(2)).to_kind(x.kind()).to_device(x.device());
            for k in 0..self.steps_per_level {
                let score = no_grad(|| reverse.model.score(&At::whole(&x, &vec![t; batch])));
                x = step(&x, &h, &score, &noise(i * self.steps_per_level + k));
            }
            watch(&Step::on_grid(batch, &times, i, false, &|rows, _| select(&x, rows)));
        }
        Ok((x, Statistics::of_steps(batch, self.levels * self.steps_per_level, 1)))
    }

    fn check(&self, sde: &dyn Sde, eta: f64, t_min: f64, _network_levels: Option<usize>) -> Result<(), Fault> {
        if eta != 1.0 {
            let message = format!("annealed Langevin dynamics is no reverse process with eta = {eta}");
            return Err(Fault::new("", message, "use dynamics = \"reverse-sde\""));
        }
        Fault::unless_in("levels", self.levels, 1..=100_000, "the paper uses 10")?;
        Fault::unless_in("steps_per_level", self.steps_per_level, 1..=10_000, "the paper uses 100")?;
        let variance = noise_level(sde, t_min).powi(2);
        if !(self.epsilon > 0.0 && self.epsilon < 4.0 * variance) {
            let message = format!("epsilon is {}, and the smallest noise has the variance {variance:.3e}", self.epsilon);
            return Err(Fault::new(
                "epsilon",
                message,
                "give a number above 0 and below four times that, where steps diverge; the paper uses 0.2 of it",
            ));
        }
        Ok(())
    }
}
