//! The same solver, closer to the solution: what tells how far it is from it.

use super::{SolverSpec, TimeGrid};

impl SolverSpec {
    /// A tenth of the tolerance, or twice the steps, of a solver that can carry a log-density.
    pub fn refined(&self) -> SolverSpec {
        let mut finer = self.clone();
        match &mut finer {
            SolverSpec::Rk23(adaptive) | SolverSpec::Rk45(adaptive) | SolverSpec::Tsit5(adaptive) | SolverSpec::Dop853(adaptive) => {
                adaptive.rtol *= 0.1;
                adaptive.atol *= 0.1;
            }
            SolverSpec::Euler { grid } | SolverSpec::Midpoint { grid } | SolverSpec::Heun { grid } | SolverSpec::Rk4 { grid } => {
                grid.refine()
            }
            _ => unreachable!("this one carries no log-density; check() refuses it"),
        }
        finer
    }
}

impl TimeGrid {
    fn refine(&mut self) {
        match self {
            TimeGrid::Uniform { steps } | TimeGrid::Karras { steps, .. } | TimeGrid::LogSnr { steps } => *steps *= 2,
        }
    }
}
