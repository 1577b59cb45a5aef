//! ln p by the probability flow: one batch of solves.

use serde::{Deserialize, Serialize};

use super::{Likelihood, Subject};
use crate::data::dequantised;
use crate::dynamics::{FlowWithLogDensity, squared_norm};
use crate::error::Result;
use crate::solver::{SolverSpec, Watch};
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

/// ln p(x) = ln p_1(x_1) - Δ + D ln |dx_model/dx_data|, with x_1 and Δ = ln p_1(x_1) - ln p_t_min(x) from the flow and p_1 the prior
/// (Chen et al. 2018; Song et al. 2021, appendix D.2).
pub(super) fn solve(spec: &Likelihood, solver: &SolverSpec, subject: &Subject, jobs: &[Job], watch: &mut Watch) -> Result<Solved> {
    let Subject { sde, model, dataset, scale, seed, device } = *subject;
    let d = subject.dimension();
    let places: Vec<(usize, usize)> = jobs.iter().map(|job| (job.example, job.draw)).collect();
    let x = dequantised(dataset, scale, &places, seed).to_device(device);
    let shape = dataset.shape().iter().map(|&n| n as i64).collect();
    let mut flow = FlowWithLogDensity { sde, model, shape, probes: spec.trace.probes(jobs, seed, d, device) };
    let start = flow.start(&x);
    let (end, cost) = solver.solve(&mut flow, sde, &start, (spec.t_min, 1.0), None, watch)?;
    let (x_end, change) = flow.split(&end);
    let k = change.size()[1] as usize;
    let offset = d as f64 * scale.log_det_per_dim();
    let priors = squared_norm(&x_end).into_iter().map(|square| sde.prior_log_density(square, d));
    let estimates = |(prior, changes): (f64, &[f64])| changes.iter().map(|change| -(prior - change + offset)).collect();
    let nats = priors.zip(to_vec(&change).chunks(k)).map(estimates).collect();
    Ok(Solved { jobs: jobs.to_vec(), nats, evaluations: cost.evaluations, accepted: cost.accepted, rejected: cost.rejected })
}
