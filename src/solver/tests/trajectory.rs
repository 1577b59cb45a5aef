use super::*;
use crate::solver::trajectory::Trajectory;

/// The exact flow at `times` from x at t = 1: a solve for each, with a tolerance beyond all others here.
fn truth(reverse: impl Fn() -> Reverse<'static>, x: &Tensor, times: &[f64]) -> Tensor {
    let solver = SolverSpec::Dop853(Adaptive::new(1e-11, 1e-11));
    let to = |&t: &f64| match t {
        1.0 => x.copy(),
        _ => solver.sample(&reverse(), &Problem { x, span: (1.0, t), denoise: false }, &mut no_noise, &mut |_| {}).unwrap().0,
    };
    Tensor::stack(&times.iter().map(to).collect::<Vec<_>>(), 0)
}

/// A reverse process of VP with the exact score, and start points.
fn world(eta: f64) -> (impl Fn() -> Reverse<'static>, Tensor) {
    tch::set_num_threads(1);
    let exact: &'static ExactScore = Box::leak(Box::new(exact(&VP, &mixture())));
    let x = prior(&VP, &[8, 2]);
    (move || Reverse { model: exact, eta }, x)
}

#[test]
fn states_between_steps_have_the_order_of_their_interpolant() {
    let (reverse, x) = world(0.0);
    let times = [1.0, 0.83, 0.61, 0.437, 0.2];
    let truth = truth(&reverse, &x, &times);
    let grid = |steps| TimeGrid::LogSnr { steps };
    let cases: [(f64, WithSteps); 6] = [
        (1.0, Box::new(move |n| SolverSpec::Euler { grid: grid(n) })),
        (2.0, Box::new(move |n| SolverSpec::Heun { grid: grid(n) })),
        (4.0, Box::new(move |n| SolverSpec::Rk4 { grid: grid(n) })),
        (1.0, Box::new(move |n| SolverSpec::DpmSolverPp { order: 1, grid: grid(n) })),
        (3.0, Box::new(move |n| SolverSpec::DpmSolverPp { order: 3, grid: grid(n) })),
        (3.0, Box::new(move |n| SolverSpec::UniPc { order: 3, variant: UniPcVariant::Bh2, grid: grid(n) })),
    ];
    for (order, solver) in cases {
        let error = |steps| {
            let mut trajectory = Trajectory::new(&times, &x, 1.0);
            let _ = solver(steps)
                .sample(&reverse(), &Problem { x: &x, span: (1.0, 0.1), denoise: false }, &mut no_noise, &mut |step| {
                    trajectory.record(step)
                })
                .unwrap();
            assert!(trajectory.reached.iter().zip(times).all(|(row, t)| row.iter().all(|reached| *reached == t)));
            largest(&(trajectory.states - &truth))
        };
        let slope = (error(60) / error(240)).log2() / 2.0;
        assert!(slope > order - 0.35, "{:?} has order {order}, between its steps {slope}", solver(60));
    }
}

#[test]
fn states_between_adaptive_steps_are_as_good_as_the_steps() {
    let (reverse, x) = world(0.0);
    let times = [0.83, 0.61, 0.437, 0.2];
    let truth = truth(&reverse, &x, &times);
    for control in [Control::PerExample, Control::Pi, Control::BatchCoupled] {
        let adaptive = Adaptive { control, ..Adaptive::new(1e-6, 1e-6) };
        for (solver, extra) in [
            (SolverSpec::Rk23(adaptive), 0),
            (SolverSpec::Rk45(adaptive), 0),
            (SolverSpec::Tsit5(adaptive), 0),
            (SolverSpec::Dop853(adaptive), 3),
        ] {
            let mut trajectory = Trajectory::new(&times, &x, 1.0);
            let (end, cost) = solver
                .sample(&reverse(), &Problem { x: &x, span: (1.0, 0.1), denoise: false }, &mut no_noise, &mut |step| {
                    trajectory.record(step)
                })
                .unwrap();
            let error = largest(&(trajectory.states - &truth));
            assert!(error < 5e-5, "{solver:?}: {error:e}");
            let (same, least) =
                solver.sample(&reverse(), &Problem { x: &x, span: (1.0, 0.1), denoise: false }, &mut no_noise, &mut |_| {}).unwrap();
            assert_eq!(to_vec(&end), to_vec(&same), "asking changes no sample");
            assert!(cost.evaluations.iter().zip(&least.evaluations).all(|(a, b)| a - b <= extra * 4 && (extra == 0 || a > b)));
        }
    }
}

#[test]
fn a_path_with_noise_is_told_where_the_grid_is() {
    let (reverse, x) = world(1.0);
    let noise = |step: usize| rng::rows(Law::Gaussian, 3, Purpose::Brownian, 0..8, step as u64, &[2], Device::Cpu).to_kind(Kind::Double);
    for solver in [SolverSpec::Heun { grid: uniform(9) }, SolverSpec::DpmSolverPp { order: 2, grid: uniform(9) }] {
        let mut trajectory = Trajectory::new(&[1.0, 0.55, 0.2], &x, 1.0);
        let mut states = Vec::new();
        let mut watch = |step: &Step| {
            trajectory.record(step);
            states.push((step.state)(&[0, 1, 2, 3, 4, 5, 6, 7], &step.to));
        };
        let (end, _) = solver.sample(&reverse(), &Problem { x: &x, span: (1.0, 0.1), denoise: false }, &mut { noise }, &mut watch).unwrap();
        for (j, t) in [1.0, 0.5, 0.2].into_iter().enumerate() {
            assert!(trajectory.reached[j].iter().all(|reached| (reached - t).abs() < 1e-12), "{:?}", trajectory.reached);
        }
        assert_eq!(to_vec(&trajectory.states.get(0)), to_vec(&x));
        assert_eq!(to_vec(&trajectory.states.get(1)), to_vec(&states[4]));
        assert_eq!(to_vec(&end), to_vec(&states[8]));
    }
}

#[test]
fn interpolants_join_the_ends_and_integrate_polynomials() {
    for (tableau, order) in [(&EULER, 1), (&HEUN, 2), (&RK4, 3), (&RK23, 3), (&RK45, 4), (&TSIT5, 4), (&DOP853, 7)] {
        // The stages' places; for a quadrature x' = t^(p - 1), Σ b_i(θ) c_i^(p - 1) = θ^p / p.
        let places: Vec<f64> = tableau.c.iter().chain(&[1.0]).chain(tableau.extra_c).copied().collect();
        for theta in [0.0, 0.3, 0.8, 1.0] {
            let weights = tableau.interpolate(theta);
            for p in 1..=order {
                let sum: f64 = weights.iter().zip(&places).map(|(w, c)| w * c.powi(p - 1)).sum();
                assert!((sum - theta.powi(p) / f64::from(p)).abs() < 1e-12, "order {p} at {theta}: {sum}");
            }
        }
        let end = tableau.interpolate(1.0);
        assert!(tableau.b.iter().zip(&end).all(|(b, w)| (b - w).abs() < 1e-12));
    }
}
