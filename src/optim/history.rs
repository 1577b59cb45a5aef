//! Places that are drawn by their losses (Nichol & Dhariwal 2021, arXiv 2102.09672, sec. 3.3).

use std::collections::VecDeque;

use tch::Tensor;

use crate::tensor::to_vec;

/// Losses that are kept of each place.
const KEPT: usize = 10;

/// The part of the law that is uniform, so that no place is lost.
const UNIFORM: f64 = 0.001;

/// The last losses of each of N places, such as levels of noise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossHistory {
    /// Of each place the oldest first, at most [`KEPT`]; no places before the first loss.
    losses: Vec<VecDeque<f64>>,
}

/// What a batch was drawn by.
pub struct Drawn {
    /// N.
    pub places: usize,
    /// The place of each example.
    pub at: Vec<usize>,
    /// N p of each example's place, which its loss was divided by.
    pub share: Vec<f64>,
}

impl LossHistory {
    /// The p_i of N places, ∝ √(mean L_i²) (eq. 18) with a thousandth of it uniform; none until each place has ten losses.
    fn law(&self, places: usize) -> Option<Vec<f64>> {
        let full = self.losses.len() == places && self.losses.iter().all(|kept| kept.len() == KEPT);
        let sizes: Vec<f64> = self.losses.iter().map(|kept| kept.iter().map(|loss| loss * loss).sum::<f64>().sqrt()).collect();
        let sum: f64 = sizes.iter().sum();
        let share = |size: f64| (1.0 - UNIFORM) * size / sum + UNIFORM / places as f64;
        (full && sum > 0.0).then(|| sizes.into_iter().map(share).collect())
    }

    /// Places by this law from u in [0, 1), all places alike while there is none; a u that rounds to 1 is of the last place.
    pub fn draw(&self, places: usize, u: &[f64]) -> Drawn {
        let n = places as f64;
        let Some(law) = self.law(places) else {
            let at = u.iter().map(|u| ((u * n) as usize).min(places - 1)).collect();
            return Drawn { places, at, share: vec![1.0; u.len()] };
        };
        let ends: Vec<f64> = law
            .iter()
            .scan(0.0, |end, p| {
                Some({
                    *end += p;
                    *end
                })
            })
            .collect();
        let at: Vec<usize> = u.iter().map(|u| ends.partition_point(|end| end <= u).min(places - 1)).collect();
        let share = at.iter().map(|&place| law[place] * n).collect();
        Drawn { places, at, share }
    }

    /// Remembers the losses of a batch, which its shares have divided.
    pub fn add(&mut self, drawn: &Drawn, losses: &[f64]) {
        self.losses.resize_with(drawn.places, VecDeque::new);
        for ((&place, share), loss) in drawn.at.iter().zip(&drawn.share).zip(losses) {
            let kept = &mut self.losses[place];
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(loss * share);
        }
    }

    /// [N, 1 + KEPT], f64: of each place how many losses there are, and these; none before the first loss.
    pub fn to_tensor(&self) -> Option<Tensor> {
        let row = |kept: &VecDeque<f64>| {
            let mut row = vec![kept.len() as f64];
            row.extend(kept);
            row.resize(1 + KEPT, 0.0);
            row
        };
        let numbers: Vec<f64> = self.losses.iter().flat_map(row).collect();
        (!numbers.is_empty()).then(|| Tensor::from_slice(&numbers).view([-1, 1 + KEPT as i64]))
    }

    /// From [`LossHistory::to_tensor`].
    pub fn from_tensor(tensor: &Tensor) -> LossHistory {
        let numbers = to_vec(tensor);
        let row = |row: &[f64]| row[1..].iter().copied().take(row[0] as usize).collect();
        LossHistory { losses: numbers.chunks_exact(1 + KEPT).map(row).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{self, Purpose};

    const PLACES: usize = 5;

    /// E L² of a place is size² (1 + ½), its mean loss `size`.
    fn loss(place: usize, u: f64) -> f64 {
        let size = [4.0, 1.0, 0.1, 0.02, 0.5][place];
        size * (1.0 + 6f64.sqrt() * (u - 0.5))
    }

    fn all_alike(at: Vec<usize>) -> Drawn {
        Drawn { places: PLACES, share: vec![1.0; at.len()], at }
    }

    /// A history of `rounds` losses of each place.
    fn after(rounds: usize) -> LossHistory {
        let mut history = LossHistory::default();
        for round in 0..rounds {
            let losses: Vec<f64> = (0..PLACES).map(|place| loss(place, (round % KEPT) as f64 / (KEPT - 1) as f64)).collect();
            history.add(&all_alike((0..PLACES).collect()), &losses);
        }
        history
    }

    #[test]
    fn the_law_is_uniform_until_every_place_has_ten_losses_and_then_theirs() {
        assert_eq!(LossHistory::default().law(4), None);
        let mut history = after(KEPT);
        let mut fewer = after(KEPT - 1);
        fewer.add(&all_alike(vec![0, 1, 3, 4]), &[9.0; 4]);
        assert_eq!(fewer.law(PLACES), None);
        let sizes = [4.0, 1.0, 0.1, 0.02, 0.5];
        let sum: f64 = sizes.iter().sum();
        for (p, size) in history.law(PLACES).unwrap().into_iter().zip(sizes) {
            assert!((p - (0.999 * size / sum + 0.0002)).abs() < 1e-12, "{p}");
        }
        // The oldest goes; a share is taken back, and what is negative counts.
        for _ in 0..KEPT {
            history.add(
                &Drawn { places: PLACES, at: vec![0, 1, 2, 3, 4], share: vec![0.5, 1.0, 2.0, 4.0, 0.25] },
                &[2.0, -1.0, 0.5, -0.25, 4.0],
            );
        }
        assert!(history.law(PLACES).unwrap().into_iter().all(|p| (p - 0.2).abs() < 1e-12));
        assert_eq!(LossHistory { losses: vec![VecDeque::from([0.0; KEPT]); 2] }.law(2), None);
    }

    #[test]
    fn a_mean_over_drawn_places_is_that_over_all_and_varies_less() {
        let history = after(KEPT);
        let of = |history: &LossHistory, draw: u64| {
            let n = 20_000;
            let drawn = history.draw(PLACES, &rng::uniform(1, Purpose::Time, draw, n));
            let u = rng::uniform(1, Purpose::Noise, draw, n);
            let losses: Vec<f64> = (0..n).map(|i| loss(drawn.at[i], u[i]) / drawn.share[i]).collect();
            let mean = losses.iter().sum::<f64>() / n as f64;
            (mean, losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / (n as f64 - 1.0), n as f64)
        };
        let truth = (4.0 + 1.0 + 0.1 + 0.02 + 0.5) / PLACES as f64;
        let (uniform, aware) = (of(&LossHistory::default(), 0), of(&history, 1));
        for (mean, variance, n) in [uniform, aware] {
            assert!((mean - truth).abs() < 4.0 * (variance / n).sqrt(), "{mean} is not {truth}, variance {variance}");
        }
        // By eq. 18 E (L / N p)² is (Σ √E L²)² / N², in place of Σ E L² / N.
        let second = [(4f64 + 1.0 + 0.1 + 0.02 + 0.5).powi(2) * 1.5 / 25.0, (16.0 + 1.0 + 0.01 + 0.0004 + 0.25) * 1.5 / 5.0];
        for (got, truth) in [aware.1, uniform.1].into_iter().zip(second.map(|second| second - truth * truth)) {
            assert!((got / truth - 1.0).abs() < 0.05, "a variance of {got}, not {truth}");
        }
    }

    #[test]
    fn draws_are_places_of_the_law_in_their_order() {
        let history = after(KEPT);
        let law = history.law(PLACES).unwrap();
        let u: Vec<f64> = (0..1000).map(|i| (i as f64 + 0.5) / 1000.0).chain([0.0, 1.0 - f64::EPSILON / 2.0]).collect();
        let drawn = history.draw(PLACES, &u);
        assert_eq!((drawn.at[1000], drawn.at[1001]), (0, 4));
        for (place, p) in law.iter().enumerate() {
            let part = drawn.at[..1000].iter().filter(|&&at| at == place).count() as f64 / 1000.0;
            assert!((part - p).abs() < 0.002, "place {place}: {part} is not {p}");
        }
        assert!(drawn.at.iter().zip(&drawn.share).all(|(&at, share)| *share == law[at] * 5.0));
    }

    #[test]
    fn a_tensor_tells_all_of_it() {
        for history in [after(1), after(KEPT), after(KEPT + 3)] {
            assert_eq!(LossHistory::from_tensor(&history.to_tensor().unwrap()), history);
        }
        let mut some = LossHistory::default();
        assert!(some.to_tensor().is_none());
        some.add(&all_alike(vec![3, 3]), &[1.0, 2.0]);
        assert_eq!(LossHistory::from_tensor(&some.to_tensor().unwrap()), some);
    }
}
