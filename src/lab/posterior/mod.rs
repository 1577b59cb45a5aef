//! Methods × solvers × evaluations on measurements whose posterior is known: are the samples from it?

mod methods;
mod pairs;
mod report;

use std::time::Instant;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

pub use methods::{METHODS, Trial, methods, trials};
pub use pairs::{Pairs, Verdict};
pub use report::{files, table};

use crate::error::Result;
use crate::guidance::Way;
use crate::law::GaussianMixture;
use crate::measurement::Measurement;
use crate::model::Model;
use crate::progress::Terminal;
use crate::rng::{Purpose, derive};
use crate::run::Journal;
use crate::sample::{self, Sample, Start, Subject};

/// A score whose law is known, and how it is measured.
pub struct Bench<'a> {
    pub model: &'a dyn Model,
    /// In model space.
    pub law: &'a GaussianMixture,
    /// A and σ in model space; y is another for each pair.
    pub measurement: Measurement,
    /// Where samples end.
    pub sample: &'a Sample,
    /// N pairs of a truth and a measurement, and L draws for each.
    pub size: [usize; 2],
    pub seed: u64,
    pub device: Device,
}

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

/// Samples that are drawn at once; each may have tens of particles.
const MOST: usize = 600;

/// Of so many draws for each pair, those that are drawn at once: as many for every method, so that all draw alike.
pub fn at_once(draws: usize) -> usize {
    (MOST / draws).max(1) * draws
}

/// Judges draws of the exact posteriors, and then those of every trial; the pairs and all that is drawn are a function of the seed, alike for
/// all trials.
///
/// What `journal` holds is not measured again. A trial whose solve fails is left out, with a line that says why.
pub fn measure(
    bench: &mut Bench,
    trials: Vec<Trial>,
    journal: &mut Journal<Result<Measured, String>>,
    terminal: &Terminal,
) -> Result<Vec<Point>> {
    let pairs = Pairs::new(bench.law, &bench.measurement, bench.size, derive(bench.seed, Purpose::PosteriorLab, 0), bench.device);
    let mut phase = terminal.phase("posteriors", "trials", trials.len() as u64 + 1, 0);
    let mut points = Vec::new();
    for (i, trial) in std::iter::once(None).chain(trials.into_iter().map(Some)).enumerate() {
        let measured = journal.next(|| {
            let begun = Instant::now();
            let drawn = match &trial {
                None => Ok((pairs.control(), 0.0)),
                Some(trial) => bench.drawn(&pairs.y, trial),
            };
            let seconds = begun.elapsed().as_secs_f64();
            let of = |(x, evaluations)| Measured { evaluations, seconds, verdict: pairs.judge(&x) };
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
        let shape = [self.law.dimension()];
        let at_once = at_once(draws) / draws;
        let (mut parts, mut evaluations) = (Vec::new(), 0.0);
        for (k, first) in (0..n).step_by(at_once).enumerate() {
            let pairs = at_once.min(n - first);
            self.measurement.y = y.narrow(0, first as i64, pairs as i64).repeat_interleave_self_int(draws as i64, 0, None);
            let way = Way::new(self.model, &self.measurement, method, &shape, self.device)?;
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
            let (subject, start) = (Subject { way: &way, known: None }, Start::Prior { shape: &shape, device: self.device });
            let samples = sample::sample(&spec, seed, subject, &start, &mut nowhere, &quiet)?;
            evaluations += samples.statistics.mean_evaluations() * pairs as f64 / n as f64;
            parts.push(samples.x.view([pairs as i64, draws as i64, -1]));
        }
        Ok((Tensor::cat(&parts, 0), evaluations))
    }
}

#[cfg(test)]
mod tests;
