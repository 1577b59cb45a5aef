//! Particles come to the posterior as they grow in number.

use super::*;
use crate::rng::{self, Purpose};
use crate::testing::large;

const STEPS: usize = 60;

/// n samples [n, 2] of a law given y, by `count` particles each.
fn samples(prior: &GaussianMixture, measurement: &Measurement, (count, n): (usize, i64), condition: Option<&Tensor>) -> Tensor {
    let model = exact(&VP, prior);
    let particles = Particles::new(&model, measurement, (count, 1.0), &[2], Device::Cpu);
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
    let way = Way::new(&model, measurement, &Method::MomentMatching { iterations: 1 }, &[2], Device::Cpu).unwrap();
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

/// Those of a sample are given what it is given: a mode of the three, as if the law were that alone.
#[test]
fn particles_are_given_what_their_samples_are() {
    tch::set_num_threads(1);
    let prior = three_modes();
    let mask = Mask::seeing(&[false, true], &[2], Device::Cpu).unwrap();
    let measurement = Measurement { operator: Box::new(mask), y: Tensor::from_slice(&[0.2]), sigma: SIGMA };
    let classes = [2, 0, 1];
    let told = Tensor::from_slice(&classes.map(|class| class as i64)).one_hot(3);
    let given = samples(&prior, &measurement, (4, 3), Some(&told));
    for (row, class) in classes.into_iter().enumerate() {
        let (mean, covariance) = (prior.means[class].clone(), prior.covariances[class].clone());
        let alone = GaussianMixture { weights: vec![1.0], means: vec![mean], covariances: vec![covariance] };
        let alone = samples(&alone, &measurement, (4, 3), None);
        let off = largest(&(given.get(row as i64) - alone.get(row as i64)));
        assert!(off < 1e-8, "sample {row} of class {class} is {off} off");
    }
}
