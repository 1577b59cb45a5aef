//! A model with the measured error of its noise predictions.

use super::{At, Model, Prediction};
use crate::sde::{Chain, Sde};

/// E‖z - ẑ‖² / D at levels of noise, for the analytic variance of a step (see [`Variance`](crate::sde::Variance)).
#[derive(Clone, Debug, PartialEq)]
pub struct MeanSquares {
    /// (log-SNR, mean square), from the least noise to the most.
    levels: Vec<[f64; 2]>,
}

impl MeanSquares {
    /// At one or more levels, from the least noise to the most.
    pub fn new(levels: Vec<[f64; 2]>) -> MeanSquares {
        MeanSquares { levels }
    }

    pub fn levels(&self) -> &[[f64; 2]] {
        &self.levels
    }

    /// At any log-SNR: on the line between neighbours, and beyond the ends as at them.
    pub fn at(&self, log_snr: f64) -> f64 {
        let next = self.levels.partition_point(|[level, _]| *level > log_snr).min(self.levels.len() - 1);
        let ([a, below], [b, above]) = (self.levels[next.saturating_sub(1)], self.levels[next]);
        if a == b { above } else { below + (above - below) * ((log_snr - a) / (b - a)).clamp(0.0, 1.0) }
    }
}

/// A model that knows the mean squares of the errors of its noise predictions.
pub struct Measured<'a> {
    pub model: Box<dyn Model + 'a>,
    pub squares: &'a MeanSquares,
}

impl Model for Measured<'_> {
    fn sde(&self) -> &dyn Sde {
        self.model.sde()
    }

    fn predict(&self, at: &At) -> Prediction {
        self.model.predict(at)
    }

    fn chain(&self) -> Option<&Chain> {
        self.model.chain()
    }

    fn last_time(&self) -> f64 {
        self.model.last_time()
    }

    fn mean_square_error(&self, log_snr: f64) -> f64 {
        self.squares.at(log_snr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_levels_it_is_on_the_line_and_beyond_them_as_at_the_ends() {
        let squares = MeanSquares::new(vec![[5.0, 0.1], [1.0, 0.5], [-3.0, 0.9]]);
        for (log_snr, truth) in [(9.0, 0.1), (5.0, 0.1), (2.0, 0.4), (1.0, 0.5), (-1.0, 0.7), (-3.0, 0.9), (-8.0, 0.9)] {
            assert!((squares.at(log_snr) - truth).abs() < 1e-12, "{} at {log_snr} is not {truth}", squares.at(log_snr));
        }
        assert_eq!(MeanSquares::new(vec![[1.0, 0.5]]).at(-7.0), 0.5);
    }
}
