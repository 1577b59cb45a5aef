//! What per-example Langevin norms do to the law, by the number of dimensions.

use super::*;
use crate::law::GaussianMixture;
use crate::metric::kolmogorov_smirnov;
use crate::testing::{exact, large, sdes};

/// Two Gaussians around ±0.5 in D dimensions with variances from 0.1 to 2.
fn stretched(d: usize) -> GaussianMixture {
    let variance = |i: usize| 0.1 * 20f64.powf(i as f64 / (d - 1) as f64);
    let covariance: Vec<Vec<f64>> = (0..d).map(|i| (0..d).map(|j| if i == j { variance(i) } else { 0.0 }).collect()).collect();
    GaussianMixture { weights: vec![1.0, 2.0], means: vec![vec![-0.5; d], vec![0.5; d]], covariances: vec![covariance.clone(), covariance] }
}

/// The largest Kolmogorov-Smirnov distance of a marginal, and the samples' variance over the law's, both summed over the axes.
fn bent(sde: &dyn Sde, d: usize, solver: &PredictorCorrector) -> (f64, f64) {
    let n = 2000;
    let law = stretched(d);
    let exact = exact(sde, &law);
    let normal = |purpose, draw| rng::rows(Law::Gaussian, 3, purpose, 0..1, draw, &[n, d as i64], Device::Cpu).get(0).to_kind(Kind::Double);
    let x = normal(Purpose::Prior, 0) * sde.prior_std();
    let mut noise = |draw: usize| normal(Purpose::Brownian, draw as u64);
    let problem = Problem { x: &x, span: (1.0, 1e-3), denoise: false };
    let (x, _) = solver.sample(&Reverse { model: &exact, eta: 1.0 }, &problem, &mut noise, &mut |_| {}).unwrap();
    let marginal = kolmogorov_smirnov(&x, |axis, value| law.marginal_cdf(axis, value, 1.0, 0.0));
    let truth: f64 = law.covariances[0].iter().enumerate().map(|(i, row)| row[i] + 0.25 - (1f64 / 6.0).powi(2)).sum();
    let variance = x.var_dim(0i64, true, false).sum(Kind::Double).double_value(&[]);
    (marginal, variance / truth)
}

/// What `langevin.rs` says, and where an experiment is warned; the whole table with SCORE_SDE_LARGE.
#[test]
fn per_example_norms_bend_the_law_in_few_dimensions() {
    tch::set_num_threads(1);
    let dimensions: &[usize] = if large() { &[2, 4, 16, 64, 256] } else { &[2, 64] };
    for &d in dimensions {
        for (name, sde) in sdes() {
            let [(own, own_variance), (batch, batch_variance)] = [Norms::PerExample, Norms::Batch].map(|norms| {
                let corrector = Corrector::Langevin { steps: 1, snr: 0.16, norms, alpha: StepFactor::Chain };
                let solver = PredictorCorrector { steps: 100, predictor: Predictor::ReverseDiffusion, corrector };
                assert_eq!(SolverSpec::PredictorCorrector(solver.clone()).doubt(d).is_some(), norms == Norms::PerExample && d < 64);
                bent(sde, d, &solver)
            });
            let case =
                format!("D = {d}, {name}: per-example KS {own:.3}, variance x {own_variance:.2}; batch {batch:.3}, x {batch_variance:.2}");
            println!("{case}");
            assert!(batch < 0.06 && (batch_variance - 1.0).abs() < 0.06, "{case}");
            match d {
                2 => assert!(own > if name == "edm" { 0.15 } else { 0.2 } && own_variance > 3.0, "{case}"),
                4 | 16 => assert!(own_variance > 1.1, "{case}"),
                _ => assert!(own < 0.06 && own_variance < 1.08, "{case}"),
            }
        }
    }
}
