//! The Fréchet distance between Gaussian laws.

use tch::{Kind, Tensor};

use super::estimate::{Estimate, GROUPS, Jackknife};
use super::features::{Features, same_width};
use crate::error::{Error, Result};

/// Mean `[D]` and covariance [D, D] of features, f64.
pub struct Moments {
    mean: Tensor,
    covariance: Tensor,
}

impl Moments {
    /// Refuses shapes that do not fit, numbers that are not finite, and a covariance that is not symmetric.
    pub fn new(mean: &Tensor, covariance: &Tensor) -> Result<Moments> {
        let wrong = |message: &str| Err(Error::Usage { message: message.into(), help: "give a mean [D] and a covariance [D, D]".into() });
        let d = mean.numel() as i64;
        if mean.dim() != 1 || d == 0 || covariance.size() != [d, d] {
            return wrong(&format!("the mean is {:?} and the covariance {:?}", mean.size(), covariance.size()));
        }
        let [mean, covariance] = [mean, covariance].map(|x| x.detach().to_kind(Kind::Double));
        if [&mean, &covariance].iter().any(|x| x.isfinite().all().int64_value(&[]) == 0) {
            return wrong("the mean or the covariance has a number that is not finite");
        }
        if !covariance.allclose(&covariance.tr(), 1e-6, 1e-9, false) {
            return wrong("the covariance is not symmetric");
        }
        Ok(Moments { mean, covariance })
    }

    /// The mean and the unbiased covariance (N - 1 below the sum).
    pub fn of(features: &Features) -> Moments {
        let sums = Sums::new(features);
        sums.moments(&sums.total)
    }

    pub fn mean(&self) -> &Tensor {
        &self.mean
    }

    pub fn covariance(&self) -> &Tensor {
        &self.covariance
    }

    /// ‖μ - μ'‖² + tr(C + C' - 2 (C C')^{1/2}), the squared 2-Wasserstein distance of the Gaussian laws with these moments (Dowson & Landau
    /// 1982), in squared units of the features. tr (C C')^{1/2} is the sum of √λ over the eigenvalues λ of C^{1/2} C' C^{1/2}.
    pub fn distance(&self, other: &Moments) -> Result<f64> {
        same_width(["one law", "the other"], [self.mean.size()[0], other.mean.size()[0]])?;
        Ok(self.distance_to(other))
    }

    fn distance_to(&self, other: &Moments) -> f64 {
        let (values, vectors) = self.covariance.linalg_eigh("L");
        let root = (&vectors * values.clamp_min(0.0).sqrt()).matmul(&vectors.tr());
        let between = root.matmul(&other.covariance).matmul(&root).linalg_eigvalsh("L").clamp_min(0.0).sqrt();
        let apart = (&self.mean - &other.mean).square().sum(Kind::Double);
        (apart + self.covariance.trace() + other.covariance.trace() - between.sum(Kind::Double) * 2.0).double_value(&[])
    }
}

/// Sums over examples, about the mean of some, so that little is lost by subtraction.
struct Sums<'a> {
    features: &'a Features,
    centre: Tensor,
    total: Sum,
}

struct Sum {
    count: f64,
    first: Tensor,
    second: Tensor,
}

impl Sums<'_> {
    fn new(features: &Features) -> Sums<'_> {
        let d = features.width();
        let options = (Kind::Double, features.device());
        let none = Sum { count: 0.0, first: Tensor::zeros([d], options), second: Tensor::zeros([d, d], options) };
        let mut sums = Sums { features, centre: features.group(0).mean_dim(0i64, false, None::<Kind>), total: none };
        for g in 0..GROUPS {
            let group = sums.group(g);
            sums.total.count += group.count;
            sums.total.first += group.first;
            sums.total.second += group.second;
        }
        sums
    }

    fn group(&self, g: usize) -> Sum {
        let x = self.features.group(g) - &self.centre;
        Sum { count: x.size()[0] as f64, first: x.sum_dim_intlist(0i64, false, None::<Kind>), second: x.tr().matmul(&x) }
    }

    fn moments(&self, Sum { count, first, second }: &Sum) -> Moments {
        let mean = first / *count;
        let covariance = (second - mean.outer(&mean) * *count) / (count - 1.0);
        Moments { mean: mean + &self.centre, covariance }
    }

    /// Of all but one group, or of all.
    fn without(&self, left_out: usize) -> Moments {
        if left_out == GROUPS {
            return self.moments(&self.total);
        }
        let (all, group) = (&self.total, self.group(left_out));
        let kept = Sum { count: all.count - group.count, first: &all.first - group.first, second: &all.second - group.second };
        self.moments(&kept)
    }
}

/// The Fréchet distance [`Moments::distance`] of the laws that two sets of features are drawn from (Heusel et al. 2017, arXiv 1706.08500).
///
/// From N <= D examples a covariance has no inverse: the bias is then large, and no line in 1/N.
#[derive(Clone, Copy, Debug)]
pub struct Frechet {
    /// From all examples, by the formula that others use. It is too large, by about c/N, also for equal laws; the interval is the
    /// jackknife's, for its own mean at these counts.
    pub plain: Estimate,
    /// At infinitely many examples, by the line in 1/N of Chong & Forsyth (2020, arXiv 1911.07023), laid through N and 0.9 N for each of the
    /// jackknife's groups. What is left of the bias falls with 1/N²; for equal laws it scatters around 0, on both sides.
    pub extrapolated: Estimate,
}

impl Frechet {
    /// Of x [N, D] and y [M, D], both drawn from laws.
    pub fn new(x: &Features, y: &Features) -> Result<Frechet> {
        x.beside(y)?;
        let (x, y) = (Sums::new(x), Sums::new(y));
        Ok(Frechet::of(Jackknife::new(|g| x.without(g).distance_to(&y.without(g)))))
    }

    /// Of x [N, D] and a law of these moments, as they are.
    pub fn to(x: &Features, y: &Moments) -> Result<Frechet> {
        same_width([x.name(), "the law of these moments"], [x.width(), y.mean.size()[0]])?;
        let x = Sums::new(x);
        Ok(Frechet::of(Jackknife::new(|g| x.without(g).distance_to(y))))
    }

    /// What is to be said of a set with too few examples for a Fréchet distance, if it is one.
    pub fn warning(set: &Features) -> Option<String> {
        let (name, n, d) = (set.name(), set.count(), set.width());
        (n <= d).then(|| {
            format!("{name}: {n} examples of {d} features: the Fréchet distance is far too large, also extrapolated; take more than {d}")
        })
    }

    fn of(jackknife: Jackknife) -> Frechet {
        Frechet { plain: jackknife.plain(), extrapolated: jackknife.extrapolated() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::{calibrated, normal, pair};
    use tch::Device;

    /// Commuting and other covariances, by hand.
    #[test]
    fn the_distance_of_known_moments() {
        tch::set_num_threads(1);
        let options = (Kind::Double, Device::Cpu);
        let moments = |mean: &[f64], c: &[f64]| Moments::new(&Tensor::from_slice(mean), &Tensor::from_slice(c).view([2, 2])).unwrap();
        let (a, b) = (moments(&[0.0, 1.0], &[4.0, 0.0, 0.0, 9.0]), moments(&[3.0, 1.0], &[1.0, 0.0, 0.0, 0.0]));
        // 9 + (2 - 1)² + (3 - 0)².
        assert!((a.distance(&b).unwrap() - 19.0).abs() < 1e-12 && (b.distance(&a).unwrap() - 19.0).abs() < 1e-12);
        // In two dimensions tr √M = √(tr M + 2 √det M); here M = C C' with tr 13 - 6 and det 35 · 3.
        let (a, b) = (moments(&[0.0; 2], &[4.0, 1.0, 1.0, 9.0]), moments(&[0.0; 2], &[1.0, -1.0, -1.0, 4.0]));
        let trace: f64 = 4.0 - 1.0 + 36.0 - 1.0;
        let truth = 18.0 - 2.0 * (trace + 2.0 * (35.0f64 * 3.0).sqrt()).sqrt();
        assert!((a.distance(&b).unwrap() - truth).abs() < 1e-12);
        assert!(Moments::new(&Tensor::zeros([2], options), &Tensor::zeros([3, 3], options)).is_err());
        assert!(Moments::new(&Tensor::zeros([1], options), &Tensor::full([1, 1], f64::NAN, options)).is_err());
        assert!(Moments::new(&Tensor::zeros([2], options), &Tensor::from_slice(&[1.0, 2.0, 0.0, 1.0]).view([2, 2])).is_err());
        let other = Moments::new(&Tensor::zeros([1], options), &Tensor::ones([1, 1], options)).unwrap();
        assert!(a.distance(&other).is_err());
    }

    #[test]
    fn the_moments_are_those_of_the_rows() {
        let x = normal(1, 45, 3) * Tensor::from_slice(&[1.0, 2.0, 3.0]) + 1e4;
        let moments = Moments::of(&Features::new("x", &x, 1).unwrap());
        assert!(moments.covariance().allclose(&x.tr().cov(1, None::<&Tensor>, None::<&Tensor>), 1e-10, 1e-10, false));
        assert!(moments.mean().allclose(&x.mean_dim(0i64, false, None::<Kind>), 1e-12, 0.0, false));
    }

    /// N(0, I) and N(m, S²): ‖m‖² + Σ (s - 1)².
    #[test]
    fn intervals_hold_the_truth_of_gaussians() {
        let (shift, scale) = (Tensor::from_slice(&[0.5, 0.0, -0.3, 0.2]), Tensor::from_slice(&[1.0, 1.5, 0.8, 1.2]));
        let truth = 0.38 + 0.25 + 0.04 + 0.04;
        let other = |x: &Tensor| x * &scale + &shift;
        calibrated("Fréchet", truth, |i| Frechet::new_of(&pair(i, [300, 400], 4, other)));
        calibrated("Fréchet of equal laws", 0.0, |i| Frechet::new_of(&pair(i, [300, 400], 4, |x| x.shallow_clone())));
        let law = Moments::new(&shift, &scale.square().diag(0)).unwrap();
        calibrated("Fréchet to a law", truth, |i| Frechet::to(&pair(i, [300, 20], 4, other)[0], &law).unwrap().extrapolated);
    }

    #[test]
    fn a_set_with_fewer_examples_than_features_is_warned_of() {
        let [few, enough] = [30, 31].map(|n| Features::new("a.npy", &normal(1, n, 30), 1).unwrap());
        assert!(Frechet::warning(&few).unwrap().contains("a.npy: 30 examples of 30 features") && Frechet::warning(&enough).is_none());
    }

    impl Frechet {
        fn new_of([x, y]: &[Features; 2]) -> Estimate {
            Frechet::new(x, y).unwrap().extrapolated
        }
    }
}
