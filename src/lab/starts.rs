//! The start points of the lab, their accurate ends, and how far off those of a setting are.

use std::cell::OnceCell;

use statrs::statistics::Statistics as _;
use tch::{Kind, Tensor};

use super::{Setting, World};
use crate::dynamics::Reverse;
use crate::error::Result;
use crate::law::noise_rows;
use crate::metric::{Energy, Estimate};
use crate::rng::{self, Law, Purpose};
use crate::solver::{Adaptive, Problem, SolverSpec, Statistics, TimeGrid};
use crate::tensor::to_vec;

/// The tolerance of the accurate solve, for a score in f64 and for a network in f32.
const ACCURATE: [f64; 2] = [1e-9, 1e-6];
/// Its steps where the network jumps from level to level, which no step control can follow.
const ACCURATE_STEPS: usize = 1000;
/// Ends whose mean distance is the unit of an energy distance.
const COMPARED: i64 = 1000;

/// Points of the prior, all of them functions of the seed, as the noise is.
pub struct Starts<'a> {
    pub(super) world: &'a World<'a>,
    pub(super) seed: u64,
    x: Tensor,
    accurate: OnceCell<Accurate>,
}

/// The ends of the accurate solve.
struct Accurate {
    x: Tensor,
    energy: Energy,
    /// The standard deviation of all their numbers, and the mean distance between two of them.
    spread: f64,
    apart: f64,
}

impl<'a> Starts<'a> {
    pub fn new(world: &'a World<'a>, count: usize, seed: u64) -> Starts<'a> {
        let sde = world.model.sde();
        let normal = noise_rows(sde.noise(), seed, Purpose::Prior, 0..count as u64, 0, &world.shape, world.device);
        Starts { world, seed, x: normal.to_kind(Kind::Double) * sde.prior_std(), accurate: OnceCell::new() }
    }

    /// Where a setting ends.
    pub(super) fn solve(&self, setting: &Setting) -> Result<(Tensor, Statistics)> {
        self.solve_by(&setting.spec, setting.dynamics.eta(), self.x.size()[0])
    }

    /// Where it ends from the first few.
    pub(super) fn solve_some(&self, setting: &Setting, count: i64) -> Result<Tensor> {
        Ok(self.solve_by(&setting.spec, setting.dynamics.eta(), count)?.0)
    }

    fn solve_by(&self, spec: &SolverSpec, eta: f64, count: i64) -> Result<(Tensor, Statistics)> {
        let World { model, t_min, device, .. } = *self.world;
        let shape = &self.world.shape;
        let normal =
            |draw| rng::rows(Law::Gaussian, self.seed, Purpose::Brownian, 0..count as u64, draw, shape, device).to_kind(Kind::Double);
        let problem = Problem { x: &self.x.narrow(0, 0, count), span: (1.0, t_min), denoise: false };
        spec.sample(&Reverse { model, eta }, &problem, &mut |draw| normal(draw as u64), &mut |_| {})
    }

    /// The ends of the accurate solve of the probability flow.
    pub fn accurate(&self) -> Result<&Tensor> {
        self.truth().map(|truth| &truth.x)
    }

    fn truth(&self) -> Result<&Accurate> {
        if let Some(truth) = self.accurate.get() {
            return Ok(truth);
        }
        let tolerance = ACCURATE[usize::from(self.world.law.is_none())];
        let spec = match self.world.model.chain() {
            None => SolverSpec::Rk45(Adaptive::new(tolerance, tolerance)),
            Some(_) => SolverSpec::DpmSolverPp { order: 2, grid: TimeGrid::LogSnr { steps: ACCURATE_STEPS } },
        };
        let (x, _) = self.solve_by(&spec, 0.0, self.x.size()[0])?;
        let some = x.narrow(0, 0, x.size()[0].min(COMPARED)).flatten(1, -1);
        let (spread, apart) = (x.std(true).double_value(&[]), some.pdist(2.0).mean(Kind::Double).double_value(&[]));
        Ok(self.accurate.get_or_init(|| Accurate { energy: Energy::new(&x), spread, apart, x }))
    }

    /// How far ends x are from the accurate ones, in model space, and as a share of their standard deviation: of the estimate, and of both ends of
    /// its interval.
    ///
    /// Of pairs it is √(mean d²) with d² the mean square difference of an end's numbers, the interval that of the mean. Of others it is the
    /// energy distance. Normal points that are shifted by a share ε of their standard deviation have one of about ε² / 2 of the mean distance
    /// between two of them, which gives ε.
    pub(super) fn off(&self, x: &Tensor, paired: bool) -> Result<(Estimate, [f64; 3])> {
        let Accurate { x: truth, energy, spread, apart } = self.truth()?;
        if !paired {
            let off = energy.distance(x);
            let share = |energy: f64| (2.0 * energy.max(0.0) / apart).sqrt();
            return Ok((off, [0.0, -1.0, 1.0].map(|side| share(off.value + side * off.half_width))));
        }
        let squares = to_vec(&(x - truth).flatten(1, -1).square().mean_dim(&[1i64][..], false, Kind::Double));
        let mean = Estimate::of_mean(&squares);
        let root = (&squares).mean().sqrt();
        let off = Estimate::new(root, if root > 0.0 { mean.half_width / (2.0 * root) } else { 0.0 });
        Ok((off, [0.0, -1.0, 1.0].map(|side| (root + side * off.half_width).max(0.0) / spread)))
    }
}
