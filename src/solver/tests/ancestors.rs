//! What the samplers before score SDEs are, and where one of them fails.

use super::song::chain;
use super::*;
use crate::law::GaussianMixture;
use crate::model::Model;
use crate::sde::Ve;
use crate::testing::Interpolating;

/// A noise prediction ẑ that is no exact score, and the state that a sampler reaches from x, both [1, 2], in one visit of levels.
fn reached(sde: &dyn Sde, solver: &SolverSpec, eta: f64, span: (f64, f64)) -> (Tensor, Tensor, Tensor, Tensor) {
    let noise = Tensor::from_slice(&[0.7, -1.3]).view([1, 2]);
    let (x, z) = (Tensor::from_slice(&[0.4, 1.1]).view([1, 2]), Tensor::from_slice(&[-0.2, 0.5]).view([1, 2]));
    let levels = match solver {
        SolverSpec::DiscreteChain(chain) => Some(sde.chain(chain.levels).unwrap()),
        _ => None,
    };
    let sigma = |t: f64| levels.as_ref().map_or(sde.sigma(t), |chain| chain.level(t).sigma);
    let model = Formula { chain: levels.clone(), ..Formula::new(sde, |_, t| -&noise / column(&noise, [sigma(t[0])])) };
    let problem = Problem { x: &x, span, denoise: false };
    let (y, _) = solver.sample(&Reverse { model: &model, eta }, &problem, &mut |_| z.shallow_clone(), &mut |_| {}).unwrap();
    (x, z, noise.copy(), y)
}

/// Song et al. 2021a, sec. 4.1, beside Ho et al. 2020, algorithm 2 with σ² = β̃, in their own numbers.
#[test]
fn ddim_at_eta_one_is_ddpms_ancestral_step() {
    tch::set_num_threads(1);
    let (levels, i) = (100, 57);
    let chained = VP.chain(levels).unwrap();
    // From level i to the one below, and no further.
    let span = (chained.time(i), chained.time(i - 1));
    let (x, z, noise, y) = reached(&VP, &chain(levels, 2, Spacing::Linear, Variance::BetaTilde), 1.0, span);
    let beta = |i: usize| (0.1 + 19.9 * i as f64 / (levels - 1) as f64) / levels as f64;
    let kept = |i: usize| (0..=i).map(|j| 1.0 - beta(j)).product::<f64>();
    let (b, a, before) = (beta(i), kept(i), kept(i - 1));
    let posterior = b * (1.0 - before) / (1.0 - a);
    let ddpm = (&x - &noise * (b / (1.0 - a).sqrt())) / (1.0 - b).sqrt() + &z * posterior.sqrt();
    let denoised = (&x - &noise * (1.0 - a).sqrt()) / a.sqrt();
    let ddim = denoised * before.sqrt() + &noise * (1.0 - before - posterior).sqrt() + &z * posterior.sqrt();
    for (name, truth) in [("DDPM", ddpm), ("DDIM", ddim)] {
        assert!(largest(&(&y - &truth)) < 1e-12, "{name}: {y} is not {truth}");
    }
}

/// Every noise is the same, so that a state that differs has another variance.
#[test]
fn steps_of_a_learnt_variance_are_at_its_ends_those_of_the_others() {
    tch::set_num_threads(1);
    let (levels, x, z) = (50, normal(1, &[3, 2]), normal(2, &[3, 2]));
    let ancestral = |variance| {
        SolverSpec::PredictorCorrector(PredictorCorrector {
            steps: levels,
            predictor: Predictor::Ancestral { variance },
            corrector: Corrector::None,
        })
    };
    for (name, sde) in chained() {
        let chained = sde.chain(levels).unwrap();
        let other = Formula { sde, chain: Some(chained), score: |x: &Tensor, _: &[f64]| -x };
        for (v, variance) in [(0.0, Variance::BetaTilde), (1.0, Variance::Beta), (0.4, Variance::Learned)] {
            let learnt = Interpolating { model: &other, v: |x: &Tensor| x.full_like(v) };
            let solvers: [&dyn Fn(Variance) -> SolverSpec; 3] = [
                &|variance| chain(levels, levels, Spacing::Linear, variance),
                &|variance| chain(levels, 9, Spacing::Quadratic, variance),
                &ancestral,
            ];
            for solver in solvers {
                let reached = |model: &dyn Model, variance| {
                    let problem = Problem { x: &x, span: (1.0, 1e-3), denoise: true };
                    solver(variance).sample(&Reverse { model, eta: 1.0 }, &problem, &mut |_| z.shallow_clone(), &mut |_| {}).unwrap().0
                };
                let got = reached(&learnt, Variance::Learned);
                if variance == Variance::Learned {
                    let ends = [Variance::Beta, Variance::BetaTilde].map(|variance| largest(&(&got - reached(&other, variance))));
                    assert!(ends.iter().all(|apart| *apart > 1e-3), "{name}: in between it is at an end, {ends:?}");
                } else {
                    let truth = reached(&other, variance);
                    let apart = largest(&((&got - &truth) / (truth.abs() + 1.0)));
                    assert!(apart < 1e-12, "{name}, {variance:?}: {apart} from {truth}");
                }
            }
        }
    }
}

/// Song et al. 2021a, eq. 14: with x̄ = x / α and s = σ / α the probability flow is dx̄ / ds = ẑ, and DDIM its Euler step.
#[test]
fn ddim_without_noise_is_the_euler_step_of_the_flow_in_noise_to_signal() {
    tch::set_num_threads(1);
    for (name, sde) in chained() {
        let levels = 100;
        let chained = sde.chain(levels).unwrap();
        let times = (chained.time(70), chained.time(31));
        let of_chain = (chain(levels, 2, Spacing::Linear, Variance::Beta), [70, 31].map(|i| chained.levels()[i]));
        let continuous = (SolverSpec::DpmSolverPp { order: 1, grid: uniform(1) }, [times.0, times.1].map(|t| sde.level(t)));
        for (solver, [above, below]) in [of_chain, continuous] {
            let (x, _, noise, y) = reached(sde, &solver, 0.0, times);
            let euler = (x / above.alpha + noise * (below.sigma / below.alpha - above.sigma / above.alpha)) * below.alpha;
            assert!(largest(&(&y - &euler)) < 1e-9 * below.sigma.max(1.0), "{name}, {solver:?}: {y} is not {euler}");
        }
    }
    // And the flow in this variable has that slope: d(x / α) / d(σ / α) = (x / α)' / (σ / α)' with x' = f x - ½ g² s, s = -ẑ / σ.
    for (name, sde) in sdes() {
        let (t, x, z) = (0.4, 0.7, -1.3);
        let (level, slope) = (sde.level(t), sde.slope(t));
        let flow = sde.drift(t) * x + 0.5 * sde.diffusion(t).powi(2) * z / level.sigma;
        let of = |value: f64, change: f64| (change - value * slope.alpha / level.alpha) / level.alpha;
        let got = of(x, flow) / of(level.sigma, slope.sigma);
        assert!((got / z - 1.0).abs() < 1e-9, "{name}: {got} is not {z}");
    }
}

/// Song & Ermon 2019, sec. 3.2.2: modes of weights 1/5 and 4/5 that hardly touch at one level of noise, from a start that is the same to both.
#[test]
fn langevin_dynamics_at_one_level_loses_the_weights_and_annealed_keeps_them() {
    tch::set_num_threads(1);
    const N: i64 = 2000;
    let unit = |mean: f64| (vec![mean; 2], vec![vec![1.0, 0.0], vec![0.0, 1.0]]);
    let ((low, c), (high, other)) = (unit(-5.0), unit(5.0));
    let world = GaussianMixture { weights: vec![0.2, 0.8], means: vec![low, high], covariances: vec![c, other] };
    let sde = Ve { sigma_min: 0.01, sigma_max: 20.0 };
    let exact = exact(&sde, &world);
    // σ = 0.5.
    let t_min = sde.time_of_log_snr(2.0 * 2f64.ln());
    let share = |levels, steps_per_level| {
        let langevin = AnnealedLangevin { levels, steps_per_level, epsilon: 0.2 * 0.25 };
        let solver = SolverSpec::AnnealedLangevin(langevin);
        solver.check(&sde, 1.0, t_min, None).unwrap();
        let problem = Problem { x: &prior(&sde, &[N, 2]), span: (1.0, t_min), denoise: false };
        let mut noise = |k: usize| normal(k as u64, &[N, 2]);
        let (x, statistics) = solver.sample(&Reverse { model: &exact, eta: 1.0 }, &problem, &mut noise, &mut |_| {}).unwrap();
        let low = to_vec(&x).chunks(2).filter(|x| x[0] + x[1] < 0.0).count() as f64 / N as f64;
        (low, statistics.evaluations[0])
    };
    let (one, annealed) = (share(1, 300), share(10, 30));
    println!("share of the mode of weight 0.2: {:.3} at one level, {:.3} annealed", one.0, annealed.0);
    assert_eq!(one.1, annealed.1);
    assert!((one.0 - 0.5).abs() < 0.06 && (annealed.0 - 0.2).abs() < 0.05, "{one:?}, {annealed:?}");
}
