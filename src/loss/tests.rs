//! Laws of the objectives, on exact scores.

use tch::{Device, Kind, Tensor};

use super::*;
use crate::law::GaussianMixture;
use crate::model::{At, Model};
use crate::rng::{self, Law, Purpose};
use crate::sde::Sde;
use crate::tensor::{column_of, to_vec};
use crate::testing::{Bent, Formula, SUB_VP, VP, exact, largest, mean_and_error, mixture, normal, points, sdes};

/// n points of the mixture and as many of N(0, I).
fn draws(n: u64) -> (Tensor, Tensor) {
    (points(&mixture(), 2, n as usize), normal(0, &[n as i64, 2]))
}

/// k projections of each of n examples.
fn projections(law: Law, k: u64, n: u64) -> Tensor {
    let draw = |j| rng::rows(law, 3, Purpose::Projection, 0..n, j, &[2], Device::Cpu).to_kind(Kind::Double);
    Tensor::stack(&(0..k).map(draw).collect::<Vec<_>>(), 0)
}

/// Up to noise, loss(s) - loss(exact) = w ‖σ s - σ exact‖² in the mean, and the losses of the exact score are the same.
#[test]
fn every_objective_is_the_distance_to_the_exact_score_and_least_there() {
    tch::set_num_threads(1);
    const N: u64 = 3000;
    let (x0, z) = draws(N);
    let t: Vec<f64> = rng::uniform(2, Purpose::Time, 0, N as usize).iter().map(|u| 0.02 + 0.98 * u).collect();
    for ((process, sde), weighting) in
        sdes().into_iter().zip([Weighting::Likelihood, Weighting::Variance, Weighting::SoftMinSnr { gamma: 1.0 }])
    {
        let w: Vec<f64> = t.iter().map(|&t| weighting.at(sde, t)).collect();
        let batch = Batch { x0: &x0, t: &t, z: &z, w: &w };
        let exact = exact(sde, &mixture());
        let losses = |model: &dyn Model| {
            let sliced =
                |law, k, reduced| sliced_score_matching(model, Reduction::HalfSum, reduced, &projections(law, k, N), &batch).detach();
            [
                ("denoising", denoising_score_matching(model, Reduction::HalfSum, &batch).detach()),
                ("implicit", implicit_score_matching(model, Reduction::HalfSum, 0.0, &batch).detach()),
                ("sliced", sliced(Law::Rademacher, 2, false)),
                ("sliced, variance-reduced", sliced(Law::Gaussian, 1, true)),
            ]
        };
        let least = losses(&exact);
        for (name, loss) in &least {
            let (difference, error) = mean_and_error(&(loss - &least[0].1));
            assert!(difference.abs() <= 4.0 * error, "{process}, {name}, {weighting:?}: {difference} ± {error} from denoising");
        }
        let x = &x0 * column_of(&x0, &t, |t| sde.alpha(t)) + &z * column_of(&x0, &t, |t| sde.sigma(t));
        let truth = exact.score(&At::whole(&x, &t));
        for (stretch, angle, shift) in
            [(-0.3, 0.0, 0.0), (0.3, 0.0, 0.0), (0.0, -0.4, 0.0), (0.0, 0.4, 0.0), (0.0, 0.0, -0.3), (0.0, 0.0, 0.3)]
        {
            let model = Bent { model: &exact, stretch, angle, shift };
            let squares = ((model.score(&At::whole(&x, &t)) - &truth) * column_of(&x, &t, |t| sde.sigma(t))).square();
            let distance = batch.weighted(&squares, Reduction::HalfSum);
            for ((name, loss), (_, least)) in losses(&model).into_iter().zip(&least) {
                let excess = loss - least;
                let (difference, error) = mean_and_error(&(&excess - &distance));
                let bend = format!("{process}, {name}, {weighting:?}: bending by {stretch}, {angle}, {shift}");
                assert!(mean_and_error(&excess).0 > 0.0, "{bend} does not raise the loss");
                assert!(difference.abs() < 4.0 * error, "{bend}: {difference} ± {error} too much above {}", mean_and_error(&distance).0);
            }
        }
    }
}

/// Vincent 2011, appendix: beside the explicit loss the denoising one has a constant alone.
#[test]
fn explicit_is_denoising_but_for_a_constant() {
    tch::set_num_threads(1);
    const N: usize = 3000;
    let (x0, z) = draws(N as u64);
    for (process, sde) in sdes() {
        let exact = exact(sde, &mixture());
        let t = vec![sde.time_of_log_snr(0.0); N];
        let batch = Batch { x0: &x0, t: &t, z: &z, w: &vec![0.7; N] };
        let explicit = |model: &dyn Model| explicit_score_matching(model, &exact, Reduction::HalfSum, &batch);
        let difference = |model: &dyn Model| denoising_score_matching(model, Reduction::HalfSum, &batch) - explicit(model);
        assert!(largest(&explicit(&exact)) < 1e-18, "{process}: the exact score has a loss");
        for (stretch, angle, shift) in [(0.3, 0.0, 0.0), (0.0, 0.4, 0.0), (0.0, 0.0, 0.3)] {
            let bent = Bent { model: &exact, stretch, angle, shift };
            let (change, error) = mean_and_error(&(difference(&bent) - difference(&exact)));
            assert!(
                change.abs() < 4.0 * error,
                "{process}: bending by {stretch}, {angle}, {shift} changes the constant by {change} ± {error}"
            );
            assert!(mean_and_error(&explicit(&bent)).0 > 4.0 * error, "{process}: an error of {error} shows nothing");
        }
    }
}

#[test]
fn sliced_along_the_axes_is_implicit() {
    tch::set_num_threads(1);
    let (x0, z) = draws(50);
    let t: Vec<f64> = (1..=50).map(|i| i as f64 / 50.0).collect();
    let batch = Batch { x0: &x0, t: &t, z: &z, w: &t };
    let exact = exact(&VP, &mixture());
    // Their mean v vᵀ is I.
    let axes = (Tensor::eye(2, (Kind::Double, Device::Cpu)) * 2f64.sqrt()).unsqueeze(1).expand([2, 50, 2], false);
    for reduction in [Reduction::Mean, Reduction::HalfSum] {
        let implicit = implicit_score_matching(&exact, reduction, 0.0, &batch);
        for reduced in [false, true] {
            let apart = sliced_score_matching(&exact, reduction, reduced, &axes, &batch) - &implicit;
            assert!(largest(&apart) < 1e-12 && implicit.abs().min().double_value(&[]) > 1e-6);
        }
    }
}

/// Of random projections alone, vᵀ M v has the variance 2 tr M² for Gaussian ones and that without the diagonal for signs: M = s sᵀ + 2 ∂s/∂x
/// with (v·s)², and M = 2 ∂s/∂x with ‖s‖² in its place.
#[test]
fn reduced_variance_is_that_of_the_slopes_alone() {
    tch::set_num_threads(1);
    const N: u64 = 20_000;
    // Far out, where the score is large beside its slopes.
    let (x0, z) = (draws(1).0 * 4.0, draws(1).1);
    let (t, k) = (0.15, 2);
    let exact = exact(&VP, &mixture());
    let (sigma, x) = (VP.sigma(t), (&x0 * VP.alpha(t) + &z * VP.sigma(t)).set_requires_grad(true));
    let s = exact.score(&At::whole(&x, &[t]));
    let slopes = |i| Tensor::run_backward(&[s.select(1, i)], &[&x], true, false).remove(0);
    let jacobian = Tensor::cat(&[slopes(0), slopes(1)], 0);
    let (s, many) = (s.detach(), |x: &Tensor| x.repeat([N as i64, 1]));
    let batch = Batch { x0: &many(&x0), t: &[t; N as usize], z: &many(&z), w: &[1.0; N as usize] };
    for law in [Law::Gaussian, Law::Rademacher] {
        let projections = projections(law, k, N);
        let variance = |m: Tensor| {
            let all = m.square().sum(Kind::Double);
            let kept = if law == Law::Gaussian { all } else { all - m.diag(0).square().sum(Kind::Double) };
            // Half a sum, in units of 1 / σ², over k projections.
            0.25 * sigma.powi(4) * 2.0 * kept.double_value(&[]) / k as f64
        };
        let (outer, twice) = (s.transpose(0, 1).matmul(&s), &jacobian * 2.0);
        for (reduced, truth) in [(true, variance(twice.copy())), (false, variance(outer + twice))] {
            let losses = sliced_score_matching(&exact, Reduction::HalfSum, reduced, &projections, &batch);
            let found = losses.var(true).double_value(&[]);
            println!("{law:?}, variance-reduced {reduced}: variance {found:.4}, by the formula {truth:.4}");
            assert!((found / truth - 1.0).abs() < 0.1, "{law:?}, variance-reduced {reduced}: {found} is not {truth}");
        }
    }
}

/// s = -x / v has the slopes -1 / v.
#[test]
fn curvatures_are_squared_slopes() {
    tch::set_num_threads(1);
    // Of two variances, for two slopes.
    let gaussian =
        GaussianMixture { weights: vec![1.0], means: vec![vec![0.0; 2]], covariances: vec![vec![vec![0.5, 0.0], vec![0.0, 2.0]]] };
    let (x0, z) = draws(3);
    let t = [0.01, 0.3, 1.0];
    let batch = Batch { x0: &x0, t: &t, z: &z, w: &[1.0, 2.0, 3.0] };
    let exact = exact(&VP, &gaussian);
    let loss = |curvature| implicit_score_matching(&exact, Reduction::HalfSum, curvature, &batch);
    for (i, added) in to_vec(&(loss(0.7) - loss(0.0))).into_iter().enumerate() {
        let (a, v) = (VP.alpha(t[i]).powi(2), VP.sigma(t[i]).powi(2));
        let truth: f64 = [0.5, 2.0].iter().map(|c| 0.7 * (v / (a * c + v)).powi(2)).sum::<f64>() * (i as f64 + 1.0);
        assert!((added / truth - 1.0).abs() < 1e-9, "{added} is not {truth}");
    }
}

/// s = x Wᵀ + b, descended by the gradient of an objective at one time, becomes the score of the Gaussian with the data's moments.
#[test]
fn a_linear_score_learns_a_gaussian_without_its_conditional_score() {
    tch::set_num_threads(1);
    const N: u64 = 400;
    let (x0, z) = draws(N);
    let t = vec![0.15; N as usize];
    let batch = Batch { x0: &x0, t: &t, z: &z, w: &vec![1.0; N as usize] };
    let x = &x0 * VP.alpha(t[0]) + &z * VP.sigma(t[0]);
    let centre = x.mean_dim(0i64, true, None::<Kind>);
    let apart = &x - &centre;
    let covariance = apart.transpose(0, 1).matmul(&apart) / N as f64;
    let precision = covariance.inverse();
    assert!(precision.double_value(&[0, 1]).abs() > 0.05, "a diagonal Jacobian would show little: {precision}");
    let truth = Tensor::cat(&[-&precision, centre.matmul(&precision).transpose(0, 1)], 1);

    let learn = |steps: u64, loss: &dyn Fn(&dyn Model, u64) -> Tensor| {
        let [w, b] = [&[2, 2][..], &[2]].map(|shape| Tensor::zeros(shape, (Kind::Double, Device::Cpu)).set_requires_grad(true));
        let model = Formula::new(&VP, |x, _| x.matmul(&w.transpose(0, 1)) + &b);
        for step in 0..steps {
            let loss = loss(&model, step).mean(None);
            let gradients = Tensor::run_backward(&[loss], &[&w, &b], false, false);
            let rate = 2.0 / (1.0 + 4.0 * step as f64 / steps as f64);
            tch::no_grad(|| {
                let _ = w.shallow_clone().g_sub_(&(&gradients[0] * rate));
                let _ = b.shallow_clone().g_sub_(&(&gradients[1] * rate));
            });
        }
        let found = Tensor::cat(&[&w, &b.unsqueeze(1)], 1).detach();
        largest(&(found - &truth))
    };
    let implicit = learn(400, &|model, _| implicit_score_matching(model, Reduction::Mean, 0.0, &batch));
    assert!(implicit < 1e-6, "implicit: {implicit} from the closed form {truth}");
    for (law, reduced, close) in [(Law::Rademacher, true, 0.05), (Law::Gaussian, false, 0.2)] {
        let sliced = learn(400, &|model, step| {
            let v = rng::rows(law, 3, Purpose::Projection, N * step..N * (step + 1), 0, &[2], Device::Cpu).to_kind(Kind::Double);
            sliced_score_matching(model, Reduction::Mean, reduced, &v.unsqueeze(0), &batch)
        });
        println!("sliced, {law:?}, variance-reduced {reduced}: {sliced} from the closed form");
        assert!(sliced < close, "sliced, {law:?}: {sliced} from the closed form {truth}");
    }
}

/// Likelihood weighting on an exact mixture with times of three laws: the same mean, the less variance the better the law fits.
#[test]
fn the_likelihood_law_has_a_fraction_of_the_variance() {
    tch::set_num_threads(1);
    const N: u64 = 20_000;
    let (x0, z) = draws(N);
    let t_min = 1e-4;
    for sde in [&VP as &dyn Sde, &SUB_VP] {
        let exact = exact(sde, &mixture());
        let measure = |spec: TimeSpec| {
            let law = spec.law(sde, Weighting::Likelihood, t_min);
            let t: Vec<f64> = rng::uniform(4, Purpose::Time, 0, N as usize).into_iter().map(|u| law.time(u)).collect();
            let w: Vec<f64> = t.iter().map(|&t| Weighting::Likelihood.at(sde, t) * law.importance(t)).collect();
            let losses = denoising_score_matching(&exact, Reduction::HalfSum, &Batch { x0: &x0, t: &t, z: &z, w: &w });
            let (mean, error) = mean_and_error(&losses);
            println!("{spec:?}: loss {mean:.4} ± {error:.4}, standard deviation / mean {:.3}", error * (N as f64).sqrt() / mean);
            (mean, error)
        };
        let (uniform, likelihood) = (measure(TimeSpec::Uniform), measure(TimeSpec::Likelihood));
        assert!((uniform.0 - likelihood.0).abs() < 4.0 * (uniform.1.powi(2) + likelihood.1.powi(2)).sqrt());
        assert!((uniform.1 / likelihood.1).powi(2) > 5.0, "variances {} and {}", uniform.1, likelihood.1);
        let weighting = measure(TimeSpec::Weighting);
        assert_eq!(weighting, likelihood, "the weighting is the likelihood's here");
    }
}
