//! The comparison with the reference's protocol, row by row, in a world where the worth of each change is known: pixels of one Gaussian,
//! whose flow is affine and whose Jacobian is a multiple of I.

use std::f64::consts::PI;

use super::*;
use crate::data::dequantised;
use crate::likelihood::protocol::{Change, Comparison, Measured, Number, compare};
use crate::testing::{gaussian, of_pixels};
use statrs::statistics::Statistics as _;

/// Not a range of the reference: its rule for the offset, 7 - (-1 + 3) / 8, is off by 1.75 bits/dim here.
const SCALE: Scale = Scale::Pixels { range: [-3.0, 5.0], dequantise: true };
const D: usize = 4;
/// Of the data in model space.
const MEAN: f64 = 1.0;
const STD: f64 = 0.6;
const SEED: u64 = 5;
const STEPS: usize = 20;

fn images(n: usize) -> Given {
    Given { shape: vec![1, 2, 2], values: (0..n).map(|i| (0..D).map(|j| 97.0 + (13 * ((7 * i + 3 * j) % 6)) as f32).collect()).collect() }
}

fn ours(count: usize) -> Likelihood {
    Likelihood {
        batch: 3,
        t_min: 0.05,
        below_t_min: BelowTMin::Jensen,
        trace: Trace::Hutchinson(Probing { law: Law::Gaussian, budget: Budget::Fixed { probes: 2 } }),
        dequantisation: Dequantisation::Uniform { draws: 2 },
        ..spec(count, SolverSpec::Euler { grid: TimeGrid::Uniform { steps: STEPS } }, Trace::Exact {})
    }
}

fn compared(ours: &Likelihood) -> Comparison {
    let dataset = images(ours.count);
    let gaussian = gaussian(D, MEAN, STD);
    let exact = exact(&VP, &gaussian);
    let model = of_pixels(&VP, &exact);
    let mut measured = |_: &str, spec: &Likelihood| Ok(measure(spec, &model, &dataset, SCALE, SEED));
    let values = measured("", ours).unwrap();
    compare(ours, SCALE, &values, &mut measured).unwrap()
}

/// The changes, and what they leave of the difference between the two numbers.
fn changes(comparison: &Comparison) -> (Vec<(&'static str, Number)>, f64) {
    let Comparison { reference, ours, changes } = comparison;
    let sum: f64 = changes.iter().map(|change| change.number.mean).sum();
    let rows = changes.iter().map(|Change { what, number }| (*what, *number)).collect();
    (rows, (reference.number.mean + sum - ours.number.mean).abs())
}

/// What a protocol must give for each example, bits/dim.
struct Protocol {
    /// Euler's steps, or none for the exact flow.
    steps: Option<usize>,
    t_min: f64,
    /// Gaussian probes of each point, or none where the trace is exact.
    probes: usize,
    /// Whether the mass below t_min counts, by Jensen's inequality.
    below: bool,
    draws: usize,
}

impl Protocol {
    fn bits(&self, n: usize) -> Vec<f64> {
        (0..n).map(|i| (0..self.draws).map(|draw| self.nats(i, draw)).mean() / (D as f64 * std::f64::consts::LN_2)).collect()
    }

    fn nats(&self, i: usize, draw: usize) -> f64 {
        let here = |purpose, draw| {
            let z = rng::rows_at(Law::Gaussian, SEED, purpose, &[(i as u64, draw as u64)], &[D as i64], Device::Cpu);
            crate::tensor::to_vec(&z)
        };
        let mut x = crate::tensor::to_vec(&dequantised(&images(i + 1), SCALE, &[(i, draw)], SEED).unwrap());
        let mut offset = -(D as f64) * SCALE.log_det_per_dim();
        if self.below {
            let level = VP.level(self.t_min);
            x = x.iter().zip(here(Purpose::Encoder, draw)).map(|(x, z)| level.alpha * x + level.sigma * z).collect();
            offset -= D as f64 * level.alpha.ln();
        }
        // Each estimate of div s = -D / v is -‖probe‖² / v.
        let norms = (0..self.probes).map(|k| here(Purpose::Probe, draw * MOST + k).iter().map(|v| v * v).sum::<f64>());
        let norm = if self.probes > 0 { norms.mean() } else { D as f64 };
        let (x, change) = self.flow(x, norm);
        let prior: f64 = x.iter().map(|x| -0.5 * (x * x + (2.0 * PI).ln())).sum();
        offset - (prior - change)
    }

    /// x_1 and the change of log-density on the way.
    fn flow(&self, mut x: Vec<f64>, norm: f64) -> (Vec<f64>, f64) {
        let variance = |t: f64| (VP.alpha(t) * STD).powi(2) + VP.sigma(t).powi(2);
        let Some(steps) = self.steps else {
            let ratio = variance(1.0) / variance(self.t_min);
            let moved = |x: f64| VP.alpha(1.0) * MEAN + (x - VP.alpha(self.t_min) * MEAN) * ratio.sqrt();
            return (x.into_iter().map(moved).collect(), -0.5 * D as f64 * ratio.ln());
        };
        let h = (1.0 - self.t_min) / steps as f64;
        let mut change = 0.0;
        for t in (0..steps).map(|k| self.t_min + k as f64 * h) {
            let half_beta = 0.5 * VP.diffusion(t).powi(2);
            x.iter_mut().for_each(|x| *x += h * half_beta * ((*x - VP.alpha(t) * MEAN) / variance(t) - *x));
            change += h * half_beta * (D as f64 - norm / variance(t));
        }
        (x, change)
    }
}

#[test]
fn every_change_of_protocol_is_worth_what_it_must_be() {
    tch::set_num_threads(1);
    let (count, kept) = (8, 6);
    let comparison = compared(&ours(count));
    let (changes, left) = changes(&comparison);
    assert!(left < 1e-12, "the changes add up to the difference");
    let Measured { number: reference, count: measured } = comparison.reference;
    assert_eq!((measured, comparison.ours.count), (kept, count));
    let mut protocol = Protocol { steps: None, t_min: 1e-5, probes: 0, below: false, draws: 1 };
    let mut before = protocol.bits(kept);
    // RK45 at 1e-5, for the reference's number and the first change, and else rounding.
    let near = |got: &Number, values: &[f64], tolerance: f64, what: &str| {
        let (mean, error) = (values.mean(), values.std_dev() / (values.len() as f64).sqrt());
        let apart = (got.mean - mean).abs().max((got.standard_error - error).abs());
        assert!(apart < tolerance, "{what}: {got:?} is not {mean} ± {error}");
    };
    let rule = 7.0 - 2.0 / 8.0 - 5.0;
    near(&Number { mean: reference.mean - rule, ..reference }, &before, 1e-4, "reference");
    assert_eq!(changes[0], ("offset rule", Number { mean: -rule, standard_error: 0.0 }));
    type Edit = fn(&mut Protocol);
    let steps: [(&str, Edit, f64); 5] = [
        ("solver: tolerance and step control", |protocol| protocol.steps = Some(STEPS), 1e-4),
        ("t_min", |protocol| protocol.t_min = 0.05, 1e-8),
        ("trace: probes", |protocol| protocol.probes = 2, 1e-8),
        ("mass below t_min", |protocol| protocol.below = true, 1e-8),
        ("dequantisation", |protocol| protocol.draws = 2, 1e-8),
    ];
    for ((what, edit, tolerance), (row, got)) in steps.iter().zip(&changes[1..]) {
        assert_eq!(what, row);
        edit(&mut protocol);
        let next = protocol.bits(kept);
        let worth: Vec<f64> = next.iter().zip(&before).map(|(next, before)| next - before).collect();
        assert!((&worth).mean().abs() > 100.0 * tolerance, "{what} must be worth something here, not {worth:?}");
        near(got, &worth, *tolerance, what);
        before = next;
    }
    let all = protocol.bits(count);
    near(&comparison.ours.number, &all, 1e-8, "ours");
    let (row, remainder) = &changes[6];
    assert_eq!((*row, changes.len()), ("dropped remainder", 7));
    assert!((remainder.mean - ((&all).mean() - (&before).mean())).abs() < 1e-8 && remainder.mean.abs() > 1e-3, "{remainder:?}");
    // All and kept differ by a quarter of what the dropped and the kept differ.
    let error = |values: &[f64]| values.std_dev() / (values.len() as f64).sqrt();
    let truth = 0.25 * error(&all[kept..]).hypot(error(&all[..kept]));
    assert!((remainder.standard_error - truth).abs() < 1e-8, "{remainder:?} has an error of {truth}");
}

#[test]
fn where_nothing_is_dropped_there_is_no_remainder() {
    tch::set_num_threads(1);
    let nothing = Number { mean: 0.0, standard_error: 0.0 };
    let whole = compared(&ours(6));
    assert_eq!((whole.reference.count, whole.ours.count), (6, 6));
    let (rows, left) = changes(&whole);
    assert!(left < 1e-12 && rows[6] == ("dropped remainder", nothing), "{rows:?}");
    // The probability of pixels themselves knows no noise: both go in one change.
    let discrete = compared(&Likelihood { below_t_min: BelowTMin::Discrete, dequantisation: Dequantisation::None, ..ours(6) });
    let (rows, left) = changes(&discrete);
    assert!(left < 1e-12 && rows[5] == ("dequantisation", nothing), "{rows:?}");
}
