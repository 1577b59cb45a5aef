//! Exact draws pass, others don't, and every interval is as wide as it says.

use super::*;
use crate::guidance::Method;
use crate::lab::{Setting, candidates};
use crate::measurement::Mask;
use crate::metric::{Estimate, Uniformity};
use crate::run::Folder;
use crate::sample::DynamicsSpec;
use crate::solver::{SolverSpec, TimeGrid};
use crate::testing::{VP, exact, mixture, never_asked};

const SIZE: [usize; 2] = [40, 9];

fn measurement() -> Measurement {
    let mask = Mask::seeing(&[false, true], &[2], Device::Cpu).unwrap();
    Measurement { operator: Box::new(mask), y: Tensor::from_slice(&[0.0]), sigma: 0.3 }
}

fn pairs(seed: u64, size: [usize; 2]) -> Pairs {
    Pairs::new(&mixture(), &measurement(), size, seed, Device::Cpu)
}

/// Draws nearer to their middle.
fn narrow(x: &Tensor) -> Tensor {
    let middle = x.mean_dim(1i64, true, tch::Kind::Double);
    &middle + (x - &middle) * 0.7
}

#[test]
fn intervals_of_exact_draws_hold_what_they_should() {
    tch::set_num_threads(1);
    let repeats = 200;
    let (mut held, mut energies, mut small) = ([0; 2], 0, 0);
    for seed in 0..repeats {
        let pairs = pairs(seed, SIZE);
        let x = pairs.control().unwrap();
        let densities = pairs.densities(&x);
        for (i, (estimate, level)) in pairs.coverage(&densities).into_iter().zip([0.5, 0.9]).enumerate() {
            held[i] += usize::from((estimate.value - level).abs() <= estimate.half_width);
        }
        energies += usize::from(pairs.energy(&x).value.abs() <= pairs.energy(&x).half_width);
        small += usize::from(Uniformity::of(&pairs.ranks(&x, &densities), SIZE[1]).p < 0.1);
    }
    let nine_in_ten = repeats as usize * 9 / 10;
    assert!(held.iter().chain([&energies]).all(|held| *held >= nine_in_ten), "{held:?}, {energies} of {repeats}");
    assert!(small <= 32, "{small} of {repeats} below 0.1");
}

#[test]
fn narrow_draws_are_told_from_exact_ones() {
    tch::set_num_threads(1);
    let pairs = pairs(3, [200, 19]);
    let (right, wrong) = (pairs.judge(&pairs.control().unwrap()), pairs.judge(&narrow(&pairs.control().unwrap())));
    let off = |estimate: &Estimate, truth: f64| (estimate.value - truth).abs() / estimate.half_width;
    assert!(off(&right.coverage[1], 0.9) < 1.6 && off(&wrong.coverage[1], 0.9) > 3.0, "{right:?} {wrong:?}");
    assert!(wrong.coverage.iter().zip([0.5, 0.9]).all(|(covered, level)| covered.value < level), "they hold too little: {wrong:?}");
    let estimates = |verdict: &Verdict| [verdict.energy.unwrap(), verdict.classifier.unwrap()];
    for (i, truth) in [0.0, 0.5].into_iter().enumerate() {
        let [right, wrong] = [&right, &wrong].map(|verdict| off(&estimates(verdict)[i], truth));
        assert!(right < 1.6 && wrong > 2.0, "{right}, {wrong}");
    }
    assert!(right.ranks.p > 0.01 && wrong.ranks.p < 0.01, "{right:?} {wrong:?}");
}

/// The hidden number given the other, of a Gaussian: by exact draws and by others.
#[test]
fn examples_are_covered_by_draws_of_their_posteriors_alone() {
    tch::set_num_threads(1);
    let (n, draws, correlation) = (400, 19, 0.8f64);
    let z = crate::testing::normal(1, &[n, 2]);
    let first = z.select(1, 0);
    let second = &first * correlation + z.select(1, 1) * (1.0 - correlation * correlation).sqrt();
    let examples = Examples::new(&Tensor::stack(&[first, second], 1), &measurement(), 5);
    // Of x_1 given y = x_2 + 0.3 n.
    let gain = correlation / (1.0 + 0.09);
    let (mean, std) = (examples.y() * gain, (1.0 - correlation * gain).sqrt());
    let of = |width: f64| {
        let hidden = mean.unsqueeze(1) + crate::testing::normal(2, &[n, draws, 1]) * (std * width);
        examples.judge(&Tensor::cat(&[&hidden, &hidden.zeros_like()], 2))
    };
    let (right, narrow, wide) = (of(1.0), of(0.6), of(1.6));
    for (i, level) in [0.5, 0.9].into_iter().enumerate() {
        let [right, narrow, wide] = [&right, &narrow, &wide].map(|verdict| verdict.coverage[i]);
        assert!((right.value - level).abs() < 1.5 * right.half_width, "{right:?}");
        assert!(narrow.value < level - 2.0 * narrow.half_width && wide.value > level + wide.half_width, "{narrow:?} {wide:?}");
    }
    assert!(right.ranks.p > 0.01 && narrow.ranks.p < 0.01 && right.energy.is_none());
}

#[test]
fn what_was_measured_is_not_measured_again() {
    tch::set_num_threads(1);
    let model = exact(&VP, &mixture());
    let euler = candidates(&["euler".into()]).unwrap()[0];
    let setting = Setting {
        solver: euler.name,
        dynamics: DynamicsSpec::ProbabilityFlow,
        steps: "log-snr".into(),
        spec: SolverSpec::Euler { grid: TimeGrid::LogSnr { steps: 4 } },
    };
    let trials = || vec![Trial { name: "pseudo-inverse", method: &Method::PseudoInverse { data_std: 1.0 }, setting: setting.clone() }];
    let sample: Sample = toml::from_str(
        "count = 1\nbatch = 1\ndynamics = \"probability-flow\"\nsolver.euler.grid.log-snr.steps = 4\nt_min = 1e-3\ndenoise = true",
    )
    .unwrap();
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::create(home.path()).unwrap();
    let measured = |model: &dyn Model| {
        let mut journal = Journal::open(&folder, "posterior.journal", &serde_json::json!({})).unwrap();
        let mut bench = Bench { model, shape: &[2], measurement: measurement(), sample: &sample, size: SIZE, seed: 1, device: Device::Cpu };
        measure(&mut bench, &pairs(1, SIZE), trials(), &mut journal, &Terminal::new(true)).unwrap()
    };
    let (first, again) = (measured(&model), measured(&never_asked(&VP)));
    assert_eq!(first.len(), 2);
    assert_eq!(files(&first)[0], files(&again)[0]);
    assert!(first[1].measured.evaluations == 5.0 && first[0].trial.is_none());
    assert!(table(&first).lines().all(|line| line.chars().count() <= 80), "{}", table(&first));
}
