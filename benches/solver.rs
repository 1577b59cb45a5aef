//! Solvers on the exact score of a mixture: what step control costs in evaluations, then the time of whole solves.
//!
//! The table has, for each SDE and adaptive solver at one tolerance, the mean evaluations and rejected steps of an example and the root mean
//! square distance from a solve with a tolerance of 1e-10.

#[path = "../src/allocator.rs"]
mod allocator;

use divan::Bencher;
use score_sde::dynamics::Reverse;
use score_sde::rng::{self, Law, Purpose};
use score_sde::sde::Sde;
use score_sde::solver::{Adaptive, Churn, Control, Problem, SolverSpec, Statistics, TimeGrid};
use score_sde::testing::{VP, exact, mixture, root_mean_square, sdes};
use tch::{Device, Kind, Tensor};

/// An adaptive solver by its control.
type Adaptively = fn(Adaptive) -> SolverSpec;

const BATCH: u64 = 256;
const SPAN: (f64, f64) = (1.0, 1e-3);

fn solve(sde: &dyn Sde, solver: &SolverSpec, eta: f64) -> (Tensor, Statistics) {
    let model = exact(sde, &mixture());
    let normal = |purpose, draw| rng::rows(Law::Gaussian, 1, purpose, 0..BATCH, draw, &[2], Device::Cpu).to_kind(Kind::Double);
    let x = normal(Purpose::Prior, 0) * sde.prior_std();
    let mut noise = |n: usize| normal(Purpose::Brownian, n as u64);
    solver
        .sample(&Reverse { model: &model, eta }, &Problem { x: &x, span: SPAN, denoise: false }, &mut noise, &mut |_| {})
        .expect("the exact score is finite")
}

fn mean(counts: &[u32]) -> f64 {
    counts.iter().map(|&n| f64::from(n)).sum::<f64>() / counts.len() as f64
}

fn print_costs(tolerance: f64) {
    println!("rtol = atol = {tolerance:e}, {BATCH} examples\n");
    println!("| SDE | solver | control | evaluations | rejected | distance |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (name, sde) in sdes() {
        let truth = solve(sde, &SolverSpec::Dop853(Adaptive::new(1e-10, 1e-10)), 0.0).0;
        let solvers: [(&str, Adaptively); 4] =
            [("rk23", SolverSpec::Rk23), ("rk45", SolverSpec::Rk45), ("tsit5", SolverSpec::Tsit5), ("dop853", SolverSpec::Dop853)];
        for (solver, spec) in solvers {
            for (label, control) in [("per-example", Control::PerExample), ("pi", Control::Pi), ("batch-coupled", Control::BatchCoupled)] {
                let (x, cost) = solve(sde, &spec(Adaptive { rtol: tolerance, atol: tolerance, control }), 0.0);
                let distance = root_mean_square(&(x - &truth));
                let (evaluations, rejected) = (mean(&cost.evaluations), mean(&cost.rejected));
                println!("| {name} | {solver} | {label} | {evaluations:.1} | {rejected:.2} | {distance:.1e} |");
            }
        }
    }
    println!();
}

fn cases() -> Vec<(&'static str, SolverSpec, f64)> {
    let grid = || TimeGrid::Karras { steps: 50, rho: 7.0 };
    let churn = Churn { s_churn: 10.0, s_min: 0.05, s_max: 50.0, s_noise: 1.0, grid: grid() };
    vec![
        ("rk45", SolverSpec::Rk45(Adaptive::new(1e-5, 1e-5)), 0.0),
        ("rk45, coupled", SolverSpec::Rk45(Adaptive { control: Control::BatchCoupled, ..Adaptive::new(1e-5, 1e-5) }), 0.0),
        ("heun", SolverSpec::Heun { grid: grid() }, 0.0),
        ("edm", SolverSpec::Edm(churn), 0.0),
        ("euler", SolverSpec::Euler { grid: grid() }, 1.0),
        ("sra", SolverSpec::Sra { grid: grid() }, 1.0),
        ("adaptive-sde", SolverSpec::AdaptiveSde { rtol: 0.05, atol: 0.01 }, 1.0),
    ]
}

#[divan::bench(args = cases().iter().map(|case| case.0).collect::<Vec<_>>())]
fn vp(bencher: Bencher, name: &str) {
    tch::set_num_threads(1);
    let (_, solver, eta) = cases().into_iter().find(|case| case.0 == name).expect("a case of this list");
    bencher.bench_local(|| solve(&VP, &solver, eta));
}

fn main() {
    tch::set_num_threads(1);
    [1e-3, 1e-5].into_iter().for_each(print_costs);
    divan::main();
}
