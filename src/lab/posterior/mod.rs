//! Methods × solvers × evaluations on measurements whose posterior is known, or of examples of the data: are the samples from it?

mod examples;
mod methods;
mod pairs;
mod report;

use std::time::Instant;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

pub use examples::Examples;
pub use methods::{METHODS, Trial, methods, trials};
pub use pairs::Pairs;
pub use report::{as_json, files, table};

use crate::error::Result;
use crate::guidance::Way;
use crate::measurement::Measurement;
use crate::metric::{Estimate, Uniformity};
use crate::model::Model;
use crate::progress::Terminal;
use crate::rng::{Purpose, derive};
use crate::run::Journal;
use crate::sample::{self, Sample, Start, Subject};

/// A score, and how what it is of is measured.
pub struct Bench<'a> {
    pub model: &'a dyn Model,
    /// Of one example.
    pub shape: &'a [usize],
    /// A and σ in model space; y is another for each pair.
    pub measurement: Measurement,
    /// Where samples end.
    pub sample: &'a Sample,
    /// N pairs of a truth and a measurement, and L draws for each.
    pub size: [usize; 2],
    pub seed: u64,
    pub device: Device,
}

/// What draws of posteriors are judged by.
pub trait Judge {
    /// y [N, M].
    fn y(&self) -> &Tensor;
    /// Draws of the exact posteriors [N, L, D], where they are known, which show what chance does to a verdict.
    fn control(&self) -> Option<Tensor>;
    /// Of draws x [N, L, D].
    fn judge(&self, x: &Tensor) -> Verdict;
}

/// How draws of a posterior compare with the exact one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The probability that the 50 % and the 90 % region, as large as the draws make it, holds a draw of the exact posterior: 0.5 and 0.9 where
    /// they are from it. Regions are of highest exact density, or intervals of each number where that is not known.
    pub coverage: [Estimate; 2],
    /// Energy distance to the exact posterior, in model space, a mean over y; 0 where they are from it. None where that is not known.
    pub energy: Option<Estimate>,
    /// Accuracy of a classifier of (x, y): 0.5 where they are from it. None where that is not known.
    pub classifier: Option<Estimate>,
    /// Ranks of the truth among the draws.
    pub ranks: Uniformity,
}

/// Shares of the regions.
const LEVELS: [f64; 2] = [0.5, 0.9];

/// What became of a trial; none is the exact posterior itself.
pub struct Point {
    pub trial: Option<Trial>,
    pub measured: Measured,
}

/// As a journal keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Mean evaluations per sample, those of all its particles together.
    pub evaluations: f64,
    /// For all samples together.
    pub seconds: f64,
    pub verdict: Verdict,
}

/// The seed of what is measured, of a lab's.
pub fn seed_of_pairs(seed: u64) -> u64 {
    derive(seed, Purpose::PosteriorLab, 0)
}

/// Samples that are drawn at once; each may have tens of particles.
const MOST: usize = 600;

/// Of so many draws for each pair, those that are drawn at once: as many for every method, so that all draw alike.
pub fn at_once(draws: usize) -> usize {
    (MOST / draws).max(1) * draws
}

/// Judges draws of the exact posteriors, where these are known, and those of every trial; all that is drawn is a function of the seed, alike
/// for all trials.
///
/// What `journal` holds is not measured again. A trial whose solve fails is left out, with a line that says why.
pub fn measure(
    bench: &mut Bench,
    judge: &dyn Judge,
    trials: Vec<Trial>,
    journal: &mut Journal<Result<Measured, String>>,
    terminal: &Terminal,
) -> Result<Vec<Point>> {
    let control = judge.control();
    let known = usize::from(control.is_some());
    let mut phase = terminal.phase("posteriors", "trials", (trials.len() + known) as u64, 0);
    let mut points = Vec::new();
    for (i, trial) in std::iter::repeat_n(None, known).chain(trials.into_iter().map(Some)).enumerate() {
        let measured = journal.next(|| {
            let begun = Instant::now();
            let drawn = match &trial {
                None => Ok((control.as_ref().map_or_else(|| judge.y().copy(), Tensor::shallow_clone), 0.0)),
                Some(trial) => bench.drawn(judge.y(), trial),
            };
            let seconds = begun.elapsed().as_secs_f64();
            let of = |(x, evaluations)| Measured { evaluations, seconds, verdict: judge.judge(&x) };
            Ok(drawn.map(of).map_err(|error| error.to_string()))
        })?;
        match (measured, trial) {
            (Ok(measured), trial) => points.push(Point { trial, measured }),
            (Err(error), Some(Trial { name, setting, .. })) => {
                terminal.say(&format!("left out: {name} by {} ({}): {error}", setting.solver, setting.steps));
            }
            (Err(error), None) => terminal.say(&format!("left out: the exact posterior: {error}")),
        }
        phase.earlier(journal.earlier());
        phase.set(i as u64 + 1, "");
    }
    phase.finish(&format!("{} trials", points.len()));
    Ok(points)
}

impl Bench<'_> {
    /// Draws [N, L, D] for y [N, M], and what each cost.
    fn drawn(&mut self, y: &Tensor, Trial { method, setting, .. }: &Trial) -> Result<(Tensor, f64)> {
        let [n, draws] = self.size;
        let at_once = at_once(draws) / draws;
        let (mut parts, mut evaluations) = (Vec::new(), 0.0);
        for (k, first) in (0..n).step_by(at_once).enumerate() {
            let pairs = at_once.min(n - first);
            self.measurement.y = y.narrow(0, first as i64, pairs as i64).repeat_interleave_self_int(draws as i64, 0, None);
            let way = Way::new(self.model, &self.measurement, method, self.device)?;
            let spec = Sample {
                count: pairs * draws,
                batch: pairs * draws,
                dynamics: setting.dynamics,
                solver: setting.spec.clone(),
                trajectory: Vec::new(),
                ..self.sample.clone()
            };
            let seed = derive(self.seed, Purpose::PosteriorLab, 1 + k as u64);
            let (quiet, mut nowhere) = (Terminal::new(true), Journal::nowhere());
            let (subject, start) = (Subject { way: &way, known: None }, Start::Prior { shape: self.shape, device: self.device });
            let samples = sample::sample(&spec, seed, subject, &start, &mut nowhere, &quiet)?;
            evaluations += samples.statistics.mean_evaluations() * pairs as f64 / n as f64;
            parts.push(samples.x.view([pairs as i64, draws as i64, -1]));
        }
        Ok((Tensor::cat(&parts, 0), evaluations))
    }
}

#[cfg(test)]
mod tests;
