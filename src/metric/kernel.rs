//! Discrepancies of kernels: maximum mean discrepancies and the energy distance.

use statrs::statistics::Statistics;
use tch::Tensor;

use super::estimate::{Estimate, GROUPS, Jackknife, student};
use super::features::Features;
use super::pairs::{Kernel, Pairs, Sums, between, within};
use crate::error::Result;

/// Examples of each group that the median distance is taken of.
const MEDIAN: i64 = 100;

/// What kernels say of the laws that two sets are drawn from, of one pass over their pairs.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// [`kid`]
    pub kid: Estimate,
    /// [`mmd`]
    pub mmd: Estimate,
    /// [`energy_distance`]
    pub energy: Estimate,
}

impl Kernels {
    /// Of x [N, D] and y [M, D], with a bandwidth for the Gaussian kernel.
    pub fn new(x: &Features, y: &Features, bandwidth: f64) -> Result<Kernels> {
        let (polynomial, gaussian) = (polynomial(x.width()), gaussian(bandwidth));
        let [kid, mmd, energy] = &discrepancies(x, y, &[&polynomial, &gaussian, &distance])?[..] else { unreachable!("three kernels") };
        Ok(Kernels { kid: kid.linear(), mmd: mmd.linear(), energy: energy.jackknife.plain() })
    }
}

fn polynomial(d: i64) -> impl Fn(&Pairs) -> Tensor {
    move |pairs| (&pairs.products / d as f64 + 1.0).pow_tensor_scalar(3)
}

fn gaussian(bandwidth: f64) -> impl Fn(&Pairs) -> Tensor {
    let rate = -0.5 / bandwidth.powi(2);
    move |pairs| (&pairs.squares * rate).exp()
}

fn distance(pairs: &Pairs) -> Tensor {
    pairs.squares.sqrt().neg()
}

fn of_one(x: &Features, y: &Features, kernel: Kernel) -> Result<Discrepancy> {
    Ok(discrepancies(x, y, &[kernel])?.remove(0))
}

/// The kernel inception distance (Bińkowski et al. 2018, arXiv 1801.01401) of the laws that x [N, D] and y [M, D] are drawn from: their squared
/// maximum mean discrepancy by the kernel (x·y/D + 1)³, 0 for laws whose moments up to the third are equal.
///
/// Unbiased, over all pairs rather than blocks of examples, so that it scatters around 0, on both sides, for equal laws. The interval is
/// that of [`mmd`].
pub fn kid(x: &Features, y: &Features) -> Result<Estimate> {
    Ok(of_one(x, y, &polynomial(x.width()))?.linear())
}

/// The squared maximum mean discrepancy E k(X, X') + E k(Y, Y') - 2 E k(X, Y) of the laws that x [N, D] and y [M, D] are drawn from, by the
/// Gaussian kernel k = exp(-‖x - y‖² / 2h²) with bandwidth h, above 0 (Gretton et al. 2012): 0 for equal laws and above 0 for others.
///
/// The unbiased U-statistic over all pairs. The interval comes from the standard error of its first-order terms, 2 (mean of k(xᵢ, ·) over x - mean
/// over y) for each example, which is the jackknife's that leaves out one example. It is about √2 wider than need be where the laws are equal;
/// where it is as wide as the value, the estimate's law is skewed, and 92 or 93 of 100 hold the truth. A bandwidth that comes from the same
/// sets ([`median_distance`]) is taken as given.
pub fn mmd(x: &Features, y: &Features, bandwidth: f64) -> Result<Estimate> {
    Ok(of_one(x, y, &gaussian(bandwidth))?.linear())
}

/// The energy distance [`Energy::distance`](super::Energy::distance) of the laws that x [N, D] and y [M, D] are drawn from, by distances to about
/// 1e-8 of the largest.
pub fn energy_distance(x: &Features, y: &Features) -> Result<Estimate> {
    Ok(of_one(x, y, &distance)?.jackknife.plain())
}

/// The median distance between two examples of both sets, or of a hundred of each of their ten groups, which are random: a bandwidth for [`mmd`]
/// (Gretton et al. 2012).
pub fn median_distance(x: &Features, y: &Features) -> Result<f64> {
    x.beside(y)?;
    let some = |features: &Features| {
        let first = |g| features.group(g).narrow(0, 0, features.group_count(g).min(MEDIAN));
        Tensor::cat(&(0..GROUPS).map(first).collect::<Vec<_>>(), 0)
    };
    let points = Tensor::cat(&[some(x), some(y)], 0);
    let pairs = points.pdist(2.0);
    let (low, high) = ((pairs.numel() as i64 - 1) / 2 + 1, pairs.numel() as i64 / 2 + 1);
    Ok((low..=high).map(|k| pairs.kthvalue(k, 0, false).0.double_value(&[])).mean())
}

/// ‖x - y‖ of rows [N, D] and [M, D]: [N, M], by products of matrices, to about 1e-8 of the largest.
pub(super) fn distances(x: &Tensor, y: &Tensor) -> Tensor {
    let origin = y.narrow(-2, 0, 1);
    Tensor::cdist(&(x - &origin), &(y - &origin), 2.0, 1)
}

/// The squared discrepancy of a kernel.
struct Discrepancy {
    jackknife: Jackknife,
    /// Half the interval of its first-order terms.
    half_width: f64,
}

impl Discrepancy {
    /// With the interval of its first-order terms.
    fn linear(&self) -> Estimate {
        self.jackknife.within(self.half_width)
    }
}

/// Of each kernel.
fn discrepancies(x: &Features, y: &Features, kernels: &[Kernel]) -> Result<Vec<Discrepancy>> {
    x.beside(y)?;
    let (n, m) = (x.count() as f64, y.count() as f64);
    let counts = || [x, y].map(|set| (0..GROUPS).map(|g| set.group_count(g)).collect::<Vec<_>>());
    let error = |within: Tensor, between: Tensor, n: f64| (within - between).var(true).double_value(&[]) * 4.0 / n;
    let of = |((of_x, of_y), both): ((Sums, Sums), Sums)| {
        let jackknife = jackknife([&of_x.of_groups, &of_y.of_groups, &both.of_groups], counts());
        let variance = error(of_x.of_x / (n - 1.0), both.of_x / m, n) + error(of_y.of_x / (m - 1.0), both.of_y / n, m);
        Discrepancy { jackknife, half_width: student(n.min(m) - 1.0) * variance.sqrt() }
    };
    Ok(within(x, kernels).into_iter().zip(within(y, kernels)).zip(between(x, y, kernels)).map(of).collect())
}

/// E k(X, X') + E k(Y, Y') - 2 E k(X, Y), over all pairs of different examples, from the sums of k over the pairs of group g and group h, of x and
/// x, y and y, and x and y.
pub(super) fn jackknife(sums: [&[Vec<f64>]; 3], [of_x, of_y]: [Vec<i64>; 2]) -> Jackknife {
    let without = |left_out: usize| {
        let kept = || (0..GROUPS).filter(move |&g| g != left_out);
        let [within_x, within_y, between] = sums.map(|sums| kept().flat_map(|g| kept().map(move |h| sums[g][h])).sum::<f64>());
        let [n, m] = [&of_x, &of_y].map(|counts| kept().map(|g| counts[g] as f64).sum::<f64>());
        within_x / (n * (n - 1.0)) + within_y / (m * (m - 1.0)) - 2.0 * between / (n * m)
    };
    Jackknife::new(without)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::{calibrated, normal, pair};
    use crate::tensor::to_vec;

    #[test]
    fn intervals_hold_the_discrepancies_of_gaussians() {
        tch::set_num_threads(1);
        let shifted = |x: &Tensor| x + 0.4;
        let same = |x: &Tensor| x.shallow_clone();
        // E k of N(m, I) and N(0, I) in D dimensions: (h² / (h² + 2))^{D/2} exp(-‖m‖² / 2 (h² + 2)).
        let (h, d) = (1.5f64, 2);
        let width = h * h + 2.0;
        let truth = 2.0 * (h * h / width).powf(d as f64 / 2.0) * (1.0 - (-0.16 * d as f64 / (2.0 * width)).exp());
        calibrated("MMD", truth, |i| mmd_of(&pair(i, [150, 200], d, shifted), h));
        calibrated("MMD of equal laws", 0.0, |i| mmd_of(&pair(i, [150, 200], d, same), h));
        // In one dimension 3 (Δ E x)² + 3 (Δ E x²)² + (Δ E x³)².
        let (m, m2, m3) = (0.4f64, 0.16f64, 0.4f64.powi(3) + 3.0 * 0.4);
        let truth = 3.0 * m.powi(2) + 3.0 * m2.powi(2) + m3.powi(2);
        let of = |[x, y]: &[Features; 2]| kid(x, y).unwrap();
        calibrated("KID", truth, |i| of(&pair(i, [300, 400], 1, shifted)));
        calibrated("KID of equal laws", 0.0, |i| of(&pair(i, [300, 400], 1, same)));
    }

    fn mmd_of([x, y]: &[Features; 2], bandwidth: f64) -> Estimate {
        mmd(x, y, bandwidth).unwrap()
    }

    /// What one pass says is what each kernel says alone, pair by pair.
    #[test]
    fn one_pass_has_the_numbers_of_three() {
        tch::set_num_threads(1);
        let [x, y] = pair(1, [61, 45], 3, |x| x * 1.5 + 20.0);
        let Kernels { kid: of_kid, mmd: of_mmd, energy } = Kernels::new(&x, &y, 1.3).unwrap();
        let all = [of_kid, of_mmd, energy];
        let alone = [kid(&x, &y).unwrap(), mmd(&x, &y, 1.3).unwrap(), energy_distance(&x, &y).unwrap()];
        assert!(all.iter().zip(alone).all(|(a, b)| a.value == b.value && a.half_width == b.half_width));
        let rows = |set: &Features| Tensor::cat(&(0..GROUPS).map(|g| set.group(g)).collect::<Vec<_>>(), 0);
        let (x, y) = (rows(&x), rows(&y));
        let by_hand = |kernel: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
            let within = |x: &Tensor| {
                let (k, n) = (kernel(x, x), x.size()[0] as f64);
                (k.sum(None) - k.trace()).double_value(&[]) / (n * (n - 1.0))
            };
            within(&x) + within(&y) - 2.0 * kernel(&x, &y).mean(None).double_value(&[])
        };
        let apart = |x: &Tensor, y: &Tensor| Tensor::cdist(x, y, 2.0, 2);
        let truth = [
            by_hand(&|x, y| (x.matmul(&y.tr()) / 3.0 + 1.0).pow_tensor_scalar(3)),
            by_hand(&|x, y| (apart(x, y).square() * (-0.5 / 1.69)).exp()),
            by_hand(&|x, y| apart(x, y).neg()),
        ];
        for (estimate, truth) in all.iter().zip(truth) {
            assert!((estimate.value - truth).abs() < 1e-9 * truth.abs().max(1.0), "{estimate:?} is not {truth}");
        }
    }

    #[test]
    fn the_median_is_that_of_all_pairs() {
        tch::set_num_threads(1);
        for n in [20, 21] {
            let points = normal(1, n + 24, 3);
            let of = |start, count| Features::new("x", &points.narrow(0, start, count), 1).unwrap();
            let (x, y) = (of(0, n as i64), of(n as i64, 24));
            let mut pairs = to_vec(&points.pdist(2.0));
            pairs.sort_by(f64::total_cmp);
            let truth = (pairs[(pairs.len() - 1) / 2] + pairs[pairs.len() / 2]) / 2.0;
            assert!((median_distance(&x, &y).unwrap() - truth).abs() < 1e-12);
        }
    }
}
