//! `score-sde lab`: solvers compared on one score.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tch::Tensor;

use super::{Form, Machine, Overrides};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::experiment::{self, Family, Loaded};
use crate::lab::{self, Distance, Grid, Starts, Sweep, World};
use crate::law::GaussianMixture;
use crate::model::ScoreSpec;
use crate::rng::{self, Purpose};
use crate::run::{Folder, Journal, Run};
use crate::sample::Sample;
use crate::sde::Chain;
use crate::session::Session;

/// Points of the data that samples are compared with, at most.
const DATA: usize = 5000;

#[derive(Args, Debug)]
pub struct Arguments {
    /// A run folder, or an experiment file whose score is known.
    pub(super) target: PathBuf,
    /// Compare methods of [sample.measurement]: with the exact posterior, on an experiment whose score is a known mixture; by their coverage of
    /// test examples, on a run.
    #[arg(long)]
    pub(super) posterior: bool,
    /// Methods by name, or all.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "all", requires = "posterior")]
    pub(super) methods: Vec<String>,
    /// Draws of the posterior for each measurement: 9, 19, 29, ...
    #[arg(long, value_name = "L", default_value_t = 19, requires = "posterior")]
    pub(super) draws: usize,
    /// Solvers by name, or all [default: all; with --posterior heun, dpm-solver-pp-2-sde, reverse-diffusion-sde].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    solvers: Vec<String>,
    /// Evaluations of the score that a solver on a grid may take; particles take as many each, and so does every visit of repaint [default: 5,10,20,50,100; with --posterior
    /// 20,100].
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    nfe: Vec<usize>,
    /// Time grids.
    #[arg(long, value_delimiter = ',', default_value = "log-snr", value_enum)]
    grids: Vec<Grid>,
    /// s_churn of edm.
    #[arg(long, value_name = "X,...", value_delimiter = ',', default_value = "0,10,40")]
    churn: Vec<f64>,
    /// Relative and absolute tolerances of the adaptive solvers.
    #[arg(long, value_name = "X,...", value_delimiter = ',', default_value = "1e-1,1e-2,1e-3,1e-4,1e-5")]
    tolerances: Vec<f64>,
    /// Relative and absolute tolerances of the adaptive solver for paths with noise.
    #[arg(long, value_name = "X,...", value_delimiter = ',', default_value = "0.5,0.2,0.1,0.05")]
    noisy_tolerances: Vec<f64>,
    /// What is measured between samples and the data.
    #[arg(long, value_enum, default_value = "energy", conflicts_with = "posterior")]
    distance: Distance,
    /// Where solvers stop [default: sample.t_min of the experiment, or else 1e-3].
    #[arg(long, value_name = "T")]
    t_min: Option<f64>,
    /// Samples of each setting [default: 4000 vectors, 100 images]; with --posterior measurements [default: 200].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(20..=50_000))]
    pub(super) count: Option<u64>,
    /// Folder of lab.csv, lab.md, lab.png and lab.svg, or with --posterior of posterior.csv, posterior.json, posterior.md and posterior.png
    /// [default: lab/ in the run folder, or lab/<file's stem>].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    pub(super) form: Form,
    #[command(flatten)]
    pub(super) machine: Machine,
}

impl Arguments {
    /// What is tried; `solvers` and `budgets` where none are given. Error: a name or a number that can't be.
    pub(super) fn sweep(&self, solvers: &[&str], budgets: &[usize]) -> Result<Sweep> {
        let named = |solvers: &[&str]| solvers.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let solvers = if self.solvers.is_empty() { &named(solvers) } else { &self.solvers };
        let sweep = Sweep {
            candidates: lab::candidates(solvers)?,
            budgets: if self.nfe.is_empty() { budgets.to_vec() } else { self.nfe.clone() },
            grids: self.grids.clone(),
            churns: self.churn.clone(),
            tolerances: self.tolerances.clone(),
            noisy_tolerances: self.noisy_tolerances.clone(),
        };
        sweep.check()?;
        Ok(sweep)
    }

    /// The target: a run, or an experiment file without one.
    pub(super) fn open(&self) -> Result<(Option<Run>, Loaded)> {
        let overrides = &self.set.overrides;
        if !self.target.is_dir() {
            return Ok((None, experiment::load(&self.target, overrides)?));
        }
        let run = Run::reading(&self.target)?;
        let loaded = experiment::load_run(&run, overrides, &["seed", "sample"], false)?;
        Ok((Some(run), loaded))
    }

    /// Where its files go.
    pub(super) fn folder(&self, run: Option<&Run>) -> PathBuf {
        let own = || match run {
            Some(run) => run.path().join("lab"),
            None => Path::new("lab").join(self.target.file_stem().unwrap_or_default()),
        };
        self.out.clone().unwrap_or_else(own)
    }

    /// The target is a file, but has no score that is known.
    pub(super) fn untrained(&self) -> Error {
        Error::Usage {
            message: format!("{} has no [score]: its network is not trained yet", self.target.display()),
            help: "train it with score-sde run and name the run folder, or name a file with [score.gaussian-mixture]".into(),
        }
    }

    /// Where solvers stop. Error: beyond its range.
    pub(super) fn t_min(&self, sample: Option<&Sample>) -> Result<f64> {
        let t_min = self.t_min.or(sample.map(|sample| sample.t_min)).unwrap_or(1e-3);
        if t_min > 0.0 && t_min < 1.0 {
            return Ok(t_min);
        }
        Err(Error::Usage { message: format!("--t-min is {t_min}"), help: "give a number between 0 and 1".into() })
    }
}

pub fn lab(options: Arguments) -> Result<()> {
    let sweep = options.sweep(&["all"], &[5, 10, 20, 50, 100])?;
    let (run, loaded) = options.open()?;
    let count = options.count.unwrap_or(if loaded.model_shape().len() == 1 { 4000 } else { 100 });
    options.machine.holds(&loaded.lab_needs(count))?;
    let t_min = options.t_min(loaded.plan.sample.as_ref());
    let session = Session::new(&loaded, options.machine.clone().into());
    let plan = session.plan();
    let model = plan.sample.as_ref().map_or_else(|| session.model(), |sample| session.sampling_model(sample))?;
    let law = match &plan.family {
        Family::Known(_, ScoreSpec::GaussianMixture(mixture)) => Some(mixture),
        Family::Score(_) | Family::Generator(..) | Family::Classifier(..) => None,
    };
    let weights = match &run {
        Some(run) => session.average(run)?,
        None if law.is_some() => None,
        None => return Err(options.untrained()),
    };
    let data = points(&session, law)?;
    let t_min = t_min?;
    let shape = session.model_shape().iter().map(|&n| n as i64).collect();
    let distance = options.distance;
    let world = World { model: &*model, shape, t_min, law, data, distance, device: session.device() };
    if world.data.size()[0] < 20 {
        let message = format!("the data hold {} examples, too few to compare samples with", world.data.size()[0]);
        return Err(Error::Usage { message, help: "give at least 20 training examples".into() });
    }
    let levels = model.chain().map(Chain::len);
    let settings = sweep.settings(world.model.sde(), t_min, levels);
    for candidate in &sweep.candidates {
        if settings.iter().all(|setting| setting.solver != candidate.name) {
            session.terminal().say(&format!("left out: {} has no settings for this process, t_min and evaluations", candidate.name));
        }
    }
    let out = options.folder(run.as_ref());
    let of = json!({
        "experiment": loaded.experiment,
        "weights": weights,
        "t_min": t_min,
        "count": count,
        "distance": distance,
        "off": "pairs, or energy",
        "settings": settings,
    });
    let folder = Folder::create(&out)?;
    let mut journal = Journal::open(&folder, "lab.journal", &of)?;
    let starts = Starts::new(&world, count as usize, plan.seed);
    let points = lab::measure(&starts, settings, &mut journal, session.terminal())?;
    let advice = lab::advise(&points, &sweep.budgets);
    let scale = plan.scale();
    let samples = lab::samples(&starts, &advice, |x| scale.to_data(x))?;
    let write = |name: &str, bytes: &[u8]| folder.replace(name, || folder.check_in_place(), |file| file.write_all(bytes));
    write("lab.csv", &lab::csv(&points))?;
    write("lab.md", lab::markdown(&points, distance).as_bytes())?;
    write("lab.png", &lab::png(&points, distance, &samples))?;
    write("lab.svg", lab::svg(&points, distance).as_bytes())?;
    journal.remove()?;
    if options.form.json {
        return options.form.print(&lab::advice_as_json(&points, &advice));
    }
    print!("{}", lab::recommendations(&advice, distance));
    println!("{}", out.join("lab.png").display());
    Ok(())
}

/// Points of the data: of their law, where it is known, or of the training split.
fn points(session: &Session, law: Option<&GaussianMixture>) -> Result<Tensor> {
    let seed = session.plan().seed;
    if let Some(mixture) = law {
        let factored = mixture.factored();
        let mut rng = rng::generator(seed, Purpose::Data, 0);
        let points: Vec<f64> = (0..DATA).flat_map(|_| factored.sample(&mut rng)).collect();
        return Ok(Tensor::from_slice(&points).view([DATA as i64, mixture.dimension() as i64]));
    }
    let len = session.dataset(Split::Train)?.len();
    let n = len.min(DATA);
    let batch = session.plan().sample.as_ref().map_or(DATA, |sample| sample.batch);
    session.points(Split::Train, &(0..n).map(|i| i * len / n).collect::<Vec<_>>(), batch)
}
