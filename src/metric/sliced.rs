//! The sliced Wasserstein distance.

use statrs::statistics::Statistics;
use tch::{Kind, Tensor};

use super::estimate::{Estimate, GROUPS, Jackknife, NORMAL};
use super::features::Features;
use crate::error::Result;
use crate::rng::{Law, Purpose, rows};
use crate::tensor::to_vec;

/// Directions that are looked along at once.
const CHUNK: u64 = 64;

/// The squared sliced 2-Wasserstein distance E W₂²(θᵀX, θᵀY), θ uniform on the unit sphere, of the laws that x [N, D] and y [M, D] are drawn from
/// (Bonneel et al. 2015), in squared units of the features, along `directions` of them, at least two, which are a function of `seed`.
///
/// Along each direction W₂² is that of the samples, whose quantiles are paired exactly also where N is not M. From samples it is too large, for
/// equal laws by about ln ln N / N; the estimate is extrapolated to infinitely many samples, by a line in 1/N, which leaves less than a tenth of
/// the interval (0.0017 of 0.023 for 200 and 300 normal points). The interval holds the scatter of the samples, by the jackknife, and that of
/// the directions, by their standard error.
pub fn sliced_wasserstein(x: &Features, y: &Features, directions: u64, seed: u64) -> Result<Estimate> {
    x.beside(y)?;
    let mut costs: Vec<Vec<f64>> = vec![Vec::new(); GROUPS + 1];
    for start in (0..directions).step_by(CHUNK as usize) {
        let chunk = start..(start + CHUNK).min(directions);
        let along = rows(Law::Sphere, seed, Purpose::Slice, chunk, 0, &[x.width()], x.device()).to_kind(Kind::Double);
        let along = along / (x.width() as f64).sqrt();
        let (x, y) = (Shadows::new(x, &along), Shadows::new(y, &along));
        for (left_out, costs) in costs.iter_mut().enumerate() {
            costs.extend(to_vec(&squared_wasserstein(&x.without(left_out), &y.without(left_out))));
        }
    }
    let of_directions = NORMAL * (&costs[GROUPS]).std_dev() / (directions as f64).sqrt();
    Ok(Jackknife::new(|g| (&costs[g]).mean()).extrapolated().beside(of_directions))
}

/// Points along P directions [P, N], sorted, and the group of each.
struct Shadows {
    values: Tensor,
    groups: Tensor,
}

impl Shadows {
    fn new(features: &Features, along: &Tensor) -> Shadows {
        let shadows: Vec<Tensor> = (0..GROUPS).map(|g| along.matmul(&features.group(g).tr())).collect();
        let group = |g: usize| Tensor::full([features.group_count(g)], g as i64, (Kind::Uint8, features.device()));
        let groups = Tensor::cat(&(0..GROUPS).map(group).collect::<Vec<_>>(), 0);
        let (values, order) = Tensor::cat(&shadows, 1).sort(1, false);
        Shadows { groups: groups.take(&order), values }
    }

    /// Sorted points [P, N'] without one group, or all.
    fn without(&self, left_out: usize) -> Tensor {
        self.values.masked_select(&self.groups.ne(left_out as i64)).view([self.values.size()[0], -1])
    }
}

/// W₂² of each row's points, ascending: x [P, N], y [P, M] -> `[P]`.
fn squared_wasserstein(x: &Tensor, y: &Tensor) -> Tensor {
    let (n, m) = (x.size()[1], y.size()[1]);
    // The quantile functions are constant between multiples of 1/N and of 1/M, here in units of 1/NM.
    let mut ends: Vec<i64> = (1..=n).map(|i| i * m).chain((1..=m).map(|j| j * n)).collect();
    ends.sort_unstable();
    ends.dedup();
    let starts: Vec<i64> = std::iter::once(0).chain(ends.iter().copied()).take(ends.len()).collect();
    let lengths: Vec<f64> = ends.iter().zip(&starts).map(|(end, start)| (end - start) as f64 / (n * m) as f64).collect();
    let pieces = |of: &Tensor, width: i64| {
        let places: Vec<i64> = starts.iter().map(|start| start / width).collect();
        of.index_select(1, &Tensor::from_slice(&places).to_device(of.device()))
    };
    (pieces(x, m) - pieces(y, n)).square().mv(&Tensor::from_slice(&lengths).to_device(x.device()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::{calibrated, pair};

    #[test]
    fn quantiles_are_paired_exactly() {
        let (x, y) = (Tensor::from_slice(&[0.0, 3.0]).view([1, 2]), Tensor::from_slice(&[0.0, 1.0, 5.0]).view([1, 3]));
        // Over thirds and halves: 0-0, 0-1 for a sixth, 3-1 for a sixth, 3-5 for a third.
        let truth = (1.0 + 4.0) / 6.0 + 4.0 / 3.0;
        assert!((squared_wasserstein(&x, &y).double_value(&[0]) - truth).abs() < 1e-12);
        assert!((squared_wasserstein(&y, &x).double_value(&[0]) - truth).abs() < 1e-12);
        assert!(squared_wasserstein(&y, &y).double_value(&[0]) == 0.0);
    }

    /// N(0, I) and N(m, s² I): ‖m‖² / D + (s - 1)².
    #[test]
    fn intervals_hold_the_truth_of_gaussians() {
        let of = |[x, y]: &[Features; 2], i| sliced_wasserstein(x, y, 100, i).unwrap();
        let (m, s, d) = (0.6, 1.3, 3);
        calibrated("sliced Wasserstein", m * m + (s - 1.0f64).powi(2), |i| of(&pair(i, [200, 300], d, |x| x * s + m), i));
        calibrated("sliced Wasserstein of equal laws", 0.0, |i| of(&pair(i, [200, 300], d, |x| x.shallow_clone()), i));
        // A shift along one axis of ten, which the directions see more or less of.
        let far = Tensor::from_slice(&[3.0]).constant_pad_nd([0, 9]);
        let few = |[x, y]: &[Features; 2], i| sliced_wasserstein(x, y, 60, i).unwrap();
        calibrated("sliced Wasserstein of few directions", 0.9, |i| few(&pair(i, [300, 300], 10, |x| x + &far), i));
        // One direction there is, and W₂² itself.
        calibrated("Wasserstein", 0.36, |i| of(&pair(i, [200, 300], 1, |x| x + m), i));
    }
}
