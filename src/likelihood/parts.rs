//! Where the error of a mean comes from: a random-effects analysis of estimates nested as example, dequantisation draw, probe.

use statrs::statistics::Statistics as _;

use crate::likelihood::{BelowTMin, Dequantisation, Likelihood};

/// What of an estimate is random.
#[derive(Clone, Copy, Debug)]
pub struct Randomness {
    /// The points that stand for an example: so many draws of them, or none.
    pub draws: Option<usize>,
    /// What is estimated at a point.
    pub probes: bool,
}

impl From<&Likelihood> for Randomness {
    fn from(spec: &Likelihood) -> Randomness {
        let points = spec.dequantisation != Dequantisation::None || spec.below_t_min != BelowTMin::Ignored;
        Randomness { draws: points.then(|| spec.dequantisation.draws()), probes: !spec.trace.is_exact() }
    }
}

/// The mean of all examples and its standard error in parts, in the unit of the estimates.
///
/// With y_ijp = μ + a_i + b_ij + c_ijp for n examples, m draws each and k_ij probes each, the variance of the mean is
/// σ_a²/n + Σ_i σ_b,i²/(n² m) + Σ_ij σ_c,ij²/(n² m² k_ij). The three are estimated from nested variances (Searle, Casella & McCulloch
/// 1992, chapter 3): the variance of the example means holds all three, the one of draw means within an example the last two, the one of
/// probes within a draw the last. Each difference is unbiased; below 0 it is taken for 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parts {
    pub mean: f64,
    /// More examples would reduce it. `None` with one example. It holds whatever of the other two is `None`.
    pub dataset: Option<f64>,
    /// More draws, of dequantisation and of the noise at t_min, would reduce it. `None` with one draw; it holds the probes' part where that is `None`.
    pub dequantisation: Option<f64>,
    /// More probes would reduce it. `None` with one probe.
    pub probe: Option<f64>,
}

impl Parts {
    /// The parts of `estimates` `[n][m][k]`; the part of draws or probes that are not random is 0.
    pub fn new(random: impl Into<Randomness>, estimates: &[Vec<Vec<f64>>]) -> Parts {
        let random = random.into();
        let n = estimates.len() as f64;
        let examples: Vec<Parts> = estimates.iter().map(|draws| Parts::of_example(random, draws)).collect();
        let mean = examples.iter().map(|example| example.mean).mean();
        // Of independent examples the errors add up squared.
        let sum = |part: fn(&Parts) -> Option<f64>| {
            let squares: Option<f64> = examples.iter().map(|example| Some(part(example)?.powi(2))).sum();
            squares.map(|squares| squares / (n * n))
        };
        let probe = sum(|example| example.probe);
        // Not the sum of the clamped parts: that would be too large on average.
        let within: Option<f64> = if random.draws.is_some_and(|draws| draws > 1) {
            Some(estimates.iter().map(|draws| variance_of_means(draws)).sum::<f64>() / (n * n))
        } else {
            None
        };
        let total = (estimates.len() > 1).then(|| examples.iter().map(|example| example.mean).variance() / n);
        Parts {
            mean,
            dataset: total.map(|total| rest(total, within.or(probe))),
            dequantisation: dequantisation(random, within, probe),
            probe: probe.map(f64::sqrt),
        }
    }

    /// One example's mean and the parts of its error.
    pub fn of_example(random: impl Into<Randomness>, draws: &[Vec<f64>]) -> Parts {
        let random = random.into();
        let m = draws.len() as f64;
        let probe = if !random.probes {
            Some(0.0)
        } else {
            let squares: Option<f64> = draws.iter().map(|probes| (probes.len() > 1).then(|| probes.variance() / probes.len() as f64)).sum();
            squares.map(|squares| squares / (m * m))
        };
        let within = (draws.len() > 1).then(|| variance_of_means(draws));
        Parts {
            mean: draws.iter().map(|probes| probes.mean()).mean(),
            dataset: None,
            dequantisation: dequantisation(random, within, probe),
            probe: probe.map(f64::sqrt),
        }
    }

    /// The standard error of the mean: of the whole law that the examples come from, or not a number where one example can't tell.
    pub fn standard_error(&self) -> f64 {
        match self.dataset {
            None => f64::NAN,
            Some(dataset) => {
                [Some(dataset), self.dequantisation, self.probe].into_iter().flatten().map(|part| part * part).sum::<f64>().sqrt()
            }
        }
    }

    /// The same in another unit.
    pub fn times(&self, factor: f64) -> Parts {
        let scaled = |part: Option<f64>| part.map(|part| part * factor);
        Parts {
            mean: self.mean * factor,
            dataset: scaled(self.dataset),
            dequantisation: scaled(self.dequantisation),
            probe: scaled(self.probe),
        }
    }
}

/// The standard error of a mean; `None` from one value.
pub(super) fn error_of_mean(values: &[f64]) -> Option<f64> {
    (values.len() > 1).then(|| values.std_dev() / (values.len() as f64).sqrt())
}

/// Variance of the mean of a few means.
fn variance_of_means(groups: &[Vec<f64>]) -> f64 {
    groups.iter().map(|group| group.mean()).variance() / groups.len() as f64
}

/// √ of what a variance leaves beside a part of it.
fn rest(variance: f64, part: Option<f64>) -> f64 {
    (variance - part.unwrap_or(0.0)).max(0.0).sqrt()
}

fn dequantisation(random: Randomness, within: Option<f64>, probe: Option<f64>) -> Option<f64> {
    match random.draws {
        None => Some(0.0),
        Some(_) => within.map(|within| rest(within, probe)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hutchinson, spec};
    use super::super::{Dequantisation, Trace};
    use super::*;
    use crate::rng::{Purpose, generator};
    use crate::solver::{SolverSpec, TimeGrid};
    use rand::RngExt;
    use rand_distr::StandardNormal;

    fn with(trace: Trace, draws: usize) -> Likelihood {
        let solver = SolverSpec::Heun { grid: TimeGrid::Uniform { steps: 1 } };
        let dequantisation = if draws > 0 { Dequantisation::Uniform { draws } } else { Dequantisation::None };
        Likelihood { dequantisation, ..spec(12, solver, trace) }
    }

    /// n examples of m draws with k probes each, with standard deviations a, b and c.
    fn nested(seed: u64, [n, m, k]: [usize; 3], [a, b, c]: [f64; 3]) -> Vec<Vec<Vec<f64>>> {
        let mut rng = generator(seed, Purpose::Data, 0);
        let mut normal = |mean: f64, scale: f64| mean + scale * rng.sample::<f64, _>(StandardNormal);
        let mut draw = |mean: f64| {
            let mean = normal(mean, b);
            (0..k).map(|_| normal(mean, c)).collect::<Vec<f64>>()
        };
        let mut rng = generator(seed, Purpose::Data, 1);
        (0..n).map(|_| a * rng.sample::<f64, _>(StandardNormal)).map(|mean| (0..m).map(|_| draw(mean)).collect()).collect()
    }

    #[test]
    fn each_part_is_what_it_was_made_of() {
        let (size, scales) = ([12, 3, 4], [2.0, 1.5, 1.0]);
        let spec = with(hutchinson(4), 3);
        let all: Vec<Parts> = (0..2000).map(|seed| Parts::new(&spec, &nested(seed, size, scales))).collect();
        let [n, m, k] = size.map(|n| n as f64);
        let mean_square = |part: fn(&Parts) -> Option<f64>| all.iter().map(|parts| part(parts).unwrap().powi(2)).mean();
        let truth = [scales[0].powi(2) / n, scales[1].powi(2) / (n * m), scales[2].powi(2) / (n * m * k)];
        for (got, truth) in [mean_square(|p| p.dataset), mean_square(|p| p.dequantisation), mean_square(|p| p.probe)].iter().zip(truth) {
            assert!((got / truth - 1.0).abs() < 0.05, "{got} is not {truth}");
        }
        let whole = all.iter().map(|parts| parts.standard_error().powi(2)).mean();
        let spread = all.iter().map(|parts| parts.mean).variance();
        assert!(
            (whole / spread - 1.0).abs() < 0.15 && (whole / truth.iter().sum::<f64>() - 1.0).abs() < 0.05,
            "{whole}, {spread}, {truth:?}"
        );
    }

    #[test]
    fn what_cannot_be_told_apart_is_none_and_part_of_what_is_around_it() {
        let parts = |trace, draws, size| Parts::new(&with(trace, draws), &nested(1, size, [1.0; 3]));
        let some = |parts: Parts| [parts.dataset, parts.dequantisation, parts.probe].map(|part| part.is_some());
        assert_eq!(some(parts(hutchinson(1), 1, [12, 1, 1])), [true, false, false]);
        assert_eq!(some(parts(hutchinson(1), 2, [12, 2, 1])), [true, true, false]);
        assert_eq!(some(parts(hutchinson(2), 1, [12, 1, 2])), [true, false, true]);
        assert_eq!(some(parts(hutchinson(2), 2, [1, 2, 2])), [false, true, true]);
        assert!(parts(hutchinson(2), 2, [1, 2, 2]).standard_error().is_nan());
        let exact = parts(Trace::Exact {}, 0, [12, 1, 1]);
        assert_eq!((exact.dequantisation, exact.probe), (Some(0.0), Some(0.0)));
        let alone = nested(1, [12, 1, 1], [1.0; 3]).concat().concat();
        assert!((exact.standard_error() - alone.std_dev() / 12f64.sqrt()).abs() < 1e-12);
    }
}
