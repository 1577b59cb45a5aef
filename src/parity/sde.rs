//! `sde`: the coefficients and marginals of a process, its reverse, its steps and its grids.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::compare::{Per, Report};
use super::golden::{Case, Tensors, prefix};
use crate::dynamics::{Dynamics, Reverse, squared_norm};
use crate::error::Result;
use crate::model::{At, Model, Prediction};
use crate::sde::{Chain, Sde, SdeSpec, SubVp, Ve, Vp, place_of};
use crate::solver::TimeGrid;
use crate::tensor::{column, column_of, to_vec};

/// Levels of noise of the reference's SDEs.
pub const LEVELS: usize = 1000;

#[derive(Deserialize)]
struct Description {
    file: String,
    sde: String,
    #[serde(default)]
    kwargs: Constants,
}

/// The constants in which an SDE differs from the reference's own.
#[derive(Default, Deserialize)]
pub struct Constants {
    #[serde(rename = "N")]
    levels: Option<usize>,
    beta_min: Option<f64>,
    beta_max: Option<f64>,
    sigma_min: Option<f64>,
    sigma_max: Option<f64>,
}

impl Constants {
    /// N of the discretised process.
    pub fn levels(&self) -> usize {
        self.levels.unwrap_or(LEVELS)
    }

    pub fn sde(&self, case: &Case, name: &str) -> Result<SdeSpec> {
        let (beta_min, beta_max) = (self.beta_min.unwrap_or(0.1), self.beta_max.unwrap_or(20.0));
        let (sigma_min, sigma_max) = (self.sigma_min.unwrap_or(0.01), self.sigma_max.unwrap_or(50.0));
        let spec = match name {
            "vp" => SdeSpec::Vp(Vp { beta_min, beta_max }),
            "subvp" => SdeSpec::SubVp(SubVp { beta_min, beta_max }),
            "ve" => SdeSpec::Ve(Ve { sigma_min, sigma_max }),
            _ => return Err(case.error(format!("there is no SDE {name} here, only vp, subvp and ve"))),
        };
        spec.check().map_err(|fault| case.error(fault.message))?;
        Ok(spec)
    }
}

/// The SDE of this name with the reference's constants.
pub fn default(case: &Case, name: &str) -> Result<SdeSpec> {
    Constants::default().sde(case, name)
}

/// A score that is given.
struct Given<'a>(&'a dyn Sde, &'a Tensor);

impl Model for Given<'_> {
    fn sde(&self) -> &dyn Sde {
        self.0
    }
    fn predict(&self, _at: &At) -> Prediction {
        Prediction::of_score(self.1.shallow_clone())
    }
}

pub fn report(case: &Case) -> Result<Report> {
    let Description { file, sde, kwargs } = case.describe()?;
    let spec = kwargs.sde(case, &sde)?;
    let tensors = case.tensors(&file)?;
    let mut report = Report::default();
    for kind in [Kind::Double, Kind::Float] {
        let process = Process::new(spec.get(), kwargs.levels(), &tensors, kind)?;
        for name in tensors.names_after("f64.").filter(|name| !matches!(*name, "t" | "prior_z")) {
            match process.quantity(name) {
                Some(ours) => report.golden(kind, name, &ours, Per::Entry, &tensors),
                None if kind == Kind::Double => report.skip(name),
                None => {}
            }
        }
    }
    Ok(report)
}

/// A process with the inputs of a case in one kind.
struct Process<'a> {
    sde: &'a dyn Sde,
    /// N.
    levels: usize,
    chain: Option<Chain>,
    t: Vec<f64>,
    x: Tensor,
    score: Tensor,
    prior_z: Tensor,
}

impl Process<'_> {
    fn new<'a>(sde: &'a dyn Sde, levels: usize, tensors: &Tensors, kind: Kind) -> Result<Process<'a>> {
        Ok(Process {
            sde,
            levels,
            chain: sde.chain(levels).ok(),
            t: to_vec(tensors.get("f64.t")?),
            x: tensors.get("x")?.to_kind(kind),
            score: tensors.get("score")?.to_kind(kind),
            prior_z: tensors.get(&format!("{}.prior_z", prefix(kind)))?.shallow_clone(),
        })
    }

    /// Our value of a result, if there is one.
    fn quantity(&self, name: &str) -> Option<Tensor> {
        let Process { sde, x, t, .. } = self;
        let over_time = |f: &dyn Fn(f64) -> f64| column_of(x, t, f);
        let step = |t: f64| sde.discretised(t, self.levels);
        Some(match name {
            "drift" => x * over_time(&|t| sde.drift(t)),
            "diffusion" => over_time(&|t| sde.diffusion(t)).view(-1),
            "mean" => x * over_time(&|t| sde.alpha(t)),
            "mean_coeff" => over_time(&|t| sde.alpha(t)).view(-1),
            "std" => over_time(&|t| sde.sigma(t)).view(-1),
            "prior_logp" => {
                let dimension = self.prior_z.numel() / t.len();
                column(x, squared_norm(&self.prior_z).into_iter().map(|square| sde.prior_log_density(square, dimension))).view(-1)
            }
            "disc_f" => x * over_time(&|t| step(t).0),
            "disc_G" => over_time(&|t| step(t).1).view(-1),
            _ => match name.split_once('_') {
                Some(("rev", rest)) => self.reverse(rest)?,
                Some(("timesteps", eps)) => self.numbers(self.grid(eps)?),
                Some(("timestep", rest)) => {
                    let grid = self.grid(rest.strip_prefix("index_")?)?;
                    self.numbers(grid.iter().map(|&t| place_of(t, self.levels) as f64))
                }
                _ => self.level_by_level(name)?,
            },
        })
    }

    /// The reverse SDE (`pf0_…`) and the probability flow (`pf1_…`).
    fn reverse(&self, name: &str) -> Option<Tensor> {
        let Process { sde, x, t, levels, .. } = self;
        let model = Given(*sde, &self.score);
        let with_eta = |eta| Reverse { model: &model, eta };
        let at = &At::whole(x, t);
        let (reverse, flow) = (with_eta(1.0), with_eta(0.0));
        Some(match name {
            "pf0_drift" => reverse.drift(at),
            "pf1_drift" => flow.drift(at),
            "pf0_diffusion" => column_of(x, t, |t| reverse.diffusion(t)).view(-1),
            // One number for all times.
            "pf1_diffusion" => column(x, [flow.diffusion(t[0])]).squeeze(),
            "pf0_disc_f" => reverse.discretised(at, *levels).0,
            "pf1_disc_f" => flow.discretised(at, *levels).0,
            "pf0_disc_G" => reverse.discretised(at, *levels).1.view(-1),
            "pf1_disc_G" => flow.discretised(at, *levels).1.view(-1),
            _ => return None,
        })
    }

    /// What the reference keeps for each level of its chain.
    fn level_by_level(&self, name: &str) -> Option<Tensor> {
        let chain = self.chain.as_ref()?;
        let step = |t: f64| self.sde.discretised(t, self.levels);
        let value = |t: f64| {
            Some(match name {
                "discrete_betas" => step(t).1.powi(2),
                "alphas" => (1.0 + step(t).0).powi(2),
                "alphas_cumprod" => chain.level(t).alpha.powi(2),
                "sqrt_alphas_cumprod" => chain.level(t).alpha,
                "sqrt_1m_alphas_cumprod" | "discrete_sigmas" => chain.level(t).sigma,
                _ => return None,
            })
        };
        let values: Option<Vec<f64>> = (0..self.levels).map(|i| value(chain.time(i))).collect();
        Some(self.numbers(values?))
    }

    /// N times from 1 to the number after `eps`.
    fn grid(&self, name: &str) -> Option<Vec<f64>> {
        let eps = name.strip_prefix("eps")?.parse().ok()?;
        Some(TimeGrid::Uniform { steps: self.levels - 1 }.times(self.sde, (1.0, eps)))
    }

    fn numbers(&self, values: impl IntoIterator<Item = f64>) -> Tensor {
        column(&self.x, values).view(-1)
    }
}
