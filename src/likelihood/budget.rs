//! Which solves come next: one for each point, then more where the probes' part of the error is largest.

use statrs::statistics::Statistics as _;

use super::{Job, Likelihood, Likelihoods};

/// How the last round was known to be the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The number of probes was given, or there are none.
    Fixed,
    /// The probes' part of the standard error is at most its target.
    Reached,
    /// It is not, but no point may have more probes.
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

/// Every point once.
pub(super) fn first_round(examples: usize, draws: usize) -> Vec<Job> {
    (0..examples).flat_map(|example| (0..draws).map(move |draw| Job { example, draw, probe: 0 })).collect()
}

/// The next round, a function of the estimates so far alone.
pub(super) fn next(spec: &Likelihood, so_far: &Likelihoods) -> Next {
    let draws = spec.dequantisation.draws();
    if so_far.solves() == 0 {
        return Next::Round { jobs: first_round(spec.count, draws), note: String::new() };
    }
    let Some((target, most)) = spec.trace.target() else { return Next::Done(Outcome::Fixed) };
    let error = so_far.probe_error_in_bits();
    if error <= target {
        return Next::Done(Outcome::Reached);
    }
    let jobs = round(&points(so_far), (target / error).powi(2), spec.trace.estimates_at_once(), most);
    match jobs.is_empty() {
        true => Next::Done(Outcome::Cap),
        false => Next::Round { jobs, note: format!("probes: ± {error:.4} bits/dim, target {target}") },
    }
}

/// A point with k probes and the variance of one.
struct Point {
    example: usize,
    draw: usize,
    probes: usize,
    variance: f64,
}

/// All points, each one's variance drawn towards that of all.
fn points(so_far: &Likelihoods) -> Vec<Point> {
    let all = || so_far.estimates().iter().flatten();
    let freedom = |probes: &[f64]| probes.len() as f64 - 1.0;
    let pooled = all().map(|probes| freedom(probes) * probes.variance()).sum::<f64>() / all().map(|probes| freedom(probes)).sum::<f64>();
    let mut points = Vec::new();
    for (example, draws) in so_far.estimates().iter().enumerate() {
        for (draw, probes) in draws.iter().enumerate() {
            let own = freedom(probes) * probes.variance();
            let variance = (own + PRIOR_PROBES * pooled) / (freedom(probes) + PRIOR_PROBES);
            points.push(Point { example, draw, probes: probes.len(), variance });
        }
    }
    points
}

/// One more solve of `at_once` probes for the points where it takes most off the variance of the mean, until that is down to `share`,
/// but for no more than half of the points: the next round knows more.
fn round(points: &[Point], share: f64, at_once: usize, most: usize) -> Vec<Job> {
    let part = |point: &Point, more: usize| point.variance / (point.probes + more) as f64;
    let mut gains: Vec<(f64, &Point)> =
        points.iter().filter(|point| point.probes + at_once <= most).map(|point| (part(point, 0) - part(point, at_once), point)).collect();
    gains.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut left: f64 = (1.0 - share) * points.iter().map(|point| part(point, 0)).sum::<f64>();
    let mut jobs = Vec::new();
    for (gain, point) in gains.into_iter().take(points.len().div_ceil(2)) {
        if left <= 0.0 {
            break;
        }
        left -= gain;
        jobs.push(Job { example: point.example, draw: point.draw, probe: point.probes });
    }
    jobs
}
