//! Samples follow the law of the data, solver by solver.

use super::*;
use crate::metric::{Energy, kolmogorov_smirnov};

#[test]
fn samples_follow_the_law_of_the_data() {
    tch::set_num_threads(1);
    for (name, sde) in SDES {
        let log_snr = |steps| TimeGrid::LogSnr { steps };
        let karras = |steps| TimeGrid::Karras { steps, rho: 7.0 };
        for (solver, eta) in [
            (SolverSpec::Euler { grid: uniform(400) }, 1.0),
            (SolverSpec::Euler { grid: uniform(400) }, 0.5),
            (SolverSpec::Heun { grid: log_snr(60) }, 1.0),
            (SolverSpec::Heun { grid: log_snr(80) }, 1.3),
            (SolverSpec::Midpoint { grid: log_snr(60) }, 1.0),
            (SolverSpec::Sra { grid: log_snr(60) }, 1.0),
            (SolverSpec::AdaptiveSde { rtol: 0.2, atol: 0.02 }, 1.0),
            (SolverSpec::Edm(Churn { s_churn: 20.0, s_min: 0.05, s_max: 50.0, s_noise: 1.0, grid: karras(40) }), 0.0),
            (SolverSpec::DpmSolverPp { order: 1, grid: log_snr(150) }, 1.0),
            (SolverSpec::DpmSolverPp { order: 2, grid: log_snr(50) }, 1.0),
            (SolverSpec::DpmSolverPp { order: 3, grid: log_snr(50) }, 0.5),
            (SolverSpec::DpmSolver { order: 2, grid: log_snr(60) }, 1.0),
            (SolverSpec::DpmSolverPpSingle { order: 3, grid: log_snr(30) }, 1.0),
            (SolverSpec::DpmSolverPpSingle { order: 2, grid: log_snr(40) }, 0.5),
            (SolverSpec::Deis { order: 2, variable: DeisVariable::NoiseToSignal, grid: log_snr(100) }, 1.0),
            (SolverSpec::DpmSolver { order: 3, grid: log_snr(10) }, 0.0),
            (SolverSpec::DpmSolverPpSingle { order: 3, grid: log_snr(10) }, 0.0),
            (SolverSpec::Deis { order: 3, variable: DeisVariable::Time, grid: log_snr(20) }, 0.0),
            (SolverSpec::Heun { grid: TimeGrid::Karras { steps: 30, rho: 7.0 } }, 0.0),
            (SolverSpec::Euler { grid: log_snr(300) }, 0.0),
            (SolverSpec::Rk4 { grid: log_snr(30) }, 0.0),
            (SolverSpec::Rk23(Adaptive::new(1e-3, 1e-3)), 0.0),
            (SolverSpec::Rk45(Adaptive::new(1e-4, 1e-4)), 0.0),
            (SolverSpec::Tsit5(Adaptive::new(1e-4, 1e-4)), 0.0),
            (SolverSpec::Tsit5(Adaptive { control: Control::Pi, ..Adaptive::new(1e-4, 1e-4) }), 0.0),
            (SolverSpec::Dop853(Adaptive::new(1e-4, 1e-4)), 0.0),
            (SolverSpec::DpmSolverPp { order: 1, grid: log_snr(150) }, 0.0),
            (SolverSpec::DpmSolverPp { order: 2, grid: log_snr(20) }, 0.0),
            (SolverSpec::DpmSolverPp { order: 3, grid: log_snr(20) }, 0.0),
            (SolverSpec::UniPc { order: 2, variant: UniPcVariant::Bh1, grid: log_snr(20) }, 0.0),
            (SolverSpec::UniPc { order: 3, variant: UniPcVariant::Bh2, grid: log_snr(20) }, 0.0),
        ] {
            assert_law(name, sde, &solver, eta);
        }
    }
}

/// Samples of the mixture follow its law: with n = 4000 samples the Kolmogorov-Smirnov distance of each marginal is below 1.95 / √n, the 0.1 %
/// point, and the energy distance below 0.006, which a shift of both components by 0.1 in each coordinate exceeds.
pub(super) fn assert_law(name: &str, sde: &dyn Sde, solver: &SolverSpec, eta: f64) {
    let n = 4000;
    let exact = ExactScore::new(sde, &mixture(), Device::Cpu);
    // One stream for the whole batch, which is quicker.
    let normal = |purpose, draw| rng::rows(Law::Gaussian, 3, purpose, 0..1, draw, &[n, 2], Device::Cpu).get(0).to_kind(Kind::Double);
    let x = normal(Purpose::Prior, 0) * sde.prior_std();
    let mut noise = |draw: usize| normal(Purpose::Brownian, draw as u64);
    let reverse = Reverse { model: &exact, eta };
    let (x, _) = solver.sample(&reverse, &Problem { x: &x, span: (1.0, 1e-3), denoise: false }, &mut noise, &mut |_| {}).unwrap();
    let (marginal, energy) = distances(&x);
    let settings = toml::Value::try_from(solver).unwrap();
    let case = format!("| {settings} | {eta} | {name} | {marginal:.3} | {energy:.1e} |");
    println!("{case}");
    assert!(marginal < 1.95 / (n as f64).sqrt(), "{case}");
    assert!(energy < 0.006, "{case}");
}

/// n points from the mixture [n, 2].
fn points(seed: u64, n: i64) -> Tensor {
    let factored = mixture().factored();
    let mut rng = rng::generator(seed, Purpose::Data, 0);
    Tensor::from_slice(&(0..n).flat_map(|_| factored.sample(&mut rng)).collect::<Vec<f64>>()).view([n, 2])
}

/// The largest Kolmogorov-Smirnov distance of a marginal, and the energy distance, of points from the mixture.
fn distances(x: &Tensor) -> (f64, f64) {
    thread_local! {
        static DATA: Energy = Energy::new(&points(4, 2000));
    }
    let truth = mixture();
    (kolmogorov_smirnov(x, |axis, value| truth.marginal_cdf(axis, value, 1.0, 0.0)), DATA.with(|data| data.distance(x).value))
}

#[test]
fn the_distances_see_a_small_shift() {
    tch::set_num_threads(1);
    let x = points(5, 4000);
    let (marginal, energy) = distances(&x);
    assert!(marginal < 1.95 / 4000f64.sqrt() && energy < 0.003, "{marginal}, {energy}");
    let (marginal, energy) = distances(&(x + 0.1));
    assert!(marginal > 1.95 / 4000f64.sqrt() && energy > 0.006, "{marginal}, {energy}");
}

/// The reference's sampler, 1000 predictions and 1000 corrections, is reached by 20 evaluations.
#[test]
fn twenty_evaluations_are_as_good_as_the_two_thousand_of_predictor_and_corrector() {
    tch::set_num_threads(1);
    let n = 4000;
    for (name, sde) in SDES {
        let exact = ExactScore::new(sde, &mixture(), Device::Cpu);
        let normal = |purpose, draw| rng::rows(Law::Gaussian, 8, purpose, 0..1, draw, &[n, 2], Device::Cpu).get(0).to_kind(Kind::Double);
        let x = normal(Purpose::Prior, 0) * sde.prior_std();
        let solve = |solver: &SolverSpec, eta| {
            let reverse = Reverse { model: &exact, eta };
            let problem = Problem { x: &x, span: (1.0, 1e-3), denoise: false };
            let mut noise = |draw: usize| normal(Purpose::Brownian, draw as u64);
            solver.sample(&reverse, &problem, &mut noise, &mut |_| {}).unwrap()
        };
        let corrector = Corrector::Langevin { steps: 1, snr: 0.16, norms: Norms::Batch, alpha: StepFactor::Chain };
        let reference = PredictorCorrector { steps: 1000, predictor: Predictor::ReverseDiffusion, corrector };
        let (slow, cost) = solve(&SolverSpec::PredictorCorrector(reference), 1.0);
        assert_eq!(cost.evaluations[0], 2000);
        let (fast, cost) = solve(&SolverSpec::DpmSolverPp { order: 3, grid: TimeGrid::LogSnr { steps: 20 } }, 0.0);
        assert_eq!(cost.evaluations[0], 20);
        let ((slow_marginal, slow_energy), (marginal, energy)) = (distances(&slow), distances(&fast));
        println!(
            "{name}: 2000 evaluations KS {slow_marginal:.4}, energy {slow_energy:.1e}; 20 evaluations KS {marginal:.4}, energy {energy:.1e}"
        );
        // What chance leaves of the distances of 4000 points of the very law.
        assert!(marginal < slow_marginal.max(1.36 / (n as f64).sqrt()), "{name}: {marginal} is not {slow_marginal}");
        assert!(energy < slow_energy.max(0.001), "{name}: {energy} is not {slow_energy}");
    }
}
