//! Which of two sets is nearer to a third.

use serde::Serialize;

use super::compare::{Better, Measure};
use crate::metric::Estimate;

/// By one metric, whether A or C is nearer to B.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub metric: &'static str,
    /// What people call it.
    #[serde(skip)]
    pub name: &'static str,
    /// By how much A is better than C: above 0 where it is, by [`Estimate::minus`].
    #[serde(flatten)]
    pub difference: Estimate,
}

impl Verdict {
    /// Of one metric of A and of C, both to B; none where neither value is the better one.
    pub fn of(a: &Measure, c: &Measure) -> Option<Verdict> {
        let (better, worse) = match a.better? {
            Better::Smaller => (c, a),
            Better::Larger => (a, c),
        };
        Some(Verdict { metric: a.metric, name: a.name, difference: better.estimate.minus(&worse.estimate) })
    }

    /// In words.
    pub fn sentence(&self) -> String {
        self.difference.sentence("A", "C", "examples")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_where_its_interval_is_without_zero() {
        let measure = |value, half_width| Measure {
            metric: "energy_distance",
            name: "energy distance",
            estimate: Estimate::new(value, half_width),
            equal_laws: Some(0.0),
            better: Some(Better::Smaller),
        };
        let sentence = |a, c| Verdict::of(&a, &c).unwrap().sentence();
        assert_eq!(sentence(measure(0.25, 0.3), measure(1.25, 0.4)), "A is better than C by 1.00000 ± 0.50000");
        assert_eq!(sentence(measure(1.25, 0.3), measure(0.25, 0.4)), "C is better than A by 1.00000 ± 0.50000");
        assert_eq!(sentence(measure(0.5, 0.3), measure(0.25, 0.4)), "cannot tell A from C, needs about 4x the examples");
        assert_eq!(sentence(measure(0.5, 0.3), measure(0.5, 0.4)), "cannot tell A from C, needs more than 1000x the examples");
    }
}
