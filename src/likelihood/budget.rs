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
    /// Above the target, by less than a tenth as a rule: the first probes promised too much.
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

/// A half that is solved again gets at least this part of its own share of the target, however far above the target the other half is.
const LEAST_SHARE: f64 = 0.5;

/// The plan aims at this share of the target: below it by two standard errors of what n points of `at_once` probes tell of an error, since the
/// error that comes out varies, too.
fn aim(n: usize, at_once: usize) -> f64 {
    1.0 / (1.0 + (2.0 / (n * (at_once - 1)) as f64).sqrt())
}

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
///
/// To keep a first round because its own error is small is such a choice, too. So every second point is one half, and each half is judged
/// by the other's error, of which its own probes know nothing.
pub(super) fn next(spec: &Likelihood, round: usize, so_far: &Likelihoods) -> Next {
    if round == 0 {
        return Next::Round { jobs: first_round(spec.count, spec.dequantisation.draws()), note: String::new() };
    }
    let Some((target, most)) = spec.trace.target() else { return Next::Done(Outcome::Fixed) };
    let error = so_far.probe_error_in_bits();
    let at_once = spec.trace.estimates_at_once();
    let largest = largest(most, at_once);
    let outcome = |full: bool| match (error <= target, full) {
        (true, _) => Outcome::Reached,
        (false, true) => Outcome::Cap,
        (false, false) => Outcome::Missed,
    };
    if round > 1 {
        return Next::Done(outcome(so_far.estimates().iter().flatten().any(|probes| probes.len() + at_once > largest)));
    }
    let points = points(so_far);
    let sum: f64 = points.iter().map(|point| point.observed / at_once as f64).sum();
    // Σ variance / k of all points whose error is this.
    let of_error = |wanted: f64| if sum > 0.0 { (wanted / error).powi(2) * sum } else { f64::INFINITY };
    let (kept, again) = judged(points, of_error(target), at_once);
    let n = kept.len() + again.len();
    let (share, planned) = (again.len() as f64 / n as f64, of_error(aim(n, at_once) * target));
    let rest = planned - kept.iter().map(|point| point.observed / at_once as f64).sum::<f64>();
    let allowed = rest.max(LEAST_SHARE * share * planned);
    let jobs: Vec<Job> = again
        .iter()
        .zip(allocation(&again, allowed, at_once, largest))
        .flat_map(|(point, probes)| {
            (at_once..at_once + probes).step_by(at_once).map(|probe| Job { example: point.example, draw: point.draw, probe })
        })
        .collect();
    match jobs.is_empty() {
        true => Next::Done(outcome(true)),
        false => Next::Round { jobs, note: format!("probes: ± {error:.4} bits/dim, target {target}") },
    }
}

/// The points that keep their first probes and those that don't: a half keeps them if Σ variance / k of all points is at most `most`, as the
/// other half tells. What has no other half is not kept.
fn judged(points: Vec<Point>, most: f64, at_once: usize) -> (Vec<Point>, Vec<Point>) {
    let n = points.len() as f64;
    let mut halves = [Vec::new(), Vec::new()];
    points.into_iter().enumerate().for_each(|(i, point)| halves[i % 2].push(point));
    let small = halves.each_ref().map(|half| n * half.iter().map(|point| point.observed).mean() / at_once as f64 <= most);
    let [even, odd] = halves;
    match small {
        [true, true] => (even.into_iter().chain(odd).collect(), Vec::new()),
        [true, false] => (odd, even),
        [false, true] => (even, odd),
        [false, false] => (Vec::new(), even.into_iter().chain(odd).collect()),
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
