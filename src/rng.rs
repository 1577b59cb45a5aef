//! Randomness as a function: every draw is named by (seed, purpose, index), so nothing random has to be saved to resume a run,
//! and a draw depends neither on the device, nor on the number of threads, nor on what else was drawn before it.

use std::ops::Range;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{ChiSquared, Distribution, StandardNormal};
use rayon::prelude::*;
use tch::kind::Element;
use tch::{Device, Tensor};

/// What a random number is for. Each purpose has its own key, so that streams never meet. 13 and 15 to 17 have never been drawn from and are
/// free; a number that was drawn from once is not given again, lest two runs share what they should not.
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
    /// Which particles of a sample stay; index: example, one draw a step.
    Resampling = 18,
    /// The seeds of all that the lab draws where it compares methods with an exact posterior.
    PosteriorLab = 19,
    /// Noise that takes an example to t_min; index: example, one draw a draw of its dequantisation.
    Encoder = 20,
    /// The seed of all that a bound draws.
    Bound = 21,
    /// The seed of all that training a dequantiser draws.
    Dequantiser = 22,
    /// The seed of all that the analytic variance is measured with.
    AnalyticVariance = 23,
    /// Latent variables of a training example; index: position in the run.
    Latent = 24,
    /// Latent variables that a density is estimated by; index: example, one draw each.
    Importance = 25,
    /// What a decoder's sample is off its mean; index: example.
    Decoder = 26,
    /// Noise that takes data to t_min, where the lab compares samples with them; index: example.
    Lab = 27,
    /// What the steps down of a hierarchy are off their means; index: example, one draw a level.
    StepDown = 28,
    /// The seeds of an autoencoder's training, and of what is measured of its latent variables.
    Autoencoder = 30,
    /// Whether training hides what is known of an example; index: position in the run.
    Hidden = 32,
    /// The seed of a classifier's training.
    Classifier = 33,
    /// The order in which examples are parted into groups for the jackknife.
    Groups = 34,
    /// Directions of the sliced Wasserstein distance; index: direction.
    Slice = 35,
    /// A random mask (index 0) and the noise of a measurement (index 1).
    Measurement = 31,
    /// The seeds of an evaluation: the order of the examples of each set, and a classifier of them.
    Evaluation = 36,
    /// The paths of a process in a figure.
    Figure = 40,
    /// Noise of the examples that training shows denoised; index: example.
    Watched = 37,
    /// The seed of all that a validation loss draws.
    Validation = 38,
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
    generator_of_draw(seed, purpose, index, 0)
}

/// The generator of draw `draw` of one (seed, purpose, index).
pub fn generator_of_draw(seed: u64, purpose: Purpose, index: u64, draw: u64) -> ChaCha8Rng {
    let mut rng = base(seed, purpose, [(index, draw)]);
    place(&mut rng, index, draw);
    rng
}

/// The generator of a (seed, purpose) for draws of these (index, draw), which the tests keep a ledger of.
fn base(seed: u64, purpose: Purpose, places: impl IntoIterator<Item = (u64, u64)>) -> ChaCha8Rng {
    #[cfg(test)]
    tests::used(seed, purpose, places);
    #[cfg(not(test))]
    drop(places);
    ChaCha8Rng::seed_from_u64(mix(&[seed, purpose as u64]))
}

/// Puts a generator at draw `draw` of an index: a stream for each index, and in it 2^32 words for each draw.
fn place(rng: &mut ChaCha8Rng, index: u64, draw: u64) {
    rng.set_stream(index);
    rng.set_word_pos(u128::from(draw) << 32);
}

/// A seed for another run-like thing inside this run.
pub fn derive(seed: u64, purpose: Purpose, index: u64) -> u64 {
    let derived = mix(&[seed, purpose as u64, index]);
    #[cfg(test)]
    tests::derived(seed, purpose, index, derived);
    derived
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

/// z ~ N(0, I) of the given shape, f32, filled in parallel: chunk k is draw k of the index.
pub fn normal(seed: u64, purpose: Purpose, index: u64, shape: &[i64], device: Device) -> Tensor {
    let mut values = vec![0f32; shape.iter().product::<i64>() as usize];
    let base = base(seed, purpose, (0..values.len().div_ceil(CHUNK) as u64).map(|k| (index, k)));
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(k, chunk)| {
        let mut rng = base.clone();
        place(&mut rng, index, k as u64);
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

/// As [`rows`], by Student's law: normal numbers divided by √(χ² / freedom), with one χ² for each row; `freedom` is above 0.
pub fn student_rows(freedom: f64, seed: u64, purpose: Purpose, rows: Range<u64>, draw: u64, shape: &[i64], device: Device) -> Tensor {
    let places: Vec<(u64, u64)> = rows.map(|example| (example, draw)).collect();
    let chi_squared = ChiSquared::new(freedom).expect("degrees of freedom above 0");
    filled(seed, purpose, &places, shape, device, |rng, row: &mut [f32]| {
        let factor = (freedom / chi_squared.sample(rng)).sqrt();
        Law::Gaussian.fill(rng, row);
        row.iter_mut().for_each(|z| *z = (f64::from(*z) * factor) as f32);
    })
}

/// [`rows`] for any (example, draw): [places, shape...].
pub fn rows_at(law: Law, seed: u64, purpose: Purpose, places: &[(u64, u64)], shape: &[i64], device: Device) -> Tensor {
    filled(seed, purpose, places, shape, device, |rng, row| law.fill(rng, row))
}

/// Rows of bytes that are 1 with probability `keep` in (0, 1], and else 0, and that probability, rounded to 16 binary places. Rows as in
/// [`rows`].
pub fn masks(seed: u64, purpose: Purpose, rows: Range<u64>, draw: u64, shape: &[i64], keep: f64, device: Device) -> (Tensor, f64) {
    let places: Vec<(u64, u64)> = rows.map(|example| (example, draw)).collect();
    let limit = ((keep * 65536.0).round() as u32).max(1);
    let bytes = filled(seed, purpose, &places, shape, device, |rng, row: &mut [u8]| {
        for pair in row.chunks_mut(2) {
            let word = rng.next_u32();
            let halves = [word & 0xffff, word >> 16];
            pair.iter_mut().zip(halves).for_each(|(out, half)| *out = u8::from(half < limit));
        }
    });
    (bytes, f64::from(limit) / 65536.0)
}

/// One stream for each (example, draw), in parallel: [places, shape...].
fn filled<T: Element + Copy + Default + Send>(
    seed: u64,
    purpose: Purpose,
    places: &[(u64, u64)],
    shape: &[i64],
    device: Device,
    fill: impl Fn(&mut ChaCha8Rng, &mut [T]) + Sync,
) -> Tensor {
    let base = base(seed, purpose, places.iter().copied());
    let size = shape.iter().product::<i64>() as usize;
    let mut values = vec![T::default(); places.len() * size];
    // A row of a thread's worth of numbers is worth a thread.
    let least = (CHUNK / size.max(1)).clamp(1, 64);
    values.par_chunks_mut(size.max(1)).zip(places).with_min_len(least).for_each(|(row, &(example, draw))| {
        let mut rng = base.clone();
        place(&mut rng, example, draw);
        fill(&mut rng, row);
    });
    let full = [&[places.len() as i64], shape].concat();
    Tensor::from_slice(&values).view(full.as_slice()).to_device(device)
}

/// u ~ U[0, 1), f64, one for each row: a function of (seed, purpose, row, draw).
pub fn uniform_rows(seed: u64, purpose: Purpose, rows: Range<u64>, draw: u64) -> Vec<f64> {
    let base = base(seed, purpose, rows.clone().map(|row| (row, draw)));
    let of = |row| {
        let mut rng = base.clone();
        place(&mut rng, row, draw);
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
mod tests;
