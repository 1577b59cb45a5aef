//! The whole phase against closed forms.

mod budget;
mod calibration;
mod comparison;
mod density;
mod latent;
mod passes;
mod pixels;
mod resume;

use super::*;
use crate::law::GaussianMixture;
use crate::rng::{self, Law, Purpose};
use crate::solver::TimeGrid;
use crate::testing::{Counting, Formula, SUB_VP, VP, exact, sdes};
use nalgebra::DMatrix;

/// Where all solves begin; the truth is the closed form there.
pub(super) const T_MIN: f64 = 1e-3;

/// Examples of any shape that are given.
pub(super) struct Given {
    pub shape: Vec<usize>,
    pub values: Vec<Vec<f32>>,
}

impl Dataset for Given {
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn len(&self) -> usize {
        self.values.len()
    }
    fn read(&self, i: usize, out: &mut [f32]) -> crate::error::Result<()> {
        out.copy_from_slice(&self.values[i]);
        Ok(())
    }
}

/// K Gaussians in any number of dimensions, each with variances from 0.1 to 2 along axes of its own: what a probe finds differs from
/// point to point.
pub(super) fn rotated(k: usize, d: usize) -> GaussianMixture {
    let normal = |draw: u64, rows: u64| {
        let z = rng::rows(Law::Gaussian, 11, Purpose::Data, 0..rows, draw, &[d as i64], Device::Cpu);
        crate::tensor::to_vec(&z)
    };
    let covariance = |k: usize| {
        let q = DMatrix::from_row_slice(d, d, &normal(k as u64, d as u64)).qr().q();
        let variances = (0..d).map(|i| 0.1 * 20f64.powf(i as f64 / (d - 1) as f64));
        let c = &q * DMatrix::from_diagonal(&variances.collect::<Vec<_>>().into()) * q.transpose();
        let c = (&c + c.transpose()) * 0.5;
        c.row_iter().map(|row| row.iter().copied().collect()).collect()
    };
    GaussianMixture {
        weights: vec![1.0; k],
        means: (0..k).map(|k| normal(100 + k as u64, 1).iter().map(|m| m * 0.5).collect()).collect(),
        covariances: (0..k).map(covariance).collect(),
    }
}

/// n points of a mixture.
pub(super) fn points(mixture: &GaussianMixture, n: usize, seed: u64) -> Given {
    let factored = mixture.factored();
    let mut rng = rng::generator(seed, Purpose::Data, 0);
    let values = (0..n).map(|_| factored.sample(&mut rng).iter().map(|&x| x as f32).collect()).collect();
    Given { shape: vec![mixture.dimension()], values }
}

pub(super) fn spec(count: usize, solver: SolverSpec, trace: Trace) -> Likelihood {
    Likelihood {
        split: Split::Test,
        count,
        batch: 500,
        t_min: T_MIN,
        below_t_min: BelowTMin::Ignored,
        solver,
        solver_check: 0,
        trace,
        dequantisation: Dequantisation::None,
        bound: None,
    }
}

pub(super) fn hutchinson(probes: usize) -> Trace {
    Trace::Hutchinson(Probing { law: Law::Rademacher, budget: Budget::Fixed { probes } })
}

pub(super) fn subject<'a>(model: &'a dyn Model, dataset: &'a dyn Dataset, scale: Scale, seed: u64) -> Subject<'a> {
    Subject { model, dataset, scale, conditions: None, dequantiser: None, latent: None, seed, device: Device::Cpu }
}

pub(super) fn measure(spec: &Likelihood, model: &dyn Model, dataset: &dyn Dataset, scale: Scale, seed: u64) -> Likelihoods {
    likelihood(spec, &subject(model, dataset, scale, seed), &mut Journal::nowhere(), &Terminal::new(true)).unwrap()
}
