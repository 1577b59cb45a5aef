//! Sampling: x_T ~ prior -> solver -> last denoise -> data units -> .npz, PNG, statistics.

use std::io::Cursor;
use std::time::Instant;

use ndarray::{Array1, Array2, Array4, ArrayD};
use ndarray_npy::NpzWriter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use statrs::statistics::Statistics as _;
use tch::{Device, Kind, Tensor};

use crate::dynamics::Reverse;
use crate::error::{Fault, Result};
use crate::model::Model;
use crate::plot;
use crate::progress::Terminal;
use crate::rng::{self, Law, Purpose};
use crate::run::Run;
use crate::sde::Sde;
use crate::solver::{Problem, SolverSpec, Statistics, Step, Trajectory};
use crate::space::Scale;
use crate::tensor::to_vec;

/// `[sample]`: how many samples are drawn, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Samples, at least 1.
    pub count: usize,
    /// Samples that are solved for together; sample i does not depend on it, unless the solver couples a batch.
    pub batch: usize,
    pub dynamics: DynamicsSpec,
    pub solver: SolverSpec,
    /// Where the solver stops, in (0, 1); the reference uses 1e-3 (VP, sub-VP) and 1e-5 (VE).
    pub t_min: f64,
    /// Whether the noise of t_min is taken off: the result is E[x_0 | x at t_min] instead of x at t_min.
    pub denoise: bool,
    /// Times at which the samples on their way are kept, too; asking changes no sample.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trajectory: Vec<f64>,
    /// Images: the denoised states on the way are kept within the range of the data. Left out, they are not.
    pub thresholding: Option<Thresholding>,
}

/// Times of a trajectory: a picture shows them all.
const MOST_TIMES: usize = 100;

/// `[sample.thresholding]`: [`DynamicThresholding`](crate::model::DynamicThresholding).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Thresholding {
    /// In (0, 1]; 1 for the largest number.
    pub quantile: f64,
}

/// Which reverse process is solved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum DynamicsSpec {
    /// The reverse SDE, η = 1.
    ReverseSde,
    /// The probability-flow ODE, η = 0.
    ProbabilityFlow,
    /// The family between and beyond: noise of η g(t).
    Family {
        /// η, at least 0.
        eta: f64,
    },
}

impl DynamicsSpec {
    /// η of [`Reverse`].
    pub fn eta(&self) -> f64 {
        match self {
            DynamicsSpec::ReverseSde => 1.0,
            DynamicsSpec::ProbabilityFlow => 0.0,
            DynamicsSpec::Family { eta } => *eta,
        }
    }
}

impl Sample {
    /// `network_levels` are the levels of noise of a network in discrete time.
    pub fn check(&self, scale: Scale, sde: &dyn Sde, network_levels: Option<usize>) -> Result<(), Fault> {
        for (key, value) in [("count", self.count), ("batch", self.batch)] {
            if value == 0 {
                return Err(Fault::new(key, format!("{key} is 0"), "give at least 1; leave [sample] out for no samples"));
            }
        }
        if !(self.t_min > 0.0 && self.t_min < 1.0) {
            let help = "give a number between 0 and 1; the reference uses 1e-3 (VP, sub-VP) and 1e-5 (VE)";
            return Err(Fault::new("t_min", format!("t_min is {}", self.t_min), help));
        }
        if let Some(t) = self.trajectory.iter().find(|t| !(self.t_min..=1.0).contains(*t)) {
            let message = format!("there is no state at t = {t}");
            return Err(Fault::new("trajectory", message, format!("give times from t_min = {} to 1, such as [1.0, 0.5, 0.1]", self.t_min)));
        }
        if self.trajectory.len() > MOST_TIMES {
            let message = format!("{} times are more than a picture can show", self.trajectory.len());
            return Err(Fault::new("trajectory", message, format!("give at most {MOST_TIMES} times")));
        }
        let eta = self.dynamics.eta();
        if !(eta >= 0.0 && eta.is_finite()) {
            let help = "give a number of at least 0; 0 is the probability flow, 1 the reverse SDE";
            return Err(Fault::new("dynamics.family.eta", format!("eta is {eta}"), help));
        }
        if let Some(Thresholding { quantile }) = self.thresholding {
            if let Scale::Vectors { .. } = scale {
                let help = "remove [sample.thresholding]; it is for images";
                return Err(Fault::new("thresholding", "vectors have no range to be kept within", help));
            }
            if network_levels.is_some() {
                let help = "remove [sample.thresholding]; it is for networks in continuous time";
                return Err(Fault::new("thresholding", "a network in discrete time knows other levels of noise than the SDE", help));
            }
            if !(quantile > 0.0 && quantile <= 1.0) {
                let help = "give a number above 0 and at most 1, such as 0.995";
                return Err(Fault::new("thresholding.quantile", format!("quantile is {quantile}"), help));
            }
        }
        self.solver.check(sde, eta, self.t_min, network_levels).map_err(|fault| fault.within("solver"))
    }
}

/// Samples in model space, on the CPU.
pub struct Samples {
    /// [N, ...], f32.
    pub x: Tensor,
    pub statistics: Statistics,
    pub seconds: f64,
    pub trajectory: Option<OnTheWay>,
}

/// The samples at requested times, before the last denoise; on the CPU.
pub struct OnTheWay {
    /// [T, N, ...] in model space, f32.
    pub states: Tensor,
    /// [T, N], f64: the times of these states. With noise, the first of the solver's times that are as far as the requested ones.
    pub times: Tensor,
}

/// Draws `spec.count` samples of `shape`. Sample i is a function of (seed, i), whatever the batch, unless the solver couples them.
pub fn sample(spec: &Sample, seed: u64, model: &dyn Model, shape: &[usize], device: Device, terminal: &Terminal) -> Result<Samples> {
    let begun = Instant::now();
    let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    let mut statistics = Statistics::default();
    let mut parts = Vec::new();
    let mut ways = Vec::new();
    let mut phase = terminal.phase("sample", "samples", spec.count as u64, 0);
    for first in (0..spec.count).step_by(spec.batch) {
        let rows = first as u64..(first + spec.batch).min(spec.count) as u64;
        let n = rows.end - rows.start;
        let normal = |purpose, draw| rng::rows(Law::Gaussian, seed, purpose, rows.clone(), draw, &shape, device);
        let x = normal(Purpose::Prior, 0) * model.sde().prior_std();
        let problem = Problem { x: &x, span: (1.0, spec.t_min), denoise: spec.denoise };
        let mut noise = |draw: usize| normal(Purpose::Brownian, draw as u64);
        let mut way = Trajectory::new(&spec.trajectory, &x, problem.span.0);
        let mut watch = |step: &Step| {
            way.record(step);
            phase.set(first as u64 + (step.share * n as f64) as u64, "");
        };
        let reverse = Reverse { model, eta: spec.dynamics.eta() };
        let (x, cost) = spec.solver.sample(&reverse, &problem, &mut noise, &mut watch)?;
        parts.push(x.to_kind(Kind::Float).to_device(Device::Cpu));
        statistics.extend(cost);
        ways.push(way);
    }
    let trajectory = (!spec.trajectory.is_empty()).then(|| OnTheWay {
        states: Tensor::cat(&ways.iter().map(|way| way.states.to_kind(Kind::Float).to_device(Device::Cpu)).collect::<Vec<_>>(), 1),
        times: Tensor::cat(&ways.iter().map(Trajectory::reached_times).collect::<Vec<_>>(), 1),
    });
    let samples = Samples { x: Tensor::cat(&parts, 0), statistics, seconds: begun.elapsed().as_secs_f64(), trajectory };
    phase.finish(&format!("{:.0} evaluations each", samples.statistics.mean_evaluations()));
    Ok(samples)
}

impl Samples {
    /// Images as a grid, vectors as a scatter plot of their first two components beside `data` [M, D] in data units.
    pub fn picture(&self, scale: Scale, data: &Tensor) -> image::RgbImage {
        let x = scale.to_data(&self.x);
        match x.size()[..] {
            [n, c, h, w] => {
                let shown = n.min(100);
                let pixels: Vec<u8> = Vec::try_from(x.narrow(0, 0, shown).contiguous().view(-1)).expect("pixels are bytes");
                plot::grid(&pixels, &[shown as usize, c as usize, h as usize, w as usize])
            }
            _ => {
                let note = format!("{} samples, {:.0} evaluations each", x.size()[0], self.statistics.mean_evaluations());
                plot::scatter(&first_two(data), &first_two(&x), &note)
            }
        }
    }

    /// Samples on their way: a row for each image with a column for each time, or a scatter plot for each time.
    fn film(&self, scale: Scale, OnTheWay { states, times }: &OnTheWay) -> image::RgbImage {
        let x = scale.to_data(states);
        match x.size()[..] {
            [t, n, c, h, w] => {
                let shown = n.min(10);
                let pixels = x.narrow(1, 0, shown).transpose(0, 1).contiguous().view(-1);
                let pixels: Vec<u8> = Vec::try_from(pixels).expect("pixels are bytes");
                plot::strips(&pixels, &[(shown * t) as usize, c as usize, h as usize, w as usize], t as usize)
            }
            _ => {
                let title = |j| format!("t = {:.3}", to_vec(&times.get(j)).mean());
                plot::scatters(&(0..x.size()[0]).map(|j| (title(j), first_two(&x.get(j)))).collect::<Vec<_>>())
            }
        }
    }

    /// Writes `samples/<name>.npz`, `.png` and, last, `.json`; with a trajectory `<name>-trajectory.png`, too.
    ///
    /// The archive holds `samples` (images as u8 [N, H, W, C], vectors as f32 [N, D], in data units) and, per sample, `evaluations`,
    /// `accepted` and `rejected` steps. A trajectory of T times is `trajectory` (f32 [T, N, C, H, W] or [T, N, D], in model space) and
    /// `trajectory_t` (f64 [T, N]).
    pub fn save(&self, run: &Run, name: &str, scale: Scale, spec: &Sample, picture: &image::RgbImage) -> Result<()> {
        let mut archive = NpzWriter::new_compressed(Cursor::new(Vec::new()));
        let x = scale.to_data(&self.x);
        let in_memory = "an archive in memory takes any array";
        match x.size()[..] {
            [n, c, h, w] => {
                let pixels: Vec<u8> = Vec::try_from(x.permute([0, 2, 3, 1]).contiguous().view(-1)).expect("pixels are bytes");
                let shape = (n as usize, h as usize, w as usize, c as usize);
                archive.add_array("samples", &Array4::from_shape_vec(shape, pixels).expect("n h w c bytes")).expect(in_memory);
            }
            _ => {
                let n = x.size()[0] as usize;
                let values: Vec<f32> = to_vec(&x).into_iter().map(|v| v as f32).collect();
                let shape = (n, values.len() / n);
                archive.add_array("samples", &Array2::from_shape_vec(shape, values).expect("n d numbers")).expect(in_memory);
            }
        }
        let cost = &self.statistics;
        for (key, counts) in [("evaluations", &cost.evaluations), ("accepted", &cost.accepted), ("rejected", &cost.rejected)] {
            archive.add_array(key, &Array1::from(counts.clone())).expect(in_memory);
        }
        if let Some(way) = &self.trajectory {
            let array = |x: &Tensor| ArrayD::from_shape_vec(x.size().iter().map(|&n| n as usize).collect::<Vec<_>>(), to_vec(x));
            archive.add_array("trajectory", &array(&way.states).expect("its own shape").mapv(|v| v as f32)).expect(in_memory);
            archive.add_array("trajectory_t", &array(&way.times).expect("its own shape")).expect(in_memory);
            run.write(&format!("samples/{name}-trajectory.png"), &plot::png(&self.film(scale, way)))?;
        }
        run.write(&format!("samples/{name}.npz"), archive.finish().expect(in_memory).get_ref())?;
        run.write(&format!("samples/{name}.png"), &plot::png(picture))?;
        let summary = json!({
            "count": spec.count,
            "seconds": self.seconds,
            "evaluations": summary(&cost.evaluations),
            "accepted_steps": summary(&cost.accepted),
            "rejected_steps": summary(&cost.rejected),
            "protocol": spec,
        });
        run.write(&format!("samples/{name}.json"), format!("{summary:#}\n").as_bytes())?;
        Ok(())
    }
}

/// Mean, least and most of per-example counts.
pub fn summary(counts: &[u32]) -> serde_json::Value {
    let mean = counts.iter().map(|&n| f64::from(n)).mean();
    json!({ "mean": mean, "min": counts.iter().min(), "max": counts.iter().max() })
}

fn first_two(x: &Tensor) -> Vec<[f64; 2]> {
    let d = x.size()[1] as usize;
    to_vec(x).chunks(d).map(|row| [row[0], *row.get(1).unwrap_or(&0.0)]).collect()
}
