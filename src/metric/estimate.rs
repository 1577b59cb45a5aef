//! A number with its interval.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::Statistics;

/// An estimate with half the width of its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub half_width: f64,
    /// None where no groups of examples were left out.
    #[serde(default)]
    parts: Option<Parts>,
}

/// What differences of estimates are judged by.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Parts {
    /// The estimate without each group of examples.
    without: [f64; GROUPS],
    /// The part of the half-width that no group shows.
    beside: f64,
}

impl Estimate {
    pub fn new(value: f64, half_width: f64) -> Estimate {
        Estimate { value, half_width, parts: None }
    }

    /// Of a known standard error, with the normal law's interval.
    pub fn of_error(value: f64, standard_error: f64) -> Estimate {
        Estimate::new(value, NORMAL * standard_error)
    }

    /// The mean of independent values, at least two, with Student's interval.
    pub fn of_mean(values: &[f64]) -> Estimate {
        let n = values.len() as f64;
        Estimate::new(values.mean(), student(n - 1.0) * values.std_dev() / n.sqrt())
    }

    /// The share of `count` among `n` independent trials; the half-width reaches both ends of Agresti & Coull's interval (1998), also where the
    /// share is 0 or 1.
    pub fn of_share(count: f64, n: f64) -> Estimate {
        let (shrunk, trials) = ((count + 2.0) / (n + 4.0), n + 4.0);
        Estimate::new(count / n, NORMAL * (shrunk * (1.0 - shrunk) / trials).sqrt() + (shrunk - count / n).abs())
    }

    /// The difference to another estimate. Of two that come from groups of examples, as those of one metric of A and B and of C and B do, its
    /// interval is the jackknife's of the difference: what the groups have in common (all of B; the starts of A and C, where sets of equal
    /// size began there) falls out. Of others it is √(a² + c²), as of independent numbers.
    pub fn minus(&self, other: &Estimate) -> Estimate {
        let value = self.value - other.value;
        let (Some(a), Some(c)) = (self.parts, other.parts) else {
            return Estimate::new(value, self.half_width.hypot(other.half_width));
        };
        let difference: Vec<f64> = a.without.iter().zip(c.without).map(|(a, c)| a - c).collect();
        Estimate::new(value, spread(&difference).hypot(a.beside).hypot(c.beside))
    }

    /// Of a difference that is above 0 where `a` is better than `c`, in words; `of` are what it is the mean of, such as examples. Intervals shrink with
    /// the square root of their number, which says how many would tell if the difference stayed as it is.
    pub fn sentence(&self, a: &str, c: &str, of: &str) -> String {
        let Estimate { value, half_width, .. } = *self;
        let [better, worse] = if value > 0.0 { [a, c] } else { [c, a] };
        let size = value.abs();
        if size == 0.0 && half_width == 0.0 {
            return format!("{a} and {c} are equal");
        }
        if size > half_width {
            return format!("{better} is better than {worse} by {} ± {}", number(size), number(half_width));
        }
        match (half_width / size).powi(2).ceil() {
            times if times <= MOST => format!("cannot tell {a} from {c}, needs about {}x the {of}", times.max(2.0)),
            _ => format!("cannot tell {a} from {c}, needs more than {MOST}x the {of}"),
        }
    }

    /// `scale` times this.
    pub(super) fn times(self, scale: f64) -> Estimate {
        let scaled = |Parts { without, beside }: Parts| Parts { without: without.map(|x| scale * x), beside: scale * beside };
        Estimate { value: scale * self.value, half_width: scale.abs() * self.half_width, parts: self.parts.map(scaled) }
    }

    /// Wider by an error that is independent of the examples.
    pub(super) fn beside(self, error: f64) -> Estimate {
        let wider = |parts: Parts| Parts { beside: parts.beside.hypot(error), ..parts };
        Estimate { half_width: self.half_width.hypot(error), parts: self.parts.map(wider), ..self }
    }
}

/// A number as tables show it.
pub fn number(x: f64) -> String {
    if x == 0.0 || (1e-3..1e5).contains(&x.abs()) { format!("{x:.5}") } else { format!("{x:.3e}") }
}

/// More than this many times the examples is no advice.
const MOST: f64 = 1000.0;

/// The 97.5 % quantile of the normal law.
pub(super) const NORMAL: f64 = 1.959964;
/// Groups of examples that the jackknife leaves out, one after the other.
pub(super) const GROUPS: usize = 10;

/// An estimate from all examples, and from those without one group, for each group.
pub(super) struct Jackknife {
    whole: f64,
    parts: [f64; GROUPS],
}

impl Jackknife {
    /// `without` takes the group that is left out, or [`GROUPS`] for none.
    pub fn new(mut without: impl FnMut(usize) -> f64) -> Jackknife {
        Jackknife { parts: std::array::from_fn(&mut without), whole: without(GROUPS) }
    }

    /// The estimate from all, with the jackknife's interval of Student's law: in the mean over samples it is not too narrow (Efron & Stein
    /// 1981), for what the estimate is in the mean at these counts.
    pub fn plain(&self) -> Estimate {
        self.within(spread(&self.parts))
    }

    /// The estimate from all, with an interval that comes from elsewhere.
    pub fn within(&self, half_width: f64) -> Estimate {
        Estimate { value: self.whole, half_width, parts: Some(Parts { without: self.parts, beside: 0.0 }) }
    }

    /// The estimate at infinitely many examples: where the line in 1/N through the estimates from all and from nine tenths, averaged over the
    /// groups, meets 1/N = 0 (Quenouille 1956). The rest of the bias falls with 1/N².
    pub fn extrapolated(&self) -> Estimate {
        let freedom = GROUPS as f64 - 1.0;
        Estimate { value: GROUPS as f64 * self.whole - freedom * self.parts.iter().mean(), ..self.plain() }
    }
}

/// Half the width of the jackknife's interval, of values without each group.
fn spread(without: &[f64]) -> f64 {
    let freedom = GROUPS as f64 - 1.0;
    student(freedom) * freedom * without.std_dev() / (GROUPS as f64).sqrt()
}

/// The 97.5 % quantile of Student's law; `freedom` is above 0.
pub(super) fn student(freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).expect("degrees of freedom above 0").inverse_cdf(0.975)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::{calibrated, normal};
    use crate::metric::{Features, Frechet, energy_distance, kid, sliced_wasserstein, told_apart};
    use crate::tensor::to_vec;

    #[test]
    fn the_interval_holds_the_mean_in_nineteen_of_twenty() {
        let covered = |i: u64| {
            let Estimate { value, half_width, .. } = Estimate::of_mean(&to_vec(&(normal(i, 6, 1) + 0.7)));
            (value - 0.7).abs() < half_width
        };
        let share = (0..1000).filter(|&i| covered(i)).count();
        assert!((925..=972).contains(&share), "{share} of 1000");
    }

    /// Two sets from the same starts and two from their own, beside a third.
    fn three(i: u64, same_starts: bool) -> [Features; 3] {
        let of = |name, x| Features::new(name, &x, i).unwrap();
        let other = 3 * i + u64::from(!same_starts);
        [of("a", normal(3 * i, 300, 2) * 1.2), of("c", normal(other, 300, 2) * 1.4), of("b", normal(3 * i + 2, 400, 2))]
    }

    type Metric<'a> = &'a dyn Fn(&Features, &Features) -> Estimate;

    #[test]
    fn the_interval_of_a_difference_holds_it_and_knows_what_is_shared() {
        let frechet = |x: &Features, y: &Features| Frechet::new(x, y).unwrap().extrapolated;
        let sliced = |x: &Features, y: &Features| sliced_wasserstein(x, y, 60, 1).unwrap();
        for (same_starts, name) in [(true, "same starts"), (false, "other starts")] {
            let of = |metric: Metric, i| {
                let [a, c, b] = three(i, same_starts);
                metric(&c, &b).minus(&metric(&a, &b))
            };
            calibrated(&format!("Fréchet of c and of a, {name}"), 2.0 * (0.4f64.powi(2) - 0.2f64.powi(2)), |i| of(&frechet, i));
            calibrated(&format!("Wasserstein of c and of a, {name}"), 0.4f64.powi(2) - 0.2f64.powi(2), |i| of(&sliced, i));
        }
        let metrics: [(&str, Metric); 4] = [
            ("Fréchet", &frechet),
            ("energy", &|x, y| energy_distance(x, y).unwrap()),
            ("KID", &|x, y| kid(x, y).unwrap()),
            ("C2ST", &|x, y| told_apart(x, y, 1).unwrap()),
        ];
        for (name, metric) in metrics {
            let widths = |same_starts| {
                let of = |i| {
                    let [a, c, b] = three(i, same_starts);
                    let (a, c) = (metric(&a, &b), metric(&c, &b));
                    [c.minus(&a).half_width, c.half_width.hypot(a.half_width)]
                };
                let all: Vec<[f64; 2]> = (0..10).map(of).collect();
                [0, 1].map(|which| all.iter().map(|widths| widths[which]).mean())
            };
            let ([shared, apart], [own, _]) = (widths(true), widths(false));
            println!("{name}: {shared:.4} from the same starts, {own:.4} from others, {apart:.4} as independent numbers");
            assert!(shared < 0.9 * apart && shared < own, "{name}");
        }
    }
}
