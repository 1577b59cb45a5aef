//! The library's front door: a plan and weights -> models, samples and densities.

mod dequantisation;
mod generator;
mod variance;

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use serde::Serialize;
use serde_json::Value;
use tch::Device;

use crate::data::{self, Dataset, Split};
use crate::error::{Error, Result};
use crate::experiment::{self, Family, Learned, Loaded, Plan};
use crate::generator::GeneratorNetwork;
use crate::likelihood::{self, BoundSpec, Bounded, Dequantisation, Likelihood, Likelihoods, Solved};
use crate::model::{DynamicThresholding, ExactScore, MeanSquares, Measured, Model, ScoreNetwork, ScoreSpec};
use crate::optim::{Parameters, Trained};
use crate::progress::Terminal;
use crate::run::checkpoint::{self, Choice};
use crate::run::{Journal, Run, journal};
use crate::sample::{self, Drawn, Sample, Samples, Thresholding};
use crate::sde::SdeSpec;
use crate::space::Scale;
use crate::train::{self, ScoreTraining, Weights};

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
    device: Device,
    terminal: Terminal,
    subject: Subject,
    /// Which averaged weights are taken, once they are.
    average: OnceCell<Option<Weights>>,
    /// What the analytic variance is made of, once it is there.
    squares: OnceCell<MeanSquares>,
    train: OnceCell<Arc<dyn Dataset>>,
    test: OnceCell<Arc<dyn Dataset>>,
}

/// What is asked.
enum Subject {
    Known(SdeSpec, ScoreSpec),
    Score(Box<Learned>, ScoreNetwork),
    Generator(GeneratorNetwork),
}

impl Session {
    /// A session with fresh weights.
    pub fn new(loaded: &Loaded, machine: Machine) -> Session {
        let Loaded { plan, shape, .. } = loaded;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as i32);
        tch::set_num_threads(machine.threads.unwrap_or(if shape.len() == 1 { 1 } else { cores }));
        let (scale, seed, device) = (plan.data.scale(), plan.seed, machine.device);
        let subject = match &plan.family {
            Family::Known(sde, score) => Subject::Known(sde.clone(), score.clone()),
            Family::Score(learned) => {
                let network = ScoreNetwork::new(&learned.network, learned.parametrisation.clone(), scale, shape, seed, device);
                Subject::Score(learned.clone(), network)
            }
            Family::Generator(spec, _) => Subject::Generator(GeneratorNetwork::new(spec, shape, scale, seed, device)),
        };
        Session {
            subject,
            plan: plan.clone(),
            shape: shape.clone(),
            device,
            terminal: Terminal::new(machine.quiet),
            average: OnceCell::new(),
            squares: OnceCell::new(),
            train: OnceCell::new(),
            test: OnceCell::new(),
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

    pub fn device(&self) -> Device {
        self.device
    }

    pub fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// Between the data's own units and model space.
    pub fn scale(&self) -> Scale {
        self.plan.data.scale()
    }

    /// The score network; none where the score is known, or the family is another.
    pub fn network(&self) -> Option<&ScoreNetwork> {
        match &self.subject {
            Subject::Score(_, network) => Some(network),
            Subject::Known(..) | Subject::Generator(_) => None,
        }
    }

    /// What training works on; none where the score is known.
    pub fn trained(&self) -> Result<Option<Box<dyn Trained + '_>>> {
        Ok(match &self.subject {
            Subject::Known(..) => None,
            Subject::Score(learned, network) => {
                Some(Box::new(ScoreTraining::new(&learned.matching, self.plan.seed, learned.sde.get(), network, &self.plan.data)?))
            }
            Subject::Generator(network) => Some(Box::new(network)),
        })
    }

    /// All that is trained; none where the score is known.
    pub fn parameters(&self) -> Option<&Parameters> {
        match &self.subject {
            Subject::Known(..) => None,
            Subject::Score(_, network) => Some(&network.parameters),
            Subject::Generator(network) => Some(&network.parameters),
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

    /// Takes the averaged weights of the newest checkpoint, once; says which, or `None` where the score is known. Training is over then.
    pub fn average(&self, run: &Run) -> Result<Option<&Weights>> {
        self.average_of(run, Choice::Newest)
    }

    /// As [`average`](Session::average), of the checkpoint that is wanted, unless weights are taken already.
    pub fn average_of(&self, run: &Run, choice: Choice) -> Result<Option<&Weights>> {
        if self.average.get().is_none() {
            let weights = match self.parameters() {
                None => None,
                Some(parameters) => {
                    let checkpoint = checkpoint::choose(run, choice)?.ok_or_else(|| {
                        Error::run(run.path(), "holds no checkpoint yet", "train first: score-sde run with this experiment")
                    })?;
                    Some(train::load_average(parameters, &checkpoint)?)
                }
            };
            self.average.get_or_init(|| weights);
        }
        Ok(self.average.get().and_then(Option::as_ref))
    }

    /// The score's model with its present weights, and with what its analytic variance is made of, once that is read. Error: the family has
    /// no score.
    pub fn model(&self) -> Result<Box<dyn Model + '_>> {
        let model: Box<dyn Model + '_> = match &self.subject {
            Subject::Score(learned, network) => Box::new(network.model(learned.sde.get())),
            Subject::Known(sde, ScoreSpec::GaussianMixture(mixture)) => Box::new(ExactScore::new(sde.get(), mixture, self.device)),
            Subject::Generator(_) => {
                return Err(Error::Usage {
                    message: "the experiment's family has no score".into(),
                    help: "it draws and measures by itself: ask for its generator, or give an experiment with [sde.*]".into(),
                });
            }
        };
        Ok(match self.squares.get() {
            Some(squares) => Box::new(Measured { model, squares }),
            None => model,
        })
    }

    /// The model as `[sample]` asks it: with its thresholding. Error: the family has no score.
    pub fn sampling_model(&self, thresholding: Option<Thresholding>) -> Result<Box<dyn Model + '_>> {
        let model = self.model()?;
        Ok(match (thresholding, self.scale()) {
            (Some(Thresholding { quantile }), Scale::Pixels { range, .. }) => Box::new(DynamicThresholding { model, range, quantile }),
            _ => model,
        })
    }

    /// Draws samples.
    pub fn sample(&self, spec: &Sample) -> Result<Samples> {
        self.solved(spec, &mut Journal::nowhere())
    }

    /// Draws samples with the weights of `run` and saves them as `samples/<name>.*` in `place`; killed and called again, it goes on where it
    /// was. `show` gets their picture before they count as done. Returns false where they are there already.
    ///
    /// Error: there is a result of this name with other settings.
    pub fn sample_into(
        &self,
        spec: &Sample,
        run: &Run,
        place: &Run,
        name: &str,
        show: impl FnOnce(&RgbImage) -> Result<()>,
    ) -> Result<bool> {
        let of = self.with_variance(spec.solver.variance(), run, sample::subject(spec, self.plan.seed, self.average(run)?))?;
        self.save_samples(spec, of, (place, name), show, |journal| self.solved(spec, journal))
    }

    /// Saves the samples that `draw` makes by the table `spec`, which depend on `of`.
    fn save_samples(
        &self,
        spec: &impl Serialize,
        of: Value,
        (place, name): (&Run, &str),
        show: impl FnOnce(&RgbImage) -> Result<()>,
        draw: impl FnOnce(&mut Journal<Drawn>) -> Result<Samples>,
    ) -> Result<bool> {
        let name = format!("samples/{name}");
        let kept = format!("{name}.journal");
        if place.is_done(&name, &of)? {
            journal::discard(place.folder(), &kept)?;
            return Ok(false);
        }
        let mut journal = Journal::open(place.folder(), &kept, &of)?;
        let samples = draw(&mut journal)?;
        let picture = self.picture(&samples);
        let mut product = place.product(&name, of);
        samples.save(&mut product, &name, self.scale(), spec, &picture)?;
        show(&picture)?;
        product.finish()?;
        journal.remove()?;
        Ok(true)
    }

    fn solved(&self, spec: &Sample, journal: &mut Journal<Drawn>) -> Result<Samples> {
        self.check_measured(spec.solver.variance())?;
        let model = self.sampling_model(spec.thresholding)?;
        sample::sample(spec, self.plan.seed, &*model, &self.shape, self.device, journal, &self.terminal)
    }

    /// The picture of some samples: images as a grid, vectors beside as many points of the data, where these can be opened.
    pub fn picture(&self, samples: &Samples) -> RgbImage {
        let set = if self.shape.len() == 1 { self.dataset(Split::Train).ok() } else { None };
        let beside = match set {
            Some(set) => data::examples(&*set, 0..(samples.x.size()[0] as usize).min(set.len())),
            None => samples.x.narrow(0, 0, 0),
        };
        samples.picture(self.scale(), &beside)
    }

    /// Measures the likelihood with the weights of `run`, and bounds it where that is asked for; the solves are kept in `<name>.journal` in
    /// `place`, the bounds in `<name>.bound.journal`.
    pub fn likelihood(&self, spec: &Likelihood, run: &Run, place: &Run, name: &str) -> Result<Likelihoods> {
        let weights = self.average(run)?;
        let dataset = &*self.dataset(spec.split)?;
        let model = &*self.model()?;
        let dequantiser = match spec.dequantisation {
            Dequantisation::Variational { .. } => self.dequantiser(run)?,
            _ => None,
        };
        let seed = self.plan.seed;
        let subject =
            likelihood::Subject { model, dataset, scale: self.scale(), dequantiser: dequantiser.as_ref(), seed, device: self.device };
        let of = likelihood::dependence(spec, seed, weights, Solved::FOREIGN);
        let mut journal = Journal::open(place.folder(), &format!("{name}.journal"), &of)?;
        let mut values = likelihood::likelihood(spec, &subject, &mut journal, &self.terminal)?;
        if let Some(bound) = &spec.bound {
            let of = self.with_variance(bound.variance(), run, likelihood::dependence(spec, seed, weights, Bounded::FOREIGN))?;
            self.check_measured(bound.variance())?;
            let model = &*self.model()?;
            let subject = likelihood::Subject { model, ..subject };
            let mut journal = Journal::open(place.folder(), &format!("{name}.bound.journal"), &of)?;
            values.bounds = Some(likelihood::bounds(bound, spec, &subject, &mut journal, &self.terminal)?);
        }
        Ok(values)
    }

    /// All that a likelihood with the weights of `run` depends on.
    pub fn likelihood_subject(&self, spec: &Likelihood, run: &Run) -> Result<Value> {
        let variance = spec.bound.as_ref().and_then(BoundSpec::variance);
        self.with_variance(variance, run, likelihood::dependence(spec, self.plan.seed, self.average(run)?, &[]))
    }
}
