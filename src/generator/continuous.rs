//! Continuous flows by the continuity equation (Chen et al. 2018, arXiv 1806.07366).

use std::f64::consts::PI;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use super::{Draws, Estimate, Generator};
use crate::divergence::Probes;
use crate::dynamics::{Dynamics, Flow, FlowWithLogDensity};
use crate::error::Fault;
use crate::model::At;
use crate::net::Held;
use crate::net::perceptron::Perceptron;
use crate::optim::{Builder, Losses};
use crate::rng::{self, Law, Purpose};
use crate::solver::{RK4, unrolled};
use crate::tensor::{column_of, sum_per_example};

/// `[flow.continuous]`: dx/dt = v(x, t) from the data at t = 0 to N(0, I) at t = 1, trained through its solver. Chen et al. 2018.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Features of the hidden layers of v, 1 to 65536.
    pub width: usize,
    /// Hidden layers of v, 1 to 100.
    pub depth: usize,
    /// Equal steps of Kutta's method of order 4 from the data to the prior, 1 to 1000: training goes through them, and samples and densities
    /// take the same. Each takes 4 evaluations of v.
    pub steps: usize,
}

/// Numbers of an example, at most: the divergence takes a backward pass for each.
const LARGEST: usize = 64;

impl Spec {
    /// Whether it can serve data of so many dimensions.
    pub fn check(&self, dimension: usize) -> Result<(), Fault> {
        Fault::unless_in("width", self.width, 1..=65536, "64 serve two dimensions")?;
        Fault::unless_in("depth", self.depth, 1..=100, "2 serve two dimensions")?;
        Fault::unless_in("steps", self.steps, 1..=1000, "8 are enough for smooth flows")?;
        if dimension > LARGEST {
            let message = format!("the data have {dimension} dimensions, and the exact divergence takes a backward pass for each");
            return Err(Fault::new("", message, format!("use data of at most {LARGEST} dimensions, or [flow.nice]")));
        }
        Ok(())
    }

    pub(super) fn held(&self, dimension: usize) -> Held {
        let pass = Perceptron::held([dimension + 1, self.width, dimension], self.depth);
        // Of every evaluation the pass, and what a second derivative keeps of each product with the Jacobian.
        let evaluation = pass * (1.0 + 2.0 * dimension as f64);
        Held { with_graph: 4.0 * self.steps as f64 * evaluation, without_graph: evaluation + 12.0 * dimension as f64 }
    }
}

/// ln p(x) = ln N(x_1; 0, I) + ∫₀¹ div v(x_t, t) dt along x_0 = x (eq. 8), with the exact divergence and the integral by the solver's own
/// steps: it is these that are trained, through all of them.
pub struct Continuous {
    velocity: Velocity,
    /// From 0 to 1.
    times: Vec<f64>,
    /// Of an example.
    shape: Vec<i64>,
    options: (Kind, Device),
}

/// v(x, t) of a perceptron that sees x and t.
struct Velocity(Perceptron);

impl Flow for Velocity {
    fn field(&self, at: &At) -> Tensor {
        let x = at.x.flatten(1, -1);
        let t = column_of(&x, at.t, |t| t).expand([x.size()[0], 1], false);
        self.0.forward(&Tensor::cat(&[&x, &t], 1)).view_as(at.x)
    }

    fn shares(&self, _t: f64) -> (f64, f64) {
        (0.0, 1.0)
    }
}

impl Dynamics for Velocity {
    fn drift(&self, at: &At) -> Tensor {
        self.field(at)
    }
}

impl Continuous {
    /// `spec` has passed its check for data of `shape`.
    pub fn new(spec: &Spec, shape: &[usize], builder: &Builder) -> Continuous {
        let d = shape.iter().product::<usize>() as i64;
        let network = Perceptron::new([d + 1, spec.width as i64, d], spec.depth, 0.0, &builder.part("velocity"));
        let times = (0..=spec.steps).map(|i| i as f64 / spec.steps as f64).collect();
        let shape = shape.iter().map(|&n| n as i64).collect();
        Continuous { velocity: Velocity(network), times, shape, options: builder.options() }
    }

    /// ln p(x) `[B]` by `flow`.
    fn through(&self, flow: &FlowWithLogDensity<Velocity>, x: &Tensor) -> Tensor {
        let end = unrolled(&RK4, flow, &flow.start(&x.to_kind(self.options.0)), &self.times);
        let (x, change) = flow.split(&end);
        sum_per_example(&((x.square() + (2.0 * PI).ln()) * -0.5)) - change.squeeze_dim(1)
    }

    /// x_0 [B, ...] of x_1; without a graph.
    fn back(&self, x: &Tensor) -> Tensor {
        let times: Vec<f64> = self.times.iter().rev().copied().collect();
        no_grad(|| unrolled(&RK4, &self.velocity, x, &times))
    }
}

impl Generator for Continuous {
    /// -ln p(x₀) in model space, nats.
    fn losses(&self, x0: &Tensor, _seed: u64, _positions: Range<u64>) -> Losses {
        let flow = FlowWithLogDensity::with_graph(&self.velocity, self.shape.clone());
        Losses { of_examples: -self.through(&flow, x0), t: None, parts: Vec::new() }
    }

    fn draw(&self, seed: u64, rows: Range<u64>, temperature: f64) -> Tensor {
        let (kind, device) = self.options;
        let x = rng::rows(Law::Gaussian, seed, Purpose::Prior, rows, 0, &self.shape, device);
        self.back(&(x.to_kind(kind) * temperature))
    }

    fn evaluations(&self) -> u32 {
        4 * (self.times.len() as u32 - 1)
    }

    fn log_density(&self, x: &Tensor, _draws: &Draws) -> Estimate {
        let flow = FlowWithLogDensity::new(&self.velocity, self.shape.clone(), Probes::Exact);
        Estimate::exact(no_grad(|| self.through(&flow, x)).to_kind(Kind::Double))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{Adam, Parameters, clip_by_norm};
    use crate::testing::{largest, mean_and_error, normal};

    fn flow(steps: usize) -> (Continuous, Parameters) {
        let spec = Spec { width: 12, depth: 2, steps };
        spec.check(2).unwrap();
        let builder = Builder::new(1, Kind::Double, Device::Cpu);
        let flow = Continuous::new(&spec, &[2], &builder);
        let parameters = builder.finish();
        // A new flow stands still.
        let flat = parameters.flat();
        let _ = no_grad(|| flat.shallow_clone().g_add_(&(normal(9, &flat.size()) * 0.3)));
        (flow, parameters)
    }

    fn log_density(flow: &Continuous, x: &Tensor) -> Tensor {
        flow.log_density(x, &Draws { seed: 0, places: &[], count: 0 }).value
    }

    #[test]
    fn the_density_integrates_to_one() {
        tch::set_num_threads(1);
        let (n, width) = (120, 20.0);
        let axis = (Tensor::arange(n, (Kind::Double, Device::Cpu)) + 0.5) * (width / n as f64) - width / 2.0;
        let grid = Tensor::stack(&Tensor::meshgrid_indexing(&[&axis, &axis], "ij"), 2).view([-1, 2]);
        let p = log_density(&flow(8).0, &grid).exp();
        let mass = p.sum(Kind::Double).double_value(&[]) * (width / n as f64).powi(2);
        assert!((mass - 1.0).abs() < 1e-3, "{mass}");
    }

    #[test]
    fn the_two_directions_undo_each_other() {
        tch::set_num_threads(1);
        let (flow, _) = flow(40);
        let x = normal(0, &[7, 2]);
        let there = no_grad(|| unrolled(&RK4, &flow.velocity, &x, &flow.times));
        assert!(largest(&(&there - &x)) > 0.1);
        assert!(largest(&(flow.back(&there) - &x)) < 1e-6);
    }

    #[test]
    fn the_gradient_goes_through_the_solver_and_the_divergence() {
        tch::set_num_threads(1);
        let (flow, parameters) = flow(3);
        let x = normal(0, &[4, 2]);
        let losses = || flow.losses(&x, 0, 0..4).of_examples;
        assert!(largest(&(losses() + log_density(&flow, &x))) < 1e-12, "training and measuring see the same density");
        let gradient = parameters.gradient(&losses().sum(Kind::Double));
        let direction = normal(1, &parameters.flat().size());
        let at = |h: f64| {
            no_grad(|| drop(parameters.flat().shallow_clone().g_add_(&(&direction * h))));
            let loss = -log_density(&flow, &x).sum(Kind::Double).double_value(&[]);
            no_grad(|| drop(parameters.flat().shallow_clone().g_add_(&(&direction * -h))));
            loss
        };
        let (slope, h) = ((&gradient * &direction).sum(Kind::Double).double_value(&[]), 1e-5);
        let truth = (at(h) - at(-h)) / (2.0 * h);
        assert!((slope / truth - 1.0).abs() < 1e-6, "{slope} is not {truth}");
    }

    #[test]
    fn draws_are_of_the_density_and_training_reaches_the_entropy() {
        tch::set_num_threads(1);
        let mix = Tensor::from_slice(&[1.0, 0.0, 0.8, 0.5]).view([2, 2]);
        let data = |draw| normal(draw, &[256, 2]).matmul(&mix.tr());
        let (flow, parameters) = flow(3);
        let mut adam = Adam::new(parameters.flat(), [0.9, 0.999], 1e-8, 0.0);
        for step in 1..=150 {
            let gradient = parameters.gradient(&flow.losses(&data(step), 1, 0..256).of_examples.mean(Kind::Double));
            let (_, shrink) = clip_by_norm(&gradient, 10.0);
            adam.update(parameters.flat(), (&gradient, &shrink), 0.02, step, |_, _| ());
        }
        let truth = (2.0 * PI).ln() + 1.0 + 0.5f64.ln();
        for x in [normal(1000, &[4000, 2]).matmul(&mix.tr()), flow.draw(1, 0..4000, 1.0)] {
            let (entropy, error) = mean_and_error(&-log_density(&flow, &x));
            assert!((entropy - truth).abs() < 4.0 * error + 0.03, "{entropy} ± {error} is not {truth}");
        }
    }
}
