//! How much memory an experiment needs, estimated before any work.
//!
//! Phases come one after the other: what a run needs is what the largest of them needs, beside the program and the data. The rules are rough
//! (see [`crate::net::Held`]): meant to tell gigabytes from terabytes, and within a factor of 2 of the measured peaks.

mod asker;

use asker::{Asker, FLOAT, Item};

use super::load::Loaded;
use super::plan::{Family, Plan};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::evaluation::Evaluate;
use crate::features::FeatureSpec;
use crate::generator::GeneratorSpec;
use crate::guidance::Guidance;
use crate::latent::Source;
use crate::memory;
use crate::sample::Sample;

/// The program with LibTorch and nothing to do.
const PROGRAM: f64 = 160e6;
/// Features that a network makes of an example: 2048 are those of Inception.
const FEATURES: f64 = 2048.0;

/// The phases of a run by the names they are shown with.
pub const PHASES: [&str; 11] = [
    "autoencoder",
    "train",
    "analytic_variance",
    "classifier",
    "sample",
    "dequantisation",
    "likelihood",
    "bound",
    "draw",
    "density",
    "evaluation",
];

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
        add("evaluation", plan.evaluate.as_ref().map(|spec| self.comparing(spec)).transpose()?);
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

    /// What it takes to compare samples: features of all examples, in f32, and half of a group of theirs in f64.
    fn comparing(&self, spec: &Evaluate) -> Result<Vec<Item>> {
        let Plan { data, sample, draw, .. } = &self.plan;
        let width = match spec.features {
            FeatureSpec::Data {} => self.shape.iter().product::<usize>() as f64,
            _ => FEATURES,
        };
        let drawn = sample.as_ref().map(|sample| sample.count).or(draw.as_ref().map(|draw| draw.count)).unwrap_or(0);
        let examples = match spec.examples {
            Some(examples) => examples,
            None => data.describe(spec.against)?.len,
        };
        let seen = if spec.copies { self.train.as_ref().map_or(0, |train| train.len) } else { 0 };
        let of = |key: &str, count: usize| Item::host(key, 1.5 * count as f64 * width * FLOAT);
        let drawn_by = if sample.is_some() { "sample.count" } else { "draw.count" };
        Ok(vec![of(drawn_by, drawn), of("evaluate.examples", examples), of("evaluate.copies", seen)])
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
        let train = self.plan.train()?;
        let mut items = asker.training(train, d, self.train.as_ref().map_or(0, |train| train.len));
        if self.plan.sde().is_some_and(|sde| sde.get().pairs_by_transport()) {
            // What each pair of a batch would cost, a few times over.
            items.push(Item::host("train.batch", 40.0 * (train.batch as f64).powi(2)));
        }
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
