use super::*;
use crate::sde::Ve;
use crate::testing::standard;

fn churn(s_churn: f64, steps: usize) -> Churn {
    Churn { s_churn, s_min: 0.0, s_max: f64::INFINITY, s_noise: 1.0, grid: TimeGrid::Karras { steps, rho: 7.0 } }
}

#[test]
fn without_churn_it_is_heun_in_the_noise_level() {
    tch::set_num_threads(1);
    for (name, sde) in sdes() {
        let exact = exact(sde, &mixture());
        let x = prior(sde, &[16, 2]);
        let solve = |solver: SolverSpec| {
            let reverse = Reverse { model: &exact, eta: 0.0 };
            solver.sample(&reverse, &Problem { x: &x, span: (sde.horizon(), 0.01), denoise: false }, &mut no_noise, &mut |_| {}).unwrap()
        };
        let truth = solve(SolverSpec::Dop853(Adaptive::new(1e-10, 1e-10))).0;
        let error = |steps| (solve(SolverSpec::Edm(churn(0.0, steps))).0 - &truth).square().mean(Kind::Double).sqrt().double_value(&[]);
        let slope = (error(80) / error(320)).log2() / 2.0;
        assert!((slope - 2.0).abs() < 0.2, "{name}: order 2 was measured as {slope}");
        assert_eq!(solve(SolverSpec::Edm(churn(0.0, 80))).1.evaluations, [160; 16]);
    }
}

#[test]
fn churn_asks_for_noise_where_it_may_and_stays_within_time() {
    tch::set_num_threads(1);
    let score = standard(&VP);
    let x = Tensor::ones([2, 2], (Kind::Double, Device::Cpu));
    let asked = |churn: Churn| {
        let mut asked = Vec::new();
        let mut noise = |n: usize| {
            asked.push(n);
            x.zeros_like()
        };
        let model = Counting::new(&score);
        let reverse = Reverse { model: &model, eta: 0.0 };
        let _ = SolverSpec::Edm(churn)
            .sample(&reverse, &Problem { x: &x, span: (1.0, 0.01), denoise: false }, &mut noise, &mut |_| {})
            .unwrap();
        assert!(model.times().iter().all(|t| (0.01..=1.0).contains(t)), "{:?}", model.times());
        asked
    };
    assert_eq!(asked(churn(0.0, 5)), [0usize; 0]);
    assert_eq!(asked(churn(3.0, 5)), [1, 2, 3, 4], "the first step starts where time ends");
    let levels: Vec<f64> = churn(3.0, 5).grid.times(&VP, (1.0, 0.01)).iter().map(|t| VP.sigma(*t) / VP.alpha(*t)).collect();
    assert_eq!(asked(Churn { s_min: levels[3] * 0.9, s_max: levels[2] * 1.1, ..churn(3.0, 5) }), [2, 3]);
}

#[test]
fn unusable_churn_names_its_key() {
    let key = |churn: Churn, task| key_of(SolverSpec::Edm(churn), task);
    let flow = Task::ProbabilityFlow;
    assert_eq!(key(Churn { s_churn: -1.0, ..churn(0.0, 5) }, flow), "edm.s_churn");
    assert_eq!(key(Churn { s_min: f64::NAN, ..churn(0.0, 5) }, flow), "edm.s_min");
    assert_eq!(key(Churn { s_min: 2.0, s_max: 1.0, ..churn(0.0, 5) }, flow), "edm.s_max");
    assert_eq!(key(Churn { s_noise: 0.0, ..churn(0.0, 5) }, flow), "edm.s_noise");
    assert_eq!(key(churn(1.0, 0), flow), "edm.grid.karras.steps");
    assert_eq!(key(churn(1.0, 5), Task::ReverseSde), "edm");
    assert_eq!(key(churn(1.0, 5), Task::LogDensity), "edm");
    assert_eq!(key_of(SolverSpec::Sra { grid: uniform(4) }, flow), "sra");
    assert_eq!(key_of(SolverSpec::Sra { grid: uniform(0) }, Task::ReverseSde), "sra.grid.uniform.steps");
    assert_eq!(key_of(SolverSpec::AdaptiveSde { rtol: 0.1, atol: 0.1 }, Task::LogDensity), "adaptive-sde");
    assert_eq!(key_of(SolverSpec::AdaptiveSde { rtol: 0.1, atol: 1.0 }, Task::ReverseSde), "adaptive-sde.atol");
}

fn key_of(solver: SolverSpec, task: Task) -> String {
    check(&solver, task).unwrap_err().key
}

#[test]
fn karras_times_are_the_published_ones() {
    // Karras et al. 2022, eq. 5, for N = 18, σ from 80 to 0.002, ρ = 7, written out.
    let (n, largest, smallest) = (18, 80f64, 0.002f64);
    let root = |sigma: f64| sigma.powf(1.0 / 7.0);
    let published: Vec<f64> =
        (0..n).map(|i| (root(largest) + f64::from(i) / f64::from(n - 1) * (root(smallest) - root(largest))).powi(7)).collect();
    // As published.
    let ve = Ve { sigma_min: smallest, sigma_max: largest };
    let times = TimeGrid::Karras { steps: 17, rho: 7.0 }.times(&ve, (1.0, 0.0));
    assert_eq!(times.len(), 18);
    for (t, sigma) in times.iter().zip(&published) {
        assert!((ve.sigma(*t) / sigma - 1.0).abs() < 1e-9, "{} is not {sigma}", ve.sigma(*t));
    }
    // The first few as numbers, to three digits.
    for (sigma, truth) in published.iter().zip([80.0, 57.6, 40.8, 28.4, 19.4, 12.9]) {
        assert!((sigma - truth).abs() < 0.05, "{sigma} is not {truth}");
    }
}

/// Under a linear score the variance of a churned sample is what the start leaves of it and s_noise² times what unit noise adds.
#[test]
fn s_noise_scales_the_fresh_noise() {
    tch::set_num_threads(1);
    let exact = exact(&VP, &gaussian(1, 0.0, 0.5f64.sqrt()));
    let variance = |s_noise: f64, start: f64| {
        let solver = SolverSpec::Edm(Churn { s_noise, ..churn(20.0, 12) });
        song::linear_law(&solver, Reverse { model: &exact, eta: 0.0 }, 1e-2, false, 12, (0.0, start)).1
    };
    let (from_start, added) = (variance(1.0, 1.0) - variance(1.0, 0.0), variance(1.0, 0.0));
    assert!(from_start > 0.0 && added > 0.1, "churn must matter here: {from_start}, {added}");
    for s_noise in [0.5, 1.007, 2.0] {
        let truth = from_start + s_noise * s_noise * added;
        assert!((variance(s_noise, 1.0) / truth - 1.0).abs() < 1e-12, "s_noise {s_noise}: {} is not {truth}", variance(s_noise, 1.0));
    }
}
