//! Probes by a target: it is met, with more probes where they matter, and the reported error is still what is seen.

use super::calibration::Calibration;
use super::*;
use crate::likelihood::budget::{first_round, next};
use crate::testing::large;
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
    let exact = exact(&VP, &mixture);
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
    let mixture = rotated(2, 2);
    let exact = exact(&VP, &mixture);
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

/// The probes of each point in the second round, where the first two were apart by twice a deviation.
fn second_round(deviations: &[f64], standard_error: f64, most: usize) -> Vec<usize> {
    let n = deviations.len();
    let trace = until(standard_error, most);
    let spec = spec(n, SolverSpec::Heun { grid: TimeGrid::LogSnr { steps: 1 } }, trace);
    let (model, dataset) = (exact(&VP, &rotated(2, 2)), points(&rotated(2, 2), n, 1));
    let subject = subject(&model, &dataset, Scale::Vectors { scale: 1.0 }, 1);
    let mut so_far = Likelihoods::new(&spec, &subject);
    so_far.add(Solved {
        jobs: first_round(n, 1),
        nats: deviations.iter().map(|deviation| vec![1.0 + deviation, 1.0 - deviation]).collect(),
        evaluations: vec![1; n],
        accepted: vec![1; n],
        rejected: vec![0; n],
    });
    let Next::Round { jobs, .. } = next(&spec, 1, &so_far) else { panic!("a second round is due") };
    (0..n).map(|example| 2 * jobs.iter().filter(|job| job.example == example).count()).collect()
}

/// The least Σ k with Σ v / k = V is (Σ √v)² / V (Neyman 1934). By its constants the budget draws each variance of two probes, one degree of
/// freedom, by four more towards their mean, and aims at 1 / (1 + √(2 / n)) of the target.
#[test]
fn a_budget_costs_what_its_constants_say() {
    let deviations: Vec<f64> = (0..40).map(|i| if i % 4 == 0 { 0.5 } else { 0.05 }).collect();
    let (n, target) = (deviations.len() as f64, 0.003);
    let observed: Vec<f64> = deviations.iter().map(|deviation| 2.0 * deviation * deviation).collect();
    let pooled = (&observed).mean();
    let variances: Vec<f64> = observed.iter().map(|observed| (observed + 4.0 * pooled) / 5.0).collect();
    // Bits/dim of the mean to nats of the sum, in two dimensions.
    let aim = 1.0 / (1.0 + (2.0 / n).sqrt());
    let allowed = (aim * target * n * 2.0 * std::f64::consts::LN_2).powi(2);
    let root: f64 = variances.iter().map(|variance| variance.sqrt()).sum();
    let probes = second_round(&deviations, target, 1 << 16);
    let (total, least) = (probes.iter().sum::<usize>() as f64, root * root / allowed);
    println!("{total} probes, {least:.0} without rounding");
    // Each point's number is rounded up to the next even one.
    assert!((0.0..=2.0 * n).contains(&(total - least)) && least > 100.0 * n, "{total} probes, not {least}");
    for (probes, variance) in probes.iter().zip(&variances) {
        assert!((*probes as f64 - least * variance.sqrt() / root).abs() <= 3.0, "{probes} of {least} at a variance of {variance}");
    }
    // What a point may have, less the first two.
    assert!(second_round(&deviations, target, 100).iter().all(|&probes| probes == 98));
}
