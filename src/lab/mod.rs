//! The lab: solvers × steps × grids on one score and one set of start points, with what each costs and how far off it is.

mod candidates;
mod distance;
mod picture;
pub mod posterior;
mod report;
mod starts;

use std::time::Instant;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

pub use candidates::{CANDIDATES, Candidate, Steps, candidates};
pub use distance::Distance;
pub use picture::{Shown, png, samples, svg};
pub use report::{Advice, Advised, advice_as_json, advise, csv, markdown, recommendations};
pub use starts::Starts;

use self::distance::Data;
use crate::error::{Error, Result};
use crate::law::{GaussianMixture, noise_rows};
use crate::metric::{Estimate, kolmogorov_smirnov};
use crate::model::Model;
use crate::progress::Terminal;
use crate::rng::Purpose;
use crate::run::Journal;
use crate::sample::DynamicsSpec;
use crate::sde::Sde;
use crate::solver::{SolverSpec, TimeGrid};

/// A family of time grids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Grid {
    Uniform,
    LogSnr,
    /// Karras et al. 2022, with their ρ = 7.
    Karras,
}

impl Grid {
    fn with(self, steps: usize) -> TimeGrid {
        match self {
            Grid::Uniform => TimeGrid::Uniform { steps },
            Grid::LogSnr => TimeGrid::LogSnr { steps },
            Grid::Karras => TimeGrid::Karras { steps, rho: 7.0 },
        }
    }

    fn name(self) -> &'static str {
        match self {
            Grid::Uniform => "uniform",
            Grid::LogSnr => "log-snr",
            Grid::Karras => "karras",
        }
    }
}

/// What is tried.
pub struct Sweep {
    pub candidates: Vec<&'static Candidate>,
    /// Evaluations that a solver on a grid may take.
    pub budgets: Vec<usize>,
    pub grids: Vec<Grid>,
    /// s_churn of those that churn.
    pub churns: Vec<f64>,
    /// Relative and absolute tolerance of the adaptive ones without noise, and with noise.
    pub tolerances: Vec<f64>,
    pub noisy_tolerances: Vec<f64>,
}

/// One solver with all its settings.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    pub solver: &'static str,
    pub dynamics: DynamicsSpec,
    /// The grid's name, or the tolerance.
    pub steps: String,
    pub spec: SolverSpec,
}

impl Setting {
    /// Whether its paths have no noise of their own.
    fn is_noiseless(&self) -> bool {
        self.dynamics.eta() == 0.0 && !matches!(&self.spec, SolverSpec::Edm(churn) if churn.s_churn > 0.0)
    }
}

impl Sweep {
    /// Error: a number that no solver can work with, named by its option.
    pub fn check(&self) -> Result<()> {
        let tolerances = |values: &[f64]| values.iter().all(|value| *value > 0.0 && *value < 1.0);
        let options = [
            ("--nfe", !self.budgets.contains(&0), "whole numbers above 0"),
            ("--churn", self.churns.iter().all(|churn| *churn >= 0.0 && churn.is_finite()), "numbers of at least 0"),
            ("--tolerances", tolerances(&self.tolerances), "numbers between 0 and 1"),
            ("--noisy-tolerances", tolerances(&self.noisy_tolerances), "numbers between 0 and 1"),
        ];
        match options.into_iter().find(|(_, possible, _)| !possible) {
            Some((option, _, help)) => {
                Err(Error::Usage { message: format!("{option} holds a number that no solver can work with"), help: format!("give {help}") })
            }
            None => Ok(()),
        }
    }

    /// Every combination that can work for a process and a network that knows so many levels of noise: an order of 3 in two steps can't.
    pub fn settings(&self, sde: &dyn Sde, t_min: f64, network_levels: Option<usize>) -> Vec<Setting> {
        let mut settings = Vec::new();
        for Candidate { name, dynamics, steps } in &self.candidates {
            let eta = dynamics.eta();
            let mut add = |steps: String, spec: SolverSpec| {
                if spec.check(sde, eta, t_min, network_levels).is_ok() {
                    settings.push(Setting { solver: name, dynamics: *dynamics, steps, spec });
                }
            };
            let on_grids = |evaluations: usize, add: &mut dyn FnMut(Grid, TimeGrid)| {
                for (budget, grid) in self.budgets.iter().flat_map(|budget| self.grids.iter().map(move |grid| (budget, grid))) {
                    add(*grid, grid.with(budget / evaluations));
                }
            };
            match *steps {
                Steps::Grid(evaluations, make) => on_grids(evaluations, &mut |grid, times| add(grid.name().to_owned(), make(times))),
                Steps::Churn(make) => self.churns.iter().for_each(|&churn| {
                    on_grids(2, &mut |grid, times| add(format!("{}, s_churn {churn}", grid.name()), make(times, churn)));
                }),
                Steps::Number(evaluations, make) => {
                    self.budgets.iter().for_each(|budget| add("of its own".into(), make(budget / evaluations)));
                }
                Steps::Tolerance(make) => {
                    self.tolerances.iter().for_each(|&tolerance| add(format!("tolerance {tolerance}"), make(tolerance)))
                }
                Steps::NoisyTolerance(make) => {
                    self.noisy_tolerances.iter().for_each(|&tolerance| add(format!("tolerance {tolerance}"), make(tolerance)));
                }
            }
        }
        settings
    }
}

/// A score, and what its samples should be like.
pub struct World<'a> {
    pub model: &'a dyn Model,
    /// The shape of one example.
    pub shape: Vec<i64>,
    /// Where solvers stop.
    pub t_min: f64,
    /// The law of the data in model space, where it is known.
    pub law: Option<&'a GaussianMixture>,
    /// Points of the data in model space [M, ...], f64.
    pub data: Tensor,
    /// What is measured between samples and these.
    pub distance: Distance,
    pub device: Device,
}

/// What became of one setting.
pub struct Point {
    pub setting: Setting,
    pub measured: Measured,
}

/// As a journal keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Mean evaluations per sample.
    pub evaluations: f64,
    /// For all samples together.
    pub seconds: f64,
    /// Whether each end belongs to one of the accurate solve of the same start points: paths without noise are the same for all solvers.
    pub paired: bool,
    /// From the ends of the accurate solve: the root mean square distance of pairs, or of paths with noise the energy distance.
    pub off: Estimate,
    /// The same as a share of the standard deviation of those ends: of an energy distance the shift in every direction that would bring it.
    pub share: f64,
    /// That share at both ends of the interval.
    pub least_share: f64,
    pub most_share: f64,
    /// Distance to the law at t_min. (A predictor of Song et al. goes one step beyond t_min, with the noise of that step.)
    pub from_data: Estimate,
    /// The largest Kolmogorov-Smirnov distance of a marginal, where the law is known.
    pub marginal: Option<f64>,
}

/// Measures every setting on the same start points.
///
/// What `journal` holds is not measured again. Errors: the accurate solve fails. A setting whose solve fails is left out, with a line that says why.
pub fn measure(
    starts: &Starts,
    settings: Vec<Setting>,
    journal: &mut Journal<Result<Measured, String>>,
    terminal: &Terminal,
) -> Result<Vec<Point>> {
    let _no_grad = tch::no_grad_guard();
    let World { model, t_min, device, .. } = *starts.world;
    let (world, sde) = (starts.world, model.sde());
    let noisy = noise_rows(sde.noise(), starts.seed, Purpose::Lab, 0..world.data.size()[0] as u64, 0, &world.shape, Device::Cpu);
    let noisy = noisy.to_kind(Kind::Double) * sde.sigma(t_min);
    let data = Data::new((&world.data * sde.alpha(t_min) + noisy).to_device(device), world.distance, starts.seed);
    let mut phase = terminal.phase("lab", "settings", settings.len() as u64, 0);
    let measured = |setting: &Setting| -> Result<Measured> {
        let begun = Instant::now();
        let (x, statistics) = starts.solve(setting)?;
        let seconds = begun.elapsed().as_secs_f64();
        let cdf = |mixture: &GaussianMixture| {
            kolmogorov_smirnov(&x, |axis, value| mixture.marginal_cdf(axis, value, sde.alpha(t_min), sde.sigma(t_min)))
        };
        let (off, [share, least_share, most_share]) = starts.off(&x, setting.is_noiseless())?;
        Ok(Measured {
            evaluations: statistics.mean_evaluations(),
            seconds,
            paired: setting.is_noiseless(),
            off,
            share,
            least_share,
            most_share,
            from_data: data.distance(&x)?,
            marginal: world.law.map(cdf),
        })
    };
    let mut points = Vec::new();
    for (i, setting) in settings.into_iter().enumerate() {
        let measured = journal.next(|| {
            starts.accurate()?;
            Ok(measured(&setting).map_err(|error| error.to_string()))
        })?;
        match measured {
            Err(error) => terminal.say(&format!("left out: {} ({}): {error}", setting.solver, setting.steps)),
            Ok(measured) => points.push(Point { setting, measured }),
        }
        phase.earlier(journal.earlier());
        phase.set(i as u64 + 1, "");
    }
    phase.finish(&format!("{} settings", points.len()));
    Ok(points)
}
