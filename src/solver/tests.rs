use super::dop853::DOP853;
use super::tableau::{EULER, HEUN, MIDPOINT, RK4, RK23, RK45, TSIT5};
use super::*;
use crate::divergence::Probes;
use crate::dynamics::{Dynamics, FlowWithLogDensity, Reverse};
use crate::error::Fault;
use crate::model::{At, ExactScore};
use crate::rng::{self, Law, Purpose};
use crate::sde::{Edm, Sde, Variance};
use crate::tensor::{column, to_vec};
use crate::testing::{
    Counting, Formula, VP, broken_below, chained, exact, gaussian, largest, mixture, no_noise, normal, points, prior, root_mean_square,
    sdes,
};
use tch::{Device, Kind, Tensor};

/// x' = -x.
struct Decay;
impl Dynamics for Decay {
    fn drift(&self, at: &At) -> Tensor {
        let At { x, .. } = *at;
        -x
    }
}

/// dx = -x dt + g dw.
struct OrnsteinUhlenbeck(f64);
impl Dynamics for OrnsteinUhlenbeck {
    fn drift(&self, at: &At) -> Tensor {
        let At { x, .. } = *at;
        -x
    }
    fn diffusion(&self, _t: f64) -> f64 {
        self.0
    }
}

fn start() -> Tensor {
    Tensor::from_slice(&[1.0, 2.0]).view([2, 1])
}

fn uniform(steps: usize) -> TimeGrid {
    TimeGrid::Uniform { steps }
}

#[test]
fn deterministic_solvers_have_their_orders() {
    tch::set_num_threads(1);
    let truth = (-1f64).exp();
    for (order, tableau, steps) in [
        (1.0, &EULER, 40),
        (2.0, &MIDPOINT, 40),
        (2.0, &HEUN, 40),
        (4.0, &RK4, 20),
        (3.0, &RK23, 20),
        (5.0, &RK45, 12),
        (5.0, &TSIT5, 30),
        (8.0, &DOP853, 2),
    ] {
        let error = |steps| {
            let times = uniform(steps).times(&VP, (0.0, 1.0));
            let (x, _) = fixed::solve(tableau, &Decay, &start(), &times, None, &mut |_| {});
            (x.double_value(&[0, 0]) - truth).abs()
        };
        let slope = (error(steps) / error(2 * steps)).log2();
        assert!((slope - order).abs() < 0.2, "order {order} was measured as {slope}");
    }
}

/// A solver by its number of steps.
type WithSteps = Box<dyn Fn(usize) -> SolverSpec>;

#[test]
fn exponential_solvers_have_their_orders() {
    tch::set_num_threads(1);
    // From t = 1, where the denoised state hardly moves: the first steps are of a lower order, and are exact enough only there.
    let far = Edm { sigma_max: 80.0 };
    for (name, sde) in sdes() {
        let (sde, end): (&dyn Sde, f64) = if name == "edm" { (&far, 0.005) } else { (sde, 0.1) };
        let span = (sde.horizon(), end);
        let exact = exact(sde, &mixture());
        let x = normal(0, &[32, 2]);
        let x = x * (sde.sigma(span.0).powi(2) + sde.alpha(span.0).powi(2)).sqrt();
        let solve = |solver: SolverSpec| {
            let reverse = Reverse { model: &exact, eta: 0.0 };
            solver.sample(&reverse, &Problem { x: &x, span, denoise: false }, &mut no_noise, &mut |_| {}).unwrap().0
        };
        let truth = solve(SolverSpec::Rk45(Adaptive::new(1e-10, 1e-10)));
        let error = |solver| root_mean_square(&(solve(solver) - &truth));
        let dpm = |order| move |steps| SolverSpec::DpmSolverPp { order, grid: TimeGrid::LogSnr { steps } };
        let unipc = |order, variant| move |steps| SolverSpec::UniPc { order, variant, grid: TimeGrid::LogSnr { steps } };
        let single = |order| move |steps| SolverSpec::DpmSolver { order, grid: TimeGrid::LogSnr { steps } };
        let single_pp = |order| move |steps| SolverSpec::DpmSolverPpSingle { order, grid: TimeGrid::LogSnr { steps } };
        let deis = |order, variable| move |steps| SolverSpec::Deis { order, variable, grid: TimeGrid::LogSnr { steps } };
        let cases: [(f64, WithSteps); 18] = [
            (1.0, Box::new(dpm(1))),
            (2.0, Box::new(dpm(2))),
            (3.0, Box::new(dpm(3))),
            (1.0, Box::new(single(1))),
            (2.0, Box::new(single(2))),
            (3.0, Box::new(single(3))),
            (2.0, Box::new(single_pp(2))),
            (3.0, Box::new(single_pp(3))),
            (1.0, Box::new(deis(1, DeisVariable::Time))),
            (2.0, Box::new(deis(2, DeisVariable::Time))),
            (3.0, Box::new(deis(3, DeisVariable::Time))),
            (2.0, Box::new(deis(2, DeisVariable::NoiseToSignal))),
            (3.0, Box::new(deis(3, DeisVariable::NoiseToSignal))),
            (4.0, Box::new(deis(4, DeisVariable::NoiseToSignal))),
            (2.0, Box::new(unipc(1, UniPcVariant::Bh2))),
            (3.0, Box::new(unipc(2, UniPcVariant::Bh1))),
            (3.0, Box::new(unipc(2, UniPcVariant::Bh2))),
            (4.0, Box::new(unipc(3, UniPcVariant::Bh2))),
        ];
        for (order, solver) in cases {
            let slope = (error(solver(80)) / error(solver(160))).log2();
            println!("{name}: {:?} has order {slope:.2}", solver(80));
            assert!(slope > order - 0.35, "{name}: {:?} has order {order}, measured as {slope}", solver(80));
        }
        // Few evaluations: the higher order must pay.
        assert!(error(dpm(2)(20)) < 0.5 * error(dpm(1)(20)), "{name}");
    }
}

#[test]
fn stochastic_solvers_have_their_strong_order() {
    // One fine Brownian path; a step of n fine ones uses the sum of their increments. Ornstein-Uhlenbeck's noise is additive, so both
    // Euler-Maruyama and stochastic Heun have strong order 1; Heun's constant is smaller.
    tch::set_num_threads(1);
    let (fine, paths) = (2048usize, 400i64);
    let z = rng::rows(Law::Gaussian, 1, Purpose::Brownian, 0..paths as u64, 0, &[fine as i64], Device::Cpu).to_kind(Kind::Double);
    let solve = |tableau: &Tableau, steps: usize| {
        let group = fine / steps;
        let mut noise =
            |n: usize| z.narrow(1, (n * group) as i64, group as i64).sum_dim_intlist(1i64, true, None::<Kind>) / (group as f64).sqrt();
        let x = Tensor::ones([paths, 1], (Kind::Double, Device::Cpu));
        fixed::solve(tableau, &OrnsteinUhlenbeck(0.7), &x, &uniform(steps).times(&VP, (0.0, 1.0)), Some(&mut noise), &mut |_| {}).0
    };
    let truth = solve(&HEUN, fine);
    let error = |tableau: &Tableau, steps: usize| root_mean_square(&(solve(tableau, steps) - &truth));
    for tableau in [&EULER, &HEUN] {
        let slope = (error(tableau, 16) / error(tableau, 64)).log2() / 2.0;
        assert!((slope - 1.0).abs() < 0.1, "strong order 1 was measured as {slope}");
    }
    assert!(error(&HEUN, 32) < error(&EULER, 32));
}

#[test]
fn the_stationary_law_of_ornstein_uhlenbeck_is_kept() {
    tch::set_num_threads(1);
    let (g, paths) = (0.8, 20_000i64);
    let normal = |draw: u64| rng::rows(Law::Gaussian, 9, Purpose::Brownian, 0..paths as u64, draw, &[1], Device::Cpu).to_kind(Kind::Double);
    let mut noise = |n: usize| normal(n as u64 + 1);
    let x = normal(0) * (g / 2f64.sqrt());
    let solver = SolverSpec::Heun { grid: uniform(50) };
    let (x, statistics) = solver.stochastic().unwrap().solve(&OrnsteinUhlenbeck(g), &VP, &x, (0.0, 2.0), &mut noise, &mut |_| {}).unwrap();
    let variance = x.square().mean(Kind::Double).double_value(&[]);
    assert!((variance / (g * g / 2.0) - 1.0).abs() < 0.04, "{variance}");
    assert!(statistics.evaluations.iter().all(|&n| n == 100));
}

#[test]
fn adaptive_steps_meet_the_tolerance_and_land_on_the_end() {
    tch::set_num_threads(1);
    for (rtol, bound) in [(1e-4, 1e-4), (1e-8, 1e-8)] {
        let solver = SolverSpec::Rk45(Adaptive::new(rtol, rtol));
        let (x, statistics) = solver.general().unwrap().solve(&Decay, &VP, &start(), (0.0, 3.0), &mut |_| {}).unwrap();
        assert!((x.double_value(&[0, 0]) - (-3f64).exp()).abs() < bound);
        for i in 0..2 {
            assert_eq!(statistics.evaluations[i], 2 + 6 * (statistics.accepted[i] + statistics.rejected[i]));
        }
    }
}

#[test]
fn a_coupled_batch_takes_the_steps_of_scipy() {
    // Printed by scripts/reference/adaptive_steps.py.
    struct Wave;
    impl Dynamics for Wave {
        fn drift(&self, at: &At) -> Tensor {
            let At { x, t, .. } = *at;
            -x.square() * column(x, t.iter().map(|t| (3.0 * t).cos()))
        }
    }
    tch::set_num_threads(1);
    let coupled = Adaptive { control: Control::BatchCoupled, ..Adaptive::new(1e-5, 1e-5) };
    for (solver, evaluations, times, x) in [
        (
            SolverSpec::Rk23(coupled),
            299,
            [0.0031711726545484574, 0.03443237043232256, 0.06684029661230212],
            [0.8792261919368911, 1.5687035649853793, -0.20564952814074894],
        ),
        (
            SolverSpec::Rk45(coupled),
            176,
            [0.03167611658302951, 0.1858953069900121, 0.37651401152758085],
            [0.8792197866801741, 1.5691020410580845, -0.2056501583302825],
        ),
        (
            SolverSpec::Dop853(coupled),
            182,
            [0.11559989987845064, 0.5576258927791264, 1.1325544581534297],
            [0.8792190519765111, 1.568986400606302, -0.2056501518419168],
        ),
    ] {
        let mut accepted = Vec::new();
        let start = Tensor::from_slice(&[1.0, 2.0, -0.2]).view([3, 1]);
        let (end, statistics) =
            solver.general().unwrap().solve(&Wave, &VP, &start, (0.0, 3.0), &mut |step| accepted.extend(step.to.first())).unwrap();
        assert_eq!(statistics.evaluations, [evaluations; 3]);
        assert_eq!(statistics.accepted, [accepted.len() as u32; 3]);
        // An error is a difference of nearly equal numbers, that of order 8 most of all, and its rounding moves the steps.
        let rounding = if matches!(solver, SolverSpec::Dop853(_)) { 1e-8 } else { 1e-10 };
        let close = |got: &[f64], truth: &[f64]| got.iter().zip(truth).all(|(got, truth)| (got / truth - 1.0).abs() < rounding);
        assert!(close(&accepted, &times), "{solver:?}: {accepted:?}");
        assert!(close(&to_vec(&end), &x), "{solver:?}: {end:?}");
    }
}

#[test]
fn an_example_takes_the_same_steps_alone_and_in_any_batch() {
    tch::set_num_threads(1);
    for (name, sde) in sdes() {
        let exact = exact(sde, &mixture());
        let x = prior(sde, &[16, 2]);
        let solver = SolverSpec::Rk45(Adaptive::new(1e-5, 1e-5));
        let solve =
            |x: &Tensor| solver.general().unwrap().solve(&Reverse { model: &exact, eta: 0.0 }, sde, x, (1.0, 1e-3), &mut |_| {}).unwrap();
        let (together, statistics) = solve(&x);
        assert!(statistics.accepted.iter().min() < statistics.accepted.iter().max(), "{name}: the test needs examples that differ");
        for i in [0, 7, 15] {
            let (alone, own) = solve(&x.narrow(0, i, 1));
            assert!(largest(&(alone - together.narrow(0, i, 1))) < 1e-10, "{name}");
            assert_eq!((own.accepted[0], own.rejected[0]), (statistics.accepted[i as usize], statistics.rejected[i as usize]), "{name}");
        }
    }
}

#[test]
fn a_score_that_is_not_finite_is_an_error_and_not_an_endless_loop() {
    let broken = broken_below(&VP, 1.0);
    let solver = SolverSpec::Rk45(Adaptive::new(1e-5, 1e-5));
    let error =
        solver.general().unwrap().solve(&Reverse { model: &broken, eta: 0.0 }, &VP, &start(), (1.0, 1e-3), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("can't go on"), "{error}");
}

#[test]
fn log_density_of_a_mixture_is_the_closed_form() {
    tch::set_num_threads(1);
    let t_min = 1e-5;
    let x = points(&mixture(), 1, 64);
    for (name, sde) in sdes() {
        let exact = exact(sde, &mixture());
        let flow = FlowWithLogDensity::new(&exact, vec![2], Probes::Exact);
        let state = flow.start(&x);
        let solver = SolverSpec::Rk45(Adaptive::new(1e-6, 1e-6));
        let (end, _) = solver.general().unwrap().solve(&flow, sde, &state, (t_min, sde.horizon()), &mut |_| {}).unwrap();
        let (x_end, change) = flow.split(&end);
        // Against the exact law at both ends, so that nothing but the solve is measured.
        let log_density = to_vec(&(exact.log_density(&x_end, &[sde.horizon(); 64]) - change.view(-1)));
        let truth = to_vec(&exact.log_density(&x, &[t_min; 64]));
        for (got, truth) in log_density.iter().zip(truth) {
            assert!((got - truth).abs() < 1e-4, "{name}: {got} is not {truth}");
        }
    }
}

#[test]
fn start_points_are_left_as_they_were() {
    let x = start();
    for solver in [SolverSpec::Euler { grid: uniform(3) }, SolverSpec::Rk45(Adaptive::new(1e-3, 1e-3))] {
        let _ = solver.general().unwrap().solve(&Decay, &VP, &x, (0.0, 1.0), &mut |_| {}).unwrap();
        assert_eq!(to_vec(&x), [1.0, 2.0]);
    }
}

#[test]
fn grids_are_monotone_and_keep_their_ends() {
    for (name, sde) in sdes() {
        for grid in [uniform(50), TimeGrid::Karras { steps: 50, rho: 7.0 }, TimeGrid::LogSnr { steps: 50 }] {
            let times = grid.times(sde, (sde.horizon(), 1e-5));
            assert_eq!((times.len(), times[0], times[50]), (51, sde.horizon(), 1e-5));
            assert!(times.windows(2).all(|w| w[1] < w[0]), "{name} {grid:?}");
        }
    }
}

/// What a solver is asked for.
#[derive(Clone, Copy)]
enum Task {
    ReverseSde,
    ProbabilityFlow,
    LogDensity,
}

fn check(solver: &SolverSpec, task: Task) -> Result<(), Fault> {
    match task {
        Task::ReverseSde => solver.sampler(1.0).map(drop),
        Task::ProbabilityFlow => solver.sampler(0.0).map(drop),
        Task::LogDensity => solver.general().map(drop),
    }
}

#[test]
fn unusable_settings_name_their_key() {
    let key = |spec: SolverSpec, task| check(&spec, task).unwrap_err().key;
    assert_eq!(key(SolverSpec::Rk45(Adaptive::new(1e-5, 1e-5)), Task::ReverseSde), "rk45");
    assert_eq!(key(SolverSpec::Rk45(Adaptive::new(0.0, 1e-5)), Task::LogDensity), "rk45.rtol");
    assert_eq!(key(SolverSpec::Tsit5(Adaptive::new(1e-5, f64::NAN)), Task::LogDensity), "tsit5.atol");
    assert_eq!(key(SolverSpec::Euler { grid: uniform(0) }, Task::ReverseSde), "euler.grid.uniform.steps");
    assert_eq!(key(SolverSpec::Heun { grid: TimeGrid::Karras { steps: 3, rho: 0.0 } }, Task::ReverseSde), "heun.grid.karras.rho");
    assert_eq!(key(SolverSpec::DpmSolverPp { order: 3, grid: uniform(2) }, Task::ReverseSde), "dpm-solver-pp.order");
    assert_eq!(key(SolverSpec::DpmSolverPp { order: 4, grid: uniform(9) }, Task::ReverseSde), "dpm-solver-pp.order");
    assert_eq!(key(SolverSpec::DpmSolverPp { order: 1, grid: uniform(9) }, Task::LogDensity), "dpm-solver-pp");
    let deis = |order, steps| SolverSpec::Deis { order, variable: DeisVariable::Time, grid: uniform(steps) };
    assert_eq!(key(deis(5, 9), Task::ReverseSde), "deis.order");
    assert_eq!(key(deis(4, 3), Task::ReverseSde), "deis.order");
    assert_eq!(key(SolverSpec::DpmSolver { order: 0, grid: uniform(9) }, Task::ProbabilityFlow), "dpm-solver.order");
    assert_eq!(key(SolverSpec::DpmSolverPpSingle { order: 3, grid: uniform(9) }, Task::LogDensity), "dpm-solver-pp-single");
    assert_eq!(check(&SolverSpec::DpmSolver { order: 3, grid: uniform(1) }, Task::ReverseSde), Ok(()));
    let unipc = SolverSpec::UniPc { order: 2, variant: UniPcVariant::Bh1, grid: uniform(9) };
    assert_eq!(key(unipc.clone(), Task::ReverseSde), "uni-pc");
    assert_eq!(check(&unipc, Task::ProbabilityFlow), Ok(()));
}

mod ancestors;
mod control;
mod edm;
mod elsewhere;
mod law;
mod norms;
mod song;
mod stochastic;
mod tableaus;
mod trajectory;
