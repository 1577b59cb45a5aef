//! Probes by a target: it is met, with more probes where they matter, and the reported error is still what is seen.

use super::calibration::Calibration;
use super::*;
use crate::testing::{VP, large};
use statrs::statistics::Statistics as _;

fn until(standard_error: f64, most: usize) -> Trace {
    Trace::Hutchinson(Probing { law: Law::Rademacher, budget: Budget::Target { standard_error, most } })
}

/// Runs whose first round meets the target about every second time, by chance; 1,000 of them with SCORE_SDE_LARGE. The bias is in spreads of the
/// mean.
#[test]
fn a_target_that_chance_decides_on_leaves_no_bias() {
    tch::set_num_threads(1);
    let (mixture, n) = (rotated(2, 2), 30);
    let exact = ExactScore::new(&VP, &mixture, Device::Cpu);
    let dataset = points(&mixture, n, 1);
    let solver = SolverSpec::Heun { grid: TimeGrid::LogSnr { steps: 6 } };
    let run = |trace, seed| measure(&spec(n, solver.clone(), trace), &exact, &dataset, Scale::Vectors { scale: 1.0 }, seed);
    let truth = run(Trace::Exact {}, 0).nats().mean();
    let repeats: u64 = if large() { 1000 } else { 150 };
    for law in [Law::Rademacher, Law::Gaussian] {
        let with = |budget| Trace::Hutchinson(Probing { law, budget });
        let target = (0..50).map(|seed| run(with(Budget::Fixed { probes: 2 }), 5000 + seed).probe_error_in_bits()).mean();
        let results: Vec<Likelihoods> =
            (0..repeats).map(|seed| run(with(Budget::Target { standard_error: target, most: 1000 }), seed)).collect();
        let errors: Vec<f64> = results.iter().map(|result| result.parts().probe.unwrap()).collect();
        let deviations: Vec<f64> = results.iter().map(|result| result.parts().mean - truth).collect();
        let Calibration { covered, ratio } = Calibration::of(&deviations, &errors);
        let covered = covered as f64 / repeats as f64;
        let (bias, chance) = ((&deviations).mean() / (&deviations).std_dev(), 1.0 / (repeats as f64).sqrt());
        let missed: Vec<f64> = results.iter().map(|result| result.probe_error_in_bits() / target).filter(|share| *share > 1.0).collect();
        let case = format!(
            "{law:?}: bias {bias:+.3} ± {chance:.3}, reported / observed {ratio:.3}, {covered:.3} within 2, {} of {repeats} missed the target",
            missed.len()
        );
        println!("{case}");
        assert!(bias.abs() < 3.0 * chance && (0.85..1.15).contains(&ratio) && covered > 0.9, "{case}");
        assert!(missed.iter().all(|share| *share < 1.6), "{case}: {missed:?}");
    }
}

#[test]
fn a_target_is_met_without_bias_and_with_more_probes_where_they_matter() {
    tch::set_num_threads(1);
    let (sde, mixture) = (Vp { beta_min: 0.1, beta_max: 20.0 }, rotated(2, 2));
    let exact = ExactScore::new(&sde, &mixture, Device::Cpu);
    let (n, repeats, target) = (60, 24, 0.03);
    let dataset = points(&mixture, n, 1);
    let solver = SolverSpec::Heun { grid: TimeGrid::LogSnr { steps: 6 } };
    let run = |trace, seed| measure(&spec(n, solver.clone(), trace), &exact, &dataset, Scale::Vectors { scale: 1.0 }, seed);
    // On a grid all probes share the way of x, so that the exact trace is what their mean tends to.
    let truth = run(Trace::Exact {}, 0).nats().mean();
    let (mut deviations, mut errors, mut reached) = (Vec::new(), Vec::new(), 0);
    for seed in 0..repeats {
        let result = run(until(target, 1000), seed);
        let Parts { mean, probe, .. } = result.parts();
        deviations.push(mean - truth);
        errors.push(probe.unwrap());
        assert!(result.probe_error_in_bits() < 1.3 * target, "{}", result.headline());
        reached += usize::from(result.outcome == Outcome::Reached);
        let counts: Vec<usize> = result.estimates().iter().flatten().map(Vec::len).collect();
        assert!(counts.iter().min() < counts.iter().max() && counts.iter().all(|k| *k >= 2 && k % 2 == 0), "{counts:?}");
    }
    assert!(reached * 4 >= 3 * repeats as usize, "{reached} of {repeats} met their target");
    let error = (&deviations).std_dev() / (repeats as f64).sqrt();
    assert!((&deviations).mean().abs() < 3.0 * error, "a bias of {} ± {error}", (&deviations).mean());
    let root_mean_square = |values: &[f64]| values.iter().map(|value| value * value).mean().sqrt();
    let ratio = root_mean_square(&errors) / root_mean_square(&deviations);
    assert!((0.65..1.5).contains(&ratio), "reported / observed is {ratio}");

    let loose = run(until(10.0, 1000), 1);
    assert_eq!((loose.outcome, loose.solves()), (Outcome::Reached, n));
    let capped = run(until(1e-6, 6), 1);
    assert_eq!(capped.outcome, Outcome::Cap);
    assert!(capped.estimates().iter().flatten().all(|probes| probes.len() == 4), "two were the first round's");
    assert_eq!(run(until(1e-6, 2), 1).outcome, Outcome::Cap);
}
