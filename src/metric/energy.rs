//! The energy distance with its interval.

use tch::{Kind, Tensor};

use super::estimate::{Estimate, GROUPS};
use super::kernel::jackknife;
use crate::tensor::{sum_per_example, to_vec};

/// Sums of -‖a - b‖ over the pairs of group g of x and group h of y.
fn sums(x: &[Tensor], y: &[Tensor]) -> Vec<Vec<f64>> {
    let sum = |x: &Tensor, y: &Tensor| Tensor::cdist(x, y, 2.0, 2).sum(Kind::Double).neg().double_value(&[]);
    x.iter().map(|x| y.iter().map(|y| sum(x, y)).collect()).collect()
}

fn groups(x: &Tensor) -> Vec<Tensor> {
    x.flatten(1, -1).to_kind(Kind::Double).tensor_split(GROUPS as i64, 0)
}

/// A sample that others are compared with.
pub struct Energy {
    y: Vec<Tensor>,
    within: Vec<Vec<f64>>,
}

impl Energy {
    /// y [M, ...], M at least 20.
    pub fn new(y: &Tensor) -> Energy {
        let y = groups(y);
        Energy { within: sums(&y, &y), y }
    }

    /// The energy distance 2 E‖X - Y‖ - E‖X - X'‖ - E‖Y - Y'‖ of the laws that x [N, ...], N at least 20, and y are drawn from (Székely &
    /// Rizzo 2013): 0 for equal laws and above 0 for others.
    ///
    /// Unbiased, so that it scatters around 0, on both sides, for samples of the very law. The interval is the jackknife's over ten
    /// groups, which is wider than it need be where the laws are equal.
    pub fn distance(&self, x: &Tensor) -> Estimate {
        let x = groups(x);
        let (within, between) = (sums(&x, &x), sums(&x, &self.y));
        let counts = [&x, &self.y].map(|groups| groups.iter().map(|group| group.size()[0]).collect());
        jackknife([&within, &self.within, &between], counts).plain()
    }
}

/// The unbiased energy distances `[N]` of N pairs of samples, x [N, L, D] and y [N, K, D], L and K at least 2.
pub fn energy_distances(x: &Tensor, y: &Tensor) -> Vec<f64> {
    let (x, y) = (x.to_kind(Kind::Double), y.to_kind(Kind::Double));
    let sum = |x: &Tensor, y: &Tensor| sum_per_example(&Tensor::cdist(x, y, 2.0, 2));
    let (l, k) = (x.size()[1] as f64, y.size()[1] as f64);
    to_vec(&(sum(&x, &y) * (2.0 / (l * k)) - sum(&x, &x) / (l * (l - 1.0)) - sum(&y, &y) / (k * (k - 1.0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::normal;
    use crate::metric::{Features, energy_distance};
    use statrs::distribution::{ContinuousCDF, Normal};
    use statrs::statistics::Statistics;

    #[test]
    fn energy_is_zero_for_one_law_and_known_for_two_points() {
        tch::set_num_threads(1);
        // Between two point masses at distance 3: 2 · 3.
        let energy = |x: &Tensor, y: &Tensor| Energy::new(y).distance(x);
        let far = energy(&Tensor::zeros([40, 2], (Kind::Double, tch::Device::Cpu)), &Tensor::from_slice(&[3.0, 0.0]).repeat([40, 1]));
        assert!((far.value - 6.0).abs() < 1e-12 && far.half_width < 1e-12);
        // For N(0, 1) and N(m, 1), E|X - Y| = E|N(m, 2)|.
        let m = 0.3;
        let folded = |m: f64| {
            let s = 2f64.sqrt();
            s * (2.0 / std::f64::consts::PI).sqrt() * (-m * m / 4.0).exp() + m * (1.0 - 2.0 * Normal::standard().cdf(-m / s))
        };
        let truth = 2.0 * folded(m) - 2.0 * folded(0.0);
        // The interval holds the truth in about 95 of 100 repeats, for different laws and for equal ones.
        for (shift, truth) in [(m, truth), (0.0, 0.0)] {
            let estimates: Vec<Estimate> = (0..100).map(|i| energy(&normal(2 * i, 200, 1), &(normal(2 * i + 1, 300, 1) + shift))).collect();
            let covered = estimates.iter().filter(|estimate| (estimate.value - truth).abs() < estimate.half_width).count();
            assert!((88..=100).contains(&covered), "{covered} of 100 at a shift of {shift}");
            let values: Vec<f64> = estimates.iter().map(|estimate| estimate.value).collect();
            let (mean, error) = ((&values).mean(), (&values).std_dev() / 10.0);
            assert!((mean - truth).abs() < 4.0 * error, "{mean} ± {error} is not {truth} at a shift of {shift}");
        }
    }

    #[test]
    fn sets_of_features_have_the_distance_of_their_points() {
        tch::set_num_threads(1);
        let (x, y) = (normal(1, 130, 3) * 1.2 + 50.0, normal(2, 90, 3) + 50.0);
        let [a, b] = [&x, &y].map(|x| Features::new("x", x, 1).unwrap());
        let (features, points) = (energy_distance(&a, &b).unwrap(), Energy::new(&y).distance(&x));
        assert!((features.value - points.value).abs() < 1e-6, "{features:?} is not {points:?}");
        assert!((0.5..2.0).contains(&(features.half_width / points.half_width)));
    }

    /// Each pair has the distance that it has alone.
    #[test]
    fn many_pairs_are_measured_at_once() {
        tch::set_num_threads(1);
        let (x, y) = (normal(1, 60, 2).view([2, 30, 2]), normal(2, 80, 2).view([2, 40, 2]) + 0.5);
        for (i, distance) in energy_distances(&x, &y).into_iter().enumerate() {
            let alone = Energy::new(&y.get(i as i64)).distance(&x.get(i as i64)).value;
            assert!((distance - alone).abs() < 1e-12, "{distance} is not {alone}");
        }
    }
}
