//! What every verb that computes needs: the experiment, its SDE and its score, ready to use.

use std::sync::Arc;

use tch::Device;

use crate::data::Dataset;
use crate::dequantisation::{self, DequantisationSpec, Dequantiser};
use crate::error::{Error, Result};
use crate::experiment::{Experiment, Loaded};
use crate::likelihood::{self, Dequantisation, Likelihood, Likelihoods, Store, Subject};
use crate::model::ScoreNetwork;
use crate::model::{DynamicThresholding, ExactScore, Model, ScoreSpec};
use crate::progress::Terminal;
use crate::run::Run;
use crate::run::checkpoint::{self, Checkpoint};
use crate::run::log::Log;
use crate::sample::{self, Sample, Samples, Thresholding};
use crate::sde::Sde;
use crate::space::Scale;
use crate::train;

pub struct Session<'a> {
    pub experiment: &'a Experiment,
    train: Arc<dyn Dataset>,
    measured: Option<Arc<dyn Dataset>>,
    pub device: Device,
    pub terminal: &'a Terminal,
    /// The network; none where the score is known.
    pub model: Option<ScoreNetwork>,
}

impl<'a> Session<'a> {
    pub fn new(loaded: &'a Loaded, device: Device, threads: Option<i32>, terminal: &'a Terminal) -> Session<'a> {
        let Loaded { experiment, train, measured } = loaded;
        let vectors = train.shape().len() == 1;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as i32);
        tch::set_num_threads(threads.unwrap_or(if vectors { 1 } else { cores }));
        let parts = experiment.network.as_ref().zip(experiment.precondition.as_ref());
        let model = parts.map(|(network, precondition)| {
            let parametrisation = precondition.under(experiment.sde.get()).expect("a checked preconditioner");
            ScoreNetwork::new(network, parametrisation, experiment.data.scale(), train.shape(), experiment.seed, device)
        });
        Session { experiment, train: train.clone(), measured: measured.clone(), device, terminal, model }
    }

    pub fn sde(&self) -> &'a dyn Sde {
        self.experiment.sde.get()
    }

    /// Takes the averaged weights of the newest checkpoint; returns its step, or `None` where the score is known.
    pub fn load_average(&self, run: &Run) -> Result<Option<u64>> {
        let Some(model) = &self.model else { return Ok(None) };
        let checkpoint: Checkpoint = checkpoint::latest(run)?
            .ok_or_else(|| Error::run(run.path(), "holds no checkpoint yet", "train first: score-sde run with this experiment"))?;
        train::load_average(model, &checkpoint)?;
        Ok(Some(checkpoint.step))
    }

    pub fn score(&self) -> Box<dyn Model + '_> {
        match (&self.model, &self.experiment.score) {
            (Some(model), _) => Box::new(model.model(self.sde())),
            (None, Some(ScoreSpec::GaussianMixture(mixture))) => Box::new(ExactScore::new(self.sde(), mixture, self.device)),
            (None, None) => unreachable!("a loaded experiment has a network or a score"),
        }
    }

    pub fn sample(&self, spec: &Sample) -> Result<Samples> {
        let Experiment { seed, data, .. } = self.experiment;
        let (score, shape) = (self.score(), self.train.shape());
        let bounded;
        let model: &dyn Model = match (spec.thresholding, data.scale()) {
            (Some(Thresholding { quantile }), Scale::Pixels { range, .. }) => {
                bounded = DynamicThresholding { model: &*score, range, quantile };
                &bounded
            }
            _ => &*score,
        };
        sample::sample(spec, *seed, model, shape, self.device, self.terminal)
    }

    /// Measures the likelihood, and bounds it where that is asked for; the solves are kept in `<name>.solves.jsonl` of the run, the
    /// bounds in `<name>.bound.solves.jsonl`. `step` is that of the weights.
    pub fn likelihood(&self, spec: &Likelihood, run: &Run, name: &str, step: Option<u64>) -> Result<Likelihoods> {
        let dataset = &**self.measured.as_ref().expect("an experiment with [likelihood] is loaded with its split");
        let Experiment { seed, data, .. } = self.experiment;
        let model = &*self.score();
        let dequantiser = match spec.dequantisation {
            Dequantisation::Variational { .. } => self.dequantiser(run)?,
            _ => None,
        };
        let subject = Subject { model, dataset, scale: data.scale(), dequantiser: dequantiser.as_ref(), seed: *seed, device: self.device };
        let mut store = Store::open(run, name, spec, *seed, step)?;
        let mut values = likelihood::likelihood(spec, &subject, &mut store, self.terminal)?;
        if let Some(bound) = &spec.bound {
            let mut store = Store::open(run, &format!("{name}.bound"), spec, *seed, step)?;
            values.bounds = Some(likelihood::bounds(bound, spec, &subject, &mut store, self.terminal)?);
        }
        Ok(values)
    }

    /// The dequantiser that the run has trained.
    fn dequantiser(&self, run: &Run) -> Result<Option<Dequantiser>> {
        let Some(dequantiser) = self.new_dequantiser() else { return Ok(None) };
        match dequantiser.load(run)? {
            true => Ok(Some(dequantiser)),
            false => Err(Error::run(run.path(), "holds no dequantiser yet", "train it first: score-sde run with this experiment")),
        }
    }

    fn new_dequantiser(&self) -> Option<Dequantiser> {
        let DequantisationSpec::Variational(spec) = self.experiment.dequantisation.as_ref()?;
        Some(Dequantiser::new(spec, self.train.shape(), self.experiment.seed, self.device))
    }

    /// Trains the dequantiser of the experiment, with the weights of `step` fixed, and saves it.
    pub fn dequantise(&self, run: &Run, step: u64, log: &mut Log) -> Result<()> {
        let (Some(DequantisationSpec::Variational(spec)), Some(dequantiser)) = (&self.experiment.dequantisation, self.new_dequantiser())
        else {
            return Ok(());
        };
        let data = &self.experiment.data;
        let model = &*self.score();
        let subject = dequantisation::Subject { model, dataset: self.train.clone(), scale: data.scale(), flip: data.flip() };
        dequantisation::train(spec, self.experiment.seed, &dequantiser, subject, step, log, self.terminal)?;
        dequantiser.save(run)
    }

    /// The picture of some samples: images as a grid, vectors beside as many points of the data.
    pub fn picture(&self, samples: &Samples) -> image::RgbImage {
        let shown = (samples.x.size()[0] as usize).min(self.train.len());
        samples.picture(self.experiment.data.scale(), &crate::data::examples(&*self.train, 0..shown))
    }
}
