//! The library's front door: a plan and weights -> models, samples and densities.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use serde_json::{Value, json};
use tch::Device;

use crate::data::{self, Dataset, Split};
use crate::dequantisation::{self, Dequantiser, Variational};
use crate::error::{Error, Result};
use crate::experiment::{self, Family, Learned, Loaded, Plan};
use crate::likelihood::{self, Bounded, Dequantisation, Likelihood, Likelihoods, Solved, Subject};
use crate::model::{DynamicThresholding, ExactScore, Model, ScoreNetwork, ScoreSpec};
use crate::progress::Terminal;
use crate::run::checkpoint::{self, Choice};
use crate::run::log::Log;
use crate::run::{Journal, Run, journal};
use crate::sample::{self, Drawn, Sample, Samples, Thresholding};
use crate::sde::Sde;
use crate::space::Scale;
use crate::train::{self, Weights};

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
    score: Score,
    /// Which averaged weights are taken, once they are.
    average: OnceCell<Option<Weights>>,
    train: OnceCell<Arc<dyn Dataset>>,
    test: OnceCell<Arc<dyn Dataset>>,
}

/// What answers for the score.
enum Score {
    Known(ScoreSpec),
    Network(ScoreNetwork),
}

impl Session {
    /// A session with fresh weights.
    pub fn new(loaded: &Loaded, machine: Machine) -> Session {
        let Loaded { plan, shape, .. } = loaded;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as i32);
        tch::set_num_threads(machine.threads.unwrap_or(if shape.len() == 1 { 1 } else { cores }));
        let score = match &plan.family {
            Family::Known(score) => Score::Known(score.clone()),
            Family::Score(learned) => {
                let Learned { network, parametrisation, .. } = &**learned;
                Score::Network(ScoreNetwork::new(network, parametrisation.clone(), plan.data.scale(), shape, plan.seed, machine.device))
            }
        };
        Session {
            score,
            plan: plan.clone(),
            shape: shape.clone(),
            device: machine.device,
            terminal: Terminal::new(machine.quiet),
            average: OnceCell::new(),
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

    pub fn sde(&self) -> &dyn Sde {
        self.plan.sde.get()
    }

    /// Between the data's own units and model space.
    pub fn scale(&self) -> Scale {
        self.plan.data.scale()
    }

    /// The network; none where the score is known.
    pub fn network(&self) -> Option<&ScoreNetwork> {
        match &self.score {
            Score::Known(_) => None,
            Score::Network(network) => Some(network),
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
            let weights = match self.network() {
                None => None,
                Some(network) => {
                    let checkpoint = checkpoint::choose(run, choice)?.ok_or_else(|| {
                        Error::run(run.path(), "holds no checkpoint yet", "train first: score-sde run with this experiment")
                    })?;
                    Some(train::load_average(network, &checkpoint)?)
                }
            };
            self.average.get_or_init(|| weights);
        }
        Ok(self.average.get().and_then(Option::as_ref))
    }

    /// The model with its present weights.
    pub fn model(&self) -> Box<dyn Model + '_> {
        match &self.score {
            Score::Network(network) => Box::new(network.model(self.sde())),
            Score::Known(ScoreSpec::GaussianMixture(mixture)) => Box::new(ExactScore::new(self.sde(), mixture, self.device)),
        }
    }

    /// The model as `[sample]` asks it: with its thresholding.
    pub fn sampling_model(&self, thresholding: Option<Thresholding>) -> Box<dyn Model + '_> {
        match (thresholding, self.scale()) {
            (Some(Thresholding { quantile }), Scale::Pixels { range, .. }) => {
                Box::new(DynamicThresholding { model: self.model(), range, quantile })
            }
            _ => self.model(),
        }
    }

    /// Draws samples.
    pub fn sample(&self, spec: &Sample) -> Result<Samples> {
        self.draw(spec, &mut Journal::nowhere())
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
        let of = sample::subject(spec, self.plan.seed, self.average(run)?);
        let name = format!("samples/{name}");
        let kept = format!("{name}.journal");
        if place.is_done(&name, &of)? {
            journal::discard(place.folder(), &kept)?;
            return Ok(false);
        }
        let mut journal = Journal::open(place.folder(), &kept, &of)?;
        let samples = self.draw(spec, &mut journal)?;
        let picture = self.picture(&samples);
        let mut product = place.product(&name, of);
        samples.save(&mut product, &name, self.scale(), spec, &picture)?;
        show(&picture)?;
        product.finish()?;
        journal.remove()?;
        Ok(true)
    }

    fn draw(&self, spec: &Sample, journal: &mut Journal<Drawn>) -> Result<Samples> {
        let model = self.sampling_model(spec.thresholding);
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
        let model = &*self.model();
        let dequantiser = match spec.dequantisation {
            Dequantisation::Variational { .. } => self.dequantiser(run)?,
            _ => None,
        };
        let seed = self.plan.seed;
        let subject = Subject { model, dataset, scale: self.scale(), dequantiser: dequantiser.as_ref(), seed, device: self.device };
        let of = likelihood::dependence(spec, seed, weights, Solved::FOREIGN);
        let mut journal = Journal::open(place.folder(), &format!("{name}.journal"), &of)?;
        let mut values = likelihood::likelihood(spec, &subject, &mut journal, &self.terminal)?;
        if let Some(bound) = &spec.bound {
            let of = likelihood::dependence(spec, seed, weights, Bounded::FOREIGN);
            let mut journal = Journal::open(place.folder(), &format!("{name}.bound.journal"), &of)?;
            values.bounds = Some(likelihood::bounds(bound, spec, &subject, &mut journal, &self.terminal)?);
        }
        Ok(values)
    }

    /// All that a likelihood with the weights of `run` depends on.
    pub fn likelihood_subject(&self, spec: &Likelihood, run: &Run) -> Result<Value> {
        Ok(likelihood::dependence(spec, self.plan.seed, self.average(run)?, &[]))
    }

    /// The dequantiser that the run has trained.
    fn dequantiser(&self, run: &Run) -> Result<Option<Dequantiser>> {
        let Some((spec, dequantiser)) = self.new_dequantiser() else { return Ok(None) };
        match dequantiser.load(run, &self.trained_with(spec, run)?)? {
            true => Ok(Some(dequantiser)),
            false => Err(Error::run(run.path(), "holds no dequantiser yet", "train it first: score-sde run with this experiment")),
        }
    }

    fn new_dequantiser(&self) -> Option<(&Variational, Dequantiser)> {
        let spec = self.plan.dequantisation.as_ref()?;
        Some((spec, Dequantiser::new(spec, &self.shape, self.plan.seed, self.device)))
    }

    /// All that a dequantiser depends on.
    fn trained_with(&self, spec: &Variational, run: &Run) -> Result<Value> {
        Ok(json!({ "seed": self.plan.seed, "weights": self.average(run)?, "dequantisation": spec }))
    }

    /// Trains the dequantiser of the plan with the averaged weights fixed, and saves it; false where it is there already.
    pub fn dequantise(&self, run: &Run, log: &mut Log) -> Result<bool> {
        let Some((spec, dequantiser)) = self.new_dequantiser() else { return Ok(false) };
        let of = self.trained_with(spec, run)?;
        let kept = "dequantiser.journal";
        if run.is_done(Dequantiser::NAME, &of)? {
            journal::discard(run.folder(), kept)?;
            return Ok(false);
        }
        let mut journal = Journal::open(run.folder(), kept, &of)?;
        let first = self.average(run)?.map_or(0, |weights| weights.step);
        let model = &*self.model();
        let dataset = self.dataset(Split::Train)?;
        let subject = dequantisation::Subject { model, dataset, scale: self.scale(), flip: self.plan.data.flip() };
        dequantisation::train(spec, self.plan.seed, &dequantiser, subject, first, &mut journal, log, &self.terminal)?;
        let mut product = run.product(Dequantiser::NAME, of);
        dequantiser.save(&mut product)?;
        product.finish()?;
        journal.remove()?;
        Ok(true)
    }
}
