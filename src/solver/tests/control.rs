use super::*;

/// What 64 examples of VP's probability flow cost with a control: all evaluations, all rejected steps; and the distance from the truth.
fn cost(control: Control) -> (u32, u32, f64) {
    let exact = exact(&VP, &mixture());
    let x = prior(&VP, &[64, 2]);
    let solve = |adaptive| {
        let reverse = Reverse { model: &exact, eta: 0.0 };
        SolverSpec::Rk45(adaptive)
            .sample(&reverse, &Problem { x: &x, span: (1.0, 1e-3), denoise: false }, &mut no_noise, &mut |_| {})
            .unwrap()
    };
    let truth = solve(Adaptive::new(1e-10, 1e-10)).0;
    let (x, cost) = solve(Adaptive { control, ..Adaptive::new(1e-5, 1e-5) });
    (cost.evaluations.iter().sum(), cost.rejected.iter().sum(), root_mean_square(&(x - truth)))
}

#[test]
fn own_steps_cost_less_than_common_ones_and_pi_rejects_fewer() {
    tch::set_num_threads(1);
    let [own, pi, coupled] = [Control::PerExample, Control::Pi, Control::BatchCoupled].map(cost);
    println!("evaluations, rejected steps, distance: per example {own:?}, pi {pi:?}, batch-coupled {coupled:?}");
    assert!(f64::from(own.0) < 0.9 * f64::from(coupled.0));
    assert!(f64::from(pi.1) < 0.8 * f64::from(own.1) && pi.0 < own.0);
    assert!([own, pi, coupled].iter().all(|(_, _, distance)| *distance < 2e-4));
    // What these constants cost: a safety of 0.85 or 0.95, or a β of 0.1 or 0.3 / (q + 1), is off by more.
    for (name, (evaluations, rejected, _), truth) in [("own", own, (4112, 227)), ("pi", pi, (3842, 159)), ("coupled", coupled, (5120, 320))]
    {
        assert!(
            f64::from(evaluations.abs_diff(truth.0)) < 0.004 * f64::from(truth.0),
            "{name}: {evaluations} evaluations, not {}",
            truth.0
        );
        assert!(rejected.abs_diff(truth.1) < 5, "{name}: {rejected} rejected steps, not {}", truth.1);
    }
}

#[test]
fn a_coupled_batch_is_one_long_example() {
    tch::set_num_threads(1);
    let coupled = Adaptive { control: Control::BatchCoupled, ..Adaptive::new(1e-6, 1e-6) };
    let x = Tensor::from_slice(&[1.0, 2.0, -0.5, 30.0]).view([2, 2]);
    let solve =
        |adaptive, x: &Tensor| SolverSpec::Tsit5(adaptive).general().unwrap().solve(&Decay, &VP, x, (0.0, 2.0), &mut |_| {}).unwrap();
    let (batch, cost) = solve(coupled, &x);
    let (long, own) = solve(Adaptive::new(1e-6, 1e-6), &x.view([1, 4]));
    assert_eq!(to_vec(&batch), to_vec(&long));
    assert_eq!(cost.accepted, [own.accepted[0]; 2]);
}

#[test]
fn a_state_keeps_its_kind_whatever_the_score_computes_in() {
    tch::set_num_threads(1);
    let single = Formula::new(&VP, |x, _| -x.to_kind(Kind::Float));
    for solver in [
        SolverSpec::Rk45(Adaptive { control: Control::BatchCoupled, ..Adaptive::new(1e-5, 1e-5) }),
        SolverSpec::Heun { grid: uniform(3) },
        SolverSpec::DpmSolverPp { order: 1, grid: uniform(3) },
    ] {
        let reverse = Reverse { model: &single, eta: 0.0 };
        let (x, _) =
            solver.sample(&reverse, &Problem { x: &start(), span: (1.0, 0.1), denoise: false }, &mut no_noise, &mut |_| {}).unwrap();
        assert_eq!(x.kind(), Kind::Double, "{solver:?}");
    }
}
