//! Randomness as a function: every draw is named by (seed, purpose, index), so nothing random has to be saved to resume a run,
//! and a draw depends neither on the device, nor on the number of threads, nor on what else was drawn before it.

use std::ops::Range;

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
    /// Training times t; index: position in the run.
    Time = 5,
    /// Training noise z; index: position in the run.
    Noise = 6,
    /// Dropout masks; index: position in the run, one draw a layer.
    Dropout = 7,
    /// Start points x_T; index: example.
    Prior = 8,
    /// Brownian increments of a sampler; index: example, one draw a solver step.
    Brownian = 9,
    /// Dequantisation of an example whose likelihood is measured; index: example.
    Dequantise = 10,
    /// Probes of the trace estimator; index: example, one draw a probe.
    Probe = 11,
    /// Sketches of the trace estimator; index: example, one draw a sketch vector.
    Sketch = 12,
    /// Directions of sliced score matching; index: position in the run, one draw a projection.
    Projection = 14,
    /// Noise that takes an example to t_min; index: example, one draw a draw of its dequantisation.
    Encoder = 20,
    /// The seed of all that a bound draws.
    Bound = 21,
    /// The seed of all that training a dequantiser draws.
    Dequantiser = 22,
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

/// A law of rows of f32 numbers z with E z zᵀ = I.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Law {
    /// N(0, 1) for each number
    Gaussian,
    /// ±1 with equal probability for each number
    Rademacher,
    /// uniform on the sphere of radius √D around 0, for rows of D numbers
    Sphere,
}

impl Law {
    fn fill(self, rng: &mut ChaCha8Rng, row: &mut [f32]) {
        match self {
            Law::Gaussian => row.fill_with(|| rng.sample(StandardNormal)),
            Law::Rademacher => row.fill_with(|| [-1.0, 1.0][(rng.next_u32() & 1) as usize]),
            Law::Sphere => {
                Law::Gaussian.fill(rng, row);
                let squares: f64 = row.iter().map(|&z| f64::from(z).powi(2)).sum();
                let factor = (row.len() as f64 / squares).sqrt();
                row.iter_mut().for_each(|z| *z = (f64::from(*z) * factor) as f32);
            }
        }
    }
}

/// Elements that one generator of [`normal`] fills; part of the definition of every draw.
const CHUNK: usize = 1 << 13;

/// z ~ N(0, I) of the given shape, f32, filled in parallel: chunk k starts 2^32 words after chunk k - 1 of the same stream.
pub fn normal(seed: u64, purpose: Purpose, index: u64, shape: &[i64], device: Device) -> Tensor {
    let base = generator(seed, purpose, index);
    let mut values = vec![0f32; shape.iter().product::<i64>() as usize];
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(k, chunk)| {
        let mut rng = base.clone();
        rng.set_word_pos((k as u128) << 32);
        Law::Gaussian.fill(&mut rng, chunk);
    });
    Tensor::from_slice(&values).view(shape).to_device(device)
}

/// One stream per example: row i of the result [rows, shape...] is a function of (seed, purpose, rows.start + i, draw) alone, whatever
/// the batch around it. `draw` counts the draws made for the same example.
pub fn rows(law: Law, seed: u64, purpose: Purpose, rows: Range<u64>, draw: u64, shape: &[i64], device: Device) -> Tensor {
    let places: Vec<(u64, u64)> = rows.map(|example| (example, draw)).collect();
    rows_at(law, seed, purpose, &places, shape, device)
}

/// [`rows`] for any (example, draw): [places, shape...].
pub fn rows_at(law: Law, seed: u64, purpose: Purpose, places: &[(u64, u64)], shape: &[i64], device: Device) -> Tensor {
    filled(seed, purpose, places, shape, device, |rng, row| law.fill(rng, row))
}

/// Rows of numbers that are 1 / keep with probability `keep` in (0, 1], and else 0; the probability is rounded to 16 binary places. Rows as
/// in [`rows`].
pub fn masks(seed: u64, purpose: Purpose, rows: Range<u64>, draw: u64, shape: &[i64], keep: f64, device: Device) -> Tensor {
    let places: Vec<(u64, u64)> = rows.map(|example| (example, draw)).collect();
    let limit = ((keep * 65536.0).round() as u32).max(1);
    let kept = (65536.0 / f64::from(limit)) as f32;
    filled(seed, purpose, &places, shape, device, |rng, row| {
        for pair in row.chunks_mut(2) {
            let word = rng.next_u32();
            let halves = [word & 0xffff, word >> 16];
            pair.iter_mut().zip(halves).for_each(|(out, half)| *out = if half < limit { kept } else { 0.0 });
        }
    })
}

/// One stream for each (example, draw), in parallel: [places, shape...], f32.
fn filled(
    seed: u64,
    purpose: Purpose,
    places: &[(u64, u64)],
    shape: &[i64],
    device: Device,
    fill: impl Fn(&mut ChaCha8Rng, &mut [f32]) + Sync,
) -> Tensor {
    let base = generator(seed, purpose, 0);
    let size = shape.iter().product::<i64>() as usize;
    let mut values = vec![0f32; places.len() * size];
    // A row of a thread's worth of numbers is worth a thread.
    let least = (CHUNK / size.max(1)).clamp(1, 64);
    values.par_chunks_mut(size.max(1)).zip(places).with_min_len(least).for_each(|(row, &(example, draw))| {
        let mut rng = base.clone();
        rng.set_stream(example);
        rng.set_word_pos(u128::from(draw) << 32);
        fill(&mut rng, row);
    });
    let full = [&[places.len() as i64], shape].concat();
    Tensor::from_slice(&values).view(full.as_slice()).to_device(device)
}

/// u ~ U[0, 1), f64, one for each row: a function of (seed, purpose, row).
pub fn uniform_rows(seed: u64, purpose: Purpose, rows: Range<u64>) -> Vec<f64> {
    let base = generator(seed, purpose, 0);
    let of = |row| {
        let mut rng = base.clone();
        rng.set_stream(row);
        rng.random()
    };
    rows.map(of).collect()
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
    fn a_row_does_not_depend_on_its_batch() {
        let draw = |range, draw| rows(Law::Gaussian, 4, Purpose::Brownian, range, draw, &[3], Device::Cpu);
        assert_eq!(values(&draw(0..200, 1).narrow(0, 150, 2)), values(&draw(150..152, 1)));
        assert_ne!(values(&draw(0..1, 1)), values(&draw(0..1, 2)));
        let signs = values(&rows(Law::Rademacher, 4, Purpose::Probe, 0..1000, 0, &[4], Device::Cpu));
        let sum: f32 = signs.iter().sum();
        assert!(signs.iter().all(|s| s.abs() == 1.0) && sum.abs() < 4.0 * 4000f32.sqrt(), "{sum}");
    }

    #[test]
    fn normal_draws_have_the_normal_moments() {
        let z = normal(3, Purpose::Prior, 0, &[200_000], Device::Cpu).to_kind(tch::Kind::Double);
        for (power, truth, sd) in [(1, 0.0, 1.0), (2, 1.0, 2f64.sqrt()), (3, 0.0, 15f64.sqrt()), (4, 3.0, 96f64.sqrt())] {
            let moment = z.pow_tensor_scalar(power).mean(None).double_value(&[]);
            assert!((moment - truth).abs() < 5.0 * sd / 200_000f64.sqrt(), "moment {power} is {moment}, not {truth}");
        }
    }

    #[test]
    fn rows_of_the_sphere_have_its_radius_and_identity_as_second_moment() {
        let (n, d) = (20_000, 5i64);
        let z = rows(Law::Sphere, 3, Purpose::Probe, 0..n, 0, &[d], Device::Cpu).to_kind(tch::Kind::Double);
        let norms = z.square().sum_dim_intlist(1i64, false, None::<tch::Kind>);
        assert!((norms - d as f64).abs().max().double_value(&[]) < 1e-5);
        let moment = z.transpose(0, 1).matmul(&z) / n as f64 - Tensor::eye(d, (tch::Kind::Double, Device::Cpu));
        assert!(moment.abs().max().double_value(&[]) < 5.0 / (n as f64).sqrt());
        let some = rows_at(Law::Sphere, 3, Purpose::Probe, &[(7, 2), (0, 0)], &[d], Device::Cpu);
        assert_eq!(values(&some.get(1)), values(&rows(Law::Sphere, 3, Purpose::Probe, 0..1, 0, &[d], Device::Cpu)));
        assert_eq!(values(&some.get(0)), values(&rows(Law::Sphere, 3, Purpose::Probe, 7..8, 2, &[d], Device::Cpu)));
    }

    #[test]
    fn uniform_rows_belong_to_their_positions() {
        let whole = uniform_rows(1, Purpose::Time, 0..3000);
        assert_eq!(whole[1000..], uniform_rows(1, Purpose::Time, 1000..3000));
        let mean = whole.iter().sum::<f64>() / 3000.0;
        assert!((mean - 0.5).abs() < 4.0 / (12.0 * 3000f64).sqrt() && whole.iter().all(|u| (0.0..1.0).contains(u)), "{mean}");
        assert_ne!(whole[..10], uniform_rows(2, Purpose::Time, 0..10));
    }
}
