//! A process of the user's own, as a table of its levels.

use std::cmp::Ordering;
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Level, Sde, Slope, path};
use crate::error::Fault;

/// α and σ at knots, with cubic splines between them whose slopes are held to at most three times those of the straight lines beside, so that they
/// rise and fall with the knots and nowhere else (Fritsch & Carlson 1980; Hyman 1983). A slope that is held leaves a kink, which adaptive solvers pay for:
/// knots of a smooth path that are close to each other have none. The prior is N(0, σ(1)² I). Where α(1) = 0, whoever divides by α ends where
/// α / σ is 0.001.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The knots, ascending from 0 to 1; at least three.
    pub t: Vec<f64>,
    /// α at the knots: 1 at the first, at least 0, never rising.
    pub alpha: Vec<f64>,
    /// σ at the knots: at least 0, rising from each to the next.
    pub sigma: Vec<f64>,
    #[serde(skip)]
    slopes: Slopes,
}

/// The slopes of α and of σ at the knots, once they are worked out.
#[derive(Clone, Debug, Default)]
struct Slopes(OnceLock<[Vec<f64>; 2]>);

/// They follow from the table.
impl PartialEq for Slopes {
    fn eq(&self, _: &Slopes) -> bool {
        true
    }
}

impl Table {
    pub fn new(t: Vec<f64>, alpha: Vec<f64>, sigma: Vec<f64>) -> Table {
        Table { t, alpha, sigma, slopes: Slopes::default() }
    }

    /// α and σ at t, and their slopes.
    fn curves(&self, t: f64) -> [[f64; 2]; 2] {
        let [alpha, sigma] = self.slopes.0.get_or_init(|| [&self.alpha, &self.sigma].map(|values| slopes(&self.t, values)));
        let i = self.t.partition_point(|knot| *knot <= t).clamp(1, self.t.len() - 1) - 1;
        let h = self.t[i + 1] - self.t[i];
        let u = (t - self.t[i]) / h;
        [(&self.alpha, alpha), (&self.sigma, sigma)].map(|(values, slopes)| {
            let rise = (values[i + 1] - values[i]) / h;
            // Hermite's cubic, by what its slopes at the ends have beyond the straight line's.
            let (a, b) = (slopes[i] - rise, slopes[i + 1] - rise);
            let value = values[i] + h * u * (rise + (1.0 - u) * (a * (1.0 - u) - b * u));
            [value, rise + a * (1.0 - u) * (1.0 - 3.0 * u) - b * u * (2.0 - 3.0 * u)]
        })
    }
}

/// The slopes at the knots of the cubic spline through `values` whose slopes at the ends are those of parabolas through three knots, held to at most
/// three times the straight lines' on either side, and to 0 where these point apart.
fn slopes(t: &[f64], values: &[f64]) -> Vec<f64> {
    let last = t.len() - 1;
    let h: Vec<f64> = t.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let rise: Vec<f64> = values.windows(2).zip(&h).map(|(pair, h)| (pair[1] - pair[0]) / h).collect();
    let end = |near: usize, next: usize| rise[near] + (rise[near] - rise[next]) * h[near] / (h[near] + h[next]);
    // h_i m_{i-1} + 2 (h_{i-1} + h_i) m_i + h_{i-1} m_{i+1} = 3 (h_i d_{i-1} + h_{i-1} d_i), swept up and down.
    let mut m = vec![end(0, 1); last + 1];
    let mut share = vec![0.0; last + 1];
    for i in 1..last {
        let pivot = 2.0 * (h[i - 1] + h[i]) - h[i] * share[i - 1];
        share[i] = h[i - 1] / pivot;
        m[i] = (3.0 * (h[i] * rise[i - 1] + h[i - 1] * rise[i]) - h[i] * m[i - 1]) / pivot;
    }
    m[last] = end(last - 1, last - 2);
    (1..last).rev().for_each(|i| m[i] -= share[i] * m[i + 1]);
    let held = |(i, m): (usize, f64)| {
        let (before, after) = (rise[i.saturating_sub(1)], rise[i.min(last - 1)]);
        let most = 3.0 * before.abs().min(after.abs());
        if before * after > 0.0 && m * after > 0.0 { m.clamp(-most, most) } else { 0.0 }
    };
    m.into_iter().enumerate().map(held).collect()
}

impl Sde for Table {
    fn level(&self, t: f64) -> Level {
        let [[alpha, _], [sigma, _]] = self.curves(t);
        Level { t, alpha, sigma }
    }
    fn slope(&self, t: f64) -> Slope {
        let [[_, alpha], [_, sigma]] = self.curves(t);
        Slope { alpha, sigma }
    }
    fn check(&self) -> Result<(), Fault> {
        let Table { t, alpha, sigma, .. } = self;
        let n = t.len();
        let ascending = |values: &[f64]| values.windows(2).position(|pair| pair[0].partial_cmp(&pair[1]) != Some(Ordering::Less));
        if n < 3 || t[0] != 0.0 || t[n - 1] != 1.0 {
            return Err(Fault::new("t", "the knots do not go from 0 to 1 by at least three", "give times such as [0.0, 0.5, 1.0]"));
        }
        if let Some(i) = ascending(t) {
            return Err(Fault::new("t", format!("the knots do not ascend from {} to {}", t[i], t[i + 1]), "give ascending times"));
        }
        for (key, values) in [("alpha", alpha), ("sigma", sigma)] {
            if values.len() != n {
                return Err(Fault::new(key, format!("{key} has {} numbers for {n} knots", values.len()), "give one for each knot"));
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(Fault::new(key, format!("{key} has the number {value}"), "give finite numbers"));
            }
        }
        if let Some(i) = alpha.windows(2).position(|pair| pair[0] < pair[1]) {
            return Err(Fault::new("alpha", format!("alpha rises from {} to {}", alpha[i], alpha[i + 1]), "give numbers that never rise"));
        }
        if let Some(i) = ascending(sigma) {
            let message = format!("sigma does not rise from {} to {}", sigma[i], sigma[i + 1]);
            return Err(Fault::new("sigma", message, "give numbers that rise from knot to knot"));
        }
        path::check(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::COSINE;

    fn of(sde: &dyn Sde, n: usize) -> Table {
        let t: Vec<f64> = (0..=n).map(|i| i as f64 / n as f64).collect();
        let column = |f: &dyn Fn(f64) -> f64| t.iter().map(|&t| f(t)).collect();
        Table::new(t.clone(), column(&|t| sde.alpha(t)), column(&|t| sde.sigma(t)))
    }

    #[test]
    fn many_knots_are_the_path_they_are_of() {
        let far = |n: usize| {
            let table = of(&COSINE, n);
            let off =
                |t: f64| (table.alpha(t) - COSINE.alpha(t)).abs().max((table.slope(t).alpha - COSINE.slope(t).alpha).abs() / n as f64);
            (50..950).map(|i| off(i as f64 / 1000.0)).fold(0.0, f64::max)
        };
        assert!(far(200) < 1e-8 && far(50) > 100.0 * far(200), "of the fourth order: {}, {}", far(50), far(200));
    }

    #[test]
    fn rough_knots_give_curves_that_rise_and_fall_with_them() {
        let t = vec![0.0, 0.1, 0.12, 0.5, 0.55, 1.0];
        let table = Table::new(t.clone(), vec![1.0, 1.0, 0.4, 0.39, 0.1, 0.1], vec![0.0, 0.01, 0.9, 0.91, 3.0, 3.1]);
        assert_eq!(table.check(), Ok(()));
        for i in 1..2000 {
            let slope = table.slope(f64::from(i) / 2000.0);
            assert!(slope.alpha <= 0.0 && slope.sigma >= 0.0, "{slope:?} at {i}");
        }
        assert!(t.iter().zip(&table.sigma).all(|(&t, &sigma)| (table.sigma(t) - sigma).abs() < 1e-15));
    }

    #[test]
    fn wrong_tables_name_their_key() {
        let key = |t: &[f64], alpha: &[f64], sigma: &[f64]| Table::new(t.to_vec(), alpha.to_vec(), sigma.to_vec()).check().unwrap_err().key;
        let (t, alpha, sigma) = ([0.0, 0.4, 1.0], [1.0, 0.5, 0.0], [0.0, 0.5, 1.0]);
        assert_eq!(Table::new(t.to_vec(), alpha.to_vec(), sigma.to_vec()).check(), Ok(()));
        assert_eq!(key(&t[..2], &alpha[..2], &sigma[..2]), "t");
        assert_eq!(key(&[0.0, 0.4, 0.9], &alpha, &sigma), "t");
        assert_eq!(key(&[0.0, 0.4, 0.4, 1.0], &[1.0, 0.5, 0.4, 0.0], &[0.0, 0.2, 0.5, 1.0]), "t");
        assert_eq!(key(&t, &alpha[..2], &sigma), "alpha");
        assert_eq!(key(&t, &[1.0, 0.5, 0.6], &sigma), "alpha");
        assert_eq!(key(&t, &[0.9, 0.5, 0.0], &sigma), "alpha");
        assert_eq!(key(&t, &[1.0, 0.5, -0.1], &sigma), "alpha");
        assert_eq!(key(&t, &alpha, &[0.0, 0.5, 0.5]), "sigma");
        assert_eq!(key(&t, &alpha, &[0.0, f64::NAN, 1.0]), "sigma");
    }
}
