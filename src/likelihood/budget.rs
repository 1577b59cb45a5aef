//! Which solves come next: one for each point, then, where the probes have a target, as many more as its spread asks for.

use serde::Serialize;
use statrs::statistics::Statistics as _;

use super::{Job, Likelihood, Likelihoods};

/// How the probes' part of the error came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// The number of probes was given, or there are none.
    #[serde(rename = "fixed")]
    Fixed,
    /// At most the target.
    #[serde(rename = "target reached")]
    Reached,
    /// Above the target: the first probes promised too much.
    #[serde(rename = "target missed")]
    Missed,
    /// Above the target, for some points may not have more probes.
    #[serde(rename = "max_probes reached before the target")]
    Cap,
}

pub(super) enum Next {
    /// `note` is for people.
    Round {
        jobs: Vec<Job>,
        note: String,
    },
    Done(Outcome),
}

/// How many probes the pooled variance counts for beside a point's own: few probes tell little of a point's variance, and a point whose
/// first few happen to agree must not be left at that.
const PRIOR_PROBES: f64 = 4.0;

/// The plan aims at this share of the target, since the error that comes out varies, too.
const AIM: f64 = 0.9;

/// Every point once.
pub(super) fn first_round(examples: usize, draws: usize) -> Vec<Job> {
    (0..examples).flat_map(|example| (0..draws).map(move |draw| Job { example, draw, probe: 0 })).collect()
}

/// Round `round`, a function of the estimates of the round before.
///
/// A budget with a target has two rounds (Stein 1945; Neyman 1934). The first has few probes for every point. If their error is above the
/// target, they only tell how many probes each point needs, and the estimates are those of the second round alone. Adding probes until the
/// error looks small enough was rejected: points whose first probes agree by chance keep them, and mean and error come out biased
/// (Gaussian probes in two dimensions, 24 evaluations: the mean was off by six of its errors, which were half of the spread).
pub(super) fn next(spec: &Likelihood, round: usize, so_far: &Likelihoods) -> Next {
    if round == 0 {
        return Next::Round { jobs: first_round(spec.count, spec.dequantisation.draws()), note: String::new() };
    }
    let Some((target, most)) = spec.trace.target() else { return Next::Done(Outcome::Fixed) };
    let error = so_far.probe_error_in_bits();
    let at_once = spec.trace.estimates_at_once();
    if error <= target {
        return Next::Done(Outcome::Reached);
    }
    if round > 1 {
        let full = so_far.estimates().iter().flatten().any(|probes| probes.len() + at_once > largest(most, at_once));
        return Next::Done(if full { Outcome::Cap } else { Outcome::Missed });
    }
    let points = points(so_far);
    let allowed = (AIM * target / error).powi(2) * points.iter().map(|point| point.observed / at_once as f64).sum::<f64>();
    let jobs: Vec<Job> = points
        .iter()
        .zip(allocation(&points, allowed, at_once, largest(most, at_once)))
        .flat_map(|(point, probes)| {
            (at_once..at_once + probes).step_by(at_once).map(|probe| Job { example: point.example, draw: point.draw, probe })
        })
        .collect();
    match jobs.is_empty() {
        true => Next::Done(Outcome::Cap),
        false => Next::Round { jobs, note: format!("probes: ± {error:.4} bits/dim, target {target}") },
    }
}

/// The probes that a point may have in the second round.
fn largest(most: usize, at_once: usize) -> usize {
    (most - at_once) / at_once * at_once
}

struct Point {
    example: usize,
    draw: usize,
    /// The variance of a probe as the first ones tell.
    observed: f64,
    /// The same, drawn towards that of all points.
    variance: f64,
}

fn points(so_far: &Likelihoods) -> Vec<Point> {
    let estimates = so_far.estimates();
    let pooled = estimates.iter().flatten().map(|probes| probes.variance()).mean();
    let of_point = |example: usize, (draw, probes): (usize, &Vec<f64>)| {
        let (observed, freedom) = (probes.variance(), probes.len() as f64 - 1.0);
        let variance = (freedom * observed + PRIOR_PROBES * pooled) / (freedom + PRIOR_PROBES);
        Point { example, draw, observed, variance }
    };
    estimates.iter().enumerate().flat_map(|(example, draws)| draws.iter().enumerate().map(move |draw| of_point(example, draw))).collect()
}

/// Probes k for each point that minimise Σ k subject to Σ variance / k = `allowed`: k ∝ √variance, in multiples of `at_once` and at most
/// `largest`; none where a point may not have any.
fn allocation(points: &[Point], allowed: f64, at_once: usize, largest: usize) -> Vec<usize> {
    let rounded = |k: f64| ((k / at_once as f64).ceil() as usize).max(1).saturating_mul(at_once).min(largest);
    let probes = |factor: f64| points.iter().map(|point| rounded(factor * point.variance.sqrt())).collect::<Vec<_>>();
    let error = |factor: f64| points.iter().zip(probes(factor)).map(|(point, k)| point.variance / k as f64).sum::<f64>();
    let widest = points.iter().map(|point| largest as f64 / point.variance.sqrt()).filter(|factor| factor.is_finite()).fold(0.0, f64::max);
    let (mut low, mut high) = (0.0, widest);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if error(middle) <= allowed { high = middle } else { low = middle }
    }
    probes(high)
}
