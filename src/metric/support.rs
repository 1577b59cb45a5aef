//! Precision and recall, density and coverage.

use tch::{Kind, Tensor};

use super::estimate::{Estimate, GROUPS, Jackknife};
use super::features::{Features, blocks};
use super::kernel::distances;
use crate::error::{Error, Result};
use crate::tensor::numbers;

/// How two sets of features, samples x [N, D] and data y [M, D], lie in the balls around each other's points that reach to a point's k-th
/// neighbour in its own set.
///
/// All four depend on k, N and M: only values at the same counts can be compared. Where the laws are equal, density is 1 in the mean, coverage
/// is [`expected_coverage`], and precision and recall are below 1, by what two sets of the data show. The intervals are the jackknife's over
/// ten groups, for the mean at these counts, nearly twice as wide as need be where the laws are equal; where a share is 0 or 1 without any group, too, they have no width.
#[derive(Clone, Copy, Debug)]
pub struct Support {
    /// The share of samples in the ball of at least one data point (Kynkäänniemi et al. 2019, arXiv 1904.06991).
    pub precision: Estimate,
    /// The share of data in the ball of at least one sample (the same).
    pub recall: Estimate,
    /// 1/k of the number of data points in whose balls a sample is, in the mean over samples (Naeem et al. 2020, arXiv 2002.09797).
    pub density: Estimate,
    /// The share of data in whose balls a sample is (the same).
    pub coverage: Estimate,
}

/// The mean coverage of M data points by N samples of their very law, whatever law with a density it is: 1 - Π (M - i) / (M + N - i) over
/// i = 1..k (Naeem et al. 2020).
pub fn expected_coverage(n: i64, m: i64, k: i64) -> f64 {
    1.0 - (1..=k).map(|i| (m - i) as f64 / (m + n - i) as f64).product::<f64>()
}

impl Support {
    /// Of samples x and data y. Refuses a `k` below 1, or one that is no neighbour's number once a group is left out.
    pub fn new(x: &Features, y: &Features, k: i64) -> Result<Support> {
        x.beside(y)?;
        let fewest = |set: &Features| set.count() - (0..GROUPS).map(|g| set.group_count(g)).max().unwrap_or(0) - 1;
        let most = fewest(x).min(fewest(y));
        if !(1..=most).contains(&k) {
            let message = format!("{} and {} examples have no neighbour number {k} without a tenth of them", x.count(), y.count());
            return Err(Error::Usage { message, help: format!("give a whole number from 1 to {most}") });
        }
        let counts = counts(&Balls::new(x, k), &Balls::new(y, k));
        let share = |of: usize| Jackknife::new(|g| counts[g][of]).plain();
        let of_k = |Estimate { value, half_width }| Estimate { value: value / k as f64, half_width: half_width / k as f64 };
        Ok(Support { precision: share(0), recall: share(1), density: of_k(share(2)), coverage: share(3) })
    }
}

/// The points of a set by groups, and the radii of their balls.
struct Balls {
    points: Vec<Tensor>,
    /// [GROUPS + 1, N], of the set without each group, and of all of it; -1 for a point that is left out.
    radii: Tensor,
}

impl Balls {
    fn new(set: &Features, k: i64) -> Balls {
        let points: Vec<Tensor> = (0..GROUPS).map(|g| set.group(g)).collect();
        let radii: Vec<Tensor> = (0..GROUPS).flat_map(|own| radii(&points, own, k)).collect();
        Balls { radii: Tensor::cat(&radii, 1), points }
    }

    /// Radii [N] with one group left out, or none.
    fn without(&self, left_out: usize) -> Tensor {
        self.radii.get(left_out as i64)
    }

    /// How many points are not left out.
    fn kept(&self, left_out: usize) -> Tensor {
        self.without(left_out).ge(0.0).sum(Kind::Double)
    }
}

/// The radii [GROUPS + 1, B] of the blocks of a group's points.
fn radii(points: &[Tensor], own: usize, k: i64) -> Vec<Tensor> {
    let mut start = 0;
    let of_block = |block: &Tensor| {
        let rows = block.size()[0];
        // The nearest in each group are enough to know the nearest without any of them.
        let nearest = |(group, others): (usize, &Tensor)| {
            let apart = distances(block, others);
            if group == own {
                let _ = apart.narrow(1, start, rows).diagonal(0, 0, 1).fill_(f64::INFINITY);
            }
            apart.topk(k.min(others.size()[0]), 1, false, false).0
        };
        let nearest: Vec<Tensor> = points.iter().enumerate().map(nearest).collect();
        start += rows;
        let without = |left_out: usize| {
            if left_out == own {
                return Tensor::full([rows], -1.0, (Kind::Double, block.device()));
            }
            let kept: Vec<&Tensor> = nearest.iter().enumerate().filter(|&(g, _)| g != left_out).map(|(_, near)| near).collect();
            Tensor::cat(&kept, 1).kthvalue(k, 1, false).0
        };
        Tensor::stack(&(0..=GROUPS).map(without).collect::<Vec<_>>(), 0)
    };
    let widest = points.iter().map(|group| group.size()[0]).max().unwrap_or(1);
    blocks(&points[own], widest).iter().map(of_block).collect()
}

/// Precision, recall, k times density and coverage, without each group and of all.
fn counts(x: &Balls, y: &Balls) -> Vec<[f64; 4]> {
    let data = Tensor::cat(&y.points, 0);
    let m = data.size()[0];
    let options = (Kind::Double, data.device());
    let tally = |_| [Tensor::zeros([], options), Tensor::zeros([m], options), Tensor::zeros([], options), Tensor::zeros([m], options)];
    let mut tallies: Vec<[Tensor; 4]> = (0..=GROUPS).map(tally).collect();
    let mut start = 0;
    for (group, samples) in x.points.iter().enumerate() {
        for block in blocks(samples, m) {
            let (apart, rows) = (distances(&block, &data), block.size()[0]);
            for (left_out, [precise, recalled, dense, covered]) in tallies.iter_mut().enumerate().filter(|&(g, _)| g != group) {
                let in_data = apart.le_tensor(&y.without(left_out));
                *precise += in_data.any_dim(1, false).sum(Kind::Double);
                *dense += in_data.sum(Kind::Double);
                *covered += in_data.any_dim(0, false);
                *recalled += apart.le_tensor(&x.without(left_out).narrow(0, start, rows).unsqueeze(1)).any_dim(0, false);
            }
            start += rows;
        }
    }
    let shares = |(left_out, [precise, recalled, dense, covered]): (usize, &[Tensor; 4])| {
        let (n, m, there) = (x.kept(left_out), y.kept(left_out), y.without(left_out).ge(0.0));
        let share = |of: &Tensor| of.gt(0.0).logical_and(&there).sum(Kind::Double) / &m;
        numbers([precise / &n, share(recalled), dense / &n, share(covered)])
    };
    tallies.iter().enumerate().map(shares).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::{calibrated, normal, pair};

    fn support([x, y]: &[Features; 2]) -> Support {
        Support::new(x, y, 3).unwrap()
    }

    #[test]
    fn equal_laws_have_density_one_and_the_coverage_of_their_counts() {
        let equal = |i| support(&pair(i, [150, 200], 2, |x| x.shallow_clone()));
        calibrated("density of equal laws", 1.0, |i| equal(i).density);
        calibrated("coverage of equal laws", expected_coverage(150, 200, 3), |i| equal(i).coverage);
        let Support { precision, recall, .. } = support(&pair(1, [2000, 2000], 1, |x| x.shallow_clone()));
        for share in [precision, recall] {
            assert!(share.value > 0.9 && share.value + share.half_width > 0.97, "{share:?}");
        }
    }

    #[test]
    fn a_lost_mode_lowers_recall_and_coverage_alone() {
        tch::set_num_threads(1);
        let modes = |x: &Tensor, share: f64| {
            let far = Tensor::arange(x.size()[0], (Kind::Double, x.device())) / x.size()[0] as f64;
            x * 0.5 + far.lt(share).to_kind(Kind::Double).unsqueeze(1) * 50.0
        };
        let set = |seed, share| Features::new("x", &modes(&normal(seed, 400, 2), share), 1).unwrap();
        let Support { precision, recall, density, coverage } = support(&[set(1, 0.0), set(2, 0.4)]);
        assert!(precision.value > 0.9 && (density.value - 1.0).abs() < density.half_width + 0.1, "{precision:?} {density:?}");
        for share in [recall, coverage] {
            assert!((0.5..0.61).contains(&share.value) && share.half_width < 0.1, "{share:?}");
        }
        // Samples off the data lower precision and density alone.
        let Support { precision, recall, density, coverage } = support(&[set(3, 0.4), set(4, 0.0)]);
        assert!(precision.value < 0.61 && density.value < 0.7 && recall.value > 0.9 && coverage.value > 0.7);
    }

    /// Each share without a group is what it is of the other groups alone, asked pair by pair.
    #[test]
    fn shares_without_a_group_are_those_of_the_others() {
        tch::set_num_threads(1);
        let k = 2;
        let [x, y] = pair(1, [41, 52], 2, |x| x * 1.5 + 0.5);
        let counts = counts(&Balls::new(&x, k), &Balls::new(&y, k));
        for (left_out, counted) in counts.iter().enumerate() {
            let kept = |set: &Features| Tensor::cat(&(0..GROUPS).filter(|&g| g != left_out).map(|g| set.group(g)).collect::<Vec<_>>(), 0);
            let (x, y) = (kept(&x), kept(&y));
            let radii = |x: &Tensor| Tensor::cdist(x, x, 2.0, 2).kthvalue(k + 1, 1, false).0;
            let apart = Tensor::cdist(&x, &y, 2.0, 2);
            let (in_y, in_x) = (apart.le_tensor(&radii(&y)), apart.le_tensor(&radii(&x).unsqueeze(1)));
            let share = |inside: &Tensor, axis| inside.any_dim(axis, false).mean(Kind::Double);
            let dense = in_y.sum_dim_intlist(1i64, false, Kind::Double).mean(Kind::Double);
            let truth = numbers([share(&in_y, 1), share(&in_x, 0), dense, share(&in_y, 0)]);
            assert!(counted.iter().zip(truth).all(|(a, b)| (a - b).abs() < 1e-12), "{left_out}: {counted:?} is not {truth:?}");
        }
    }

    #[test]
    fn a_neighbour_that_is_not_there_is_refused() {
        let [x, y] = pair(1, [20, 30], 2, |x| x.shallow_clone());
        for k in [0, 18] {
            assert!(Support::new(&x, &y, k).is_err_and(|error| error.to_string().contains(&format!("number {k} "))));
        }
        assert!(Support::new(&x, &y, 17).is_ok());
    }
}
