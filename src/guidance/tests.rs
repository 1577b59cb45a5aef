//! Against posteriors in closed form.

mod particles;

use nalgebra::DMatrix;
use tch::{Device, Kind, Tensor};

use super::*;
use crate::dynamics::Reverse;
use crate::law::GaussianMixture;
use crate::measurement::{Mask, Matrix, Measurement, matrix_of};
use crate::metric::Energy;
use crate::model::{At, ExactScore, Model};
use crate::sde::Sde;
use crate::solver::{Adaptive, Corrector, Predictor, PredictorCorrector, Problem, SolverSpec, TimeGrid};
use crate::testing::{VP, exact, gaussian, largest, mixture, no_noise, normal, points, sdes};

const SIGMA: f64 = 0.3;

fn gaussian_3d() -> GaussianMixture {
    let covariance = vec![vec![1.0, 0.3, -0.2], vec![0.3, 0.5, 0.1], vec![-0.2, 0.1, 0.8]];
    GaussianMixture { weights: vec![1.0], means: vec![vec![0.4, -0.3, 0.2]], covariances: vec![covariance] }
}

/// y = A x + σ n of two rows, and the law given it.
fn measured(prior: &GaussianMixture) -> (Measurement, GaussianMixture) {
    let d = prior.dimension();
    let a = normal(3, &[2, d as i64]);
    let y = [0.5, -0.8];
    let rows = DMatrix::from_row_slice(2, d, &crate::tensor::to_vec(&a));
    let measurement = Measurement { operator: Box::new(Matrix::of(&a, &[d])), y: Tensor::from_slice(&y), sigma: SIGMA };
    (measurement, prior.posterior(&rows, &y, SIGMA))
}

/// The largest difference of a method's score from the posterior's, relative to that, over a few points and times.
fn off(sde: &dyn Sde, prior: &GaussianMixture, method: &Method) -> f64 {
    let (measurement, law) = measured(prior);
    let (d, model) = (prior.dimension() as i64, exact(sde, prior));
    let posterior = Way::new(&model, &measurement, method, Device::Cpu).unwrap();
    let truth = ExactScore::new(sde, &law, Device::Cpu);
    let (x, t) = (normal(1, &[4, d]) * sde.prior_std(), [0.02, 0.3, 0.6, sde.horizon()]);
    let (got, truth) = (posterior.model().score(&At::whole(&x, &t)), truth.score(&At::whole(&x, &t)));
    largest(&((got - &truth).flatten(1, -1) / truth.flatten(1, -1).abs().amax([1i64].as_slice(), true)))
}

#[test]
fn moment_matching_is_exact_for_any_gaussian() {
    tch::set_num_threads(1);
    for (name, sde) in sdes() {
        let far = off(sde, &gaussian_3d(), &Method::MomentMatching { iterations: 3 });
        assert!(far < 1e-8, "{name}: {far}");
    }
    assert!(off(&VP, &mixture(), &Method::MomentMatching { iterations: 3 }) > 0.01, "a mixture is none");
    assert!(off(&VP, &gaussian_3d(), &Method::MomentMatching { iterations: 1 }) > 0.01, "one step of conjugate gradients is not enough");
}

#[test]
fn the_pseudo_inverse_is_exact_for_a_round_gaussian() {
    tch::set_num_threads(1);
    for (name, sde) in sdes() {
        let far = off(sde, &gaussian(3, 0.4, 0.7), &Method::PseudoInverse { data_std: 0.7 });
        assert!(far < 1e-8, "{name}: {far}");
        assert!(off(sde, &gaussian(3, 0.4, 0.7), &Method::PseudoInverse { data_std: 1.0 }) > 1e-3, "{name}: of another width it is not");
    }
    assert!(off(&VP, &gaussian_3d(), &Method::PseudoInverse { data_std: 0.8 }) > 0.01, "nor for one with correlations");
}

/// The gradient of -1000 ζ/g² ‖y - A x̂‖ by differences.
#[test]
fn dps_descends_the_norm_of_the_residual() {
    tch::set_num_threads(1);
    let prior = mixture();
    let (measurement, _) = measured(&prior);
    let model = exact(&VP, &prior);
    let d = prior.dimension() as i64;
    let (x, t, strength) = (normal(1, &[1, d]), [0.4], 0.7);
    let posterior = Way::new(&model, &measurement, &Method::Dps { strength }, Device::Cpu).unwrap();
    let term = posterior.model().score(&At::whole(&x, &t)) - model.score(&At::whole(&x, &t));
    let norm = |x: &Tensor| measurement.residual(&model.data(&At::whole(x, &t)), None).square().sum(Kind::Double).sqrt().double_value(&[]);
    let (direction, h) = (normal(2, &[1, d]), 1e-5);
    let slope = (norm(&(&x + &direction * h)) - norm(&(&x - &direction * h))) / (2.0 * h);
    let truth = -1000.0 * strength / VP.diffusion(0.4).powi(2) * slope;
    let got = (term * direction).sum(Kind::Double).double_value(&[]);
    assert!((got / truth - 1.0).abs() < 1e-6, "{got} is not {truth}");
}

/// Every draw of the flow of the posterior's score has the posterior's mean and covariance.
#[test]
fn samples_of_a_gaussian_follow_its_posterior() {
    tch::set_num_threads(1);
    let prior = gaussian_3d();
    let (measurement, law) = measured(&prior);
    let method = Method::MomentMatching { iterations: 3 };
    for (name, sde) in sdes() {
        let model = exact(sde, &prior);
        let posterior = Way::new(&model, &measurement, &method, Device::Cpu).unwrap();
        let n = 4000;
        let start = normal(7, &[n, 3]) * sde.prior_std();
        let solver = SolverSpec::Heun { grid: TimeGrid::LogSnr { steps: 60 } };
        let problem = Problem { x: &start, span: (1.0, 1e-3), denoise: true };
        let reverse = Reverse { model: posterior.model(), eta: 0.0 };
        let (x, _) = solver.sample(&reverse, &problem, &mut no_noise, &mut |_| {}).unwrap();
        let mean = x.mean_dim(0i64, true, None::<Kind>);
        let covariance = (&x - &mean).tr().matmul(&(&x - &mean)) / n as f64;
        let truth = Tensor::from_slice(&law.covariances[0].concat()).view([3, 3]);
        assert!(largest(&(mean - Tensor::from_slice(&law.means[0]))) < 0.05, "{name}");
        assert!(largest(&(covariance - truth)) < 0.04, "{name}");
    }
}

/// What is measured without noise is in the samples; the rest comes the closer to the truth the more often a time is visited.
#[test]
fn what_is_replaced_stays_and_visits_bring_the_rest_to_it() {
    tch::set_num_threads(1);
    let covariances = vec![vec![vec![1.0, 0.8], vec![0.8, 1.0]]];
    let prior = GaussianMixture { weights: vec![1.0], means: vec![vec![0.0; 2]], covariances };
    let mask = Mask::seeing(&[false, true], &[2], Device::Cpu).unwrap();
    let measurement = Measurement { operator: Box::new(mask), y: Tensor::from_slice(&[1.5]), sigma: 1e-3 };
    let n = 4000;
    let off = |sde: &dyn Sde, visits: usize| {
        let model = exact(sde, &prior);
        let replacement = Replacement::new(&measurement, visits).unwrap();
        let sampler = PredictorCorrector { steps: 60, predictor: Predictor::EulerMaruyama, corrector: Corrector::None };
        let start = normal(7, &[n, 2]) * sde.prior_std();
        let problem = Problem { x: &start, span: (1.0, 1e-3), denoise: true };
        let reverse = Reverse { model: &model, eta: 1.0 };
        let mut noise = |draw: usize| normal(100 + draw as u64, &[n, 2]);
        let (x, cost) = sampler.sample_within(&reverse, &problem, Some(&replacement), &mut noise, &mut |_| {}).unwrap();
        assert_eq!(cost.evaluations[0], 59 * visits as u32 + 1, "the last time, from which a step leads to the data, is visited once");
        assert!(largest(&(x.select(1, 1) - 1.5)) < 1e-3);
        (x.select(1, 0).mean(Kind::Double).double_value(&[]) - 0.8 * 1.5).abs()
    };
    for (name, sde) in [sdes()[0], sdes()[1]] {
        let [once, often] = [1, 8].map(|visits| off(sde, visits));
        assert!(often < 0.6 * once && once < 0.6, "{name}: the mean is off by {once}, and by {often} with 8 visits");
    }
}

#[test]
fn grams_of_all_operators_solve_alike() {
    tch::set_num_threads(1);
    use crate::measurement::OperatorSpec;
    let shape = [3, 4, 4];
    let spec: OperatorSpec = toml::from_str("downsampling.factor = 2").unwrap();
    let operator = spec.build(&shape, 1, Device::Cpu).unwrap();
    let a = matrix_of(&*operator, &shape, Device::Cpu);
    let y = normal(1, &[operator.rows()]);
    let method = Method::PseudoInverse { data_std: 0.5 };
    let prior = gaussian(48, 0.0, 0.5);
    struct Images<'a>(ExactScore<'a>);
    impl Model for Images<'_> {
        fn sde(&self) -> &dyn Sde {
            self.0.sde()
        }
        fn predict(&self, at: &At) -> crate::model::Prediction {
            let value = self.0.score(&at.moved(&at.x.flatten(1, -1))).view_as(at.x);
            crate::model::Prediction::of_score(value)
        }
    }
    let x = normal(2, &[2, 3, 4, 4]);
    let by = |measurement: Measurement| {
        let model = Images(ExactScore::new(&VP, &prior, Device::Cpu));
        Way::new(&model, &measurement, &method, Device::Cpu).unwrap().model().score(&At::whole(&x, &[0.2, 0.5]))
    };
    let one = by(Measurement { operator, y: y.copy(), sigma: SIGMA });
    let other = by(Measurement { operator: Box::new(Matrix::of(&a, &shape)), y, sigma: SIGMA });
    assert!(largest(&(one - other)) < 1e-10);
}

/// What each method makes of a mixture, where none is exact: the energy distance of its samples to the posterior, a mean over measurements.
#[test]
fn on_a_mixture_moment_matching_is_nearest() {
    tch::set_num_threads(1);
    let prior = three_modes();
    let (n, measurements) = (400, 2);
    let walk = PredictorCorrector { steps: 100, predictor: Predictor::EulerMaruyama, corrector: Corrector::None };
    let heun = SolverSpec::Heun { grid: TimeGrid::LogSnr { steps: 100 } };
    let methods = [
        Method::Dps { strength: 0.3 },
        Method::Dps { strength: 1.0 },
        Method::PseudoInverse { data_std: 1.0 },
        Method::MomentMatching { iterations: 2 },
        Method::Replacement,
        Method::Repaint { visits: 10 },
    ];
    let (model, mut sums) = (exact(&VP, &prior), vec![0.0; methods.len()]);
    for k in 0..measurements {
        let x0 = points(&prior, 50 + k, 1);
        let y = (x0.select(1, 1) + normal(500 + k, &[1]) * SIGMA).view(-1);
        let mask = Mask::seeing(&[false, true], &[2], Device::Cpu).unwrap();
        let law = prior.posterior(&DMatrix::from_row_slice(1, 2, &[0.0, 1.0]), &crate::tensor::to_vec(&y), SIGMA);
        let truth = Energy::new(&points(&law, 90 + k, n as usize));
        let measurement = Measurement { operator: Box::new(mask), y, sigma: SIGMA };
        for (method, sum) in methods.iter().zip(&mut sums) {
            let start = normal(7, &[n, 2]);
            let problem = Problem { x: &start, span: (1.0, 1e-3), denoise: true };
            let mut noise = |draw: usize| normal(1000 + draw as u64, &[n, 2]);
            let way = Way::new(&model, &measurement, method, Device::Cpu).unwrap();
            let reverse = Reverse { model: way.model(), eta: 1.0 };
            let (x, _) = match way.constraint() {
                None => heun.sample(&reverse, &problem, &mut noise, &mut |_| {}).unwrap(),
                constraint => walk.sample_within(&reverse, &problem, constraint, &mut noise, &mut |_| {}).unwrap(),
            };
            *sum += truth.distance(&x).value;
        }
    }
    let means: Vec<f64> = sums.iter().map(|sum| sum / measurements as f64).collect();
    assert!(means.iter().all(|mean| *mean >= means[3]), "{means:?}");
}

/// Of an adaptive solver, which lets rows go as they arrive.
#[test]
fn rows_with_a_y_each_are_what_each_is_alone() {
    tch::set_num_threads(1);
    let prior = mixture();
    let (model, a, n) = (exact(&VP, &prior), normal(3, &[2, 2]), 5);
    let (y, start) = (normal(4, &[n, 2]), normal(7, &[n, 2]));
    let solver = SolverSpec::Rk45(Adaptive::new(1e-4, 1e-4));
    for method in [Method::MomentMatching { iterations: 2 }, Method::PseudoInverse { data_std: 1.0 }] {
        let solved = |y: Tensor, x: &Tensor| {
            let measurement = Measurement { operator: Box::new(Matrix::of(&a, &[2])), y, sigma: SIGMA };
            let way = Way::new(&model, &measurement, &method, Device::Cpu).unwrap();
            let reverse = Reverse { model: way.model(), eta: 0.0 };
            solver.sample(&reverse, &Problem { x, span: (1.0, 1e-3), denoise: false }, &mut no_noise, &mut |_| {}).unwrap()
        };
        let (together, cost) = solved(y.copy(), &start);
        assert!(cost.evaluations.iter().any(|&count| count != cost.evaluations[0]), "no row arrived before another");
        for i in 0..n {
            let (alone, _) = solved(y.get(i), &start.narrow(0, i, 1));
            assert!(largest(&(together.narrow(0, i, 1) - alone)) < 1e-9, "{method:?}, row {i}");
        }
    }
}

/// Two narrow modes and a wide one.
fn three_modes() -> GaussianMixture {
    let covariances = [[0.05, 0.0, 0.05], [0.1, 0.04, 0.06], [0.6, 0.2, 0.3]].map(|[a, b, c]| vec![vec![a, b], vec![b, c]]);
    let means = vec![vec![-1.5, 0.5], vec![1.2, 1.0], vec![0.0, -1.0]];
    GaussianMixture { weights: vec![0.3, 0.3, 0.4], means, covariances: covariances.to_vec() }
}
