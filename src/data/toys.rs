//! Synthetic sets of points: example i of a split is a pure function of (seed, split, i).

use std::f64::consts::PI;

use ndarray::Array2;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Split;
use super::arrays::Vectors;
use crate::error::Fault;
use crate::law::GaussianMixture;
use crate::rng::{self, Purpose};

/// `[data.checkerboard]`: uniform on the 8 dark squares of side 2 of a 4 x 4 board on [-4, 4]²; ln p = -ln 32 on them.
/// A square is dark where ⌊x/2⌋ + ⌊y/2⌋ is even.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkerboard {
    /// Points to train on, 1 to 100,000,000.
    pub train: usize,
    /// Points to measure, 1 to 100,000,000.
    pub test: usize,
    /// What vectors are divided by for model space, above 0.
    pub scale: f64,
}

impl Checkerboard {
    pub fn check(&self) -> Result<(), Fault> {
        check_counts(self.train, self.test)
    }

    pub(super) fn draw(&self, split: Split, seed: u64) -> Vectors {
        let values = points(split.of(self.train, self.test), split, seed, checkerboard);
        Vectors { values, log_density: Box::new(|x| Some(if is_dark(x) { -32f64.ln() } else { f64::NEG_INFINITY })) }
    }
}

/// Coordinates are multiples of 2^-19, exact in f32, so that no point is rounded onto a light square.
fn checkerboard(rng: &mut ChaCha8Rng) -> [f64; 2] {
    let mut unit = || f64::from(rng.next_u32() >> 12) / f64::from(1 << 20);
    let (x, mut y) = (8.0 * unit() - 4.0, 4.0 * unit());
    // two dark squares in the column of x, put side by side on [0, 4) and then moved to where they are
    y += if y < 2.0 { -4.0 } else { -2.0 };
    [x, y + 2.0 * (x / 2.0).floor().rem_euclid(2.0)]
}

fn is_dark(x: &[f64]) -> bool {
    x.iter().all(|c| (-4.0..4.0).contains(c)) && x.iter().map(|c| (c / 2.0).floor()).sum::<f64>().rem_euclid(2.0) == 0.0
}

/// `[data.two-moons]`, `[data.swiss-roll]`, `[data.spirals]`, `[data.rings]`: x = c + noise z with c on a curve in the plane and z ~ N(0, I).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoisyCurve {
    /// Points to train on, 1 to 100,000,000.
    pub train: usize,
    /// Points to measure, 1 to 100,000,000.
    pub test: usize,
    /// Standard deviation around the curve, in its units, at least 0.
    pub noise: f64,
    /// What vectors are divided by for model space, above 0.
    pub scale: f64,
}

impl NoisyCurve {
    pub fn check(&self) -> Result<(), Fault> {
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return Err(Fault::new(
                "noise",
                format!("noise is {}", self.noise),
                "give the standard deviation around the curve, at least 0",
            ));
        }
        check_counts(self.train, self.test)
    }

    pub(super) fn draw(&self, curve: fn(&mut ChaCha8Rng) -> [f64; 2], split: Split, seed: u64) -> Vectors {
        let values = points(split.of(self.train, self.test), split, seed, |rng| {
            curve(rng).map(|c| c + self.noise * rng.sample::<f64, _>(StandardNormal))
        });
        Vectors { values, log_density: Box::new(|_| None) }
    }
}

fn sign(rng: &mut impl Rng) -> f64 {
    if rng.random() { 1.0 } else { -1.0 }
}

/// ±(cos θ - 1/2, sin θ - 1/4), θ ~ U[0, π): two interleaved half circles of radius 1 around the origin.
pub(super) fn two_moons(rng: &mut ChaCha8Rng) -> [f64; 2] {
    let (s, theta) = (sign(rng), rng.random_range(0.0..PI));
    [s * (theta.cos() - 0.5), s * (theta.sin() - 0.25)]
}

/// θ (cos θ, sin θ), θ ~ U[3π/2, 9π/2): the section of the roll of Marsland; reaches 14.1 from the origin.
pub(super) fn swiss_roll(rng: &mut ChaCha8Rng) -> [f64; 2] {
    let theta = rng.random_range(1.5 * PI..4.5 * PI);
    [theta * theta.cos(), theta * theta.sin()]
}

/// ±θ (cos θ, sin θ), θ = 3π √u, u ~ U[0, 1): two arms of one and a half turns, nearly even along their length; reaches 9.4.
pub(super) fn spirals(rng: &mut ChaCha8Rng) -> [f64; 2] {
    let (s, u): (f64, f64) = (sign(rng), rng.random());
    let theta = 3.0 * PI * u.sqrt();
    [s * theta * theta.cos(), s * theta * theta.sin()]
}

/// r (cos θ, sin θ), r uniform in {1, 2, 3, 4}, θ ~ U[0, 2π): four circles of equal weight.
pub(super) fn rings(rng: &mut ChaCha8Rng) -> [f64; 2] {
    let (r, theta) = (f64::from(rng.random_range(1..=4u32)), rng.random_range(0.0..2.0 * PI));
    [r * theta.cos(), r * theta.sin()]
}

/// `[data.gaussian-mixture]`: points of p(x) = Σ_k w_k N(x; μ_k, C_k), whose density is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mixture {
    /// Points to train on, 1 to 100,000,000.
    pub train: usize,
    /// Points to measure, 1 to 100,000,000.
    pub test: usize,
    /// What vectors are divided by for model space, above 0.
    pub scale: f64,
    /// The law of the points.
    pub mixture: GaussianMixture,
}

impl Mixture {
    pub fn check(&self) -> Result<(), Fault> {
        check_counts(self.train, self.test)?;
        self.mixture.check().map_err(|fault| fault.within("mixture"))
    }

    pub(super) fn draw(&self, split: Split, seed: u64) -> Vectors {
        let law = self.mixture.factored();
        let values = points(split.of(self.train, self.test), split, seed, |rng| law.sample(rng));
        Vectors { values, log_density: Box::new(move |x| Some(law.log_density(x))) }
    }

    /// The component of each point: its class.
    pub(super) fn components(&self, split: Split, seed: u64) -> Vec<u32> {
        let (law, seed) = (self.mixture.factored(), seed_of(seed, split));
        let component = |i| law.component(&mut rng::generator(seed, Purpose::Data, i as u64)) as u32;
        (0..split.of(self.train, self.test)).into_par_iter().map(component).collect()
    }
}

/// Points a split may have: 800 MB of memory in the plane.
const MOST: usize = 100_000_000;

fn check_counts(train: usize, test: usize) -> Result<(), Fault> {
    for (key, n) in [("train", train), ("test", test)] {
        if !(1..=MOST).contains(&n) {
            return Err(Fault::new(key, format!("{key} is {n}"), format!("give a number of points from 1 to {MOST}")));
        }
    }
    Ok(())
}

/// Of all that a split draws.
fn seed_of(seed: u64, split: Split) -> u64 {
    rng::derive(seed, Purpose::Data, split as u64)
}

/// n >= 1 points [n, D].
fn points<P: AsRef<[f64]> + Send>(n: usize, split: Split, seed: u64, draw: impl Fn(&mut ChaCha8Rng) -> P + Sync) -> Array2<f32> {
    let seed = seed_of(seed, split);
    let point = |i: usize| draw(&mut rng::generator(seed, Purpose::Data, i as u64));
    let dims = point(0).as_ref().len();
    let mut values = Array2::zeros((n, dims));
    values.outer_iter_mut().into_par_iter().enumerate().for_each(|(i, mut row)| {
        row.iter_mut().zip(point(i).as_ref()).for_each(|(value, x)| *value = *x as f32);
    });
    values
}

#[cfg(test)]
mod tests {
    use super::super::{Data, Dataset};
    use super::*;

    const N: usize = 20_000;

    fn open(toy: &str, noise: f64) -> Vec<[f64; 2]> {
        let noise = if toy == "checkerboard" { String::new() } else { format!("noise = {noise:?}") };
        let data: Data = toml::from_str(&format!("[{toy}]\ntrain = {N}\ntest = 10\nscale = 1.0\n{noise}")).unwrap();
        let set = data.open(Split::Train, 5).unwrap();
        assert_eq!((set.shape(), set.len()), ([2].as_slice(), N));
        let mut x = [0f32; 2];
        (0..N)
            .map(|i| {
                set.read(i, &mut x).unwrap();
                x.map(f64::from)
            })
            .collect()
    }

    /// Kolmogorov-Smirnov: sup |F_n - F| √n of draws whose distribution function maps them to `unit`; above 1.95 once in 1000 runs.
    fn ks(unit: impl Iterator<Item = f64>) -> f64 {
        let mut unit: Vec<f64> = unit.collect();
        unit.sort_by(f64::total_cmp);
        let n = unit.len() as f64;
        let distance = unit.iter().enumerate().map(|(i, u)| (u - i as f64 / n).abs().max((u - (i + 1) as f64 / n).abs()));
        distance.fold(0.0, f64::max) * n.sqrt()
    }

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        values.sum::<f64>() / N as f64
    }

    #[test]
    fn checkerboard_is_uniform_on_the_dark_squares() {
        let x = open("checkerboard", 0.0);
        assert!(x.iter().all(|x| is_dark(x)));
        for axis in [0, 1] {
            assert!(ks(x.iter().map(|x| (x[axis] + 4.0) / 8.0)) < 1.95);
            assert!(ks(x.iter().map(|x| x[axis].rem_euclid(2.0) / 2.0)) < 1.95);
        }
        let mut squares = [0u32; 16];
        x.iter().for_each(|x| squares[((x[0] / 2.0).floor() * 4.0 + (x[1] / 2.0).floor() + 10.0) as usize] += 1);
        let expected = N as f64 / 8.0;
        let chi2: f64 = squares.iter().filter(|n| **n > 0).map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
        assert_eq!(squares.iter().filter(|n| **n > 0).count(), 8);
        assert!(chi2 < 24.3, "chi-squared with 7 degrees of freedom is {chi2}: once in 1000");
    }

    #[test]
    fn checkerboard_density_integrates_to_one() {
        let set = Checkerboard { train: 1, test: 1, scale: 1.0 }.draw(Split::Train, 0);
        let grid = (0..100).map(|i| -5.0 + (f64::from(i) + 0.5) / 10.0);
        let mass: f64 =
            grid.clone().flat_map(|x| grid.clone().map(move |y| [x, y])).map(|x| set.log_density(&x).unwrap().exp() / 100.0).sum();
        assert!((mass - 1.0).abs() < 1e-12, "{mass}");
    }

    #[test]
    fn curves_without_noise_are_the_curves() {
        for x in open("two-moons", 0.0) {
            let on = |s: f64| ((s * x[0] + 0.5).hypot(s * x[1] + 0.25) - 1.0).abs() < 1e-6 && s * x[1] > -0.250001;
            assert!(on(1.0) || on(-1.0), "{x:?}");
        }
        for x in open("swiss-roll", 0.0) {
            let theta = x[0].hypot(x[1]);
            assert!((x[0] - theta * theta.cos()).abs() < 1e-4 && (x[1] - theta * theta.sin()).abs() < 1e-4, "{x:?}");
        }
        for x in open("spirals", 0.0) {
            let theta = x[0].hypot(x[1]);
            let s = if x[0] * theta.cos() + x[1] * theta.sin() > 0.0 { 1.0 } else { -1.0 };
            assert!((x[0] - s * theta * theta.cos()).abs() < 1e-4 && (x[1] - s * theta * theta.sin()).abs() < 1e-4, "{x:?}");
        }
    }

    #[test]
    fn places_on_the_curves_follow_their_laws() {
        assert!(ks(open("swiss-roll", 0.0).iter().map(|x| x[0].hypot(x[1]) / (3.0 * PI) - 0.5)) < 1.95);
        assert!(ks(open("spirals", 0.0).iter().map(|x| (x[0].hypot(x[1]) / (3.0 * PI)).powi(2))) < 1.95);
        let rings = open("rings", 0.0);
        assert!(ks(rings.iter().map(|x| x[1].atan2(x[0]) / (2.0 * PI) + 0.5)) < 1.95);
        for r in 1..=4 {
            let share = mean(rings.iter().map(|x| f64::from(u8::from((x[0].hypot(x[1]) - f64::from(r)).abs() < 1e-5))));
            assert!((share - 0.25).abs() < 4.0 * (0.1875 / N as f64).sqrt(), "ring {r} has {share} of the points");
        }
    }

    #[test]
    fn moments_are_those_of_the_curve_plus_noise() {
        let noise = 0.3f64;
        let square = |x: &[f64; 2]| x[0] * x[0] + x[1] * x[1];
        // E|c|² of the curve alone, from its formula
        let curves = [("two-moons", 1.3125 - 1.0 / PI), ("swiss-roll", 9.75 * PI * PI), ("spirals", 4.5 * PI * PI), ("rings", 7.5)];
        for (toy, second_moment) in curves {
            let x = open(toy, noise);
            let found = mean(x.iter().map(square));
            let deviation = (mean(x.iter().map(|x| (square(x) - found).powi(2))) / N as f64).sqrt();
            let truth = second_moment + 2.0 * noise * noise;
            assert!((found - truth).abs() < 4.0 * deviation, "{toy}: E|x|² is {found}, not {truth}");
            if toy != "swiss-roll" {
                assert!(mean(x.iter().map(|x| x[0])).abs() < 4.0 * (truth / N as f64).sqrt(), "{toy} is not centred");
            }
        }
    }

    #[test]
    fn mixture_points_follow_its_density() {
        // Equal covariances bound the ratio below.
        let (means, covariances) = (vec![vec![-2.0, 0.0], vec![1.0, 3.0]], vec![vec![vec![1.0, 0.6], vec![0.6, 0.5]]; 2]);
        let mixture = GaussianMixture { weights: vec![1.0, 3.0], means, covariances };
        let set = Mixture { train: N, test: 1, scale: 1.0, mixture }.draw(Split::Train, 2);
        assert!((set.values.column(0).mean().unwrap() - 0.25).abs() < 0.05);
        assert!((set.values.column(1).mean().unwrap() - 2.25).abs() < 0.05);
        // E_p[q/p] = 1 for q = N(μ_2, C/2), whose ratio to p is at most 8/3
        let q = |x: f64, y: f64| (-(0.5 * x * x - 1.2 * x * y + y * y) / 0.14).exp() / (PI * 0.14f64.sqrt());
        let ratio = set.values.rows().into_iter().map(|row| {
            let (x, y) = (f64::from(row[0]), f64::from(row[1]));
            q(x - 1.0, y - 3.0) / set.log_density(&[x, y]).unwrap().exp()
        });
        assert!((mean(ratio) - 1.0).abs() < 4.0 * (8.0 / 3.0) / (N as f64).sqrt());
    }

    #[test]
    fn points_depend_on_seed_split_and_index_alone() {
        let set = |train| NoisyCurve { train, test: train, noise: 0.1, scale: 1.0 };
        let (many, few) = (set(100).draw(rings, Split::Train, 1).values, set(7).draw(rings, Split::Train, 1).values);
        assert_eq!(many.slice(ndarray::s![..7, ..]), few);
        for other in [set(7).draw(rings, Split::Test, 1).values, set(7).draw(rings, Split::Train, 2).values] {
            assert!(few.iter().zip(&other).all(|(a, b)| a != b));
        }
    }
}
