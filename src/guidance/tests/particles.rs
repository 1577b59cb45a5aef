//! Particles come to the posterior as they grow in number.

use super::*;
use crate::model::Prediction;
use crate::rng::{self, Purpose};
use crate::tensor::{column_of, to_vec};
use crate::testing::large;

const STEPS: usize = 60;

/// N(c, 0.5² I) for the c that is known.
struct Around;

impl Model for Around {
    fn sde(&self) -> &dyn Sde {
        &VP
    }

    fn predict(&self, at: &At) -> Prediction {
        let middle = at.known().unwrap() * column_of(at.x, at.t, |t| VP.alpha(t));
        let variance = column_of(at.x, at.t, |t| 0.25 * VP.alpha(t).powi(2) + VP.sigma(t).powi(2));
        Prediction::of_score((middle - at.x) / variance)
    }
}

/// y [3, 2] and c [3, 2], each sample's own: x given both has mean (0.25 y + σ² c) / (0.25 + σ²), but for the steps.
#[test]
fn the_particles_of_a_sample_are_given_what_it_is() {
    tch::set_num_threads(1);
    let model = Around;
    let (y, c) = (normal(1, &[3, 2]) * 2.0, normal(2, &[3, 2]) * 2.0);
    let (repeats, count) = (200, 8);
    let each = |of: &Tensor| of.repeat_interleave_self_int(repeats, 0, None);
    let identity = Matrix::of(&Tensor::eye(2, (Kind::Double, Device::Cpu)), &[2]);
    let measurement = Measurement { operator: Box::new(identity), y: each(&y), sigma: SIGMA };
    let particles = Particles::new(&model, &measurement, (count as usize, 0.5), Device::Cpu);
    let solver = SolverSpec::DpmSolverPp { order: 2, grid: TimeGrid::LogSnr { steps: STEPS } };
    let (times, steps) = solver.gaussian_steps(&Reverse { model: &model, eta: 1.0 }, 1e-3).unwrap();
    let size = [3 * repeats * count, 2];
    let mut uniform = |draw: usize| rng::uniform_rows(5, Purpose::Resampling, 0..3 * repeats as u64, draw as u64);
    let mut noise = |draw: usize| normal(1000 + draw as u64, &size);
    let (x, _) =
        particles.solve((&times, &steps), (true, Some(&each(&c))), &normal(7, &size), &mut noise, &mut uniform, &mut |_| {}).unwrap();
    let means = x.view([3, repeats, 2]).mean_dim(1i64, false, Kind::Double);
    let truth = (y * 0.25 + c * SIGMA.powi(2)) / (0.25 + SIGMA.powi(2));
    assert!(largest(&(&means - &truth)) < 0.1, "{:?} is not {:?}", to_vec(&means), to_vec(&truth));
}

/// n samples [n, 2] of a law given y, by `count` particles each.
fn samples(prior: &GaussianMixture, measurement: &Measurement, (count, n): (usize, i64), condition: Option<&Tensor>) -> Tensor {
    let model = exact(&VP, prior);
    let particles = Particles::new(&model, measurement, (count, 1.0), Device::Cpu);
    let size = [n * count as i64, 2];
    let solver = SolverSpec::DpmSolverPp { order: 2, grid: TimeGrid::LogSnr { steps: STEPS } };
    let (times, steps) = solver.gaussian_steps(&Reverse { model: &model, eta: 1.0 }, 1e-3).unwrap();
    let mut uniform = |draw: usize| rng::uniform_rows(5, Purpose::Resampling, 0..n as u64, draw as u64);
    let mut noise = |draw: usize| normal(1000 + draw as u64, &size);
    let (x, cost) = particles.solve((&times, &steps), (true, condition), &normal(7, &size), &mut noise, &mut uniform, &mut |_| {}).unwrap();
    assert_eq!((cost.len() as i64, cost.evaluations[0]), (n, (count * (STEPS + 1)) as u32));
    x
}

/// n samples by moment matching, the nearest of the other methods.
fn matched(measurement: &Measurement, n: i64) -> Tensor {
    let prior = three_modes();
    let model = exact(&VP, &prior);
    let way = Way::new(&model, measurement, &Method::MomentMatching { iterations: 1 }, Device::Cpu).unwrap();
    let (start, solver) = (normal(7, &[n, 2]), SolverSpec::Heun { grid: TimeGrid::LogSnr { steps: 100 } });
    let problem = Problem { x: &start, span: (1.0, 1e-3), denoise: true };
    let mut noise = |draw: usize| normal(1000 + draw as u64, &[n, 2]);
    solver.sample(&Reverse { model: way.model(), eta: 1.0 }, &problem, &mut noise, &mut |_| {}).unwrap().0
}

/// With `--nocapture` it prints the energy distance to the posterior by the number of particles, a mean over measurements, and that of moment
/// matching.
#[test]
fn more_particles_are_nearer_to_the_posterior_of_a_mixture() {
    tch::set_num_threads(1);
    let prior = three_modes();
    let (n, measurements, counts) = if large() { (2000, 10, &[1, 4, 16, 64][..]) } else { (1000, 2, &[1, 32][..]) };
    let (mut sums, mut others) = (vec![0.0; counts.len()], 0.0);
    for k in 0..measurements {
        let x0 = points(&prior, 50 + k, 1);
        let y = (x0.select(1, 1) + normal(500 + k, &[1]) * SIGMA).view(-1);
        let law = prior.posterior(&DMatrix::from_row_slice(1, 2, &[0.0, 1.0]), &crate::tensor::to_vec(&y), SIGMA);
        let truth = Energy::new(&points(&law, 90 + k, n as usize));
        let mask = Mask::seeing(&[false, true], &[2], Device::Cpu).unwrap();
        let measurement = Measurement { operator: Box::new(mask), y, sigma: SIGMA };
        counts
            .iter()
            .zip(&mut sums)
            .for_each(|(&count, sum)| *sum += truth.distance(&samples(&prior, &measurement, (count, n), None)).value);
        others += truth.distance(&matched(&measurement, n)).value;
    }
    let means: Vec<f64> = sums.iter().map(|sum| sum / measurements as f64).collect();
    let others = others / measurements as f64;
    counts.iter().zip(&means).for_each(|(count, mean)| println!("| {count} | {mean:.4} |"));
    println!("| moment matching | {:.4} |", others);
    let (first, last) = (means[0], means[means.len() - 1]);
    assert!(last < 0.01 * first && last < 0.05 * others, "{means:?}, {others}");
}
