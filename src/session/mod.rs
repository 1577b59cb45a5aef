//! The library's front door: a plan and weights -> models, samples and densities.

mod begin;
mod classifier;
mod codes;
mod conditions;
mod dequantisation;
mod evaluation;
mod features;
mod generator;
mod given;
mod guide;
mod latent;
mod likelihood;
mod measurement;
mod model;
mod samples;
mod set;
mod trained;
mod variance;
mod watch;
mod weights;

use std::cell::OnceCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

pub use codes::{Against, Codes, CodesReport, RoundTrip, read_codes};
pub use features::open_features;
pub use given::Given;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
pub use set::open_set;
use tch::Device;

use crate::classifier::Classifier;
use crate::data::{Conditions, Dataset, Split};
use crate::error::Result;
use crate::experiment::{self, Family, Learned, Loaded, Plan};
use crate::generator::{GeneratorNetwork, vae};
use crate::latent::LatentSpace;
use crate::model::{MeanSquares, ScoreNetwork, ScoreSpec};
use crate::optim::Parameters;
use crate::progress::Terminal;
use crate::ranks::Ranks;
use crate::run::{Journal, Run};
use crate::sde::SdeSpec;
use crate::space::Scale;
use crate::train::Weights;

/// Where a session computes and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Where tensors live.
    pub device: Device,
    /// Threads of LibTorch; `None` for one with vectors and all cores with images.
    pub threads: Option<i32>,
    /// Say nothing but warnings.
    pub quiet: bool,
}

impl Machine {
    /// Tells LibTorch its threads for examples of this shape.
    pub fn set_threads(&self, shape: &[usize]) {
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get() as i32);
        tch::set_num_threads(self.threads.unwrap_or_else(|| if shape.len() == 1 { 1 } else { cores() }));
    }
}

impl Default for Machine {
    fn default() -> Machine {
        Machine { device: Device::Cpu, threads: None, quiet: true }
    }
}

/// A plan at work: its network, if it has one, and its data, which are opened when they are asked for.
pub struct Session {
    plan: Plan,
    /// Of one example.
    shape: Vec<usize>,
    /// Of what a score is asked for.
    model_shape: Vec<usize>,
    /// The numbers that a network is told of an example; 0 without conditions.
    condition: usize,
    /// The autoencoder of a latent space.
    vae: Option<vae::Spec>,
    machine: Machine,
    /// With whom it works.
    ranks: Rc<Ranks>,
    terminal: Terminal,
    subject: Subject,
    /// The latent space, once it is read of the run.
    latent: OnceCell<LatentSpace>,
    /// Which weights are taken, once they are.
    weights: OnceCell<Option<Weights>>,
    /// What the analytic variance is made of, once it is there.
    squares: OnceCell<MeanSquares>,
    train: OnceCell<Arc<dyn Dataset>>,
    test: OnceCell<Arc<dyn Dataset>>,
    /// What is known of the examples of either split, once it is read.
    conditions: [OnceCell<Arc<Conditions>>; 2],
}

/// What is asked.
enum Subject {
    Known(SdeSpec, ScoreSpec),
    Score(Box<Learned>, ScoreNetwork),
    Generator(GeneratorNetwork),
    Classifier(SdeSpec, Classifier),
}

impl Session {
    /// A session with fresh weights.
    pub fn new(loaded: &Loaded, machine: Machine) -> Session {
        let Loaded { plan, shape, condition, vae, .. } = loaded;
        machine.set_threads(shape);
        Session::of(plan.clone(), (shape.clone(), loaded.model_shape(), *condition, vae.clone()), machine)
    }

    /// Of data of this shape, a score's shape and a condition of so many numbers, and the autoencoder between both shapes.
    fn of(plan: Plan, of: (Vec<usize>, Vec<usize>, usize, Option<vae::Spec>), machine: Machine) -> Session {
        let (shape, model_shape, condition, vae) = of;
        let (seed, device) = (plan.seed, machine.device);
        let subject = match &plan.family {
            Family::Known(sde, score) => Subject::Known(sde.clone(), score.clone()),
            Family::Score(learned) => {
                let network = ScoreNetwork::new(
                    &learned.network,
                    learned.parametrisation.clone(),
                    plan.scale(),
                    (&model_shape, plan.told(condition)),
                    seed,
                    device,
                );
                Subject::Score(learned.clone(), network)
            }
            Family::Generator(spec, _) => Subject::Generator(GeneratorNetwork::new(spec, &shape, plan.data.scale(), seed, device)),
            Family::Classifier(sde, spec) => Subject::Classifier(sde.clone(), Classifier::new(spec, &shape, condition, seed, device)),
        };
        Session {
            subject,
            plan,
            shape,
            model_shape,
            condition,
            vae,
            machine,
            ranks: Rc::new(Ranks::alone()),
            terminal: Terminal::new(machine.quiet),
            latent: OnceCell::new(),
            weights: OnceCell::new(),
            squares: OnceCell::new(),
            train: OnceCell::new(),
            test: OnceCell::new(),
            conditions: Default::default(),
        }
    }

    /// The same among other processes, which all have the same.
    pub fn among(self, ranks: Rc<Ranks>) -> Session {
        Session { ranks, ..self }
    }

    /// With whom it works.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// The records `name` in `place`, which depend on `of`: rank 0's, and kept nowhere by the others, who make them with it.
    fn journal<R: Serialize + DeserializeOwned>(&self, place: &Run, name: &str, of: &Value) -> Result<Journal<R>> {
        let journal = if self.ranks.is_first() { Journal::open(place.folder(), name, of)? } else { Journal::nowhere() };
        Ok(journal.among(&self.ranks))
    }

    /// The session of a run with its averaged weights, and the run, beside whoever works there.
    ///
    /// Errors: there is no such run, or nothing is trained in it yet.
    pub fn open(path: &Path, machine: Machine) -> Result<(Session, Run)> {
        let run = Run::reading(path)?;
        let session = Session::new(&experiment::load_run(&run, &[], &[], true)?, machine);
        session.average(&run)?;
        Ok((session, run))
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The shape of one example: `[D]` or [C, H, W].
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The shape of what a score is asked for: that of an example, or of its latent variables.
    pub fn model_shape(&self) -> &[usize] {
        &self.model_shape
    }

    pub fn device(&self) -> Device {
        self.machine.device
    }

    pub fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// Between the data's own units and their model space.
    pub fn scale(&self) -> Scale {
        self.plan.data.scale()
    }

    /// The score network; none where the score is known, or the family is another.
    pub fn network(&self) -> Option<&ScoreNetwork> {
        match &self.subject {
            Subject::Score(_, network) => Some(network),
            Subject::Known(..) | Subject::Generator(_) | Subject::Classifier(..) => None,
        }
    }

    /// All that is trained; none where the score is known.
    pub fn parameters(&self) -> Option<&Parameters> {
        match &self.subject {
            Subject::Known(..) => None,
            Subject::Score(_, network) => Some(&network.parameters),
            Subject::Generator(network) => Some(&network.parameters),
            Subject::Classifier(_, classifier) => Some(&classifier.parameters),
        }
    }

    /// A split, opened on first use.
    pub fn dataset(&self, split: Split) -> Result<Arc<dyn Dataset>> {
        let cell = match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        };
        if let Some(set) = cell.get() {
            return Ok(set.clone());
        }
        let set = self.plan.data.open(split, self.plan.seed)?;
        Ok(cell.get_or_init(|| set).clone())
    }
}

/// A checksum of numbers that a result depends on.
fn crc32(numbers: Vec<f64>) -> String {
    let bytes: Vec<u8> = numbers.into_iter().flat_map(f64::to_le_bytes).collect();
    format!("{:08x}", crc32fast::hash(&bytes))
}
