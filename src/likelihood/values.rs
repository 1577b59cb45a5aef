//! What was measured: each example's numbers, a line for people, `.npz` and a histogram.

use image::RgbImage;
use statrs::statistics::Statistics as _;

use super::parts::error_of_mean;
use super::unit::Unit;
use super::{Bounds, Likelihood, Outcome, Parts, Report, Solved, Subject};
use crate::error::Result;
use crate::metric::Estimate;
use crate::plot::chart::{Axis, Chart, Layer, Sheet};
use crate::plot::{self, Bins};
use crate::run::log::Points;
use crate::run::{Npz, Product};
use crate::solver::Statistics;
use crate::space::Scale;

/// Negative log-likelihoods, per example and in data units.
pub struct Likelihoods {
    pub(super) spec: Likelihood,
    pub(super) scale: Scale,
    /// D.
    pub(super) dimension: usize,
    /// Of the split.
    pub(super) note: Option<String>,
    /// Nats, `[example][draw][probe]`.
    estimates: Vec<Vec<Vec<f64>>>,
    /// Of each solve.
    pub(super) statistics: Statistics,
    /// Of each example, for all its solves: evaluations, accepted and rejected steps.
    costs: Vec<[u32; 3]>,
    /// Nats: the first solve of each example.
    first: Vec<f64>,
    /// Nats: a closer solve of the first examples minus theirs, with the same probes.
    pub(super) refined: Vec<f64>,
    pub outcome: Outcome,
    pub bounds: Option<Bounds>,
    /// Nats `[n]`, minus the true ln p of the data where the law of the data is known.
    pub truth: Option<Vec<f64>>,
    /// The class of each example, `[n]`, where the model is told of classes.
    pub classes: Option<Vec<usize>>,
    /// Nats `[n]` each: what a latent space adds to the score's number, -ln p(x | y) and ln q(y | x).
    pub latent: Option<[Vec<f64>; 2]>,
    pub seconds: f64,
    /// Where the prior stands for the law of x, if that is not t = 1.
    pub(super) horizon: Option<f64>,
}

impl Likelihoods {
    pub(super) fn new(spec: &Likelihood, subject: &Subject) -> Likelihoods {
        Likelihoods {
            spec: spec.clone(),
            scale: subject.scale,
            dimension: subject.dimension(),
            note: subject.dataset.note().map(str::to_owned),
            estimates: vec![vec![Vec::new(); spec.dequantisation.draws()]; spec.count],
            statistics: Statistics::default(),
            costs: vec![[0; 3]; spec.count],
            first: Vec::new(),
            refined: Vec::new(),
            outcome: Outcome::Fixed,
            bounds: None,
            truth: None,
            classes: subject.conditions.and_then(|conditions| (0..spec.count).map(|example| conditions.class(example)).collect()),
            latent: None,
            seconds: 0.0,
            horizon: Some(subject.model.sde().horizon()).filter(|horizon| *horizon < 1.0),
        }
    }

    pub(super) fn add(&mut self, solved: Solved) {
        let Solved { jobs, nats, evaluations, accepted, rejected } = solved;
        let at_once = self.spec.trace.estimates_at_once();
        for (i, (job, nats)) in jobs.iter().zip(nats).enumerate() {
            let probes = &mut self.estimates[job.example][job.draw];
            if job.probe == 0 && job.draw == 0 {
                self.first.push((&nats).mean());
            }
            // A second round takes the place of the first.
            if job.probe == at_once {
                probes.clear();
            }
            probes.extend(nats);
            let cost = &mut self.costs[job.example];
            cost.iter_mut().zip([evaluations[i], accepted[i], rejected[i]]).for_each(|(all, one)| *all += one);
        }
        self.statistics.extend(Statistics { evaluations, accepted, rejected });
    }

    /// Takes closer solves of points whose first solve is known.
    pub(super) fn compare(&mut self, solved: Solved) {
        for (job, nats) in solved.jobs.iter().zip(solved.nats) {
            self.refined.push(nats.mean() - self.first[job.example]);
        }
    }

    /// Nats, `[example][draw][probe]`.
    pub fn estimates(&self) -> &[Vec<Vec<f64>>] {
        &self.estimates
    }

    pub(super) fn solves(&self) -> usize {
        self.statistics.evaluations.len()
    }

    /// Of each solve.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The part of the standard error that comes from probes, bits/dim.
    pub(super) fn probe_error_in_bits(&self) -> f64 {
        self.parts().probe.map_or(f64::NAN, |error| error * self.bits_per_nat())
    }

    /// Mean and errors, nats.
    pub fn parts(&self) -> Parts {
        Parts::new(&self.spec, &self.estimates)
    }

    /// Nats `[n]`: the mean over draws and probes.
    pub fn nats(&self) -> Vec<f64> {
        self.examples().iter().map(|example| example.mean).collect()
    }

    fn examples(&self) -> Vec<Parts> {
        self.estimates.iter().map(|draws| Parts::of_example(&self.spec, draws)).collect()
    }

    /// 1 / (D ln 2).
    pub fn bits_per_nat(&self) -> f64 {
        1.0 / (self.dimension as f64 * std::f64::consts::LN_2)
    }

    /// The mean over examples, with its interval, in [`unit`](Self::unit).
    pub fn estimate(&self) -> Estimate {
        let number = self.parts().times(self.unit().per_nat(self.dimension));
        Estimate::of_error(number.mean, number.standard_error())
    }

    /// What the number is said in.
    pub fn unit(&self) -> Unit {
        Unit::of(self.scale)
    }

    /// One line for people.
    pub fn headline(&self) -> String {
        let (factor, unit) = (self.unit().per_nat(self.dimension), self.unit().name());
        let mut notes = Vec::new();
        if !self.refined.is_empty() {
            notes.push(format!("solver {:+.1e}", -factor * (&self.refined).mean()));
        }
        match self.outcome {
            Outcome::Fixed => {}
            Outcome::Reached => notes.push("target reached".into()),
            Outcome::Missed => notes.push("target missed".into()),
            Outcome::Cap => notes.push("max_probes reached before the target".into()),
        }
        if let Some(parts) = self.latent_parts() {
            let [a, b, c] = [parts.reconstruction, parts.posterior, parts.score].map(|part| part.mean * factor);
            notes.push(format!("= -ln p(x | y) {a:.4} + ln q(y | x) {b:.4} - ln p(y) {c:.4}"));
        }
        line(self.parts().times(factor), unit, notes, self.truth.as_deref())
    }

    /// What it adds to the curves, at this step of the weights.
    pub fn points(&self, step: u64) -> Points {
        let factor = self.unit().per_nat(self.dimension);
        let number = self.parts().times(factor);
        let [mean, error, bound, of_examples] = self.unit().tags();
        let mut scalars = vec![(mean.into(), number.mean), (error.into(), number.standard_error())];
        scalars.extend(self.bounds.as_ref().map(|bounds| (bound.into(), (&bounds.nats).mean() * factor)));
        let histograms = vec![(of_examples.into(), self.histogram())];
        Points { group: "likelihood", step, scalars, histograms, pictures: vec![("likelihood".into(), self.picture())] }
    }

    /// One line for people about the bound, if there is one.
    pub fn bound_headline(&self) -> Option<String> {
        let bounds = self.bounds.as_ref()?;
        let (factor, unit) = (self.unit().per_nat(self.dimension), self.unit().name());
        let above = self.above(bounds);
        if above.len() < 2 {
            let [bound, above] = [(&bounds.nats).mean(), (&above).mean()].map(|nats| nats * factor);
            return Some(format!("bound {bound:.4} {unit}; bound - exact {above:.4} (one example: no error bar)"));
        }
        let error = |values: &[f64]| error_of_mean(values).expect("more than one example");
        let number = |values: &[f64]| format!("{:.4} ± {:.4}", values.mean() * factor, error(values) * factor);
        let relation = match holds(&above) {
            true => "exact <= bound",
            false => "exact > bound, the score being inexact: they are of two laws, of the ODE and of the SDE",
        };
        Some(format!("bound {} {unit}; bound - exact {}: {relation}", number(&bounds.nats), number(&above)))
    }

    /// How many estimates each example has.
    pub(super) fn probes(&self) -> Vec<u32> {
        self.estimates.iter().map(|draws| draws.iter().map(Vec::len).sum::<usize>() as u32).collect()
    }

    /// Nats `[n]`: the bound minus the exact number, example by example.
    pub(super) fn above(&self, bounds: &Bounds) -> Vec<f64> {
        bounds.nats.iter().zip(self.nats()).map(|(bound, exact)| bound - exact).collect()
    }

    /// Writes `<name>.npz`, `<name>.png` and `<name>.json` of a product.
    ///
    /// The archive holds one number for each example: `index`, `nats`, `bits_per_dim`, the standard errors `probe_error` and
    /// `dequantisation_error` of this example's nats and the difference `solver_error` from a closer solve (all in nats; not a number where
    /// it is not known), `evaluations`, `accepted` and `rejected` (for all its solves), `estimates` (how many), `truth` where known, and
    /// `classes` of a model that is told of them; with a
    /// latent space `reconstruction` and `posterior`, its parts of the nats; of a bound, `bound_nats` and its standard error from draws
    /// `bound_error`, and of a VLB the terms L_0 … L_N, means over the examples (`bound_terms`, `bound_terms_error`; empty otherwise).
    pub fn save(&self, product: &mut Product, name: &str, report: &Report) -> Result<()> {
        let mut archive = Npz::new();
        let examples = self.examples();
        let n = examples.len();
        archive.column("index", &(0..n as u64).collect::<Vec<_>>());
        archive.column("estimates", &self.probes());
        for (i, key) in ["evaluations", "accepted", "rejected"].into_iter().enumerate() {
            archive.column(key, &self.costs.iter().map(|cost| cost[i]).collect::<Vec<_>>());
        }
        if let Some(classes) = &self.classes {
            archive.column("classes", &classes.iter().map(|&class| class as u64).collect::<Vec<_>>());
        }
        let mut numbers = |key: &str, values: Vec<f64>| archive.column(key, &values);
        let known = |part: Option<f64>| part.unwrap_or(f64::NAN);
        numbers("bits_per_dim", examples.iter().map(|example| example.mean * self.bits_per_nat()).collect());
        numbers("nats", self.nats());
        numbers("probe_error", examples.iter().map(|example| known(example.probe)).collect());
        numbers("dequantisation_error", examples.iter().map(|example| known(example.dequantisation)).collect());
        numbers("solver_error", (0..n).map(|i| self.refined.get(i).map_or(f64::NAN, |difference| -difference)).collect());
        if let Some(truth) = &self.truth {
            numbers("truth", truth.clone());
        }
        if let Some([reconstruction, posterior]) = &self.latent {
            numbers("reconstruction", reconstruction.clone());
            numbers("posterior", posterior.clone());
        }
        if let Some(bounds) = &self.bounds {
            numbers("bound_nats", bounds.nats.clone());
            numbers("bound_error", bounds.errors.iter().map(|&error| known(error)).collect());
            for (key, i) in [("bound_terms", 0), ("bound_terms_error", 1)] {
                numbers(key, bounds.terms.iter().map(|term| term[i]).collect());
            }
        }
        product.write(&format!("{name}.npz"), &archive.finish())?;
        product.write(&format!("{name}.png"), &plot::png(&self.picture()))?;
        product.write_json(&format!("{name}.json"), report)
    }

    /// The histogram as a picture.
    pub fn picture(&self) -> RgbImage {
        picture(&self.histogram(), self.estimates.len(), self.unit().name(), &self.headline())
    }

    /// The spread of the examples in the headline's unit.
    pub fn histogram(&self) -> Bins {
        spread(&self.nats(), self.unit().per_nat(self.dimension))
    }
}

/// The spread of the examples' nats, multiplied by `factor`.
pub(super) fn spread(nats: &[f64], factor: f64) -> Bins {
    Bins::new(&nats.iter().map(|nats| nats * factor).collect::<Vec<_>>(), 30)
}

/// That spread as a picture.
pub(super) fn picture(spread: &Bins, examples: usize, unit: &str, headline: &str) -> RgbImage {
    let title = format!("negative log-likelihood of {examples} examples, {unit}");
    let layers = vec![Layer::Bars(spread.clone())];
    Sheet::of(Chart { title, x: Axis::linear(headline), y: Axis::linear("examples"), layers, square: false }, (720, 420)).picture()
}

/// One line for people: a mean with its error in parts, what else there is to note, and the mean of the true numbers where they are known.
pub(super) fn line(parts: Parts, unit: &str, more: Vec<String>, truth: Option<&[f64]>) -> String {
    let error = parts.standard_error();
    let bar = if error.is_nan() { "(one example: no error bar)".into() } else { format!("± {error:.4}") };
    let named = [("dataset", parts.dataset), ("dequantisation", parts.dequantisation), ("probes", parts.probe)];
    let named = named.iter().filter_map(|(name, part)| part.filter(|part| *part > 0.0).map(|part| format!("{name} {part:.2e}")));
    let notes: Vec<String> = named.chain(more).collect();
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    let law = truth.map_or(String::new(), |truth| format!("; the data's own law: {:.4}", truth.mean()));
    format!("{:.4} {bar} {unit}{notes}{law}", parts.mean)
}

/// Whether a mean is not below 0 by more than three of its errors. The bound is one for the law of the reverse SDE, and the exact number is
/// that of the probability flow: for a trained network the two laws differ, so that this is no theorem then.
pub(super) fn holds(above: &[f64]) -> bool {
    above.mean() >= -3.0 * error_of_mean(above).unwrap_or(0.0)
}
