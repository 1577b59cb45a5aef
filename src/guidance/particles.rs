//! The twisted diffusion sampler (Wu et al. 2023, arXiv 2306.17775): particles on their way down, weighted by how well they fit.

use tch::{Device, Kind, Tensor};

use super::pseudo_inverse::PseudoInverse;
use crate::divergence::Linearised;
use crate::error::{Error, Result};
use crate::measurement::Measurement;
use crate::model::{At, Model};
use crate::sde::Level;
use crate::solver::{GaussianStep, Noise, Statistics};
use crate::tensor::{select, sum_per_example, to_vec};

/// Sequential Monte Carlo for p(x_0 | y) of the steps down p(x_s | x_t, ..) = N(μ, v I) of a solver, μ being linear in x_t and the denoised
/// states so far. With the twist ψ_t(x) = N(y; A x̂, σ_y² I + r² A Aᵀ), in which x_0 given x_t is taken for a round Gaussian, each of K
/// particles moves by
///
/// ```text
/// x_s ~ p̃(x_s | x_t, ..) = N(μ + c ∇ ln ψ_t(x_t), v I),   w_s = w_t p(x_s | x_t, ..) ψ_s(x_s) / (p̃(x_s | x_t, ..) ψ_t(x_t)),
/// ```
///
/// c being what a change of all these denoised states alike adds to μ (algorithm 1, for DDPM's steps). Where 1 / Σ w² falls below K / 2,
/// particles are resampled by systematic resampling (Kitagawa 1996). With a last denoise ψ is the likelihood N(y; A x_0, σ_y² I) at the end. One particle is chosen
/// by its weight; whatever the twist, that is a draw of p(x_0 | y) as K grows.
pub struct Particles<'a> {
    model: &'a dyn Model,
    /// In model space.
    measurement: &'a Measurement,
    twist: PseudoInverse,
    count: usize,
}

/// Uniform numbers of the n-th time, one for each sample; asked for at most once and in ascending order.
pub type Uniform<'a> = dyn FnMut(usize) -> Vec<f64> + 'a;

/// Which sample each particle is of, and what is known of the samples.
struct Owners<'a> {
    of: &'a [usize],
    condition: Option<&'a Tensor>,
}

/// Where the particles are: those of a sample stand together, [B K, ...].
struct Cloud {
    x: Tensor,
    /// The denoised states so far, x̂ first.
    data: Vec<Tensor>,
    /// ∇ ln ψ.
    gradient: Tensor,
    /// ln ψ `[B K]`, but for what all particles share.
    twists: Vec<f64>,
    /// ln w `[B K]`, but for what the particles of a sample share.
    log_weights: Vec<f64>,
}

impl<'a> Particles<'a> {
    /// K = `count`, and s = `data_std` of the twist's r² = s² σ² / (α² s² + σ²); `measurement` is in model space.
    pub fn new(model: &'a dyn Model, measurement: &'a Measurement, (count, data_std): (usize, f64), device: Device) -> Particles<'a> {
        Particles { model, measurement, twist: PseudoInverse::new(measurement, data_std, device), count }
    }

    pub fn model(&self) -> &'a dyn Model {
        self.model
    }

    /// K.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A draw [B, ...] for every K start points of x [B K, ...] by the `steps` between `times`; with `last_denoise` the end is x̂ instead of a
    /// state with noise. `condition` is what is known of each sample ([`At::condition`]). `noise` is asked for normal draws [B K, ...], `progress` is told what share of the way is done.
    ///
    /// Error: no particle of a sample has a weight that is a number above 0.
    pub fn solve(
        &self,
        (times, steps): (&[f64], &[GaussianStep]),
        (last_denoise, condition): (bool, Option<&Tensor>),
        x: &Tensor,
        noise: &mut Noise,
        uniform: &mut Uniform,
        progress: &mut dyn FnMut(f64),
    ) -> Result<(Tensor, Statistics)> {
        let _no_grad = tch::no_grad_guard();
        let samples = x.size()[0] as usize / self.count;
        let owners: Vec<usize> = (0..samples * self.count).map(|i| i / self.count).collect();
        let owners = Owners { of: &owners, condition };
        let mut cloud = self.arrived(x.shallow_clone(), vec![0.0; samples * self.count], Vec::new(), (times[0], &owners));
        for (n, step) in steps.iter().enumerate() {
            self.resample(&mut cloud, &uniform(n))?;
            let (x, log_weights) = self.moved(&cloud, step, times[n], &noise(n));
            cloud.data.truncate(steps.get(n + 1).map_or(0, |next| next.of_data.len() - 1));
            cloud = self.arrived(x, log_weights, cloud.data, (times[n + 1], &owners));
            progress((n + 1) as f64 / steps.len() as f64);
        }
        if last_denoise {
            let residual = self.measurement.residual(&cloud.data[0], Some(owners.of));
            let likelihoods = to_vec(&(sum_per_example(&residual.square()) * (-0.5 / self.measurement.sigma.powi(2))));
            cloud.weigh_anew(&likelihoods);
            cloud.x = cloud.data[0].shallow_clone();
        }
        let last = uniform(steps.len());
        let choose = |(i, weights): (usize, Vec<f64>)| i * self.count + systematic(&weights, last[i], 1)[0];
        let chosen: Vec<usize> = self.weights(&cloud)?.into_iter().enumerate().map(choose).collect();
        let steps = steps.len() as u32;
        let statistics = Statistics {
            evaluations: vec![(self.count as u32).saturating_mul(steps + 1); samples],
            accepted: vec![steps; samples],
            rejected: vec![0; samples],
        };
        Ok((select(&cloud.x, &chosen), statistics))
    }

    /// The cloud at x, all at time t, with weights that lack ψ.
    fn arrived(&self, x: Tensor, log_weights: Vec<f64>, mut data: Vec<Tensor>, (t, owners): (f64, &Owners)) -> Cloud {
        let Owners { of, condition } = *owners;
        let times = vec![t; of.len()];
        let at = At { x: &x, t: &times, rows: Some(of), condition };
        let point = Linearised::at(|x| self.model.data(&at.moved(x)), &x);
        data.insert(0, point.y.detach());
        let residual = self.measurement.residual(&data[0], Some(of));
        let u = self.twist.solve(&residual, &times, &|t| self.model.level(t));
        let gradient = point.pull(&self.measurement.operator.adjoint(&u).flatten(1, -1), false).view_as(&x);
        let twists = to_vec(&(sum_per_example(&(residual * u)) * -0.5));
        let mut cloud = Cloud { x, data, gradient, twists: vec![0.0; of.len()], log_weights };
        cloud.weigh_anew(&twists);
        cloud
    }

    /// x_s, and weights that lack ψ_s: with δ = c ∇ ln ψ_t / √v and x_s = μ + √v (δ + z), ln p / p̃ is -zᵀ δ - ½ ‖δ‖².
    fn moved(&self, cloud: &Cloud, step: &GaussianStep, t: f64, z: &Tensor) -> (Tensor, Vec<f64>) {
        let Level { alpha, sigma, .. } = self.model.level(t);
        let delta = &cloud.gradient * (step.of_data.iter().sum::<f64>() * sigma.powi(2) / (alpha * step.std));
        let by_data = step.of_data.iter().zip(&cloud.data).fold(&cloud.x * step.of_x, |x, (weight, data)| x + data * *weight);
        let x = by_data + (&delta + z) * step.std;
        let change = to_vec(&sum_per_example(&(&delta * (z + &delta * 0.5)).to_kind(Kind::Double)));
        let of = |i: usize| cloud.log_weights[i] - cloud.twists[i] - change[i];
        (x, (0..change.len()).map(of).collect())
    }

    /// Leaves of each sample's particles those that fit, where few of them have most of the weight.
    fn resample(&self, cloud: &mut Cloud, uniform: &[f64]) -> Result<()> {
        let mut places = Vec::with_capacity(cloud.twists.len());
        for (i, weights) in self.weights(cloud)?.into_iter().enumerate() {
            let own = i * self.count..(i + 1) * self.count;
            if weights.iter().map(|w| w * w).sum::<f64>() * self.count as f64 > 2.0 {
                places.extend(systematic(&weights, uniform[i], self.count).into_iter().map(|k| own.start + k));
                cloud.log_weights[own].fill(0.0);
            } else {
                places.extend(own);
            }
        }
        let states = [&mut cloud.x, &mut cloud.gradient].into_iter().chain(&mut cloud.data);
        states.for_each(|of| *of = select(of, &places));
        cloud.twists = places.iter().map(|&place| cloud.twists[place]).collect();
        Ok(())
    }

    /// w `[B][K]`, of which each sample's add up to 1.
    fn weights(&self, cloud: &Cloud) -> Result<Vec<Vec<f64>>> {
        let normalised = |log_weights: &[f64]| {
            let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = log_weights.iter().map(|log_weight| (log_weight - largest).exp()).collect();
            let sum = weights.iter().sum::<f64>();
            weights.into_iter().map(|weight| weight / sum).collect::<Vec<_>>()
        };
        let weights: Vec<Vec<f64>> = cloud.log_weights.chunks(self.count).map(normalised).collect();
        match weights.iter().position(|weights| weights.iter().any(|weight| weight.is_nan())) {
            None => Ok(weights),
            Some(i) => Err(Error::Solver {
                message: format!("the particles of sample {i} of a batch have weights that are no numbers"),
                help: "the score is not finite on the way, or the steps are too long; give more steps or another data_std, or raise t_min"
                    .into(),
            }),
        }
    }
}

impl Cloud {
    /// ψ in place of what ψ was.
    fn weigh_anew(&mut self, twists: &[f64]) {
        let both = self.twists.iter_mut().zip(twists);
        self.log_weights.iter_mut().zip(both).for_each(|(log_weight, (old, new))| *log_weight += new - std::mem::replace(old, *new));
    }
}

/// n places by weights that add up to 1, place k ⌊n w_k⌋ or ⌈n w_k⌉ times and n w_k times on average: those into which (u + j) / n falls.
fn systematic(weights: &[f64], u: f64, n: usize) -> Vec<usize> {
    let (mut k, mut sum) = (0, weights[0]);
    let place = |j: usize| {
        while k + 1 < weights.len() && sum <= (u + j as f64) / n as f64 {
            k += 1;
            sum += weights[k];
        }
        k
    };
    (0..n).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systematic_resampling_keeps_the_weights() {
        let weights = [0.1, 0.0, 0.55, 0.35];
        let (n, grid) = (7, 1000);
        let mut sums = [0.0; 4];
        for i in 0..grid {
            let places = systematic(&weights, i as f64 / grid as f64, n);
            for (k, weight) in weights.iter().enumerate() {
                let times = places.iter().filter(|&&place| place == k).count() as f64;
                assert!((times - n as f64 * weight).abs() < 1.0, "place {k} {times} times");
                sums[k] += times;
            }
        }
        for (sum, weight) in sums.iter().zip(weights) {
            assert!((sum / (grid * n) as f64 - weight).abs() < 2e-3);
        }
    }
}
