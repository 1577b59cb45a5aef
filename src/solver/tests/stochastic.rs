use super::*;
use crate::solver::sra;

/// dx = -x dt + g(t) dw, g(t) = 0.5 + t: noise that depends on time.
struct Swelling;
impl Dynamics for Swelling {
    fn drift(&self, at: &At) -> Tensor {
        let At { x, .. } = *at;
        -x
    }
    fn diffusion(&self, t: f64) -> f64 {
        0.5 + t
    }
}

const PATHS: i64 = 400;
const FINE: usize = 4096;

/// Increments [steps, paths] of one fine Brownian path on [0, 1] for each row.
fn fine_increments() -> Tensor {
    let z = rng::rows(Law::Gaussian, 1, Purpose::Brownian, 0..PATHS as u64, 0, &[FINE as i64], Device::Cpu).to_kind(Kind::Double);
    z * (1.0 / FINE as f64).sqrt()
}

/// ΔW and ∫ (w_s - w_t) ds of each step of a path that `steps` steps see, [paths, steps] both.
fn increments_and_areas(fine: &Tensor, steps: usize) -> (Tensor, Tensor) {
    let group = (FINE / steps) as i64;
    let fine = fine.view([PATHS, steps as i64, group]);
    // The increment of part j counts for the rest of the step and half of its own part.
    let weights = (Tensor::arange(group, (Kind::Double, Device::Cpu)) * -1.0 + (group as f64 - 0.5)) / FINE as f64;
    let total = |x: &Tensor| x.sum_dim_intlist(2i64, false, None::<Kind>);
    (total(&fine), total(&(fine * weights)))
}

/// The exact solution at t = 1 from 1 at t = 0: e^-1 + ∫ e^(s - 1) g(s) dw_s.
fn exact_end(fine: &Tensor) -> Tensor {
    let middle = (Tensor::arange(FINE as i64, (Kind::Double, Device::Cpu)) + 0.5) / FINE as f64;
    let factor = (&middle - 1.0).exp() * (&middle + 0.5);
    (fine * factor).sum_dim_intlist(1i64, true, None::<Kind>) + (-1f64).exp()
}

/// dx = -sin 2x dt + g(t) dw, with the same g.
struct Swinging;
impl Dynamics for Swinging {
    fn drift(&self, at: &At) -> Tensor {
        let At { x, .. } = *at;
        -(x * 2.0).sin()
    }
    fn diffusion(&self, t: f64) -> f64 {
        Swelling.diffusion(t)
    }
}

/// The state at t = 1 from 1 at t = 0 by a method on a grid of so many steps, on the fine path.
fn solve_on(fine: &Tensor, dynamics: &dyn Dynamics, tableau: Option<&Tableau>, steps: usize) -> Tensor {
    let (increments, areas) = increments_and_areas(fine, steps);
    let h = 1.0 / steps as f64;
    let column = |x: &Tensor, n: usize| x.narrow(1, n as i64, 1);
    let start = Tensor::ones([PATHS, 1], (Kind::Double, Device::Cpu));
    let times = uniform(steps).times(&VP, (0.0, 1.0));
    match tableau {
        Some(tableau) => {
            let mut noise = |n: usize| column(&increments, n) / h.sqrt();
            fixed::solve(tableau, dynamics, &start, &times, Some(&mut noise), &mut |_| {}).0
        }
        None => {
            // The second draw of a step is what the area has beyond the increment.
            let mut noise = |k: usize| match k % 2 {
                0 => column(&increments, k / 2) / h.sqrt(),
                _ => (column(&areas, k / 2) * (2.0 / h) - column(&increments, k / 2)) / (h / 3.0).sqrt(),
            };
            sra::solve(dynamics, &start, &times, &mut noise, &mut |_| {}).0
        }
    }
}

#[test]
fn stochastic_solvers_have_their_strong_order_with_noise_that_depends_on_time() {
    tch::set_num_threads(1);
    let fine = fine_increments();
    // A linear drift leaves SRA no error of order 1.5, only of order 2.
    let linear = exact_end(&fine);
    let curved = solve_on(&fine, &Swinging, None, 2048);
    for (dynamics, truth, sra) in [(&Swelling as &dyn Dynamics, linear, 2.0), (&Swinging, curved, 1.5)] {
        let error = |tableau, steps| root_mean_square(&(solve_on(&fine, dynamics, tableau, steps) - &truth));
        for (tableau, order) in [(Some(&EULER), 1.0), (Some(&HEUN), 1.0), (None, sra)] {
            let slope = (error(tableau, 16) / error(tableau, 128)).log2() / 3.0;
            assert!((slope - order).abs() < 0.15, "strong order {order} was measured as {slope}");
        }
        assert!(error(None, 32) < 0.2 * error(Some(&HEUN), 32));
    }
}

#[test]
fn means_and_variances_have_the_weak_order() {
    // Both are polynomials in the draws, so that they follow without sampling: the solution is linear in the start and in each draw.
    tch::set_num_threads(1);
    let moments = |solver: &SolverSpec, steps: usize, draws: usize| {
        let total = draws * steps;
        // Row 0 has no noise; row i one unit of draw i.
        let start = Tensor::ones([total as i64 + 1, 1], (Kind::Double, Device::Cpu));
        let units = Tensor::eye(total as i64 + 1, (Kind::Double, Device::Cpu));
        let mut noise = |k: usize| units.narrow(1, k as i64 + 1, 1);
        let end = to_vec(&solver.stochastic().unwrap().solve(&Swelling, &VP, &start, (0.0, 1.0), &mut noise, &mut |_| {}).unwrap().0);
        (end[0], end[1..].iter().map(|x| (x - end[0]).powi(2)).sum::<f64>())
    };
    // ∫ e^(2 (s - 1)) (0.5 + s)² ds = [e^(2 (s - 1)) (s² / 2 + 1 / 8)] between 0 and 1.
    let truth = ((-1f64).exp(), 0.625 - 0.125 * (-2f64).exp());
    let cases: [(f64, usize, WithSteps); 3] = [
        (1.0, 1, Box::new(|n| SolverSpec::Euler { grid: uniform(n) })),
        (2.0, 1, Box::new(|n| SolverSpec::Heun { grid: uniform(n) })),
        (2.0, 2, Box::new(|n| SolverSpec::Sra { grid: uniform(n) })),
    ];
    for (order, draws, solver) in cases {
        let errors = |steps| {
            let (mean, variance) = moments(&solver(steps), steps, draws);
            [(mean - truth.0).abs(), (variance - truth.1).abs()]
        };
        let (coarse, fine) = (errors(32), errors(128));
        for i in 0..2 {
            let slope = (coarse[i] / fine[i]).log2() / 2.0;
            assert!((slope - order).abs() < 0.15, "{:?}: weak order {order} was measured as {slope}", solver(32));
        }
    }
}

#[test]
fn adaptive_paths_are_brownian_and_stay_where_they_were_looked_at() {
    use crate::solver::adaptive_sde::Paths;
    tch::set_num_threads(1);
    let n = 20_000;
    let normal = |k| rng::rows(Law::Gaussian, 2, Purpose::Brownian, 0..n, k, &[1], Device::Cpu).to_kind(Kind::Double);
    let mut paths = Paths::new(&normal(0), 0.0);
    let all = |t: f64| vec![t; n as usize];
    let far = paths.increments(&all(1.0), &normal(1));
    let near = paths.increments(&all(0.3), &normal(2));
    let again = paths.increments(&all(1.0), &normal(3));
    assert!(largest(&(&far - &again)) < 1e-12, "what was seen stays");
    (0..n as usize).for_each(|i| paths.advance(i, 0.3));
    let between = paths.increments(&all(0.6), &normal(4));
    let rest = paths.increments(&all(1.0), &normal(5));
    assert!(largest(&(&rest + &near - &far)) < 1e-12, "steps add up");
    let beyond = paths.increments(&all(1.5), &normal(6));
    let mean = |x: Tensor| x.mean(Kind::Double).double_value(&[]);
    let independent = [&near, &between, &(&rest - &between), &(&beyond - &rest)];
    for (i, (a, length)) in independent.iter().zip([0.3, 0.3, 0.4, 0.5]).enumerate() {
        assert!((mean(a.square()) / length - 1.0).abs() < 0.04, "increment {i}");
        for b in &independent[..i] {
            assert!(mean(*a * *b).abs() < 0.012);
        }
    }
}

#[test]
fn an_adaptive_sde_example_is_the_same_alone_and_in_any_batch() {
    tch::set_num_threads(1);
    for (name, sde) in sdes() {
        let exact = exact(sde, &mixture());
        let x = prior(sde, &[16, 2]);
        let solver = SolverSpec::AdaptiveSde { rtol: 0.05, atol: 0.01 };
        let solve = |first: u64, rows: u64| {
            let mut noise = |n: usize| rng::rows(Law::Gaussian, 3, Purpose::Brownian, first..first + rows, n as u64, &[2], Device::Cpu);
            let reverse = Reverse { model: &exact, eta: 1.0 };
            solver
                .sample(
                    &reverse,
                    &Problem { x: &x.narrow(0, first as i64, rows as i64), span: (1.0, 1e-3), denoise: false },
                    &mut noise,
                    &mut |_| {},
                )
                .unwrap()
        };
        let (together, statistics) = solve(0, 16);
        assert!(statistics.accepted.iter().min() < statistics.accepted.iter().max(), "{name}: the test needs examples that differ");
        assert!(statistics.rejected.iter().sum::<u32>() > 0, "{name}: the test needs rejected steps");
        for i in [0, 3, 7, 11, 15] {
            let (alone, own) = solve(i, 1);
            let distance = largest(&(alone - together.narrow(0, i as i64, 1)));
            assert!(distance < 1e-10, "{name}: {distance}");
            assert_eq!((own.accepted[0], own.rejected[0]), (statistics.accepted[i as usize], statistics.rejected[i as usize]), "{name}");
            assert_eq!(own.evaluations[0], 2 * (own.accepted[0] + own.rejected[0]));
        }
    }
}

#[test]
fn an_adaptive_sde_that_can_not_go_on_is_an_error_wherever_it_stops() {
    tch::set_num_threads(1);
    let broken = broken_below(&VP, 0.3);
    let mut noise = |n: usize| rng::rows(Law::Gaussian, 3, Purpose::Brownian, 0..2, n as u64, &[1], Device::Cpu);
    let reverse = Reverse { model: &broken, eta: 1.0 };
    let solver = SolverSpec::AdaptiveSde { rtol: 0.05, atol: 0.01 };
    let error = solver.sample(&reverse, &Problem { x: &start(), span: (1.0, 1e-3), denoise: false }, &mut noise, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("can't go on") && error.to_string().contains("t = 0.3"), "{error}");
}
