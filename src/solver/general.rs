//! Solvers of any dynamics: of ordinary differential equations, and of those with noise.

use tch::Tensor;

use super::control::{Adaptive, Control};
use super::grid::TimeGrid;
use super::sampler::{Noise, Sampler, Solution, finite};
use super::tableau::Tableau;
use super::trajectory::Watch;
use super::{adaptive, adaptive_sde, fixed, sra};
use crate::dynamics::{Dynamics, Reverse};
use crate::error::Result;
use crate::model::Model;
use crate::sde::Sde;

/// A Runge-Kutta method for ordinary differential equations, a flow with its log-density among them.
#[derive(Clone)]
pub enum General {
    Fixed(&'static Tableau, TimeGrid),
    Adaptive(&'static Tableau, Adaptive),
}

impl General {
    /// Solves from `span.0` to `span.1` for x [B, ...]; the grid is one of `sde`.
    ///
    /// Errors: a solution that is not finite, or an adaptive step that shrinks to nothing.
    pub fn solve(&self, dynamics: &dyn Dynamics, sde: &dyn Sde, x: &Tensor, span: (f64, f64), watch: &mut Watch) -> Result<Solution> {
        let solution = match self {
            General::Fixed(tableau, grid) => fixed::solve(tableau, dynamics, x, &grid.times(sde, span), None, watch),
            General::Adaptive(tableau, adaptive) => adaptive::solve(tableau, dynamics, x, span, *adaptive, watch)?,
        };
        finite(solution, span.1)
    }

    /// The same closer to the solution: a tenth of the tolerance, or twice the steps. It tells how far this is from it.
    pub fn refined(&self) -> General {
        match self {
            General::Fixed(tableau, grid) => General::Fixed(tableau, grid.refined()),
            General::Adaptive(tableau, Adaptive { rtol, atol, control }) => {
                General::Adaptive(tableau, Adaptive { rtol: 0.1 * rtol, atol: 0.1 * atol, control: *control })
            }
        }
    }

    /// The last time at which a way down the probability flow can begin: where the velocity is known, unless the grid divides by α.
    pub fn last_start(&self, model: &dyn Model) -> f64 {
        match self {
            General::Fixed(_, TimeGrid::Karras { .. } | TimeGrid::LogSnr { .. }) => model.sde().horizon(),
            _ => model.last_time(),
        }
    }

    /// Whether an example depends on its batch mates.
    pub fn couples_batch(&self) -> bool {
        matches!(self, General::Adaptive(_, Adaptive { control: Control::BatchCoupled, .. }))
    }
}

/// Without noise: the probability flow.
impl Sampler for General {
    fn solve(&self, reverse: &Reverse, x: &Tensor, span: (f64, f64), _noise: &mut Noise, watch: &mut Watch) -> Result<Solution> {
        General::solve(self, reverse, reverse.sde(), x, span, watch)
    }
}

/// A method for dynamics with noise.
#[derive(Clone)]
pub enum Stochastic {
    Fixed(&'static Tableau, TimeGrid),
    Sra(TimeGrid),
    Adaptive { rtol: f64, atol: f64 },
}

impl Stochastic {
    /// As [`General::solve`], with noise.
    pub fn solve(
        &self,
        dynamics: &dyn Dynamics,
        sde: &dyn Sde,
        x: &Tensor,
        span: (f64, f64),
        noise: &mut Noise,
        watch: &mut Watch,
    ) -> Result<Solution> {
        let solution = match self {
            Stochastic::Fixed(tableau, grid) => fixed::solve(tableau, dynamics, x, &grid.times(sde, span), Some(noise), watch),
            Stochastic::Sra(grid) => sra::solve(dynamics, x, &grid.times(sde, span), noise, watch),
            Stochastic::Adaptive { rtol, atol } => adaptive_sde::solve(dynamics, x, span, (*rtol, *atol), noise, watch)?,
        };
        finite(solution, span.1)
    }
}

impl Sampler for Stochastic {
    fn solve(&self, reverse: &Reverse, x: &Tensor, span: (f64, f64), noise: &mut Noise, watch: &mut Watch) -> Result<Solution> {
        Stochastic::solve(self, reverse, reverse.sde(), x, span, noise, watch)
    }
}
