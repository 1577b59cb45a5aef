//! Estimators that other programs publish numbers of, by which examples, in which order, and with which random numbers. None has an interval:
//! [`kid`](super::kid) takes all pairs and has one.

use rand_mt::Mt;
use statrs::statistics::Statistics;
use tch::{Kind, Tensor};

use super::Features;
use crate::error::{Error, Result};
use crate::tensor::indices;

/// A mean over parts of the examples.
#[derive(Clone, Copy, Debug)]
pub struct OfParts {
    pub mean: f64,
    /// The standard deviation between parts, over their number N (not N - 1).
    pub deviation: f64,
}

/// The kernel inception distance as torch-fidelity has it: the mean of unbiased estimates from `subsets` subsets of `size` examples of x and of y,
/// drawn without replacement by NumPy's `RandomState(seed)`. The deviation is that of one subset's estimate, and no error of the mean.
///
/// Error: a set has fewer examples.
pub fn kid_of_subsets(x: &Features, y: &Features, subsets: usize, size: usize, seed: u32) -> Result<OfParts> {
    x.beside(y)?;
    if let Some(set) = [x, y].into_iter().find(|set| (set.count() as usize) < size) {
        let message = format!("{} has {} examples, and the subsets of this estimator {size}", set.name(), set.count());
        return Err(Error::Usage { message, help: format!("take {size} or more") });
    }
    let mut random = Mt::new(seed);
    let mut subset = |set: &Features| {
        let chosen = &permutation(&mut random, set.count() as usize)[..size];
        set.rows().index_select(0, &indices(chosen, set.device())).to_kind(Kind::Double)
    };
    let estimates = (0..subsets).map(|_| {
        let x = subset(x);
        unbiased(&x, &subset(y))
    });
    Ok(OfParts::of(&estimates.collect::<Vec<_>>()))
}

/// The kernel inception distance as TF-GAN has it, and with it the code of Song et al. 2021: the mean of unbiased estimates from consecutive blocks
/// of about equal size, `largest` at most.
pub fn kid_of_blocks(x: &Features, y: &Features, largest: i64) -> Result<OfParts> {
    x.beside(y)?;
    let count = (x.count().max(y.count()) + largest - 1) / largest;
    // The last blocks have one example more.
    let blocks = |set: &Features| {
        let (size, longer) = (set.count() / count, set.count() % count);
        let sizes: Vec<i64> = (0..count).map(|i| size + i64::from(i >= count - longer)).collect();
        set.rows().split_with_sizes(&sizes[..], 0)
    };
    let estimate = |(x, y): (Tensor, Tensor)| unbiased(&x.to_kind(Kind::Double), &y.to_kind(Kind::Double));
    Ok(OfParts::of(&blocks(x).into_iter().zip(blocks(y)).map(estimate).collect::<Vec<_>>()))
}

impl OfParts {
    fn of(values: &[f64]) -> OfParts {
        OfParts { mean: values.mean(), deviation: values.population_std_dev() }
    }
}

/// The squared discrepancy of rows x [N, D] and y [M, D] by the kernel (x·y/D + 1)³, over pairs of different rows.
fn unbiased(x: &Tensor, y: &Tensor) -> f64 {
    let sum = |x: &Tensor, y: &Tensor| {
        let k = (x.matmul(&y.tr()) / x.size()[1] as f64 + 1.0).pow_tensor_scalar(3);
        (k.sum(None).double_value(&[]), k)
    };
    let within = |x: &Tensor| {
        let (n, (all, k)) = (x.size()[0] as f64, sum(x, x));
        (all - k.trace().double_value(&[])) / (n * (n - 1.0))
    };
    within(x) + within(y) - 2.0 * sum(x, y).0 / (x.size()[0] * y.size()[0]) as f64
}

/// `numpy.random.RandomState.permutation(n)`: from the end on, place i changes with one of 0..=i, which is drawn by as many bits as i has until
/// it fits. n is below 2³².
fn permutation(random: &mut Mt, n: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        let mask = u32::MAX >> (i as u32).leading_zeros();
        let j = std::iter::repeat_with(|| (random.next_u32() & mask) as usize).find(|j| *j <= i).expect("half of the draws fit");
        places.swap(i, j);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::kid;
    use crate::metric::tests::{normal, pair};

    /// `numpy.random.RandomState(2020).permutation(10)`, and the next one, of 5.
    #[test]
    fn permutations_are_those_of_numpy() {
        let mut random = Mt::new(2020);
        assert_eq!(permutation(&mut random, 10), [2, 4, 9, 1, 5, 7, 6, 3, 8, 0]);
        assert_eq!(permutation(&mut random, 5), [1, 2, 3, 4, 0]);
    }

    /// One part of all examples is the estimate over all pairs; many parts scatter around it.
    #[test]
    fn parts_are_unbiased() {
        tch::set_num_threads(1);
        let [x, y] = pair(1, [600, 600], 2, |x| x * 1.2);
        let whole = kid(&x, &y).unwrap().value;
        assert!((kid_of_subsets(&x, &y, 1, 600, 1).unwrap().mean - whole).abs() < 1e-9);
        assert!((kid_of_blocks(&x, &y, 600).unwrap().mean - whole).abs() < 1e-9);
        for OfParts { mean, deviation } in [kid_of_subsets(&x, &y, 40, 100, 1).unwrap(), kid_of_blocks(&x, &y, 100).unwrap()] {
            assert!((mean - whole).abs() < 3.0 * deviation / 6f64.sqrt() && deviation > 0.0, "{mean} ± {deviation} is not {whole}");
        }
        assert!(kid_of_subsets(&x, &y, 2, 601, 1).unwrap_err().to_string().contains("600 examples"));
    }

    /// Seven and five examples in blocks of three at most are of 2, 2, 3 and of 1, 2, 2.
    #[test]
    fn blocks_are_those_of_tf_gan() {
        let x = normal(1, 70, 2);
        let y = normal(2, 50, 2);
        let [first, second] = [(&x, "x"), (&y, "y")].map(|(x, name)| Features::new(name, x, 1).unwrap());
        let parts = [(0, 23, 0, 16), (23, 23, 16, 17), (46, 24, 33, 17)];
        let by_hand: Vec<f64> = parts.iter().map(|&(a, n, b, m)| unbiased(&x.narrow(0, a, n), &y.narrow(0, b, m))).collect();
        let OfParts { mean, deviation } = kid_of_blocks(&first, &second, 30).unwrap();
        assert!((mean - (&by_hand).mean()).abs() < 1e-12 && (deviation - by_hand.population_std_dev()).abs() < 1e-12);
    }
}
