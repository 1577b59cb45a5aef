//! What so many backward passes an evaluation leave of an example's error: signs beside Hutch++.

use super::*;
use crate::testing::large;
use statrs::statistics::Statistics as _;

/// The root mean square over examples of what 12 passes are off the exact trace, nats. On a grid all probes share the way of x.
fn off(sde: &dyn Sde, d: usize, n: usize, trace: impl Fn(Probing) -> Trace) -> f64 {
    let mixture = rotated(2, d);
    let exact = exact(sde, &mixture);
    let dataset = points(&mixture, n, 1);
    let solver = SolverSpec::Rk4 { grid: TimeGrid::LogSnr { steps: 12 } };
    let nats = |trace| measure(&spec(n, solver.clone(), trace), &exact, &dataset, Scale::Vectors { scale: 1.0 }, 1).nats();
    let estimates = nats(trace(Probing { law: Law::Rademacher, budget: Budget::Fixed { probes: 12 } }));
    estimates.iter().zip(nats(Trace::Exact {})).map(|(estimate, truth)| (estimate - truth).powi(2)).mean().sqrt()
}

#[test]
fn hutch_pp_is_not_far_from_signs_where_the_score_is_almost_a_multiple_of_x() {
    tch::set_num_threads(1);
    let sizes: &[(usize, usize)] = if large() { &[(16, 100), (64, 300)] } else { &[(16, 100)] };
    for &(d, n) in sizes {
        for (name, sde) in sdes() {
            let [signs, sketched] = [Trace::Hutchinson as fn(Probing) -> Trace, Trace::HutchPp].map(|trace| off(sde, d, n, trace));
            println!("D = {d}, {name}, 12 passes: {signs:.2} nats by signs, {sketched:.2} by hutch-pp");
            assert!(sketched < 2.0 * signs && signs < 2.0 * sketched, "D = {d}, {name}: {sketched} nats beside {signs}");
        }
    }
}
