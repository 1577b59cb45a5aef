//! Pairs of a truth and what is measured of it, and how draws of the posterior are judged by them.

use nalgebra::DMatrix;
use tch::{Device, Kind, Tensor};

use super::{Judge, LEVELS, Verdict};
use crate::law::{FactoredMixture, GaussianMixture};
use crate::measurement::{Measurement, matrix_of};
use crate::metric::{Estimate, Uniformity, classifier_accuracy, energy_distances};
use crate::rng::{self, Law, Purpose};
use crate::tensor::to_vec;

/// N pairs (x*, y) with x* of a mixture and y = A x* + σ n, and L draws of the exact posterior of each y.
pub struct Pairs {
    /// x* [N, D].
    truth: Tensor,
    /// y [N, M].
    y: Tensor,
    laws: Vec<FactoredMixture>,
    /// [N, L, D].
    exact: Tensor,
    seed: u64,
}

impl Pairs {
    /// Of a law in model space and the operator and noise of `measurement`; all numbers are a function of `seed`.
    pub fn new(law: &GaussianMixture, measurement: &Measurement, [n, draws]: [usize; 2], seed: u64, device: Device) -> Pairs {
        let (shape, prior) = ([law.dimension()], law.factored());
        let rows = |values: Vec<f64>, size: &[i64]| Tensor::from_slice(&values).view(size);
        let (n, draws, d) = (n as i64, draws as i64, law.dimension() as i64);
        let truth = (0..n as u64).flat_map(|i| prior.sample(&mut rng::generator(seed, Purpose::Data, i))).collect();
        let truth = rows(truth, &[n, d]);
        let m = measurement.operator.rows();
        let noise = rng::rows(Law::Gaussian, seed, Purpose::Measurement, 0..n as u64, 0, &[m], device).to_kind(Kind::Double);
        let y = measurement.operator.apply(&truth.to_device(device)) + noise * measurement.sigma;
        let a = DMatrix::from_row_slice(m as usize, shape[0], &to_vec(&matrix_of(&*measurement.operator, &shape, device)));
        let laws = to_vec(&y).chunks(m as usize).map(|y| law.posterior(&a, y, measurement.sigma).factored()).collect::<Vec<_>>();
        let exact = drawn(&laws, draws, 1, seed);
        Pairs { truth, y, laws, exact, seed }
    }

    /// L.
    fn draws(&self) -> usize {
        self.exact.size()[1] as usize
    }

    pub(super) fn energy(&self, x: &Tensor) -> Estimate {
        Estimate::of_mean(&energy_distances(x, &self.exact))
    }

    /// How often the regions of highest density hold a draw of the exact posterior, by the densities `[N][L]` of the draws that make them.
    pub(super) fn coverage(&self, densities: &[Vec<f64>]) -> [Estimate; 2] {
        let exact = self.densities(&self.exact);
        LEVELS.map(|level| {
            let holds = |own: &[f64], density: f64| (above(own, density) as f64) < level * (own.len() + 1) as f64;
            let share = |(own, exact): (&Vec<f64>, &Vec<f64>)| {
                exact.iter().filter(|density| holds(own, **density)).count() as f64 / exact.len() as f64
            };
            Estimate::of_mean(&densities.iter().zip(&exact).map(share).collect::<Vec<_>>())
        })
    }

    /// Ranks of x* among draws x [N, L, D], by each component and by the exact density: `[D + 1][N]`.
    pub(super) fn ranks(&self, x: &Tensor, densities: &[Vec<f64>]) -> Vec<Vec<usize>> {
        let below = x.lt_tensor(&self.truth.unsqueeze(1)).to_kind(Kind::Double).sum_dim_intlist(1i64, false, None::<Kind>);
        let of = |axis: i64| to_vec(&below.select(1, axis)).into_iter().map(|rank| rank as usize).collect();
        let truth = self.densities(&self.truth.unsqueeze(1));
        let by_density = densities.iter().zip(truth).map(|(own, truth)| above(own, truth[0])).collect();
        (0..x.size()[2]).map(of).chain([by_density]).collect()
    }

    /// ln p(x | y) `[N][L]` of points x [N, L, D].
    pub(super) fn densities(&self, x: &Tensor) -> Vec<Vec<f64>> {
        let d = x.size()[2] as usize;
        let of = |(i, law): (usize, &FactoredMixture)| to_vec(&x.get(i as i64)).chunks(d).map(|x| law.log_density(x)).collect();
        self.laws.iter().enumerate().map(of).collect()
    }
}

impl Judge for Pairs {
    fn y(&self) -> &Tensor {
        &self.y
    }

    fn control(&self) -> Option<Tensor> {
        Some(drawn(&self.laws, self.draws() as i64, 2, self.seed))
    }

    fn judge(&self, x: &Tensor) -> Verdict {
        let x = x.to_kind(Kind::Double).to_device(Device::Cpu);
        let densities = self.densities(&x);
        Verdict {
            coverage: self.coverage(&densities),
            energy: Some(self.energy(&x)),
            classifier: Some(classifier_accuracy(&x, &self.exact, &self.y.to_device(Device::Cpu), self.seed)),
            ranks: Uniformity::of(&self.ranks(&x, &densities), self.draws()),
        }
    }
}

/// How many are larger.
fn above(own: &[f64], density: f64) -> usize {
    own.iter().filter(|own| **own > density).count()
}

/// Draws [N, L, D] of these laws.
fn drawn(laws: &[FactoredMixture], draws: i64, draw: u64, seed: u64) -> Tensor {
    let of = |(i, law): (usize, &FactoredMixture)| {
        let mut rng = rng::generator_of_draw(seed, Purpose::Data, i as u64, draw);
        (0..draws).flat_map(|_| law.sample(&mut rng)).collect::<Vec<_>>()
    };
    let values: Vec<f64> = laws.iter().enumerate().flat_map(of).collect();
    Tensor::from_slice(&values).view([laws.len() as i64, draws, -1])
}
