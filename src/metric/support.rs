//! Precision and recall, density and coverage.

use tch::{Kind, Tensor};

use super::estimate::{Estimate, GROUPS, Jackknife};
use super::features::{Features, blocks};
use super::kernel::distances;
use crate::error::{Error, Result};
use crate::tensor::to_vec;

/// How two sets of features, samples x [N, D] and data y [M, D], lie in the balls around each other's points that reach to a point's k-th
/// neighbour in its own set.
///
/// All four depend on k, N and M: only values at the same counts can be compared. Where the laws are equal, density is 1 in the mean, coverage
/// is [`expected_coverage`], and precision and recall are below 1, in many dimensions far below (0.42 for twice 20,000 normal points in 2048, k = 5):
/// two sets of the data show how far. The intervals are the jackknife's over ten groups, for the mean at these counts, nearly twice as wide as need
/// be where the laws are equal; where a share is 0 or 1 without any group, too, they have no width.
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
        Ok(Support { precision: share(0), recall: share(1), density: share(2).times(1.0 / k as f64), coverage: share(3) })
    }
}

/// The points of a set with the radii of their balls.
struct Balls<'a> {
    set: &'a Features,
    /// Of each group: [GROUPS + 1, N], the radii in the set without each group, and (the last) in all of it.
    radii: Vec<Tensor>,
}

impl Balls<'_> {
    fn new(set: &Features, k: i64) -> Balls<'_> {
        Balls { set, radii: nearest(set, k).iter().map(|near| radii(near, k)).collect() }
    }

    /// How many points there are without a group.
    fn kept(&self, left_out: usize) -> f64 {
        (0..GROUPS).filter(|&g| g != left_out).map(|g| self.set.group_count(g) as f64).sum()
    }
}

/// Of each group's points, the distances to their k nearest in each group [N, k], or to all in a smaller one: enough to know the nearest without any
/// of the groups. Each pair of groups is looked at once.
fn nearest(set: &Features, k: i64) -> Vec<Vec<Tensor>> {
    let least = |apart: &Tensor| apart.topk(k.min(apart.size()[1]), 1, false, false).0;
    let mut near: Vec<Vec<Tensor>> = (0..GROUPS).map(|_| Vec::new()).collect();
    for h in 0..GROUPS {
        let others = set.group(h);
        for g in 0..=h {
            let (mut start, mut of_g, mut of_h) = (0, Vec::new(), Vec::new());
            for block in blocks(&set.group(g), others.size()[0]) {
                let (apart, rows) = (distances(&block, &others), block.size()[0]);
                if g == h {
                    let _ = apart.narrow(1, start, rows).diagonal(0, 0, 1).fill_(f64::INFINITY);
                } else {
                    of_h.push(least(&apart.tr()));
                }
                of_g.push(least(&apart));
                start += rows;
            }
            near[g].push(Tensor::cat(&of_g, 0));
            if g != h {
                near[h].push(least(&Tensor::cat(&of_h, 1)));
            }
        }
    }
    near
}

/// The radii [GROUPS + 1, N] of a group's points, of what is nearest to them in each group.
fn radii(near: &[Tensor], k: i64) -> Tensor {
    let without = |left_out: usize| {
        let kept: Vec<&Tensor> = near.iter().enumerate().filter(|&(g, _)| g != left_out).map(|(_, near)| near).collect();
        Tensor::cat(&kept, 1).kthvalue(k, 1, false).0
    };
    Tensor::stack(&(0..=GROUPS).map(without).collect::<Vec<_>>(), 0)
}

/// Precision, recall, k times density and coverage, without each group and of all.
fn counts(x: &Balls, y: &Balls) -> Vec<[f64; 4]> {
    let rows = |set: &Features| -> Vec<Tensor> {
        let of = |g| Tensor::zeros([GROUPS as i64 + 1, set.group_count(g)], (Kind::Double, set.device()));
        (0..GROUPS).map(of).collect()
    };
    // How many balls of the data a sample is in; how many blocks of samples have one in a point's ball, or one whose ball the point is in.
    let (inside, covered, recalled) = (rows(x.set), rows(y.set), rows(y.set));
    for h in 0..GROUPS {
        let data = y.set.group(h);
        for g in 0..GROUPS {
            let mut start = 0;
            for block in blocks(&x.set.group(g), data.size()[0]) {
                let (apart, size) = (distances(&block, &data), block.size()[0]);
                for left_out in (0..=GROUPS).filter(|out| ![g, h].contains(out)) {
                    let of = |all: &[Tensor], group: usize| all[group].get(left_out as i64);
                    let in_data = apart.le_tensor(&of(&y.radii, h));
                    let in_samples = apart.le_tensor(&of(&x.radii, g).narrow(0, start, size).unsqueeze(1));
                    let mut samples = of(&inside, g).narrow(0, start, size);
                    samples += in_data.sum_dim_intlist(1i64, false, Kind::Double);
                    let (mut points, mut held) = (of(&covered, h), of(&recalled, h));
                    points += in_data.any_dim(0, false);
                    held += in_samples.any_dim(0, false);
                }
                start += size;
            }
        }
    }
    let [inside, covered, recalled] = [inside, covered, recalled].map(|of| Tensor::cat(&of, 1));
    let some = |of: &Tensor| to_vec(&of.gt(0.0).sum_dim_intlist(1i64, false, Kind::Double));
    let (precise, recalled, covered) = (some(&inside), some(&recalled), some(&covered));
    let dense = to_vec(&inside.sum_dim_intlist(1i64, false, Kind::Double));
    let shares = |left_out: usize| {
        let (n, m) = (x.kept(left_out), y.kept(left_out));
        [precise[left_out] / n, recalled[left_out] / m, dense[left_out] / n, covered[left_out] / m]
    };
    (0..=GROUPS).map(shares).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::{calibrated, normal, pair};
    use crate::tensor::numbers;

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
