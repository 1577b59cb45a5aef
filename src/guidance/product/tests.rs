//! Against products of Gaussians in closed form.

use tch::Device;

use super::*;
use crate::dynamics::Reverse;
use crate::law::GaussianMixture;
use crate::sde::Sde;
use crate::solver::{Problem, SolverSpec, TimeGrid};
use crate::tensor::to_vec;
use crate::testing::{VP, exact, largest, no_noise, normal, prior, sdes, times};

fn gaussian(correlation: f64) -> GaussianMixture {
    let covariance = vec![vec![1.0, correlation], vec![correlation, 0.5]];
    GaussianMixture { weights: vec![1.0], means: vec![vec![0.4, -0.3]], covariances: vec![covariance] }
}

fn score(sde: &dyn Sde, law: &GaussianMixture, factor: Factor, x: &Tensor) -> Tensor {
    Product { model: Box::new(exact(sde, law)), factor }.score(&At::whole(x, &times(sde)))
}

#[test]
fn a_gaussian_factor_gives_the_products_law() {
    tch::set_num_threads(1);
    let (law, mean, std) = (gaussian(0.4), [0.9, 0.2], 0.6);
    // Knowing x + std n = mean is that factor.
    let identity = nalgebra::DMatrix::identity(2, 2);
    let product = law.posterior(&identity, &mean, std);
    for (name, sde) in sdes() {
        let x = normal(1, &[4, 2]) * sde.prior_std();
        let got = score(sde, &law, Factor::Gaussian { mean: mean.to_vec(), std }, &x);
        let truth = exact(sde, &product).score(&At::whole(&x, &times(sde)));
        assert!(largest(&((got - &truth) / truth.abs().clamp_min(1e-3))) < 1e-8, "{name}");
    }
}

/// The gradient of ln p_t + ln E[r(x_0) | x_t] by differences, the latter by the mass of a normal law.
#[test]
fn half_spaces_and_boxes_are_exact_for_a_gaussian() {
    tch::set_num_threads(1);
    let inf = f64::INFINITY;
    let cases = [
        (0.4, Factor::HalfSpace { normal: vec![1.0, -2.0], above: 1.5 }),
        (0.0, Factor::Box { least: vec![0.6, -inf], most: vec![1.4, -0.5] }),
        (0.0, Factor::Box { least: vec![-inf, -0.1], most: vec![inf, inf] }),
    ];
    for (name, sde) in sdes() {
        for (correlation, factor) in &cases {
            let law = gaussian(*correlation);
            let model = exact(sde, &law);
            let mass = |x: &Tensor| {
                let t = times(sde);
                let at = At::whole(x, &t);
                let denoised = model.data(&at);
                // V of a Gaussian: C - α² C (α² C + σ² I)⁻¹ C.
                let c = Tensor::from_slice(&law.covariances[0].concat()).view([2, 2]);
                let one = Tensor::eye(2, (Kind::Double, Device::Cpu));
                let of = |t: f64| {
                    let (a, s) = (sde.alpha(t).powi(2), sde.sigma(t).powi(2));
                    &c - c.matmul(&(&c * a + &one * s).inverse()).matmul(&c) * a
                };
                let v = Tensor::stack(&t.map(of), 0);
                let between = |mean: Tensor, variance: Tensor, least: f64, most: f64| {
                    let std = variance.sqrt();
                    let cdf = |end: f64| ((end - &mean) / &std).special_ndtr();
                    (cdf(most) - cdf(least)).log()
                };
                match factor {
                    Factor::HalfSpace { normal, above } => {
                        let a = Tensor::from_slice(normal).unsqueeze(1);
                        let variance = a.tr().matmul(&v).matmul(&a).view(-1);
                        between(denoised.matmul(&a).view(-1), variance, *above, inf)
                    }
                    Factor::Box { least, most } => {
                        let axis = |i: usize| {
                            let (mean, variance) = (denoised.select(1, i as i64), v.select(1, i as i64).select(1, i as i64));
                            between(mean, variance, least[i], most[i])
                        };
                        axis(0) + axis(1)
                    }
                    Factor::Gaussian { .. } => unreachable!("not among the cases"),
                }
            };
            let x = Tensor::from_slice(&[0.9, -0.3, 1.0, -0.6, 0.5, -0.2, 0.3, -0.4]).view([4, 2]) * sde.prior_std().min(2.0);
            let got = score(sde, &law, factor.clone(), &x) - model.score(&At::whole(&x, &times(sde)));
            let direction = normal(2, &[4, 2]);
            let h = 1e-5;
            let slope = (mass(&(&x + &direction * h)) - mass(&(&x - &direction * h))) / (2.0 * h);
            let along = (got * &direction).sum_dim_intlist(1i64, false, None::<Kind>);
            let off = largest(&((along - &slope) / slope.abs().clamp_min(1e-3)));
            assert!(off < 1e-4, "{name}, {}: {off}", factor.name());
        }
    }
}

/// Of N(0, 1) cut at b the mean is φ(b) / Φ(-b).
#[test]
fn samples_stay_in_their_half_of_space() {
    tch::set_num_threads(1);
    let law = GaussianMixture { weights: vec![1.0], means: vec![vec![0.0]], covariances: vec![vec![vec![1.0]]] };
    let model = Product { model: Box::new(exact(&VP, &law)), factor: Factor::HalfSpace { normal: vec![1.0], above: 1.0 } };
    let start = prior(&VP, &[2000, 1]);
    let problem = Problem { x: &start, span: (1.0, 1e-3), denoise: false };
    let solver = SolverSpec::Heun { grid: TimeGrid::LogSnr { steps: 60 } };
    let (x, _) = solver.sample(&Reverse { model: &model, eta: 0.0 }, &problem, &mut |_| no_noise(0), &mut |_| {}).unwrap();
    let x = to_vec(&x);
    assert!(x.iter().all(|x| *x > 0.9), "{:?}", x.iter().copied().fold(f64::INFINITY, f64::min));
    let mean = x.iter().sum::<f64>() / 2000.0;
    assert!((mean - 1.525).abs() < 0.04, "{mean}");
}

#[test]
fn far_from_an_interval_the_slope_is_finite_and_leads_there() {
    tch::set_num_threads(1);
    let at = |a: f64, b: f64| slope(&Tensor::from_slice(&[a]), &Tensor::from_slice(&[b])).double_value(&[0]);
    for (a, b) in [(30.0, 31.0), (30.0, f64::INFINITY), (-31.0, -30.0), (f64::NEG_INFINITY, -30.0)] {
        let slope = at(a, b);
        assert!((slope.abs() - 30.0).abs() < 0.1 && slope.signum() == a.signum(), "{slope} of ({a}, {b})");
    }
    let far = slope(&Tensor::from_slice(&[1e4f32]), &Tensor::from_slice(&[f32::INFINITY])).double_value(&[0]);
    assert!((far / 1e4 - 1.0).abs() < 1e-3, "{far}");
    assert!(at(-1.0, 1.0).abs() < 1e-15 && at(f64::NEG_INFINITY, f64::INFINITY) == 0.0);
}
