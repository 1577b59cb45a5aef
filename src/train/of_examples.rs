//! The losses of single examples since the last point of the curves.

use std::collections::VecDeque;

use tch::Tensor;

use crate::tensor::to_vec;

/// Where the bins of ln α²/σ² meet, the same for every process; the outer ones have no end.
const LIMITS: [i32; 7] = [-9, -6, -3, 0, 3, 6, 9];
pub(super) const BINS: usize = LIMITS.len() + 1;

/// Losses that a histogram shows at most.
const KEPT: usize = 4096;

/// Sums by the noise of the examples, and the last of their losses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfExamples {
    /// Of each bin the sum of the losses, and how many there are.
    bins: [(f64, f64); BINS],
    recent: VecDeque<f64>,
}

impl OfExamples {
    /// Losses of a batch, with ln α²/σ² of each where there is noise.
    pub(super) fn add(&mut self, losses: &[f64], log_snr: Option<&[f64]>) {
        for (loss, log_snr) in losses.iter().zip(log_snr.unwrap_or_default()) {
            let (sum, count) = &mut self.bins[LIMITS.partition_point(|limit| f64::from(*limit) <= *log_snr)];
            *sum += loss;
            *count += 1.0;
        }
        let kept = &losses[losses.len().saturating_sub(KEPT)..];
        self.recent.drain(..(self.recent.len() + kept.len()).saturating_sub(KEPT));
        self.recent.extend(kept);
    }

    /// The mean loss of each bin, from the most noise to the least; none where there was no example.
    pub(super) fn means(&self) -> [Option<f64>; BINS] {
        self.bins.map(|(sum, count)| (count > 0.0).then(|| sum / count))
    }

    /// The last losses.
    pub(super) fn recent(&self) -> Vec<f64> {
        self.recent.iter().copied().collect()
    }

    /// As a checkpoint has them: [16 + n], f64.
    pub(super) fn to_tensor(&self) -> Tensor {
        let bins = self.bins.iter().flat_map(|(sum, count)| [*sum, *count]);
        Tensor::from_slice(&bins.chain(self.recent()).collect::<Vec<_>>())
    }

    pub(super) fn from_tensor(tensor: &Tensor) -> OfExamples {
        let numbers = to_vec(tensor);
        let Some((bins, recent)) = numbers.split_at_checked(2 * BINS) else { return OfExamples::default() };
        OfExamples { bins: std::array::from_fn(|i| (bins[2 * i], bins[2 * i + 1])), recent: recent.iter().copied().collect() }
    }
}

/// What a bin is called: from a to b.
pub(super) fn range(bin: usize) -> String {
    match (bin.checked_sub(1).map(|below| LIMITS[below]), LIMITS.get(bin)) {
        (None, Some(high)) => format!("below {high}"),
        (Some(low), Some(high)) => format!("{low} to {high}"),
        (Some(low), None) => format!("above {low}"),
        (None, None) => unreachable!("there are limits"),
    }
}

/// The curves of the bins, from the most noise to the least: `train_loss_by_log_snr/3_-6_to_-3`.
pub(super) fn tags() -> [String; BINS] {
    std::array::from_fn(|bin| format!("train_loss_by_log_snr/{}_{}", bin + 1, range(bin).replace(' ', "_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_in_the_bin_of_its_noise() {
        let mut of_examples = OfExamples::default();
        of_examples.add(&[1.0, 2.0, 3.0, 4.0], Some(&[-9.5, 0.0, 2.9, 9.0]));
        of_examples.add(&[8.0], Some(&[f64::INFINITY]));
        of_examples.add(&[100.0], None);
        let expected = [Some(1.0), None, None, None, Some(2.5), None, None, Some(6.0)];
        assert_eq!(of_examples.means(), expected);
        let tags = tags();
        let names = [&*tags[0], &*tags[2], &*tags[7]];
        assert_eq!(names, ["train_loss_by_log_snr/1_below_-9", "train_loss_by_log_snr/3_-6_to_-3", "train_loss_by_log_snr/8_above_9"]);
        assert_eq!(of_examples.recent(), [1.0, 2.0, 3.0, 4.0, 8.0, 100.0]);
        assert_eq!(OfExamples::from_tensor(&of_examples.to_tensor()), of_examples);
        assert_eq!(OfExamples::from_tensor(&Tensor::from_slice(&[1.0])), OfExamples::default(), "of another version");
    }

    #[test]
    fn the_last_losses_are_kept_and_no_more() {
        let mut of_examples = OfExamples::default();
        of_examples.add(&[7.0; KEPT - 2], None);
        of_examples.add(&[1.0, 2.0, 3.0], None);
        let recent = of_examples.recent();
        assert_eq!((recent.len(), recent[0], &recent[KEPT - 4..]), (KEPT, 7.0, &[7.0, 1.0, 2.0, 3.0][..]));
        of_examples.add(&[5.0; KEPT + 9], None);
        assert_eq!(of_examples.recent(), [5.0; KEPT]);
    }
}
