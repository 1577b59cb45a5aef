//! What a solver can't do, found before any work: faults name the key below `solver`.

use super::multi_step::Scheme;
use super::spec::Family;
use super::{SolverSpec, Task, TimeGrid, control};
use crate::error::Fault;
use crate::sde::Sde;

impl SolverSpec {
    /// Whether this can sample a reverse process: what [`check`](SolverSpec::check) can't know without the process. `network_levels` are the
    /// levels of noise of a network in discrete time.
    pub fn check_process(&self, sde: &dyn Sde, eta: f64, t_min: f64, network_levels: Option<usize>) -> Result<(), Fault> {
        match self.family() {
            Family::Sampler(sampler) => sampler.check(sde, eta, t_min, network_levels).map_err(|fault| fault.within(&self.name())),
            _ => Ok(()),
        }
    }

    /// Whether this can do a task with any process.
    pub fn check(&self, task: Task) -> Result<(), Fault> {
        let name = &*self.name();
        match self.family() {
            Family::Fixed(_, grid) => grid.check(),
            Family::Adaptive(..) if task == Task::ReverseSde => {
                let message = format!("{name} can't solve the reverse SDE: its error estimate knows no noise");
                return Err(Fault::new(
                    name,
                    message,
                    "use dynamics = \"probability-flow\", or a solver with a grid such as euler or heun",
                ));
            }
            Family::Adaptive(_, adaptive) => adaptive.check(),
            Family::Sra(_) | Family::AdaptiveSde(..) if task != Task::ReverseSde => {
                let message = format!("{name} is for dynamics with noise");
                return Err(Fault::new(name, message, "use a Runge-Kutta method without noise, such as heun or rk45"));
            }
            Family::Sra(grid) => grid.check(),
            Family::AdaptiveSde(rtol, atol) => control::check_tolerances(rtol, atol, "Jolicoeur-Martineau et al. use rtol = 0.01 to 0.5"),
            Family::Edm(_) | Family::MultiStep(..) | Family::SingleStep(..) | Family::Sampler(_) if task == Task::LogDensity => {
                let message = format!("{name} can't carry a log-density: it solves the reverse process alone");
                return Err(Fault::new(name, message, "use a Runge-Kutta method, such as rk45 or heun"));
            }
            Family::Edm(_) if task == Task::ReverseSde => {
                let help = "use dynamics = \"probability-flow\", to which s_churn adds noise";
                return Err(Fault::new(name, "edm brings its own noise", help));
            }
            Family::Edm(churn) => churn.check(),
            Family::MultiStep(Scheme::UniPc(_), ..) if task == Task::ReverseSde => {
                return Err(Fault::new(name, "uni-pc knows no noise", "use dynamics = \"probability-flow\", or dpm-solver-pp"));
            }
            Family::MultiStep(Scheme::Deis(_), order, grid) => check_order(order, 4, grid, grid.steps()),
            Family::MultiStep(_, order, grid) => check_order(order, 3, grid, grid.steps()),
            Family::SingleStep(_, order, grid) => check_order(order, 3, grid, usize::MAX),
            Family::Sampler(_) => Ok(()),
        }
        .map_err(|fault| fault.within(name))
    }
}

/// An exponential method of order 1 to `highest` on a grid; a multi-step one needs as many steps as its order.
fn check_order(order: usize, highest: usize, grid: &TimeGrid, steps: usize) -> Result<(), Fault> {
    if !(1..=highest).contains(&order) {
        return Err(Fault::new("order", format!("there is no order {order}"), format!("give a whole number from 1 to {highest}")));
    }
    grid.check()?;
    if steps < order {
        let message = format!("order {order} needs as many steps, and there are {steps}");
        return Err(Fault::new("order", message, "give more steps or a lower order"));
    }
    Ok(())
}
