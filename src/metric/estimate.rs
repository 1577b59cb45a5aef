//! A number with its interval.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::Statistics;

/// An estimate with half the width of its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub half_width: f64,
}

impl Estimate {
    /// The mean of independent values, at least two, with Student's interval.
    pub fn of_mean(values: &[f64]) -> Estimate {
        let n = values.len() as f64;
        Estimate { value: values.mean(), half_width: student(n - 1.0) * values.std_dev() / n.sqrt() }
    }
}

/// The 97.5 % quantile of Student's law; `freedom` is above 0.
pub(super) fn student(freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).expect("degrees of freedom above 0").inverse_cdf(0.975)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::normal;
    use crate::tensor::to_vec;

    #[test]
    fn the_interval_holds_the_mean_in_nineteen_of_twenty() {
        let covered = |i: u64| {
            let Estimate { value, half_width } = Estimate::of_mean(&to_vec(&(normal(i, 6, 1) + 0.7)));
            (value - 0.7).abs() < half_width
        };
        let share = (0..1000).filter(|&i| covered(i)).count();
        assert!((925..=972).contains(&share), "{share} of 1000");
    }
}
