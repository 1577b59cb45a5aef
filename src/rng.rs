//! Randomness as a function: every draw is named by (seed, purpose, index), so nothing random has to be saved to resume a run,
//! and a draw depends neither on the device, nor on the number of threads, nor on what else was drawn before it.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use tch::{Device, Tensor};

/// What a random number is for. Each purpose has its own key, so that streams never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Points of a synthetic data set; index: example.
    Data = 1,
    /// Initial weights; index: parameter.
    Init = 2,
    /// The order of an epoch; index: epoch.
    Order = 3,
    /// Flips and dequantisation of a training example; index: position in the run.
    Augment = 4,
    /// Training times t; index: step.
    Time = 5,
    /// Training noise z; index: step.
    Noise = 6,
    /// Dropout masks; index: step.
    Dropout = 7,
    /// Start points x_T; index: batch.
    Prior = 8,
    /// Brownian increments of a sampler; index: solver step.
    Brownian = 9,
    /// Dequantisation of an example whose likelihood is measured; index: example.
    Dequantise = 10,
    /// Probes of the trace estimator; index: batch.
    Probe = 11,
}

/// A 64-bit hash of a few words (the finaliser of SplitMix64, chained).
fn mix(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |state, word| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// The generator of one (seed, purpose, index).
pub fn generator(seed: u64, purpose: Purpose, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(mix(&[seed, purpose as u64]));
    rng.set_stream(index);
    rng
}

/// A seed for another run-like thing inside this run (one rollout, one chunk of samples).
pub fn derive(seed: u64, purpose: Purpose, index: u64) -> u64 {
    mix(&[seed, purpose as u64, index])
}

/// Seeds LibTorch's own generators, which only dropout uses.
pub fn seed_torch(seed: u64, purpose: Purpose, index: u64) {
    tch::manual_seed((derive(seed, purpose, index) >> 1) as i64);
}

/// Elements that one generator fills; part of the definition of every draw.
const CHUNK: usize = 1 << 13;

/// A tensor of f32 draws, filled in parallel; chunk k starts 2^32 words after chunk k - 1 of the same stream.
fn fill(seed: u64, purpose: Purpose, index: u64, shape: &[i64], device: Device, draw: impl Fn(&mut ChaCha8Rng) -> f32 + Sync) -> Tensor {
    let mut values = vec![0f32; shape.iter().product::<i64>() as usize];
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(k, chunk)| {
        let mut rng = generator(seed, purpose, index);
        rng.set_word_pos((k as u128) << 32);
        chunk.fill_with(|| draw(&mut rng));
    });
    Tensor::from_slice(&values).view(shape).to_device(device)
}

/// z ~ N(0, I) of the given shape, f32.
pub fn normal(seed: u64, purpose: Purpose, index: u64, shape: &[i64], device: Device) -> Tensor {
    fill(seed, purpose, index, shape, device, |rng| rng.sample(StandardNormal))
}

/// Independent signs, ±1 with equal probability, f32.
pub fn rademacher(seed: u64, purpose: Purpose, index: u64, shape: &[i64], device: Device) -> Tensor {
    fill(seed, purpose, index, shape, device, |rng| if rng.next_u32() & 1 == 0 { -1.0 } else { 1.0 })
}

/// n numbers u ~ U[0, 1), f64.
pub fn uniform(seed: u64, purpose: Purpose, index: u64, n: usize) -> Vec<f64> {
    let mut rng = generator(seed, purpose, index);
    (0..n).map(|_| rng.random()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(t: &Tensor) -> Vec<f32> {
        Vec::try_from(t.flatten(0, -1)).unwrap()
    }

    #[test]
    fn a_draw_is_a_function_of_its_name_alone() {
        let shape = [3, 5000];
        let once = values(&normal(1, Purpose::Noise, 7, &shape, Device::Cpu));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = pool.install(|| values(&normal(1, Purpose::Noise, 7, &shape, Device::Cpu)));
        assert_eq!(once, again);
        for other in [
            normal(2, Purpose::Noise, 7, &shape, Device::Cpu),
            normal(1, Purpose::Prior, 7, &shape, Device::Cpu),
            normal(1, Purpose::Noise, 8, &shape, Device::Cpu),
        ] {
            let equal = values(&other).iter().zip(&once).filter(|(a, b)| a == b).count();
            assert!(equal < 10, "{equal} of 15000 draws are shared");
        }
    }

    #[test]
    fn normal_draws_have_the_normal_moments() {
        let z = normal(3, Purpose::Prior, 0, &[200_000], Device::Cpu).to_kind(tch::Kind::Double);
        for (power, truth, sd) in [(1, 0.0, 1.0), (2, 1.0, 2f64.sqrt()), (3, 0.0, 15f64.sqrt()), (4, 3.0, 96f64.sqrt())] {
            let moment = z.pow_tensor_scalar(power).mean(None).double_value(&[]);
            assert!((moment - truth).abs() < 5.0 * sd / 200_000f64.sqrt(), "moment {power} is {moment}, not {truth}");
        }
    }
}
