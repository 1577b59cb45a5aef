//! Particles come to the posterior as they grow in number.

use super::*;
use crate::rng::{self, Purpose};
use crate::testing::large;

const STEPS: usize = 60;

/// n samples [n, 2] of three modes given y, by `count` particles each.
fn samples(measurement: &Measurement, count: usize, n: i64) -> Tensor {
    let prior = three_modes();
    let model = exact(&VP, &prior);
    let particles = Particles::new(&model, measurement, (count, 1.0), &[2], Device::Cpu);
    let size = [n * count as i64, 2];
    let times = TimeGrid::LogSnr { steps: STEPS }.times(&VP, (1.0, 1e-3));
    let mut uniform = |draw: usize| rng::uniform_rows(5, Purpose::Resampling, 0..n as u64, draw as u64);
    let mut noise = |draw: usize| normal(1000 + draw as u64, &size);
    let (x, cost) = particles.solve((&times, true), &normal(7, &size), &mut noise, &mut uniform, &mut |_| {}).unwrap();
    assert_eq!((cost.len() as i64, cost.evaluations[0]), (n, (count * (STEPS + 1)) as u32));
    x
}

/// With `--nocapture` it prints the energy distance to the posterior by the number of particles, a mean over measurements.
#[test]
fn more_particles_are_nearer_to_the_posterior_of_a_mixture() {
    tch::set_num_threads(1);
    let prior = three_modes();
    let (n, measurements, counts) = if large() { (2000, 10, &[1, 4, 16, 64][..]) } else { (1000, 2, &[1, 32][..]) };
    let mut sums = vec![0.0; counts.len()];
    for k in 0..measurements {
        let x0 = points(&prior, 50 + k, 1);
        let y = (x0.select(1, 1) + normal(500 + k, &[1]) * SIGMA).view(-1);
        let law = prior.posterior(&DMatrix::from_row_slice(1, 2, &[0.0, 1.0]), &crate::tensor::to_vec(&y), SIGMA);
        let truth = Energy::new(&points(&law, 90 + k, n as usize));
        let mask = Mask::seeing(&[false, true], &[2], Device::Cpu).unwrap();
        let measurement = Measurement { operator: Box::new(mask), y, sigma: SIGMA };
        counts.iter().zip(&mut sums).for_each(|(&count, sum)| *sum += truth.distance(&samples(&measurement, count, n)).value);
    }
    let means: Vec<f64> = sums.iter().map(|sum| sum / measurements as f64).collect();
    counts.iter().zip(&means).for_each(|(count, mean)| println!("| {count} | {mean:.4} |"));
    let (first, last) = (means[0], means[means.len() - 1]);
    assert!(first > 0.05 && last < 0.01 * first, "{means:?}");
}
