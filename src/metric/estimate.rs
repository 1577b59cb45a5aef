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

    /// The share of `count` among `n` independent trials; the half-width reaches both ends of Agresti & Coull's interval (1998), also where the
    /// share is 0 or 1.
    pub fn of_share(count: f64, n: f64) -> Estimate {
        let (shrunk, trials) = ((count + 2.0) / (n + 4.0), n + 4.0);
        Estimate { value: count / n, half_width: NORMAL * (shrunk * (1.0 - shrunk) / trials).sqrt() + (shrunk - count / n).abs() }
    }
}

/// The 97.5 % quantile of the normal law.
pub(super) const NORMAL: f64 = 1.959964;
/// Groups of examples that the jackknife leaves out, one after the other.
pub(super) const GROUPS: usize = 10;

/// An estimate from all examples, and from those without one group, for each group.
pub(super) struct Jackknife {
    whole: f64,
    parts: Vec<f64>,
}

impl Jackknife {
    /// `without` takes the group that is left out, or [`GROUPS`] for none.
    pub fn new(without: impl FnMut(usize) -> f64) -> Jackknife {
        let mut parts: Vec<f64> = (0..=GROUPS).map(without).collect();
        Jackknife { whole: parts.pop().expect("the estimate from all"), parts }
    }

    /// The estimate from all, with the jackknife's interval of Student's law: in the mean over samples it is not too narrow (Efron & Stein
    /// 1981), for what the estimate is in the mean at these counts.
    pub fn plain(&self) -> Estimate {
        let freedom = GROUPS as f64 - 1.0;
        Estimate { value: self.whole, half_width: student(freedom) * freedom * (&self.parts).std_dev() / (GROUPS as f64).sqrt() }
    }

    /// The estimate at infinitely many examples: where the line in 1/N through the estimates from all and from nine tenths, averaged over the
    /// groups, meets 1/N = 0 (Quenouille 1956). The rest of the bias falls with 1/N².
    pub fn extrapolated(&self) -> Estimate {
        let freedom = GROUPS as f64 - 1.0;
        Estimate { value: GROUPS as f64 * self.whole - freedom * (&self.parts).mean(), ..self.plain() }
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
