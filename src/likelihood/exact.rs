//! ln p by the probability flow: one batch of solves.

use serde::{Deserialize, Serialize};

use super::points::{Points, at_t_min};
use super::{Likelihood, Subject};
use crate::dynamics::{FlowWithLogDensity, squared_norm};
use crate::error::Result;
use crate::solver::{General, Watch};
use crate::tensor::to_vec;

/// One solve for one point, the `draw`-th of an example; its probes have the numbers from `probe` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub example: usize,
    pub draw: usize,
    pub probe: usize,
}

/// A batch of solves with its results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Solved {
    pub jobs: Vec<Job>,
    /// Minus ln p in data units, nats, `[jobs][k]`: as many estimates as a solve gives.
    pub nats: Vec<Vec<f64>>,
    pub evaluations: Vec<u32>,
    pub accepted: Vec<u32>,
    pub rejected: Vec<u32>,
}

impl Solved {
    /// Keys of `[likelihood]` that solves don't depend on.
    pub const FOREIGN: &[&str] = &["bound"];
}

/// ln p(x) = ln p_1(x_1) - Δ - offset, the offset from model space at t_min to data units, with x_1 and Δ = ln p_1(x_1) - ln p_t_min(x) from
/// the flow and p_1 the prior (Chen et al. 2018; Song et al. 2021, appendix D.2); 1 is the horizon of a process that ends without a signal.
pub(super) fn solve(spec: &Likelihood, solver: &General, subject: &Subject, jobs: &[Job], watch: &mut Watch) -> Result<Solved> {
    let given = subject.given(jobs);
    let subject = &Subject { model: &given, ..*subject };
    let Subject { model, seed, device, .. } = *subject;
    let sde = model.sde();
    let shape = subject.shape();
    let d = shape.iter().product::<i64>() as usize;
    let Points { x, offsets } = at_t_min(spec, subject, jobs)?;
    let flow = FlowWithLogDensity::new(model, shape, spec.trace.probes(jobs, seed, d, device));
    let start = flow.start(&x);
    let (end, cost) = solver.solve(&flow, sde, &start, (spec.t_min, sde.horizon()), watch)?;
    let (x_end, change) = flow.split(&end);
    let k = change.size()[1] as usize;
    let priors = squared_norm(&x_end).into_iter().map(|square| sde.prior_log_density(square, d));
    let estimates = |((prior, changes), offset): ((f64, &[f64]), f64)| changes.iter().map(|change| offset - (prior - change)).collect();
    let nats = priors.zip(to_vec(&change).chunks(k)).zip(offsets).map(estimates).collect();
    Ok(Solved { jobs: jobs.to_vec(), nats, evaluations: cost.evaluations, accepted: cost.accepted, rejected: cost.rejected })
}
