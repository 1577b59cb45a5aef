//! What other libraries ship under the same names, beside what is here.

use super::*;
use crate::model::Model;
use crate::sde::Level;
use crate::testing::{VE, exact, largest, mixture, normal, prior, root_mean_square};

/// x = (1, z) starts and a solver's ends, f64.
fn solve(sde: &dyn Sde, solver: &SolverSpec, span: (f64, f64), noise: &mut dyn FnMut(usize) -> Tensor) -> Tensor {
    let model = exact(sde, &mixture());
    let problem = Problem { x: &prior(sde, &[32, 2]), span, denoise: false };
    solver.sample(&Reverse { model: &model, eta: 0.0 }, &problem, &mut |k| noise(k), &mut |_| {}).unwrap().0
}

/// DPM-Solver++ multi-step of order 3 by its formula in divided differences of the denoised states (Lu et al. 2022b, appendix B), with
/// `share` of the term of the second derivative: 1 is the integral, the diffusers and k-diffusion ship 1/2.
fn third_order(sde: &dyn Sde, times: &[f64], share: f64) -> Tensor {
    let model = exact(sde, &mixture());
    let lambda = |t: f64| 0.5 * sde.log_snr(t);
    let mut x = prior(sde, &[32, 2]);
    let mut seen: Vec<(f64, Tensor)> = Vec::new();
    for pair in times.windows(2) {
        let data = model.data(&At::whole(&x, &[pair[0]; 32]));
        seen.insert(0, (lambda(pair[0]), data));
        let h = lambda(pair[1]) - lambda(pair[0]);
        let Level { alpha, sigma, .. } = sde.level(pair[1]);
        let slope = |i: usize| (&seen[i].1 - &seen[i + 1].1) / (seen[i].0 - seen[i + 1].0);
        let phi = -(-h).exp_m1();
        let mut integral = &seen[0].1 * phi;
        if seen.len() == 2 {
            integral += slope(0) * (0.5 * h * phi);
        } else if seen.len() > 2 {
            let half_second = (slope(0) - slope(1)) / (seen[0].0 - seen[2].0);
            let first = slope(0) + &half_second * (seen[0].0 - seen[1].0);
            integral += first * (h - phi) + half_second * (2.0 * share * (0.5 * h * h - h + phi));
        }
        x = &x * (sigma / sde.sigma(pair[0])) + integral * alpha;
        seen.truncate(2);
    }
    x
}

#[test]
fn half_of_the_second_derivative_costs_dpm_solver_pp_an_order() {
    tch::set_num_threads(1);
    let (sde, span) = (&crate::testing::VP, (1.0, 0.1));
    let solver = |steps| SolverSpec::DpmSolverPp { order: 3, grid: TimeGrid::LogSnr { steps } };
    let none = &mut crate::testing::no_noise;
    let truth = solve(sde, &SolverSpec::Dop853(Adaptive::new(1e-12, 1e-12)), span, none);
    let times = |steps| TimeGrid::LogSnr { steps }.times(sde, span);
    let apart = largest(&(third_order(sde, &times(40), 1.0) - solve(sde, &solver(40), span, none)));
    assert!(apart < 1e-11, "the whole term is what is here, but {apart}");

    let mut error = |steps, share: Option<f64>| {
        let x = share.map_or_else(|| solve(sde, &solver(steps), span, none), |share| third_order(sde, &times(steps), share));
        root_mean_square(&(x - &truth))
    };
    let mut order = |share| (error(320, share) / error(640, share)).log2();
    let (ours, shipped) = (order(None), order(Some(0.5)));
    let closer = error(640, Some(0.5)) / error(640, None);
    println!("VP, 320 to 640 steps: order {ours:.2}, with half the term {shipped:.2}; at 640 steps {closer:.1} times as far");
    assert!((ours - 3.0).abs() < 0.2 && (shipped - 2.0).abs() < 0.2 && closer > 5.0, "{ours}, {shipped}, {closer}");
}

/// EDM's algorithm 2 (Karras et al. 2022) on the levels of `times` and then 0, N of them in all; the state before the step to 0.
fn published_churn(times: &[f64], s_churn: f64) -> Tensor {
    let model = exact(&VE, &mixture());
    let slope = |x: &Tensor, sigma: f64| (x - model.data(&At::whole(x, &[VE.time_of_log_snr(-2.0 * sigma.ln()); 32]))) / sigma;
    let sigmas: Vec<f64> = times.iter().map(|&t| VE.sigma(t)).collect();
    let gamma = (s_churn / sigmas.len() as f64).min(std::f64::consts::SQRT_2 - 1.0);
    let mut x = prior(&VE, &[32, 2]);
    for (i, pair) in sigmas.windows(2).enumerate() {
        // Nothing is known above the largest level.
        let raised = if i == 0 { pair[0] } else { pair[0] * (1.0 + gamma) };
        if i > 0 {
            x += normal(i as u64, &[32, 2]) * (raised * raised - pair[0] * pair[0]).sqrt();
        }
        let d = slope(&x, raised);
        let euler = &x + &d * (pair[1] - raised);
        x = &x + (&d + slope(&euler, pair[1])) * (0.5 * (pair[1] - raised));
    }
    x
}

#[test]
fn a_published_churn_is_ours_times_one_more_step() {
    tch::set_num_threads(1);
    let (steps, published, span) = (17, 5.0, (1.0, 1e-3));
    let grid = TimeGrid::Karras { steps, rho: 7.0 };
    let theirs = published_churn(&grid.times(&VE, span), published);
    let apart = |s_churn: f64| {
        let solver = SolverSpec::Edm(Churn { s_churn, s_min: 0.0, s_max: f64::INFINITY, s_noise: 1.0, grid });
        largest(&(solve(&VE, &solver, span, &mut |k| normal(k as u64, &[32, 2])) - &theirs)) / largest(&theirs)
    };
    let (scaled, unscaled) = (apart(published * steps as f64 / (steps + 1) as f64), apart(published));
    println!("S_churn = {published}, 18 levels: {scaled:.1e} apart with s_churn times steps / (steps + 1), {unscaled:.1e} without");
    assert!(scaled < 1e-12 && unscaled > 1e-3, "{scaled}, {unscaled}");
}
