//! Averages of the parameters by power functions, of which any length can be had after training (Karras et al. 2024, arXiv 2312.02696, sec. 3).
//!
//! The average of length σ_rel after t steps is Σ_n w_n θ_n with w_n = (n^{γ+1} - (n-1)^{γ+1}) / t^{γ+1}: the profile (γ+1) τ^γ / t^{γ+1} of the paper over the
//! n-th step. σ_rel, the profile's standard deviation over t, is √((γ+1) / ((γ+2)² (γ+3))). Some tracks of different lengths are kept and saved now and then;
//! the average of another length is the combination of what was saved whose weights are nearest to its own.

use nalgebra::{DMatrix, DVector};
use tch::{Tensor, no_grad};

use super::block::Block;

/// The longest length: that of the plain mean of all steps, γ = 0.
pub const LONGEST: f64 = 0.288;

/// γ of a length in (0, [`LONGEST`]].
pub fn exponent(length: f64) -> f64 {
    let spread = |gamma: f64| (gamma + 1.0).sqrt() / ((gamma + 2.0) * (gamma + 3.0).sqrt());
    let (mut low, mut high) = (0.0, 1.0 / length);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if spread(middle) > length { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The average `[P]` of one length.
pub struct PowerAverage {
    pub average: Tensor,
    exponent: f64,
}

impl PowerAverage {
    pub fn new(parameters: &Tensor, length: f64) -> PowerAverage {
        PowerAverage { average: parameters.detach().copy(), exponent: exponent(length) }
    }

    /// The n-th update, n = 1, 2, …, of a block from its θ: average += (1 - β) (θ - average) with β = (1 - 1/n)^{γ+1}.
    pub fn update(&self, block: &Block, parameters: &Tensor, n: u64) {
        let decay = (1.0 - 1.0 / n as f64).powf(self.exponent + 1.0);
        let _ = no_grad(|| block.of(&self.average).lerp_(parameters, 1.0 - decay));
    }
}

/// The weights of an average: its length, and after how many steps it stands so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    pub length: f64,
    pub steps: u64,
}

/// The factors of saved averages whose sum is nearest to a wanted one, and the norm of what is missing of its weights over their own norm. The factors
/// minimise Σ_n (Σ_i c_i w_{i,n} - w_n)² over the steps n.
pub fn combination(saved: &[Profile], wanted: Profile) -> (Vec<f64>, f64) {
    let all: Vec<Profile> = saved.iter().copied().chain([wanted]).collect();
    let products = products(&all);
    let m = saved.len();
    let within = DMatrix::from_fn(m, m, |i, j| products[(i, j)]);
    let with = DVector::from_fn(m, |i, _| products[(i, m)]);
    // Neighbours are nearly alike, and directions in which they differ by rounding alone are left out.
    let factors =
        within.clone().svd(true, true).solve(&with, 1e-13 * within.diagonal().max()).expect("both sides of the decomposition are there");
    let own = products[(m, m)];
    let missing = (own - 2.0 * factors.dot(&with) + (&within * &factors).dot(&factors)).max(0.0);
    (factors.iter().copied().collect(), (missing / own).sqrt())
}

/// Σ_n w_{i,n} w_{j,n} of all pairs.
///
/// With d_γ(n) = n^{γ+1} - (n-1)^{γ+1}, over the last step T, the sum to the shorter one's end is one of Σ d_γ(n) d_δ(n), which is the same for all pairs of
/// these exponents: one pass over the steps for each pair of lengths.
fn products(profiles: &[Profile]) -> DMatrix<f64> {
    let last = profiles.iter().map(|profile| profile.steps).max().unwrap_or(1) as f64;
    let mut lengths: Vec<f64> = profiles.iter().map(|profile| profile.length).collect();
    lengths.sort_by(f64::total_cmp);
    lengths.dedup();
    let exponents: Vec<f64> = lengths.iter().map(|length| exponent(*length)).collect();
    let mut ends: Vec<u64> = profiles.iter().map(|profile| profile.steps).collect();
    ends.sort_unstable();
    ends.dedup();
    let place = |length: f64| lengths.iter().position(|other| *other == length).expect("all lengths are there");
    let power = |n: f64, gamma: f64| (n / last).powf(gamma + 1.0);
    let k = lengths.len();
    let mut sums = vec![vec![0.0; k * k]; ends.len()];
    let (mut running, mut before) = (vec![0.0; k * k], vec![0.0; k]);
    let mut n = 0;
    for (end, sums) in ends.iter().zip(&mut sums) {
        while n < *end {
            n += 1;
            let now: Vec<f64> = exponents.iter().map(|gamma| power(n as f64, *gamma)).collect();
            let parts: Vec<f64> = now.iter().zip(&before).map(|(now, before)| now - before).collect();
            for (i, sum) in running.iter_mut().enumerate() {
                *sum += parts[i / k] * parts[i % k];
            }
            before = now;
        }
        sums.copy_from_slice(&running);
    }
    let total = |profile: &Profile| power(profile.steps as f64, exponents[place(profile.length)]);
    DMatrix::from_fn(profiles.len(), profiles.len(), |i, j| {
        let (a, b) = (&profiles[i], &profiles[j]);
        let end = ends.iter().position(|end| *end == a.steps.min(b.steps)).expect("all ends are there");
        sums[end][place(a.length) * k + place(b.length)] / (total(a) * total(b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, normal};
    use tch::{Device, Kind};

    /// The weights of each step.
    fn weights(profile: Profile) -> Vec<f64> {
        let (power, t) = (exponent(profile.length) + 1.0, profile.steps as f64);
        (1..=profile.steps).map(|n| (n as f64 / t).powf(power) - ((n - 1) as f64 / t).powf(power)).collect()
    }

    #[test]
    fn a_length_is_the_spread_of_its_profile() {
        for length in [0.01, 0.05, 0.1, 0.2, LONGEST] {
            let steps = 20_000;
            let weights = weights(Profile { length, steps });
            let time = |i: usize| (i as f64 + 0.5) / steps as f64;
            let mean: f64 = weights.iter().enumerate().map(|(i, w)| w * time(i)).sum();
            let square: f64 = weights.iter().enumerate().map(|(i, w)| w * (time(i) - mean).powi(2)).sum();
            assert!((square.sqrt() - length).abs() < 1e-3 * length, "{length}: {}", square.sqrt());
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
        // Karras et al. 2024, sec. 3.1: γ = 16.97 and 6.94.
        assert!((exponent(0.05) - 16.97).abs() < 0.01 && (exponent(0.10) - 6.94).abs() < 0.01);
    }

    #[test]
    fn a_track_is_the_sum_by_its_weights() {
        tch::set_num_threads(1);
        let (length, steps) = (0.1, 50);
        let points = normal(1, Purpose::Data, 0, &[steps, 3], Device::Cpu).to_kind(Kind::Double);
        let track = PowerAverage::new(&Tensor::full([3], 1e9, (Kind::Double, Device::Cpu)), length);
        for n in 0..steps {
            let theta = points.get(n);
            Block::all(&theta).for_each(|block| track.update(&block, &theta, n as u64 + 1));
        }
        let truth = Tensor::from_slice(&weights(Profile { length, steps: steps as u64 })).unsqueeze(0).matmul(&points);
        assert!((&track.average - truth).abs().max().double_value(&[]) < 1e-12, "what it began with has no part in it");
    }

    #[test]
    fn products_are_those_of_the_weights() {
        let profiles = [(0.05, 40), (0.1, 40), (0.05, 17), (0.2, 25)].map(|(length, steps)| Profile { length, steps });
        let products = products(&profiles);
        for (i, a) in profiles.iter().enumerate() {
            for (j, b) in profiles.iter().enumerate() {
                let truth: f64 = weights(*a).iter().zip(weights(*b)).map(|(a, b)| a * b).sum();
                assert!((products[(i, j)] / truth - 1.0).abs() < 1e-10, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn any_length_between_is_a_combination_of_two_tracks() {
        let saved: Vec<Profile> = (1..=16).flat_map(|i| [0.05, 0.1].map(|length| Profile { length, steps: 500 * i })).collect();
        for (length, steps, most) in [(0.05, 8000, 1e-6), (0.07, 8000, 1e-2), (0.15, 8000, 1e-2), (0.1, 6000, 1e-6), (0.08, 6000, 1e-2)] {
            let wanted = Profile { length, steps };
            let (factors, missing) = combination(&saved, wanted);
            let mut sum = vec![0.0; 8000];
            for (factor, profile) in factors.iter().zip(&saved) {
                weights(*profile).iter().zip(&mut sum).for_each(|(w, sum)| *sum += factor * w);
            }
            let truth = weights(wanted);
            let apart: f64 = sum.iter().enumerate().map(|(n, sum)| (sum - truth.get(n).unwrap_or(&0.0)).powi(2)).sum();
            let own: f64 = truth.iter().map(|w| w * w).sum();
            let error = (apart / own).sqrt();
            println!("{length} at {steps}: {error:.2e} of its weights is missing");
            assert!(error < most && (error - missing).abs() < 1e-5, "{length} at {steps}: {error}, said {missing}");
        }
    }
}
