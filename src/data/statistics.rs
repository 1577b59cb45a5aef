//! What the examples of a split are like: moments, and the largest distance between two of them.

use serde::Serialize;
use tch::{Kind, Tensor};

use super::{Dataset, chosen};
use crate::error::Result;
use crate::space::Scale;
use crate::tensor::{numbers, to_vec};

/// Of all examples of a split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// Of each channel of images, or of each component of vectors, in data units.
    pub channels: Vec<Moments>,
    /// Of all numbers together, in model space, in the middle of a pixel's bin.
    pub in_model_space: Moments,
    /// Of model space.
    pub farthest: Farthest,
}

/// Of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Moments {
    count: f64,
    pub mean: f64,
    /// The root of the mean square difference to the mean.
    pub std: f64,
    pub least: f64,
    pub most: f64,
}

/// The two examples that are farthest from each other: what σ_max of the variance-exploding process is chosen by (Song & Ermon 2020,
/// arXiv 2006.09011, technique 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Farthest {
    pub distance: f64,
    pub examples: [usize; 2],
    /// No pair is farther apart than this: `distance` itself where that is known to be the largest.
    pub bound: f64,
}

/// Numbers that are looked at together.
const BLOCK: usize = 1 << 22;

/// Examples and numbers that are compared pair by pair.
const MOST_COMPARED: usize = 10_000;
const MOST_NUMBERS: usize = 1 << 26;

/// Examples whose distances to others are in memory at once.
const ROWS: i64 = 1024;

/// That two sums of f32 differ by, relative.
const ROUNDING: f64 = 1e-4;

impl Statistics {
    /// Reads every example twice, and those that are compared once more; `watch` is told how many readings are done.
    ///
    /// Error: an example can't be read.
    pub fn of(set: &dyn Dataset, scale: Scale, watch: &mut dyn FnMut(usize)) -> Result<Statistics> {
        let d = set.shape().iter().product::<usize>();
        Statistics::among((MOST_NUMBERS / d).clamp(3, MOST_COMPARED), set, scale, watch)
    }

    fn among(compared: usize, set: &dyn Dataset, scale: Scale, watch: &mut dyn FnMut(usize)) -> Result<Statistics> {
        let [n, d] = [set.len(), set.shape().iter().product()];
        let mut channels: Vec<Moments> = Vec::new();
        let mut sum = Tensor::zeros([d as i64], (Kind::Double, tch::Device::Cpu));
        // From some example, from the one that is farthest from it, and from the mean.
        let mut distances = [const { Vec::new() }; 3];
        let some = point(set, 0)?;
        each_block(set, |done, x| {
            let of_block = Moments::of_channels(&x.view([x.size()[0], set.shape()[0] as i64, -1]));
            match channels.is_empty() {
                true => channels = of_block,
                false => channels.iter_mut().zip(of_block).for_each(|(all, more)| *all = all.and(more)),
            }
            sum += x.sum_dim_intlist(0i64, false, Kind::Double);
            distances[0].extend(distances_to(&some, x));
            watch(done);
        })?;
        let (far, mean) = (point(set, largest_first(&distances[0])[0])?, sum / n as f64);
        each_block(set, |done, x| {
            distances[1].extend(distances_to(&far, x));
            distances[2].extend(distances_to(&mean, x));
            watch(n + done);
        })?;
        let slope = scale.centre(1.0) - scale.centre(0.0);
        let Farthest { distance, examples, bound } = farthest(compared, set, &mean, &distances)?;
        let all = channels.iter().copied().reduce(Moments::and).expect("an example has numbers");
        let noise = if scale.dequantises() { 1.0 / 12.0 } else { 0.0 };
        let in_model_space = Moments {
            mean: scale.centre(all.mean),
            std: slope * (all.std.powi(2) + noise).sqrt(),
            least: scale.centre(all.least),
            most: scale.centre(all.most),
            ..all
        };
        Ok(Statistics { channels, in_model_space, farthest: Farthest { distance: slope * distance, examples, bound: slope * bound } })
    }
}

/// Example `i` as a vector `[D]`, f64.
fn point(set: &dyn Dataset, i: usize) -> Result<Tensor> {
    Ok(chosen(set, &[i])?.flatten(0, -1).to_kind(Kind::Double))
}

/// Of each of the points x [n, D].
fn distances_to(point: &Tensor, x: &Tensor) -> Vec<f64> {
    to_vec(&(x - point).square().sum_dim_intlist(1i64, false, Kind::Double).sqrt())
}

fn largest_first(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order
}

/// Hands all examples [n, D] to `look`, f64, in blocks, with how many are done after each.
fn each_block(set: &dyn Dataset, mut look: impl FnMut(usize, &Tensor)) -> Result<()> {
    let rows = (BLOCK / set.shape().iter().product::<usize>()).max(1);
    for first in (0..set.len()).step_by(rows) {
        let last = (first + rows).min(set.len());
        let x = chosen(set, &(first..last).collect::<Vec<_>>())?;
        look(last, &x.flatten(1, -1).to_kind(Kind::Double));
    }
    Ok(())
}

impl Moments {
    /// Of each channel of x [n, C, P].
    fn of_channels(x: &Tensor) -> Vec<Moments> {
        let (rest, count) = ([0i64, 2], (x.size()[0] * x.size()[2]) as f64);
        let mean = to_vec(&x.mean_dim(&rest[..], false, Kind::Double));
        let std = to_vec(&x.std_dim(&rest[..], false, false));
        let [least, most] = [to_vec(&x.amin(&rest[..], false)), to_vec(&x.amax(&rest[..], false))];
        (0..mean.len()).map(|c| Moments { count, mean: mean[c], std: std[c], least: least[c], most: most[c] }).collect()
    }

    /// Of both.
    fn and(self, other: Moments) -> Moments {
        let count = self.count + other.count;
        let (share, difference) = (other.count / count, other.mean - self.mean);
        let within = (1.0 - share) * self.std.powi(2) + share * other.std.powi(2);
        Moments {
            count,
            mean: self.mean + share * difference,
            std: (within + share * (1.0 - share) * difference.powi(2)).sqrt(),
            least: self.least.min(other.least),
            most: self.most.max(other.most),
        }
    }
}

/// In data units, among about `compared` examples: those that are farthest from each of three points, by the `distances` to them. Of any other
/// pair the triangle inequality through one of the points gives the bound.
fn farthest(compared: usize, set: &dyn Dataset, mean: &Tensor, distances: &[Vec<f64>; 3]) -> Result<Farthest> {
    let orders = distances.each_ref().map(|distances| largest_first(distances));
    let mut order: Vec<usize> = orders.iter().flat_map(|order| &order[..order.len().min(compared.div_ceil(3))]).copied().collect();
    order.sort_unstable();
    order.dedup();
    let outer = distances.iter().zip(&orders).map(|(distances, largest_first)| {
        let next = largest_first.iter().find(|i| order.binary_search(i).is_err());
        next.map_or(f64::NEG_INFINITY, |&next| distances[largest_first[0]] + distances[next])
    });
    let outer = outer.fold(f64::INFINITY, f64::min);
    let x = chosen(set, &order)?.flatten(1, -1) - mean.to_kind(Kind::Float);
    let squares = x.square().sum_dim_intlist(1i64, false, Kind::Float);
    let (n, mut best, mut pair) = (order.len() as i64, f64::NEG_INFINITY, [0, 0]);
    for first in (0..n).step_by(ROWS as usize) {
        let rows = ROWS.min(n - first);
        let others = x.narrow(0, first, n - first);
        let inner = x.narrow(0, first, rows).matmul(&others.transpose(0, 1));
        let square = squares.narrow(0, first, rows).unsqueeze(1) + squares.narrow(0, first, n - first) - inner * 2.0;
        let [largest, place] = numbers([square.max(), square.argmax(None, false)]);
        if largest > best {
            let place = place as i64;
            (best, pair) = (largest, [first + place / (n - first), first + place % (n - first)]);
        }
    }
    let [a, b] = pair.map(|i| x.get(i).to_kind(Kind::Double));
    let distance = (a - b).square().sum(Kind::Double).sqrt().double_value(&[]);
    let bound = if outer <= distance * (1.0 + ROUNDING) { distance } else { outer };
    Ok(Farthest { distance, examples: pair.map(|i| order[i as usize]), bound })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array4};

    use super::super::arrays::{Images, Vectors};
    use super::*;
    use crate::rng::{self, Law, Purpose};

    const PLAIN: Scale = Scale::Vectors { scale: 2.0 };

    fn vectors(values: Array2<f32>) -> Vectors {
        tch::set_num_threads(1);
        Vectors { values, log_density: Box::new(|_| None) }
    }

    #[test]
    fn vectors_have_their_own_moments_and_distance() {
        let set = vectors(ndarray::array![[0.0, 0.0], [3.0, 4.0], [1.0, -1.0], [0.0, 1.0]]);
        let Statistics { channels, in_model_space, farthest } = Statistics::of(&set, PLAIN, &mut |_| {}).unwrap();
        let close = |found: f64, truth: f64| assert!((found - truth).abs() < 1e-6, "{found}, not {truth}");
        assert_eq!((channels.len(), channels[1].least, channels[1].most), (2, -1.0, 4.0));
        close(channels[0].mean, 1.0);
        close(channels[0].std, 1.5f64.sqrt());
        close(in_model_space.mean, 0.5);
        close(in_model_space.std, (28.0f64 / 8.0 - 1.0).sqrt() / 2.0);
        close(farthest.distance, (4.0f64 + 25.0).sqrt() / 2.0);
        assert_eq!((farthest.examples, farthest.bound), ([1, 2], farthest.distance));
    }

    #[test]
    fn pixels_have_moments_by_channel_and_the_noise_of_their_bins() {
        tch::set_num_threads(1);
        // More than one block.
        let n = 2 * BLOCK / 30 + 3;
        let pixels = Array4::from_shape_fn((n, 3, 2, 5), |(i, c, _, w)| (50 * c + 10 * (i % 2) + 4 * w) as u8);
        let set = Images { pixels, note: None };
        let mut seen = Vec::new();
        let scale = |dequantise| Scale::Pixels { range: [-1.0, 1.0], dequantise };
        let found = Statistics::of(&set, scale(true), &mut |done| seen.push(done)).unwrap();
        assert_eq!((seen.len(), seen.last()), (6, Some(&(2 * n))));
        let share = (n / 2) as f64 / n as f64;
        let within = 100.0 * share * (1.0 - share) + 32.0;
        for (c, moments) in found.channels.iter().enumerate() {
            assert!((moments.mean - (50.0 * c as f64 + 10.0 * share + 8.0)).abs() < 1e-9, "{moments:?}");
            assert!((moments.std - within.sqrt()).abs() < 1e-9, "{moments:?}");
        }
        let all = within + 2500.0 * 2.0 / 3.0;
        assert!((found.in_model_space.std - (all + 1.0 / 12.0).sqrt() / 128.0).abs() < 1e-9);
        assert!((found.farthest.distance - 10.0 * 30f64.sqrt() / 128.0).abs() < 1e-6, "two clouds of unequal weight are both seen");
        let plain = Statistics::of(&set, scale(false), &mut |_| {}).unwrap().in_model_space;
        assert!((plain.std - all.sqrt() / 127.5).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_compared_is_bounded() {
        let normal = rng::rows(Law::Gaussian, 3, Purpose::Data, 0..400, 0, &[4], tch::Device::Cpu);
        let values: Vec<f32> = to_vec(&normal).into_iter().map(|x| x as f32).collect();
        let cloud = Array2::from_shape_vec((400, 4), values).unwrap();
        let brute = |x: &Array2<f32>| {
            let distance = |a: usize, b: usize| (&x.row(a) - &x.row(b)).mapv(f64::from).pow2().sum().sqrt() / 2.0;
            (0..400).flat_map(|a| (0..a).map(move |b| (a, b))).map(|(a, b)| distance(a, b)).fold(0.0, f64::max)
        };
        let of = |compared: usize, x: &Array2<f32>| Statistics::among(compared, &vectors(x.clone()), PLAIN, &mut |_| {}).unwrap().farthest;
        let truth = brute(&cloud);
        let [all, few] = [of(1200, &cloud), of(6, &cloud)];
        assert!((all.distance - truth).abs() < 1e-5 && all.bound == all.distance, "{all:?}, {truth}");
        assert!(few.distance <= truth + 1e-5 && few.bound >= truth && few.bound > few.distance, "{few:?}, {truth}");
        // Two that are far from the rest: that they are the farthest is known without the others.
        let mut outliers = cloud;
        outliers.row_mut(7).fill(50.0);
        outliers.row_mut(9).fill(-50.0);
        let found = of(6, &outliers);
        assert!((found.distance - brute(&outliers)).abs() < 1e-4 && found.bound == found.distance, "{found:?}");
        assert!(found.examples == [7, 9] || found.examples == [9, 7]);
    }
}
