//! Predictor-corrector, annealed Langevin and the discrete chain.

use super::*;
use crate::model::{MeanSquares, Measured};
use crate::sde::Level;
use crate::testing::{SUB_VP, VE, constant};

fn langevin(snr: f64, norms: Norms) -> Corrector {
    Corrector::Langevin { steps: 1, snr, norms, alpha: StepFactor::Chain }
}

fn pc(steps: usize, predictor: Predictor, corrector: Corrector) -> SolverSpec {
    SolverSpec::PredictorCorrector(PredictorCorrector { steps, predictor, corrector })
}

pub(super) fn chain(levels: usize, steps: usize, spacing: Spacing, variance: Variance) -> SolverSpec {
    SolverSpec::DiscreteChain(DiscreteChain { levels, steps, spacing, variance })
}

fn ancestral(variance: Variance) -> Predictor {
    Predictor::Ancestral { variance }
}

/// Draw k of a solve.
fn draw(k: usize, shape: &[i64]) -> Tensor {
    normal(k as u64, shape)
}

/// Those whose samples must follow the law of the data under a process, with their η.
pub(super) fn cases(name: &str, sde: &dyn Sde) -> Vec<(SolverSpec, f64)> {
    let annealed = |snr, alpha| Corrector::AnnealedLangevin { steps: 1, snr, alpha };
    let batch = |snr| langevin(snr, Norms::Batch);
    let epsilon = 0.2 * (-sde.log_snr(1e-3)).exp();
    // Equal steps in t are long ones where these paths begin or end.
    let times = if matches!(name, "linear" | "formula" | "edm") { 3 } else { 1 };
    let pc = |steps: usize, predictor, corrector| pc(times * steps, predictor, corrector);
    let mut cases = vec![
        (pc(200, Predictor::EulerMaruyama, Corrector::None), 1.0),
        (pc(200, Predictor::EulerMaruyama, Corrector::None), 0.5),
        (pc(200, Predictor::EulerMaruyama, annealed(0.1, StepFactor::One)), 1.0),
        (pc(100, Predictor::ReverseDiffusion, batch(0.16)), 1.0),
        (pc(100, Predictor::ReverseDiffusion, annealed(0.2, StepFactor::Chain)), 0.5),
        (pc(200, Predictor::EulerMaruyama, batch(0.1)), 0.0),
        (pc(200, Predictor::None, Corrector::Langevin { steps: 2, snr: 0.2, norms: Norms::Batch, alpha: StepFactor::One }), 1.0),
        (SolverSpec::AnnealedLangevin(AnnealedLangevin { levels: 100, steps_per_level: 16, epsilon }), 1.0),
    ];
    // Where f and g² grow fast towards t = 1, the first steps would have to be shorter, as little or no noise makes good what they do.
    if !matches!(name, "cosine" | "linear" | "formula" | "table") {
        cases.push((pc(300, Predictor::ReverseDiffusion, Corrector::None), 0.0));
    }
    if !matches!(name, "linear" | "formula") {
        cases.push((pc(300, Predictor::ReverseDiffusion, Corrector::None), 0.5));
    }
    if chained().iter().any(|(chained, _)| *chained == name) {
        let variance = if name == "ve" { Variance::BetaTilde } else { Variance::Beta };
        cases.push((pc(100, ancestral(variance), batch(0.16)), 1.0));
        cases.extend([
            (chain(200, 100, Spacing::Linear, Variance::BetaTilde), 0.0),
            (chain(200, 100, Spacing::Linear, Variance::BetaTilde), 0.5),
            (chain(200, 100, Spacing::Quadratic, Variance::BetaTilde), 1.0),
            (chain(200, 200, Spacing::Linear, Variance::Beta), 1.0),
        ]);
    }
    cases
}

#[test]
fn per_example_norms_follow_the_law_of_data_with_many_dimensions() {
    // Where the norms of score and noise hardly vary; in two dimensions the step depends on the example so much that the law is another.
    tch::set_num_threads(1);
    let (n, d) = (75, 256);
    let variance = 0.5f64;
    let data = gaussian(d, 0.3, variance.sqrt());
    for (name, sde) in sdes() {
        let exact = exact(sde, &data);
        let shape = [n, d as i64];
        let x = prior(sde, &shape);
        let reverse = Reverse { model: &exact, eta: 1.0 };
        let solver = pc(100, Predictor::ReverseDiffusion, langevin(0.16, Norms::PerExample));
        let (x, _) =
            solver.sample(&reverse, &Problem { x: &x, span: (1.0, 1e-3), denoise: true }, &mut |k| draw(k, &shape), &mut |_| {}).unwrap();
        let (mean, deviation) = (x.mean(None).double_value(&[]), x.std(true).double_value(&[]));
        println!("{name}: mean {mean:.4}, deviation {:.4} of the truth", deviation / variance.sqrt());
        assert!((mean - 0.3).abs() < 0.03, "{name}: mean {mean}");
        assert!((deviation / variance.sqrt() - 1.0).abs() < 0.04, "{name}: deviation {deviation}");
    }
}

#[test]
fn per_example_norms_make_a_sample_the_same_in_any_batch() {
    tch::set_num_threads(1);
    for (name, sde) in sdes() {
        let exact = exact(sde, &mixture());
        let difference = |solver: &SolverSpec| {
            let solve = |first: i64, n: i64| {
                let rows = |k| draw(k, &[6, 2]).narrow(0, first, n);
                let reverse = Reverse { model: &exact, eta: 1.0 };
                let x = rows(1000) * sde.prior_std();
                let problem = Problem { x: &x, span: (1.0, 1e-3), denoise: false };
                solver.sample(&reverse, &problem, &mut { rows }, &mut |_| {}).unwrap().0
            };
            let alone = Tensor::cat(&[solve(0, 1), solve(1, 1), solve(2, 4)], 0);
            largest(&(alone - solve(0, 6)))
        };
        let solver = |norms| pc(20, Predictor::EulerMaruyama, langevin(0.1, norms));
        assert!(difference(&solver(Norms::PerExample)) < 1e-10, "{name}");
        assert!(difference(&solver(Norms::Batch)) > 1e-3, "{name}");
        assert!(solver(Norms::Batch).couples_batch() && !solver(Norms::PerExample).couples_batch());
    }
}

#[test]
fn corrector_steps_have_their_size() {
    let (t, steps, snr) = (0.37, 100, 0.2);
    let row = |values: [f64; 2]| Tensor::from_slice(&values).view([1, 2]);
    let (score, z) = (row([3.0, 0.0]), row([0.0, 4.0]));
    let beta = |t: f64| 0.1 + 19.9 * t;
    for (name, sde) in sdes() {
        // VP: 1 - β of the level at t or before; without a chain the square of Euler's 1 + f(t) dt (sub-VP: the reference has no `alphas`).
        let chain: f64 = match name {
            "vp" => 1.0 - beta(36.0 / 99.0) / 100.0,
            "ve" => 1.0,
            "sub-vp" => (1.0 + sde.drift(t) / 100.0).powi(2),
            _ => (1.0 + sde.discretised(t, steps).0).powi(2),
        };
        for (alpha, factor) in [(StepFactor::Chain, chain), (StepFactor::One, 1.0)] {
            let norm = |norms| Corrector::Langevin { steps: 1, snr, norms, alpha };
            let cases = [
                (norm(Norms::Batch), snr * 4.0 / 3.0),
                (norm(Norms::PerExample), snr * 4.0 / 3.0),
                (Corrector::AnnealedLangevin { steps: 1, snr, alpha }, snr * sde.sigma(t)),
            ];
            for (corrector, ratio) in cases {
                let h = 2.0 * factor * ratio * ratio;
                let model = constant(sde, score.shallow_clone());
                let reverse = Reverse { model: &model, eta: 1.0 };
                let moved = corrector.correct(&reverse, &row([1.0, 2.0]), t, steps, || z.shallow_clone());
                let error = (moved - row([1.0 + 3.0 * h, 2.0 + 4.0 * (2.0 * h).sqrt()])).abs().max().double_value(&[]);
                assert!(error < 1e-12, "{name}: {corrector:?} is off by {error}");
            }
        }
    }
}

#[test]
fn evaluations_and_draws_are_those_that_happen() {
    let corrector = |steps| Corrector::Langevin { steps, snr: 0.1, norms: Norms::Batch, alpha: StepFactor::One };
    let langevin = AnnealedLangevin { levels: 4, steps_per_level: 3, epsilon: 1e-5 };
    // Solver, η, evaluations, of which the last denoise, and the draws.
    let cases: Vec<(SolverSpec, f64, u32, u32, Vec<usize>)> = vec![
        (pc(5, Predictor::EulerMaruyama, Corrector::None), 1.0, 5, 0, (0..5).collect()),
        (pc(5, Predictor::EulerMaruyama, corrector(2)), 1.0, 15, 0, (0..15).collect()),
        (pc(3, Predictor::EulerMaruyama, corrector(1)), 0.0, 6, 0, vec![0, 2, 4]),
        (pc(5, Predictor::None, corrector(2)), 1.0, 10, 1, (0..10).collect()),
        (SolverSpec::AnnealedLangevin(langevin), 1.0, 12, 1, (0..12).collect()),
        (chain(100, 7, Spacing::Linear, Variance::Beta), 1.0, 6, 1, (0..6).collect()),
        (chain(100, 7, Spacing::Quadratic, Variance::Beta), 0.0, 6, 1, vec![]),
    ];
    let exact = exact(&VP, &mixture());
    for (solver, eta, evaluations, last, truth) in cases {
        for (denoise, evaluations) in [(false, evaluations), (true, evaluations + last)] {
            let mut draws = Vec::new();
            let mut noise = |k: usize| {
                draws.push(k);
                draw(k, &[3, 2])
            };
            let (mut reached, mut share) = (1.0, 0.0);
            let mut watch = |step: &Step| {
                assert_eq!(step.from[0], reached);
                (reached, share) = (step.to[0], step.share);
            };
            let reverse = Reverse { model: &exact, eta };
            let problem = Problem { x: &draw(99, &[3, 2]), span: (1.0, 1e-3), denoise };
            let (_, statistics) = solver.sample(&reverse, &problem, &mut noise, &mut watch).unwrap();
            assert_eq!(statistics.evaluations, vec![evaluations; 3], "{solver:?}");
            assert_eq!(draws, truth, "{solver:?}");
            assert_eq!(share, 1.0, "{solver:?}");
        }
    }
}

/// Mean and variance of a solution whose steps are linear, for a start of the given mean and variance: found from the solutions for x = 0, for
/// x = 1, and for 1 as each single draw.
pub(super) fn linear_law(solver: &SolverSpec, reverse: Reverse, t_min: f64, denoise: bool, draws: usize, start: (f64, f64)) -> (f64, f64) {
    let rows = draws + 2;
    let one_at = |i: usize| (0..rows).map(|row| f64::from(u8::from(row == i))).collect::<Vec<f64>>();
    let column = |values: Vec<f64>| Tensor::from_slice(&values).view([-1, 1]);
    let problem = Problem { x: &column(one_at(1)), span: (1.0, t_min), denoise };
    let (x, _) = solver.sample(&reverse, &problem, &mut |k| column(one_at(k + 2)), &mut |_| {}).unwrap();
    let x = to_vec(&x);
    let gain = x[1] - x[0];
    (x[0] + gain * start.0, gain * gain * start.1 + x[2..].iter().map(|response| (response - x[0]).powi(2)).sum::<f64>())
}

#[test]
fn a_chain_towards_one_point_has_the_marginals_of_the_levels() {
    // Song et al. 2021a, lemma 1: for any η, x_i is N(α_i x_0, σ_i²).
    tch::set_num_threads(1);
    let (levels, t_min) = (120, 0.3);
    for (name, sde) in chained() {
        let exact = exact(sde, &gaussian(1, 0.7, 0.0));
        let marginals = sde.chain(levels).unwrap();
        let Level { alpha, sigma, .. } = marginals.levels()[levels - 1];
        for (eta, spacing) in [(0.0, Spacing::Linear), (0.5, Spacing::Quadratic), (1.0, Spacing::Linear), (1.0, Spacing::Quadratic)] {
            let solver = chain(levels, 15, spacing, Variance::BetaTilde);
            let reverse = Reverse { model: &exact, eta };
            let (mean, variance) = linear_law(&solver, reverse, t_min, false, 14, (0.7 * alpha, sigma * sigma));
            let Level { alpha, sigma, .. } = marginals.level(t_min);
            assert!((mean - 0.7 * alpha).abs() < 1e-9, "{name}, η = {eta}: mean {mean}");
            assert!((variance / (sigma * sigma) - 1.0).abs() < 1e-9, "{name}, η = {eta}: variance {variance}");
        }
    }
}

#[test]
fn moments_of_a_chain_on_gaussian_data_are_those_of_ddpms_posterior() {
    // By Ho et al. 2020, eq. 7: x_s is N((a σ_s² x_t + α_s β x̂) / σ_t², β̃) given x̂ = E[x_0 | x_t], a = α_t / α_s.
    tch::set_num_threads(1);
    let (levels, steps, (mu, v)) = (90, 90, (0.4, 0.6f64));
    for (name, sde) in chained() {
        let exact = exact(sde, &gaussian(1, mu, v.sqrt()));
        let marginals = sde.chain(levels).unwrap();
        let start = (0.0, sde.prior_std().powi(2));
        for variance in [Variance::Beta, Variance::BetaTilde] {
            let (mut mean, mut spread) = start;
            for i in (0..levels).rev() {
                let Level { alpha: alpha_t, sigma: sigma_t, .. } = marginals.levels()[i];
                let Level { alpha: alpha_s, sigma: sigma_s, .. } = if i == 0 { Level::DATA } else { marginals.levels()[i - 1] };
                let (a, k) = (alpha_t / alpha_s, alpha_t * v / (alpha_t * alpha_t * v + sigma_t * sigma_t));
                let beta = sigma_t * sigma_t - a * a * sigma_s * sigma_s;
                let (of_x, of_x0) = (a * (sigma_s / sigma_t).powi(2), alpha_s * beta / (sigma_t * sigma_t));
                let noise = if i == 0 {
                    0.0
                } else if variance == Variance::Beta {
                    beta
                } else {
                    beta * (sigma_s / sigma_t).powi(2)
                };
                let gain = of_x + of_x0 * k;
                (mean, spread) = (gain * mean + of_x0 * mu * (1.0 - k * alpha_t), gain * gain * spread + noise);
            }
            let solver = chain(levels, steps, Spacing::Linear, variance);
            let reverse = Reverse { model: &exact, eta: 1.0 };
            let law = linear_law(&solver, reverse, 1e-3, true, steps - 1, start);
            assert!(
                (law.0 - mean).abs() < 1e-9 && (law.1 - spread).abs() < 1e-9,
                "{name}, {variance:?}: {law:?} is not ({mean}, {spread})"
            );
        }
    }
}

#[test]
fn variance_beta_is_exact_for_standard_normal_data_under_vp() {
    tch::set_num_threads(1);
    let exact = exact(&VP, &gaussian(1, 0.0, 1.0));
    for (steps, spacing) in [(300, Spacing::Linear), (12, Spacing::Linear), (12, Spacing::Quadratic)] {
        let law = |variance| {
            let reverse = Reverse { model: &exact, eta: 1.0 };
            linear_law(&chain(300, steps, spacing, variance), reverse, 1e-3, false, steps - 1, (0.0, 1.0)).1
        };
        assert!((law(Variance::Beta) - 1.0).abs() < 1e-9, "{steps} {spacing:?}: {}", law(Variance::Beta));
        assert!(law(Variance::BetaTilde) < 0.999, "{steps} {spacing:?}");
    }
}

/// On a Gaussian the reverse process's own steps are Gaussian, with the mean of the chain's and the analytic variance.
#[test]
fn the_analytic_variance_makes_a_chain_of_few_steps_exact_on_a_gaussian() {
    tch::set_num_threads(1);
    let (mean, std) = (0.4, 0.5);
    let law = gaussian(1, mean, std);
    for (name, sde) in chained() {
        let chained = sde.chain(300).unwrap();
        let spread = |level: &Level| (level.alpha * std).powi(2) + level.sigma.powi(2);
        let squares = chained.levels().iter().map(|level| [level.log_snr(), (level.alpha * std).powi(2) / spread(level)]);
        let squares = MeanSquares::new(squares.collect());
        let model = Measured { model: Box::new(exact(sde, &law)), squares: &squares };
        let (first, last) = (chained.levels()[299], chained.level(0.05));
        for steps in [3, 6, 12] {
            let of = |variance| {
                let solver = chain(300, steps, Spacing::Quadratic, variance);
                let start = (first.alpha * mean, spread(&first));
                linear_law(&solver, Reverse { model: &model, eta: 1.0 }, 0.05, false, steps - 1, start)
            };
            let [beta, beta_tilde, analytic] = [Variance::Beta, Variance::BetaTilde, Variance::Analytic].map(of);
            let off = |law: (f64, f64)| 100.0 * (law.1 / spread(&last) - 1.0);
            println!(
                "{name}, {steps} levels: variance {:+.1} % with β, {:+.1} % with β̃, {:+.1e} % analytic",
                off(beta),
                off(beta_tilde),
                off(analytic)
            );
            assert!(off(analytic).abs() < 1e-7 && (analytic.0 - last.alpha * mean).abs() < 1e-9, "{name}, {steps} levels: {analytic:?}");
            assert!(off(beta) > 1.0 && off(beta_tilde) < -1.0, "{name}, {steps} levels: {beta:?}, {beta_tilde:?}");
        }
    }
}

#[test]
fn ancestral_sampling_is_the_chain_on_all_its_levels() {
    tch::set_num_threads(1);
    let (n, shape) = (40, [5, 2]);
    for (name, sde) in chained() {
        // The predictor asks at the grid's times, the chain at the levels' own; a score that does not know the time sees only the steps.
        let model = constant(sde, draw(50, &shape));
        for (eta, variance) in [(1.0, Variance::Beta), (1.0, Variance::BetaTilde), (0.3, Variance::BetaTilde)] {
            let solve = |solver: SolverSpec| {
                let reverse = Reverse { model: &model, eta };
                let problem = Problem { x: &draw(99, &shape), span: (1.0, 1e-5), denoise: true };
                solver.sample(&reverse, &problem, &mut |k| draw(k, &shape), &mut |_| {}).unwrap()
            };
            let (a, of_a) = solve(pc(n, ancestral(variance), Corrector::None));
            let (b, of_b) = solve(chain(n, n, Spacing::Linear, variance));
            let error = largest(&(&a - b)) / a.abs().max().double_value(&[]);
            assert!(error < 1e-12, "{name}, η = {eta}, {variance:?}: {error}");
            assert_eq!(of_a, of_b);
        }
    }
}

#[test]
fn a_chain_asks_a_model_at_the_noise_it_knows() {
    for (name, sde) in chained() {
        let asked = |levels: Option<usize>| {
            let chain_of = |levels| sde.chain(levels).unwrap();
            let model = Formula { chain: levels.map(chain_of), ..Formula::new(sde, |x, _| -x) };
            let model = Counting::new(&model);
            let reverse = Reverse { model: &model, eta: 0.0 };
            let solver = chain(1000, 10, Spacing::Linear, Variance::Beta);
            let problem = Problem { x: &start().narrow(0, 0, 1), span: (1.0, 1e-5), denoise: true };
            let _ = solver.sample(&reverse, &problem, &mut no_noise, &mut |_| {}).unwrap();
            model.times()
        };
        let levels: Vec<usize> = (0..10).rev().map(|i| 111 * i).collect();
        let marginals = sde.chain(1000).unwrap();
        assert_eq!(asked(Some(1000)), levels.iter().map(|&i| marginals.time(i)).collect::<Vec<_>>(), "{name}");
        for (&i, t) in levels.iter().zip(asked(None)) {
            let Level { alpha, sigma, .. } = marginals.levels()[i];
            assert!((sde.alpha(t) / alpha - 1.0).abs() < 1e-9 && (sde.sigma(t) / sigma - 1.0).abs() < 1e-9, "{name}, level {i}: t = {t}");
        }
    }
}

#[test]
fn what_a_process_cannot_do_is_refused_with_the_key() {
    let key = |spec: SolverSpec, sde: &dyn Sde, eta: f64, levels| spec.check(sde, eta, 1e-3, levels).unwrap_err().key;
    let none = || Corrector::None;
    let beta = || ancestral(Variance::Beta);
    assert_eq!(key(pc(1000, beta(), none()), &SUB_VP, 1.0, None), "predictor-corrector.predictor");
    assert_eq!(key(pc(20, beta(), none()), &VP, 1.0, None), "predictor-corrector.predictor");
    assert_eq!(key(pc(20, Predictor::ReverseDiffusion, none()), &VP, 1.0, None), "predictor-corrector.steps");
    assert_eq!(key(pc(20, Predictor::EulerMaruyama, langevin(0.1, Norms::Batch)), &VP, 1.0, None), "predictor-corrector.steps");
    assert_eq!(pc(20, Predictor::EulerMaruyama, none()).check(&VP, 1.0, 1e-3, None), Ok(()));
    assert_eq!(pc(21, beta(), none()).check(&VP, 1.0, 1e-3, None), Ok(()));
    assert_eq!(key(pc(50, beta(), none()), &VE, 1.2, None), "predictor-corrector.predictor.ancestral.variance");
    assert_eq!(key(pc(1, Predictor::EulerMaruyama, none()), &VP, 1.0, None), "predictor-corrector.steps");
    // The last step goes from t_min to the data: it can't be shorter than t_min. The reference's thousand at 1e-3 are just possible.
    assert_eq!(key(pc(1002, Predictor::EulerMaruyama, none()), &VP, 1.0, None), "predictor-corrector.steps");
    assert_eq!(pc(1000, Predictor::EulerMaruyama, none()).check(&VP, 1.0, 1e-3, None), Ok(()));
    assert_eq!(key(pc(9, Predictor::None, none()), &VE, 1.0, None), "predictor-corrector.predictor");
    let annealed = |steps, snr| Corrector::AnnealedLangevin { steps, snr, alpha: StepFactor::One };
    let corrected = |corrector| pc(9, Predictor::None, corrector);
    assert_eq!(key(corrected(langevin(0.0, Norms::Batch)), &VE, 1.0, None), "predictor-corrector.corrector.langevin.snr");
    assert_eq!(key(corrected(annealed(1, f64::NAN)), &VE, 1.0, None), "predictor-corrector.corrector.annealed-langevin.snr");
    assert_eq!(key(corrected(annealed(0, 0.1)), &VE, 1.0, None), "predictor-corrector.corrector.annealed-langevin.steps");

    let ncsn = |levels, steps_per_level, epsilon| SolverSpec::AnnealedLangevin(AnnealedLangevin { levels, steps_per_level, epsilon });
    assert_eq!(key(ncsn(10, 100, 2e-5), &VE, 0.0, None), "annealed-langevin");
    assert_eq!(key(ncsn(0, 100, 2e-5), &VE, 1.0, None), "annealed-langevin.levels");
    assert_eq!(key(ncsn(10, 0, 2e-5), &VE, 1.0, None), "annealed-langevin.steps_per_level");
    assert_eq!(key(ncsn(10, 100, 4.2e-4), &VE, 1.0, None), "annealed-langevin.epsilon");
    assert_eq!(ncsn(10, 100, 2e-5).check(&VE, 1.0, 1e-3, None), Ok(()));

    let of = |levels, steps| chain(levels, steps, Spacing::Linear, Variance::Beta);
    assert_eq!(key(of(1000, 10), &SUB_VP, 1.0, None), "discrete-chain.levels");
    assert_eq!(key(of(20, 10), &VP, 1.0, None), "discrete-chain.levels");
    assert_eq!(key(of(100, 10), &VP, 1.0, Some(1000)), "discrete-chain.levels");
    assert_eq!(key(of(1000, 1001), &VP, 1.0, None), "discrete-chain.steps");
    assert_eq!(key(of(1000, 1), &VP, 1.0, None), "discrete-chain.steps");
    assert_eq!(key(of(1000, 10), &VP, 1.5, Some(1000)), "discrete-chain.variance");
    assert_eq!(of(1000, 1000).check(&VP, 1.0, 1e-3, Some(1000)), Ok(()));

    for spec in [pc(9, Predictor::EulerMaruyama, none()), ncsn(10, 100, 2e-5), of(100, 10)] {
        assert_eq!(check(&spec, Task::LogDensity).unwrap_err().key, spec.name());
        assert_eq!(check(&spec, Task::ProbabilityFlow), Ok(()));
    }
}

/// What `predictor_corrector.rs` says of its steps of 1 / N over [t_min, 1], on N(0, 0.5²); nothing here is drawn.
#[test]
fn steps_of_one_nth_leave_some_variance_at_the_end() {
    tch::set_num_threads(1);
    let (n, variance) = (1000, 0.25f64);
    let said = [("vp", [0.09, 0.76]), ("sub-vp", [0.16, 0.16]), ("ve", [0.04, 1.66])];
    for ((name, sde), (_, said)) in sdes().into_iter().zip(said) {
        let exact = exact(sde, &gaussian(1, 0.0, variance.sqrt()));
        for (predictor, said) in [Predictor::EulerMaruyama, Predictor::ReverseDiffusion].into_iter().zip(said) {
            let (solver, start) = (pc(n, predictor.clone(), Corrector::None), (0.0, sde.prior_std().powi(2)));
            let (_, end) = linear_law(&solver, Reverse { model: &exact, eta: 1.0 }, 1e-3, true, n, start);
            let more = 100.0 * (end / variance - 1.0);
            println!("{name}, {predictor:?}, N = {n}: variance {more:+.2} %");
            assert!((more - said).abs() < 0.01, "{name}, {predictor:?}: {more} % is not {said} %");
        }
    }
}

/// The share of a wrong variance at t = 1 that is left at the end, relative to the law's own there, on N(0, 0.5²); nothing here is drawn.
#[test]
fn the_flow_keeps_an_error_of_its_start_and_the_reverse_sde_forgets_it() {
    tch::set_num_threads(1);
    for (name, sde) in sdes() {
        let exact = exact(sde, &gaussian(1, 0.0, 0.5));
        let (right, wrong) = (sde.prior_std().powi(2), 1.1 * sde.prior_std().powi(2));
        let left = |solver: &SolverSpec, eta| {
            let end = |start| linear_law(solver, Reverse { model: &exact, eta }, 1e-3, false, 400, (0.0, start)).1;
            (end(wrong) / end(right) - 1.0) / 0.1
        };
        let grid = TimeGrid::LogSnr { steps: 400 };
        let (flow, reverse) = (left(&SolverSpec::Heun { grid }, 0.0), left(&SolverSpec::Euler { grid }, 1.0));
        println!("{name}: {flow:.3} of an error of the start is left by the flow, {reverse:.1e} by the reverse SDE");
        assert!((flow - 1.0).abs() < 0.01 && reverse < if name == "edm" { 5e-3 } else { 1e-3 }, "{name}: {flow}, {reverse}");
    }
}
