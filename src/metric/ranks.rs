//! Ranks of the truth among draws.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// How far ranks are from the uniform law that they have among draws of the very posterior (Talts et al. 2018, arXiv 1804.06788).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Uniformity {
    /// Pearson's statistic of that quantity whose ranks are least uniform.
    pub chi_square: f64,
    pub freedom: usize,
    /// The probability of one as large among as many quantities with uniform ranks (Bonferroni's bound), 1 at most.
    pub p: f64,
}

impl Uniformity {
    /// Of ranks 0 to `draws`, a list for each quantity, in bins of equal width with at least five expected in each.
    pub fn of(ranks: &[Vec<usize>], draws: usize) -> Uniformity {
        let n = ranks[0].len();
        let places = draws + 1;
        let fits = |bins: &usize| places.is_multiple_of(*bins) && n >= 5 * bins;
        let bins = (2..=places).rev().find(fits).unwrap_or(places);
        let expected = n as f64 / bins as f64;
        let statistic = |ranks: &Vec<usize>| {
            let mut counts = vec![0.0; bins];
            ranks.iter().for_each(|rank| counts[rank * bins / places] += 1.0);
            counts.iter().map(|count| (count - expected).powi(2) / expected).sum::<f64>()
        };
        let chi_square = ranks.iter().map(statistic).fold(0.0, f64::max);
        let law = ChiSquared::new((bins - 1) as f64).expect("degrees of freedom above 0");
        Uniformity { chi_square, freedom: bins - 1, p: (law.sf(chi_square) * ranks.len() as f64).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, uniform};

    #[test]
    fn uniform_ranks_have_uniform_p_and_others_have_none() {
        let ranks = |i: u64, bend: f64| -> Vec<usize> {
            uniform(1, Purpose::Noise, i, 200).into_iter().map(|u| (u.powf(bend) * 20.0) as usize).collect()
        };
        let below = (0..400).filter(|&i| Uniformity::of(&[ranks(i, 1.0)], 19).p < 0.1).count();
        assert!((22..=60).contains(&below), "{below} of 400 below 0.1");
        let several = (0..100).filter(|&i| Uniformity::of(&[ranks(2 * i, 1.0), ranks(2 * i + 1, 1.0)], 19).p < 0.1).count();
        assert!(several <= 20, "{several} of 100 below 0.1");
        let bent = Uniformity::of(&[ranks(0, 1.0), ranks(1, 1.6)], 19);
        assert!(bent.p < 1e-4 && bent.freedom == 19, "{bent:?}");
        // Few ranks are taken in wider bins.
        assert_eq!(Uniformity::of(&[ranks(0, 1.0)[..30].to_vec()], 19).freedom, 4);
    }
}
