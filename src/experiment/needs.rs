//! How much memory an experiment needs, estimated before any work.
//!
//! Phases come one after the other: what a run needs is what the largest of them needs, beside the program and the data. The rules are rough
//! (see [`crate::net::Held`]): meant to tell gigabytes from terabytes, and within a factor of 2 of the measured peaks.

use super::load::Loaded;
use super::plan::{Family, Plan};
use crate::analytic::AnalyticVariance;
use crate::classifier;
use crate::data::Split;
use crate::dequantisation::Variational;
use crate::error::{Error, Result};
use crate::generator::GeneratorSpec;
use crate::guidance::Guidance;
use crate::latent::Source;
use crate::likelihood::{BoundSpec, Density, Form, Levels, Likelihood};
use crate::loss::Objective;
use crate::memory;
use crate::model::ScoreSpec;
use crate::net::Held;
use crate::sample::{Draw, Sample};
use crate::train::Train;

/// The program with LibTorch and nothing to do.
const PROGRAM: f64 = 160e6;

/// Bytes of the numbers that networks and most arrays are made of.
const FLOAT: f64 = 4.0;

/// Blocks of a few megabytes that are freed are not all used again: measured, 1 to 2 of what is held.
const SCATTERED: f64 = 1.3;

/// What takes memory.
#[derive(Clone, Debug)]
struct Item {
    /// The key that makes it smaller.
    key: String,
    bytes: f64,
    /// Whether it lives where the network computes, and not with the program.
    on_device: bool,
}

impl Item {
    fn host(key: impl Into<String>, bytes: f64) -> Item {
        Item { key: key.into(), bytes, on_device: false }
    }

    fn device(key: impl Into<String>, bytes: f64) -> Item {
        Item { key: key.into(), bytes, on_device: true }
    }
}

/// The phases of a run by the names they are shown with.
pub const PHASES: [&str; 10] =
    ["autoencoder", "train", "analytic_variance", "classifier", "sample", "dequantisation", "likelihood", "bound", "draw", "density"];

/// An estimate of what an experiment needs.
#[derive(Clone, Debug)]
pub struct Needs {
    /// By name: "start", and the phases.
    phases: Vec<(&'static str, Vec<Item>)>,
}

impl Loaded {
    /// What those of the [`PHASES`] need that are among `names`, one after the other.
    pub fn needs(&self, names: &[&str]) -> Result<Needs> {
        let Loaded { plan, train, .. } = self;
        let shape = &self.model_shape();
        let d = shape.iter().product::<usize>() as f64;
        let mut data = Vec::new();
        if let Some(train) = train {
            data.push(Item::host(plan.data.size_key(Split::Train), train.bytes as f64));
        }
        let measures = ["likelihood", "density"].iter().any(|name| names.contains(name));
        if let Some(split) = plan.measured().filter(|split| *split == Split::Test && measures) {
            let bytes = match &self.measured {
                Some(set) => set.bytes,
                None => plan.data.describe(split)?.bytes,
            };
            data.push(Item::host(plan.data.size_key(split), bytes as f64));
        }
        let asker = Asker::new(plan, shape, self.condition);
        let mut phases = vec![("start", vec![asker.loading()])];
        let mut add = |name: &'static str, items: Option<Vec<Item>>| {
            phases.extend(items.filter(|_| names.contains(&name)).map(|items| (name, items)))
        };
        add("autoencoder", self.autoencoding());
        add("train", self.training(&asker, d));
        add("analytic_variance", plan.analytic_variance.as_ref().map(|spec| asker.measuring_variance(spec, d)));
        add("classifier", self.classifying());
        add("sample", plan.sample.as_ref().map(|sample| self.sampling(&asker, sample, d)));
        add("dequantisation", plan.dequantisation.as_ref().map(|spec| asker.dequantising(spec, d)));
        add("likelihood", plan.likelihood.as_ref().map(|likelihood| asker.measuring(likelihood, d)));
        add("bound", plan.likelihood.as_ref().and_then(|likelihood| Some(asker.bounding(likelihood, likelihood.bound.as_ref()?, d))));
        add("draw", plan.draw.as_ref().map(|spec| asker.drawing(spec, d)));
        add("density", plan.density.as_ref().map(|spec| asker.evaluating(spec, d)));
        phases.iter_mut().for_each(|(_, items)| items.extend(data.iter().cloned()));
        Ok(Needs { phases })
    }

    /// What training the autoencoder needs.
    fn autoencoding(&self) -> Option<Vec<Item>> {
        let Source::Trained(vae, train) = self.plan.latent.as_ref()?.source().ok()? else { return None };
        let asker = Asker::of_generator(&GeneratorSpec::Vae(vae.clone()), &self.shape).scattered();
        let examples = self.train.as_ref().map_or(0, |train| train.len);
        let items = asker.training(train, self.shape.iter().product::<usize>() as f64, examples);
        Some(items.into_iter().map(|item| Item { key: format!("space.latent.{}", item.key), ..item }).collect())
    }

    fn sampling(&self, asker: &Asker, sample: &Sample, d: f64) -> Vec<Item> {
        let mut items = asker.sampling(sample, d);
        let batch = sample.batch.min(sample.count) as f64;
        match (&sample.guidance, &self.plan.classifier) {
            // Its gradient is taken by x.
            (Some(Guidance::Classifier(_)), Some(spec)) => {
                let classifier = Asker::of_classifier(spec, &self.shape, self.condition).scattered();
                items.extend([classifier.weights(), Item::device("sample.batch", batch * classifier.held.with_graph * FLOAT)]);
            }
            // About as large as the model itself.
            (Some(Guidance::Autoguidance(_)), _) => items.push(asker.weights()),
            _ => {}
        }
        items
    }

    fn training(&self, asker: &Asker, d: f64) -> Option<Vec<Item>> {
        let items = asker.training(self.plan.train()?, d, self.train.as_ref().map_or(0, |train| train.len));
        Some(if let Family::Classifier(..) = self.plan.family { of_classifier(items) } else { items })
    }

    /// What training the classifier beside a score needs.
    fn classifying(&self) -> Option<Vec<Item>> {
        let spec = self.plan.classifier.as_ref()?;
        let asker = Asker::of_classifier(spec, &self.shape, self.condition).scattered();
        let examples = self.train.as_ref().map_or(0, |train| train.len);
        let items = asker.training(&spec.train, self.shape.iter().product::<usize>() as f64, examples);
        Some(of_classifier(items))
    }

    /// What the lab needs for `draws` of each of `pairs` posteriors, `at_once` of them, each led by so many particles.
    pub fn posterior_needs(&self, [pairs, draws]: [usize; 2], at_once: usize, particles: usize) -> Needs {
        let shape = &self.model_shape();
        let asker = Asker::new(&self.plan, shape, self.condition);
        let [pairs, draws, d] = [pairs, draws, shape.iter().product()].map(|n: usize| n as f64);
        let solving = at_once as f64 * particles as f64 * (asker.held.with_graph + 2.0 * 20.0 * d) * FLOAT;
        // Three kinds of distances between the draws of a pair, and all draws a few times, in f64.
        let judging = 8.0 * pairs * draws * (3.0 * draws + 8.0 * d);
        let items = vec![asker.weights(), Item::device("--methods", solving), Item::host("--count, or --draws", judging)];
        Needs { phases: vec![("start", vec![asker.loading()]), ("lab", items)] }
    }

    /// What the lab needs for `count` samples of each setting, which are solved at once.
    pub fn lab_needs(&self, count: u64) -> Needs {
        let shape = &self.model_shape();
        let asker = Asker::new(&self.plan, shape, self.condition);
        let (count, d) = (count as f64, shape.iter().product::<usize>() as f64);
        // The start, the accurate end, noise, and a solver's states and stages, in f64; distances between a tenth and a tenth of the points.
        let solving = count * (asker.held.without_graph + 2.0 * 20.0 * d) * FLOAT;
        let items = vec![asker.weights(), Item::device("--count", solving + 8.0 * (count / 10.0).powi(2))];
        Needs { phases: vec![("start", vec![asker.loading()]), ("lab", items)] }
    }
}

impl Needs {
    fn largest(&self, device: bool) -> (&'static str, &[Item], f64) {
        let sum = |items: &[Item]| PROGRAM + items.iter().filter(|item| device || !item.on_device).map(|item| item.bytes).sum::<f64>();
        let phases = self.phases.iter().map(|(name, items)| (*name, &items[..], sum(items)));
        phases.max_by(|a, b| a.2.total_cmp(&b.2)).unwrap_or(("start", &[], PROGRAM))
    }

    /// Bytes at the peak, where the network computes on the processor.
    pub fn peak(&self) -> u64 {
        self.largest(true).2 as u64
    }

    /// Error: more than there is; names what to lower. With `device`, what lives where the network computes counts, too. Nothing is refused
    /// where it is not known what there is.
    pub fn fit(&self, available: Option<u64>, device: bool) -> Result<()> {
        let (phase, items, bytes) = self.largest(device);
        let Some(available) = available.filter(|available| bytes > *available as f64) else { return Ok(()) };
        let counted = items.iter().filter(|item| device || !item.on_device);
        let Some(most) = counted.max_by(|a, b| a.bytes.total_cmp(&b.bytes)) else { return Ok(()) };
        let at = if phase == "start" { "to start" } else { &format!("in the phase {phase}") };
        let [needed, there, largest] = [bytes as u64, available, most.bytes as u64].map(memory::bytes);
        let message = format!("this takes about {needed} of memory {at}, and {there} are available");
        Err(Error::Memory { message, help: format!("lower {}, which about {largest} of them are for", most.key) })
    }
}

/// What training needs by the keys of `[classifier]`.
fn of_classifier(items: Vec<Item>) -> Vec<Item> {
    items.into_iter().map(|item| Item { key: item.key.replace("train.", "classifier.train."), ..item }).collect()
}

/// What a model takes that is asked.
struct Asker {
    /// Trainable numbers, and the key that makes them fewer.
    parameters: f64,
    size: String,
    held: Held,
}

impl Asker {
    fn new(plan: &Plan, shape: &[usize], condition: usize) -> Asker {
        Asker::of_tensors(plan, shape, condition).scattered()
    }

    fn scattered(self) -> Asker {
        let Held { with_graph, without_graph } = self.held;
        Asker { held: Held { with_graph: SCATTERED * with_graph, without_graph: SCATTERED * without_graph }, ..self }
    }

    fn of_generator(spec: &GeneratorSpec, shape: &[usize]) -> Asker {
        Asker { parameters: spec.parameter_count(shape) as f64, size: spec.size_key(), held: spec.held(shape) }
    }

    fn of_classifier(spec: &classifier::Spec, shape: &[usize], classes: usize) -> Asker {
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
    fn loading(&self) -> Item {
        Item::host(&self.size, 9.0 * self.parameters * FLOAT)
    }

    fn weights(&self) -> Item {
        Item::device(&self.size, self.parameters * FLOAT)
    }

    /// Weights, two moments, average, the gradient in pieces and in one, and what an update makes on its way.
    fn training(&self, spec: &Train, d: f64, examples: usize) -> Vec<Item> {
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

    fn measuring_variance(&self, spec: &AnalyticVariance, d: f64) -> Vec<Item> {
        let batch = spec.batch as f64;
        vec![
            self.weights(),
            Item::device("analytic_variance.batch", batch * (self.held.without_graph + 8.0 * d) * FLOAT),
            Item::host("analytic_variance.batch", batch * 6.0 * d * FLOAT),
        ]
    }

    fn sampling(&self, spec: &Sample, d: f64) -> Vec<Item> {
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

    fn drawing(&self, spec: &Draw, d: f64) -> Vec<Item> {
        let (count, batch) = (spec.count as f64, spec.batch.min(spec.count) as f64);
        vec![
            self.weights(),
            Item::device("draw.batch", batch * (self.held.without_graph + 8.0 * d) * FLOAT),
            // As parts, as one, in data units and as the file.
            Item::host("draw.count", count * (4.0 * d * FLOAT + 24.0)),
        ]
    }

    fn evaluating(&self, spec: &Density, d: f64) -> Vec<Item> {
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

    fn dequantising(&self, spec: &Variational, d: f64) -> Vec<Item> {
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

    fn measuring(&self, spec: &Likelihood, d: f64) -> Vec<Item> {
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

    fn bounding(&self, spec: &Likelihood, bound: &BoundSpec, d: f64) -> Vec<Item> {
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
