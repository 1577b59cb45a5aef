//! Likelihood: the probability flow with its change of log-density, from the data to the prior -> nats -> bits/dim with an error bar.

use std::io::Cursor;
use std::time::Instant;

use ndarray::{Array1, Array2};
use ndarray_npy::NpzWriter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use statrs::statistics::Statistics as _;
use tch::{Device, Kind, Tensor};

use crate::data::{Dataset, Scale, Split, dequantised, examples};
use crate::dynamics::{FlowWithLogDensity, Probes};
use crate::error::{Fault, Result};
use crate::progress::Terminal;
use crate::rng::{self, Law, Purpose};
use crate::run::Run;
use crate::sample::summary;
use crate::score::ScoreModel;
use crate::sde::Sde;
use crate::solver::{SolverSpec, Statistics, Step, Task};
use crate::tensor::{sum_per_example, to_vec};

/// `[likelihood]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Likelihood {
    pub split: Split,
    /// The first `count` examples of the split are measured.
    pub count: usize,
    /// Examples that are solved for together; an example's value does not depend on it, unless the solver couples a batch.
    pub batch: usize,
    /// Where the flow starts; the mass between 0 and t_min is ignored, as in the reference.
    pub t_min: f64,
    pub solver: SolverSpec,
    pub trace: Trace,
    pub dequantisation: Dequantisation,
}

/// How the divergence of the score is estimated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Trace {
    /// D backward passes an evaluation.
    Exact {},
    /// One backward pass an evaluation for each probe (Hutchinson 1989); probes differ between examples and stay for a whole solve.
    Hutchinson { law: Law, probes: usize },
}

/// How discrete pixels become points of a density.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dequantisation {
    /// Vectors: the data are points already.
    None,
    /// Pixels: one draw u ~ U[0, 1) for each; the result bounds ln P(pixels) from below (Theis et al. 2016).
    Uniform,
}

impl Likelihood {
    pub fn check(&self, scale: Scale) -> Result<(), Fault> {
        for (key, value) in [("count", self.count), ("batch", self.batch)] {
            if value == 0 {
                return Err(Fault::new(key, format!("{key} is 0"), "give at least 1; leave [likelihood] out for no likelihood"));
            }
        }
        if !(self.t_min > 0.0 && self.t_min < 1.0) {
            return Err(Fault::new("t_min", format!("t_min is {}", self.t_min), "give a number between 0 and 1; the reference uses 1e-5"));
        }
        if let Trace::Hutchinson { probes: 0, .. } = self.trace {
            return Err(Fault::new("trace.hutchinson.probes", "probes is 0", "give at least 1; the reference uses 1"));
        }
        let (wanted, what) = match scale {
            Scale::Pixels { .. } => (Dequantisation::Uniform, "the data are pixels: \"uniform\""),
            Scale::Vectors { .. } => (Dequantisation::None, "the data are vectors: \"none\""),
        };
        if self.dequantisation != wanted {
            return Err(Fault::new("dequantisation", "this dequantisation does not fit the data", what));
        }
        self.solver.check(Task::LogDensity).map_err(|fault| fault.within("solver"))
    }

    /// What can only be known with the split at hand.
    pub fn check_against(&self, set: &dyn Dataset, trained: &[usize]) -> Result<(), Fault> {
        if set.shape() != trained {
            let message = format!("its examples have shape {:?}, those for training {trained:?}", set.shape());
            return Err(Fault::new("split", message, "both splits must be of one shape"));
        }
        if self.count > set.len() {
            let message = format!("{} examples are asked for, but the split has {}", self.count, set.len());
            return Err(Fault::new("count", message, format!("give at most {}", set.len())));
        }
        Ok(())
    }
}

/// Negative log-likelihoods, per example and in data units.
pub struct Likelihoods {
    /// Nats `[n][k]`, one estimate for each probe.
    pub estimates: Vec<Vec<f64>>,
    /// Nats `[n]`, minus the true ln p of the data where the law of the data is known.
    pub truth: Option<Vec<f64>>,
    pub statistics: Statistics,
    pub seconds: f64,
    /// D.
    pub dimension: usize,
}

/// The examples that are measured, and how they become model space.
pub struct Examples<'a> {
    pub dataset: &'a dyn Dataset,
    pub scale: Scale,
}

/// Measures the first `spec.count` examples. The value of example i is a function of (seed, i), whatever the batch.
pub fn likelihood(
    spec: &Likelihood,
    seed: u64,
    sde: &dyn Sde,
    model: &dyn ScoreModel,
    Examples { dataset, scale }: Examples,
    device: Device,
    terminal: &Terminal,
) -> Result<Likelihoods> {
    let begun = Instant::now();
    let shape: Vec<i64> = dataset.shape().iter().map(|&n| n as i64).collect();
    let d: usize = dataset.shape().iter().product();
    let mut estimates = Vec::with_capacity(spec.count);
    let mut truth = Some(Vec::with_capacity(spec.count));
    let mut statistics = Statistics::default();
    let mut phase = terminal.phase("likelihood", "examples", spec.count as u64, 0);
    for first in (0..spec.count).step_by(spec.batch) {
        let range = first..(first + spec.batch).min(spec.count);
        let n = range.len();
        let indices: Vec<usize> = range.clone().collect();
        let x = dequantised(dataset, scale, &indices, seed).to_device(device);
        let probes = match &spec.trace {
            Trace::Exact {} => Probes::Exact,
            Trace::Hutchinson { law, probes } => {
                let rows = range.start as u64..range.end as u64;
                let probe = |j| rng::rows(*law, seed, Purpose::Probe, rows.clone(), j, &[d as i64], device).to_kind(Kind::Double);
                Probes::Random(Tensor::stack(&(0..*probes as u64).map(probe).collect::<Vec<_>>(), 0))
            }
        };
        let mut flow = FlowWithLogDensity { sde, model, shape: shape.clone(), probes };
        let start = flow.start(&x);
        let mut watch = |step: &Step| phase.set(first as u64 + (step.share * n as f64) as u64, "");
        let (end, cost) = spec.solver.solve(&mut flow, sde, &start, (spec.t_min, 1.0), None, &mut watch)?;
        let (x_end, change) = flow.split(&end);
        let k = change.size()[1] as usize;
        let norms = to_vec(&sum_per_example(&x_end.square()));
        for (change, norm) in to_vec(&change).chunks(k).zip(norms) {
            let prior = sde.prior_log_density(norm, d);
            estimates.push(change.iter().map(|change| -(prior - change + d as f64 * scale.log_det_per_dim())).collect());
        }
        for x in to_vec(&examples(dataset, range)).chunks(d) {
            truth = truth.and_then(|mut values| {
                values.push(-dataset.log_density(x)?);
                Some(values)
            });
        }
        statistics.extend(cost);
    }
    let result = Likelihoods { estimates, truth, statistics, seconds: begun.elapsed().as_secs_f64(), dimension: d };
    phase.finish(&result.headline());
    Ok(result)
}

/// Mean and standard error of the mean.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let error = if values.len() > 1 { values.std_dev() / (values.len() as f64).sqrt() } else { f64::NAN };
    (values.mean(), error)
}

impl Likelihoods {
    /// Nats `[n]`: the mean over probes.
    pub fn nats(&self) -> Vec<f64> {
        self.estimates.iter().map(|e| e.mean()).collect()
    }

    fn bits_per_nat(&self) -> f64 {
        1.0 / (self.dimension as f64 * std::f64::consts::LN_2)
    }

    /// The part of the standard error that more probes would remove; `None` with fewer than two.
    fn probe_error(&self) -> Option<f64> {
        let k = self.estimates[0].len() as f64;
        let n = self.estimates.len() as f64;
        (k > 1.0).then(|| (self.estimates.iter().map(|e| e.variance() / k).sum::<f64>() / n / n).sqrt())
    }

    /// One line for people.
    pub fn headline(&self) -> String {
        let (mean, error) = mean_and_error(&self.nats());
        let bits = self.bits_per_nat();
        let bar = |error: f64| if error.is_nan() { "(one example: no error bar)".into() } else { format!("± {error:.4}") };
        match &self.truth {
            Some(truth) => format!("{mean:.4} {} nats (the data's own law: {:.4})", bar(error), truth.mean()),
            None => format!("{:.4} {} bits/dim", mean * bits, bar(error * bits)),
        }
    }

    /// The number, its error bar and how it came about. A standard error that can't be known (one example) is null.
    pub fn report(&self, spec: &Likelihood, scale: Scale, step: Option<u64>) -> Value {
        let (mean, error) = mean_and_error(&self.nats());
        let bits = self.bits_per_nat();
        let probe = self.probe_error();
        let mut report = json!({
            "count": self.estimates.len(),
            "nats": { "mean": mean, "standard_error": error, "standard_error_from_probes": probe },
            "bits_per_dim": { "mean": mean * bits, "standard_error": error * bits, "standard_error_from_probes": probe.map(|e| e * bits) },
            "evaluations": summary(&self.statistics.evaluations),
            "accepted_steps": summary(&self.statistics.accepted),
            "rejected_steps": summary(&self.statistics.rejected),
            "seconds": self.seconds,
            "protocol": {
                "settings": spec,
                "weights": step.map_or(json!("exact score"), |step| json!(format!("moving average at step {step}"))),
                "offset_bits_per_dim": -scale.log_det_per_dim() / std::f64::consts::LN_2,
                "mass_below_t_min": "ignored",
                "dimension": self.dimension,
            },
        });
        if let Some(truth) = &self.truth {
            let (mean, error) = mean_and_error(truth);
            report["truth"] = json!({ "nats": { "mean": mean, "standard_error": error }, "excess_nats": self.excess(truth) });
        }
        report
    }

    /// Mean and standard error of the difference from the truth on the same examples.
    fn excess(&self, truth: &[f64]) -> Value {
        let difference: Vec<f64> = self.nats().iter().zip(truth).map(|(got, truth)| got - truth).collect();
        let (mean, error) = mean_and_error(&difference);
        json!({ "mean": mean, "standard_error": error, "largest": difference.iter().map(|d| d.abs()).fold(0.0, f64::max) })
    }

    /// Writes `<name>.npz` (`index`, `nats`, `bits_per_dim`, `estimates` [n, k] in nats, `truth` where known, `evaluations`, `accepted`,
    /// `rejected`) and, last, `<name>.json`.
    pub fn save(&self, run: &Run, name: &str, report: &Value) -> Result<()> {
        let in_memory = "an archive in memory takes any array";
        let mut archive = NpzWriter::new_compressed(Cursor::new(Vec::new()));
        let nats = Array1::from(self.nats());
        archive.add_array("index", &Array1::from_iter(0..nats.len() as u64)).expect(in_memory);
        archive.add_array("bits_per_dim", &(&nats * self.bits_per_nat())).expect(in_memory);
        archive.add_array("nats", &nats).expect(in_memory);
        let estimates = Array2::from_shape_vec((nats.len(), self.estimates[0].len()), self.estimates.concat()).expect("n k numbers");
        archive.add_array("estimates", &estimates).expect(in_memory);
        if let Some(truth) = &self.truth {
            archive.add_array("truth", &Array1::from(truth.clone())).expect(in_memory);
        }
        let cost = &self.statistics;
        for (key, counts) in [("evaluations", &cost.evaluations), ("accepted", &cost.accepted), ("rejected", &cost.rejected)] {
            archive.add_array(key, &Array1::from(counts.clone())).expect(in_memory);
        }
        run.write(&format!("{name}.npz"), archive.finish().expect(in_memory).get_ref())?;
        run.write(&format!("{name}.json"), format!("{report:#}\n").as_bytes())?;
        Ok(())
    }
}
