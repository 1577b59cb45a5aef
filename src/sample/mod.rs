//! Sampling: x_1 ~ prior, or given states on the way -> solver -> last denoise -> data units -> .npz, PNG, statistics.

mod agreement;
mod codes;
mod decoded;
mod draw;
mod given;
mod particles;
mod report;
mod rows;
mod spec;
mod start;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

pub use agreement::{Agreement, AgreementReport};
pub use codes::{Flow, between};
pub use draw::{Draw, draw};
pub use given::{GivenSpec, Known};
pub use report::{Accuracy, OnTheWay, Pictures, Report, Samples, Seen};
pub use rows::{Rows, first_two};
pub use spec::{DynamicsSpec, Sample, Thresholding};
pub use start::{Start, noised};

use crate::dynamics::Reverse;
use crate::error::Result;
use crate::guidance::Way;
use crate::model::Given;
use crate::progress::Terminal;
use crate::rng::{self, Law, Purpose};
use crate::run::Journal;
use crate::solver::{Problem, Statistics, Step, Trajectory};
use crate::train::Weights;

/// Whose samples are drawn.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// A model, and what leads its samples to what they have to fit.
    pub way: &'a Way<'a>,
    /// What they are given.
    pub known: Option<&'a Known>,
}

/// Consecutive samples, as a journal keeps them; numbers in row-major order.
#[derive(Serialize, Deserialize)]
pub struct Drawn {
    /// [n, ...] in model space.
    x: Vec<f32>,
    statistics: Statistics,
    /// [T, n, ...], and [T, n]; empty without a trajectory.
    states: Vec<f32>,
    times: Vec<f64>,
}

/// All that samples depend on; no weights where the score is known.
pub fn subject(spec: &Sample, seed: u64, weights: Option<&Weights>) -> Value {
    let mut sample = json!(spec);
    if !spec.solver.couples_batch() {
        sample.as_object_mut().expect("a table").remove("batch");
    }
    json!({ "seed": seed, "weights": weights, "sample": sample })
}

/// Draws `spec.count` samples from `start`; what `journal` holds is not drawn again. Sample i is a function of (seed, start, i), whatever the
/// batch, unless the solver couples them. Particles begin with the prior.
pub fn sample(
    spec: &Sample,
    seed: u64,
    subject: Subject,
    start: &Start,
    journal: &mut Journal<Drawn>,
    terminal: &Terminal,
) -> Result<Samples> {
    let (count, times) = (spec.count, spec.trajectory.len() as i64);
    all([count, spec.batch], times, &start.shape(), journal, terminal, |rows, watch| {
        let condition = subject.known.map(|known| known.of(rows.clone()).to_device(start.device()));
        match subject.way {
            Way::Particles(particles) => particles::solve(spec, seed, (particles, condition.as_ref()), start, rows, watch),
            way => solve(spec, seed, (way, condition), start, rows, watch),
        }
    })
}

fn sizes(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&n| n as i64).collect()
}

/// `count` samples of `shape` in batches of `batch`, with states at so many `times`, each batch in the journal before the next. `one` draws
/// some rows, and may tell what share of them is done.
fn all(
    [count, batch]: [usize; 2],
    times: i64,
    shape: &[i64],
    journal: &mut Journal<Drawn>,
    terminal: &Terminal,
    mut one: impl FnMut(Range<u64>, &mut dyn FnMut(f64)) -> Result<Drawn>,
) -> Result<Samples> {
    let mut phase = terminal.phase("sample", "samples", count as u64, 0);
    let mut statistics = Statistics::default();
    let (mut parts, mut states, mut reached) = (Vec::new(), Vec::new(), Vec::new());
    while statistics.len() < count {
        let batches = (statistics.len()..count).step_by(batch).map(|first| first as u64..(first + batch).min(count) as u64);
        let round = journal.round(batches, |rows| {
            let mut watch = |share: f64| phase.set(rows.start + (share * (rows.end - rows.start) as f64) as u64, "");
            one(rows.clone(), &mut watch)
        })?;
        for drawn in round {
            let n = drawn.statistics.len() as i64;
            let of = |leading: &[i64]| [leading, shape].concat();
            parts.push(Tensor::from_slice(&drawn.x).view(&of(&[n])[..]));
            states.push(Tensor::from_slice(&drawn.states).view(&of(&[times, n])[..]));
            reached.push(Tensor::from_slice(&drawn.times).view([times, n]));
            statistics.extend(drawn.statistics);
        }
        phase.earlier(journal.earlier());
        phase.set(statistics.len() as u64, "");
    }
    let trajectory = (times > 0).then(|| OnTheWay { states: Tensor::cat(&states, 1), times: Tensor::cat(&reached, 1) });
    let samples = Samples { x: Tensor::cat(&parts, 0), statistics, seconds: journal.seconds(), trajectory, ..Samples::bare() };
    phase.finish(&format!("{:.0} evaluations each", samples.statistics.mean_evaluations()));
    Ok(samples)
}

/// Draws these samples.
fn solve(
    spec: &Sample,
    seed: u64,
    (way, condition): (&Way, Option<Tensor>),
    start: &Start,
    rows: Range<u64>,
    watch: &mut dyn FnMut(f64),
) -> Result<Drawn> {
    let model = &Given { model: way.model(), condition };
    let (x, rows) = start.states(model, seed, rows);
    let (shape, device) = (start.shape(), x.device());
    let reverse = Reverse { model, eta: spec.dynamics.eta() };
    let problem = Problem { x: &x, span: (start.time(), spec.t_min), denoise: spec.denoise };
    let mut noise = |draw: usize| rng::rows(Law::Gaussian, seed, Purpose::Brownian, rows.clone(), draw as u64, &shape, device);
    let mut trajectory = Trajectory::new(&spec.trajectory, &x, problem.span.0);
    let mut record = |step: &Step| {
        trajectory.record(step);
        watch(step.share);
    };
    let (x, statistics) = match way.constraint() {
        None => spec.solver.sample(&reverse, &problem, &mut noise, &mut record)?,
        Some(constraint) => spec.solver.sample_within(constraint, &reverse, &problem, &mut noise, &mut record)?,
    };
    Ok(Drawn { x: f32s(&x), statistics, states: f32s(&trajectory.states), times: trajectory.reached.concat() })
}

fn f32s(x: &Tensor) -> Vec<f32> {
    Vec::try_from(x.to_kind(Kind::Float).to_device(Device::Cpu).contiguous().view(-1)).expect("numbers in f32")
}
