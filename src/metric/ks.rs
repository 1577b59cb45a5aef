//! The Kolmogorov-Smirnov distance of marginals.

use tch::Tensor;

use crate::tensor::to_vec;

/// The largest Kolmogorov-Smirnov distance of the columns of x [N, D] from distribution functions `cdf(axis, value)`.
pub fn kolmogorov_smirnov(x: &Tensor, cdf: impl Fn(usize, f64) -> f64) -> f64 {
    let (n, d) = (x.size()[0] as f64, x.size()[1] as usize);
    let distance = |axis: usize| {
        let mut values = to_vec(&x.select(1, axis as i64));
        values.sort_by(f64::total_cmp);
        let step = |(i, &value): (usize, &f64)| {
            let p = cdf(axis, value);
            (p - i as f64 / n).abs().max((p - (i as f64 + 1.0) / n).abs())
        };
        values.iter().enumerate().map(step).fold(0.0, f64::max)
    };
    (0..d).map(distance).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::normal;
    use statrs::distribution::{ContinuousCDF, Normal};

    #[test]
    fn kolmogorov_smirnov_sees_the_worst_axis() {
        tch::set_num_threads(1);
        let x = Tensor::from_slice(&[0.1, 0.9, 0.5, 0.9]).view([2, 2]);
        assert!((kolmogorov_smirnov(&x, |_, v| v) - 0.9).abs() < 1e-12);
        let standard = Normal::standard();
        let x = normal(1, 4000, 2);
        assert!(kolmogorov_smirnov(&x, |_, v| standard.cdf(v)) < 1.95 / 4000f64.sqrt());
        assert!(kolmogorov_smirnov(&(x + 0.1), |_, v| standard.cdf(v)) > 1.95 / 4000f64.sqrt());
    }
}
