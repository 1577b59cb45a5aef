//! What the tests of the bounds share: processes, a mixture with its exact score, and noise.

use tch::{Device, Kind, Tensor};

use crate::law::GaussianMixture;
use crate::model::{At, Model, Prediction};
use crate::rng::{self, Law, Purpose};
use crate::sde::{Level, Sde, SubVp, Ve, Vp};
use crate::tensor::{column_of, to_vec};

pub fn sdes() -> Vec<(&'static str, Box<dyn Sde>)> {
    vec![
        ("vp", Box::new(Vp { beta_min: 0.1, beta_max: 20.0 })),
        ("sub-vp", Box::new(SubVp { beta_min: 0.1, beta_max: 20.0 })),
        ("ve", Box::new(Ve { sigma_min: 0.01, sigma_max: 20.0 })),
    ]
}

pub fn mixture() -> GaussianMixture {
    GaussianMixture {
        weights: vec![1.0, 2.0],
        means: vec![vec![-1.0, 0.5], vec![1.0, 0.0]],
        covariances: vec![vec![vec![0.3, 0.2], vec![0.2, 0.3]], vec![vec![0.2, -0.1], vec![-0.1, 0.4]]],
    }
}

/// One Gaussian N(mean, std²) in one dimension.
pub fn gaussian(mean: f64, std: f64) -> GaussianMixture {
    GaussianMixture { weights: vec![1.0], means: vec![vec![mean]], covariances: vec![vec![vec![std * std]]] }
}

/// A score times (1 + stretch), plus shift / σ.
pub struct Bent<'a> {
    pub score: &'a dyn Model,
    pub stretch: f64,
    pub shift: f64,
}

impl Model for Bent<'_> {
    fn sde(&self) -> &dyn Sde {
        self.score.sde()
    }
    fn predict(&self, at: &At) -> Prediction {
        let shift = column_of(at.x, at.t, |t| self.shift / self.sde().sigma(t));
        Prediction::of_score(self.score.score(at) * (1.0 + self.stretch) + shift)
    }
}

/// n levels with uniform log-SNR from `t_min` to 1.
pub fn levels(sde: &dyn Sde, t_min: f64, n: usize) -> Vec<Level> {
    let (first, last) = (sde.log_snr(t_min), sde.log_snr(1.0));
    let time = |i| sde.time_of_log_snr(first + (last - first) * i as f64 / (n - 1) as f64);
    (0..n).map(|i| sde.level(time(i))).collect()
}

/// Draw `draw` of z ~ N(0, I) [n, d], f64.
pub fn normal(draw: u64, n: usize, d: i64) -> Tensor {
    rng::rows(Law::Gaussian, 3, Purpose::Noise, 0..n as u64, draw, &[d], Device::Cpu).to_kind(Kind::Double)
}

/// Stratified u: (j + v_j) / n for j = 0, …, n - 1.
pub fn stratified(n: usize) -> Vec<f64> {
    rng::uniform(3, Purpose::Time, 0, n).iter().enumerate().map(|(j, v)| (j as f64 + v) / n as f64).collect()
}

/// Mean and standard error of a tensor of independent draws `[n]`.
pub fn mean_and_error(draws: &Tensor) -> (f64, f64) {
    let draws = to_vec(draws);
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// A model that is never asked.
pub struct Nothing<'a>(pub &'a dyn Sde);

impl Model for Nothing<'_> {
    fn sde(&self) -> &dyn Sde {
        self.0
    }
    fn predict(&self, _at: &At) -> Prediction {
        unreachable!("this test needs no score")
    }
}
