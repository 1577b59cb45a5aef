//! What a model takes that is asked for something.

use crate::analytic::AnalyticVariance;
use crate::classifier;
use crate::dequantisation::Variational;
use crate::experiment::plan::{Family, Plan};
use crate::generator::GeneratorSpec;
use crate::guidance::Guidance;
use crate::likelihood::{BoundSpec, Density, Form, Levels, Likelihood};
use crate::loss::Objective;
use crate::model::ScoreSpec;
use crate::net::Held;
use crate::sample::{Draw, Sample};
use crate::train::Train;

/// Bytes of the numbers that networks and most arrays are made of.
pub(super) const FLOAT: f64 = 4.0;

/// Blocks of a few megabytes that are freed are not all used again: measured, 1 to 2 of what is held.
const SCATTERED: f64 = 1.3;

/// What takes memory.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The key that makes it smaller.
    pub key: String,
    pub bytes: f64,
    /// Whether it lives where the network computes, and not with the program.
    pub on_device: bool,
}

impl Item {
    pub fn host(key: impl Into<String>, bytes: f64) -> Item {
        Item { key: key.into(), bytes, on_device: false }
    }

    pub fn device(key: impl Into<String>, bytes: f64) -> Item {
        Item { key: key.into(), bytes, on_device: true }
    }
}

/// What a model takes that is asked.
pub(super) struct Asker {
    /// Trainable numbers, and the key that makes them fewer.
    parameters: f64,
    size: String,
    pub held: Held,
}

impl Asker {
    pub fn new(plan: &Plan, shape: &[usize], condition: usize) -> Asker {
        Asker::of_tensors(plan, shape, condition).scattered()
    }

    pub fn scattered(self) -> Asker {
        let Held { with_graph, without_graph } = self.held;
        Asker { held: Held { with_graph: SCATTERED * with_graph, without_graph: SCATTERED * without_graph }, ..self }
    }

    pub fn of_generator(spec: &GeneratorSpec, shape: &[usize]) -> Asker {
        Asker { parameters: spec.parameter_count(shape) as f64, size: spec.size_key(), held: spec.held(shape) }
    }

    pub fn of_classifier(spec: &classifier::Spec, shape: &[usize], classes: usize) -> Asker {
        let parameters = spec.parameter_count(shape, classes) as f64;
        Asker { parameters, size: "classifier.width".into(), held: spec.held(shape) }
    }

    fn of_tensors(plan: &Plan, shape: &[usize], condition: usize) -> Asker {
        match &plan.family {
            Family::Score(learned) => Asker {
                parameters: learned.parameter_count(shape, plan.told(condition)) as f64,
                size: format!("network.{}", learned.network.size_key()),
                held: learned.network.held(shape),
            },
            Family::Generator(spec, _) => Asker::of_generator(spec, shape),
            Family::Classifier(_, spec) => Asker::of_classifier(spec, shape, condition),
            // Differences to each mean, whitened, in f64.
            Family::Known(_, ScoreSpec::GaussianMixture(mixture)) => {
                let (k, d) = (mixture.weights.len() as f64, mixture.dimension() as f64);
                let held = 2.0 * 6.0 * k * (d + 1.0);
                Asker {
                    parameters: 2.0 * k * d * d,
                    size: "score.gaussian-mixture".into(),
                    held: Held { with_graph: 2.0 * held, without_graph: held },
                }
            }
        }
    }

    /// Weights, average and moments as a file, as tensors, and in the network.
    pub fn loading(&self) -> Item {
        Item::host(&self.size, 9.0 * self.parameters * FLOAT)
    }

    pub fn weights(&self) -> Item {
        Item::device(&self.size, self.parameters * FLOAT)
    }

    /// Weights, two moments, average, the gradient in pieces and in one, and what an update makes on its way.
    pub fn training(&self, spec: &Train, d: f64, examples: usize) -> Vec<Item> {
        let (batch, graph) = (spec.batch as f64, self.held.with_graph);
        // Each product with the Jacobian keeps a graph of its own.
        let (key, graphs) = match &spec.objective {
            None | Some(Objective::Denoising | Objective::Explicit | Objective::Vlb { .. } | Objective::Hybrid { .. }) => {
                ("train.batch", 1.0)
            }
            Some(Objective::Implicit { .. }) => ("train.batch", 1.0 + 2.0 * d),
            Some(Objective::Sliced { projections, .. }) if *projections > 4 => {
                ("train.objective.sliced.projections", 1.0 + 2.0 * *projections as f64)
            }
            Some(Objective::Sliced { projections, .. }) => ("train.batch", 1.0 + 2.0 * *projections as f64),
        };
        vec![
            Item::device(&self.size, 8.0 * self.parameters * FLOAT),
            Item::device(key, batch * (graphs * graph + 8.0 * d) * FLOAT),
            // Batches that wait, and an epoch's order.
            Item::host("train.batch", batch * 6.0 * d * FLOAT),
            Item::host("data", examples as f64 * 8.0),
        ]
    }

    pub fn measuring_variance(&self, spec: &AnalyticVariance, d: f64) -> Vec<Item> {
        let batch = spec.batch as f64;
        vec![
            self.weights(),
            Item::device("analytic_variance.batch", batch * (self.held.without_graph + 8.0 * d) * FLOAT),
            Item::host("analytic_variance.batch", batch * 6.0 * d * FLOAT),
        ]
    }

    pub fn sampling(&self, spec: &Sample, d: f64) -> Vec<Item> {
        // The score's gradient is asked for by what makes samples fit a measurement.
        let guided = spec.measurement.as_ref().is_some_and(|measurement| measurement.method.replaces().is_none())
            || spec.guidance.as_ref().is_some_and(Guidance::differentiates);
        let held = if guided { self.held.with_graph } else { self.held.without_graph };
        let (count, batch) = (spec.count as f64, spec.batch.min(spec.count) as f64);
        let particles = spec.measurement.as_ref().map_or(1, |measurement| measurement.method.particles()) as f64;
        vec![
            self.weights(),
            Item::device("sample.batch", batch * particles * (held + 16.0 * d) * FLOAT),
            // As parts, as one, in data units and as the file.
            Item::host("sample.count", count * (4.0 * d * FLOAT + 24.0)),
            Item::host("sample.trajectory", count * spec.trajectory.len() as f64 * (4.0 * d * FLOAT + 24.0)),
        ]
    }

    pub fn drawing(&self, spec: &Draw, d: f64) -> Vec<Item> {
        let (count, batch) = (spec.count as f64, spec.batch.min(spec.count) as f64);
        vec![
            self.weights(),
            Item::device("draw.batch", batch * (self.held.without_graph + 8.0 * d) * FLOAT),
            // As parts, as one, in data units and as the file.
            Item::host("draw.count", count * (4.0 * d * FLOAT + 24.0)),
        ]
    }

    pub fn evaluating(&self, spec: &Density, d: f64) -> Vec<Item> {
        let points = spec.count as f64 * spec.dequantisation.draws() as f64;
        vec![
            self.weights(),
            Item::device(
                "density.batch",
                points.min(spec.batch as f64) * (self.held.without_graph + 8.0 * d + spec.draws.unwrap_or(0) as f64 * 6.0) * FLOAT,
            ),
            Item::host("density.count", points * 100.0),
        ]
    }

    pub fn dequantising(&self, spec: &Variational, d: f64) -> Vec<Item> {
        let (batch, layers, channels) = (spec.batch as f64, spec.layers as f64, spec.channels as f64);
        // Of each layer the activations of its network at every pixel, and of what it maps.
        let flow = layers * d * (4.0 * channels + 16.0);
        let parameters = layers * 9.0 * channels * (channels + 4.0);
        vec![
            self.weights(),
            Item::device("dequantisation.variational.channels", 12.0 * parameters * FLOAT),
            Item::device("dequantisation.variational.batch", batch * (self.held.with_graph + flow + 30.0 * d) * FLOAT),
        ]
    }

    pub fn measuring(&self, spec: &Likelihood, d: f64) -> Vec<Item> {
        let points = spec.count as f64 * spec.dequantisation.draws() as f64;
        let batch = (spec.batch as f64).min(points);
        let estimates = spec.trace.estimates_at_once() as f64;
        vec![
            self.weights(),
            // States, stages and probes are f64.
            Item::device("likelihood.batch", batch * (self.held.with_graph + 2.0 * (20.0 + 3.0 * estimates) * d) * FLOAT),
            Item::host("likelihood.count", points * (100.0 + 16.0 * estimates)),
        ]
    }

    pub fn bounding(&self, spec: &Likelihood, bound: &BoundSpec, d: f64) -> Vec<Item> {
        let batch = spec.batch.min(spec.count) as f64;
        let levels = |levels: &Levels| match levels {
            Levels::Chain(n) => *n as f64,
            Levels::Grid(grid) => grid.steps() as f64 + 1.0,
        };
        let (held, numbers, key) = match bound {
            BoundSpec::Elbo { form: Form::Denoising, draws } => (self.held.without_graph, *draws as f64, "elbo.draws"),
            BoundSpec::Elbo { draws, .. } => (self.held.with_graph, *draws as f64, "elbo.draws"),
            BoundSpec::Vlb { levels: of, draws, .. } => (self.held.without_graph, levels(of) * (*draws as f64 + 2.0), "vlb.draws"),
            BoundSpec::Iwae { paths, .. } => (self.held.without_graph, *paths as f64, "iwae.paths"),
        };
        vec![
            self.weights(),
            Item::device("likelihood.batch", batch * (held + 30.0 * d) * FLOAT),
            Item::device(format!("likelihood.batch or likelihood.bound.{key}"), batch * numbers * 24.0),
            Item::host("likelihood.count", spec.count as f64 * 100.0),
        ]
    }
}
