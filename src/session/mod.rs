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
mod samples;
mod set;
mod variance;

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

pub use codes::{Against, Codes, CodesReport, RoundTrip, read_codes};
pub use features::open_features;
pub use given::Given;
pub use set::open_set;
use tch::Device;

use crate::classifier::Classifier;
use crate::data::{Conditions, Dataset, Split};
use crate::error::{Error, Result};
use crate::experiment::{self, Family, Learned, Loaded, Plan};
use crate::generator::{GeneratorNetwork, vae};
use crate::latent::{LatentSpace, LatentTraining};
use crate::model::{DynamicThresholding, ExactScore, MeanSquares, Measured, Model, Rescheduled, ScoreNetwork, ScoreSpec};
use crate::optim::{Parameters, Trained};
use crate::progress::Terminal;
use crate::run::Run;
use crate::run::checkpoint::{self, Choice};
use crate::sample::{Sample, Thresholding};
use crate::sde::SdeSpec;
use crate::space::Scale;
use crate::train::{self, Average, ScoreTraining, Weights};

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
            terminal: Terminal::new(machine.quiet),
            latent: OnceCell::new(),
            weights: OnceCell::new(),
            squares: OnceCell::new(),
            train: OnceCell::new(),
            test: OnceCell::new(),
            conditions: Default::default(),
        }
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

    /// What training works on; none where the score is known, or its network's weights are.
    pub fn trained(&self) -> Result<Option<Box<dyn Trained + '_>>> {
        Ok(match &self.subject {
            Subject::Known(..) => None,
            Subject::Score(learned, network) => {
                let Some((matching, _)) = &learned.training else { return Ok(None) };
                let of = (self.plan.scale(), self.plan.law());
                let score = ScoreTraining::new(matching, self.plan.seed, learned.sde.get(), network, of)?;
                let score = Box::new(match (&self.plan.condition, self.conditions(Split::Train)?) {
                    (Some(spec), Some(conditions)) => score.told(conditions, spec.dropout()),
                    _ => score,
                });
                Some(match self.latent()? {
                    Some(space) => Box::new(LatentTraining { space, score, seed: self.plan.seed }),
                    None => score,
                })
            }
            Subject::Generator(network) => Some(Box::new(network)),
            Subject::Classifier(sde, classifier) => Some(Box::new(self.classifier_training(sde.get(), classifier)?)),
        })
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

    /// Takes the averaged weights of the newest checkpoint, once; says which, or `None` where nothing is trained. Training is over then.
    pub fn average(&self, run: &Run) -> Result<Option<&Weights>> {
        self.average_of(run, Choice::Newest)
    }

    /// As [`average`](Session::average), of the checkpoint that is wanted, unless weights are taken already.
    pub fn average_of(&self, run: &Run, choice: Choice) -> Result<Option<&Weights>> {
        self.weights_of(run, choice, Average::Average)
    }

    /// The same, averaged or raw.
    pub fn weights_of(&self, run: &Run, choice: Choice, average: Average) -> Result<Option<&Weights>> {
        if self.weights.get().is_none() {
            self.read_latents(run)?;
            let weights = match self.parameters() {
                None => None,
                Some(_) if self.plan.train().is_none() && choice != Choice::Newest => {
                    let help = "leave out the step, or give [train] to train it";
                    return Err(Error::run(run.path(), "has no checkpoints: the weights of its network are the file's", help));
                }
                Some(parameters) if self.plan.train().is_none() => {
                    parameters.freeze();
                    None
                }
                Some(parameters) => {
                    let checkpoint = checkpoint::choose(run, choice)?.ok_or_else(|| {
                        Error::run(run.path(), "holds no checkpoint yet", "train first: score-sde run with this experiment")
                    })?;
                    Some(train::load_weights(parameters, &checkpoint, average)?)
                }
            };
            self.weights.get_or_init(|| weights);
        }
        Ok(self.weights.get().and_then(Option::as_ref))
    }

    /// The step of these weights; 0 where nothing is trained.
    pub fn step(&self, run: &Run) -> Result<u64> {
        Ok(self.average(run)?.map_or(0, |weights| weights.step))
    }

    /// The score's model with its present weights, and with what its analytic variance is made of, once that is read. Error: the family has
    /// no score.
    pub fn model(&self) -> Result<Box<dyn Model + '_>> {
        let model: Box<dyn Model + '_> = match &self.subject {
            Subject::Score(learned, network) => Box::new(network.model(learned.sde.get())),
            Subject::Known(sde, ScoreSpec::GaussianMixture(mixture)) => Box::new(ExactScore::new(sde.get(), mixture, self.device())),
            Subject::Generator(_) | Subject::Classifier(..) => {
                return Err(Error::Usage {
                    message: "the experiment's family has no score".into(),
                    help: "ask for its generator, or give an experiment with [sde.*] and [network.*] or [score.*]".into(),
                });
            }
        };
        Ok(match self.squares.get() {
            Some(squares) => Box::new(Measured { model, squares }),
            None => model,
        })
    }

    /// The model as `[sample]` asks it, before any guidance: on its path, and with its thresholding. Error: the family has no score.
    pub fn sampling_model(&self, spec: &Sample) -> Result<Box<dyn Model + '_>> {
        Ok(self.thresholded(self.on_path(spec)?, spec.thresholding))
    }

    /// The model on the path of `[sample]`.
    fn on_path(&self, spec: &Sample) -> Result<Box<dyn Model + '_>> {
        let model = self.model()?;
        Ok(match &spec.path {
            Some(path) => Box::new(Rescheduled { model, sde: path.clone() }),
            None => model,
        })
    }

    fn thresholded<'a>(&self, model: Box<dyn Model + 'a>, thresholding: Option<Thresholding>) -> Box<dyn Model + 'a> {
        match (thresholding, self.plan.scale()) {
            (Some(Thresholding { quantile }), Scale::Pixels { range, .. }) => Box::new(DynamicThresholding { model, range, quantile }),
            _ => model,
        }
    }
}

/// A checksum of numbers that a result depends on.
fn crc32(numbers: Vec<f64>) -> String {
    let bytes: Vec<u8> = numbers.into_iter().flat_map(f64::to_le_bytes).collect();
    format!("{:08x}", crc32fast::hash(&bytes))
}
