//! Probes by a target: it is met, with more probes where they matter, and the reported error is still what is seen.

use super::*;
use statrs::statistics::Statistics as _;

fn until(standard_error: f64, most: usize) -> Trace {
    Trace::Hutchinson(Probing { law: Law::Rademacher, budget: Budget::Target { standard_error, most } })
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
