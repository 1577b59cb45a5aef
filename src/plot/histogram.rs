//! Histograms: how many of some numbers fall into each of a few equal bins.

/// Equal bins over the finite ones of some numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    pub low: f64,
    pub width: f64,
    pub counts: Vec<usize>,
    /// The finite numbers.
    pub values: Vec<f64>,
}

impl Bins {
    pub fn new(values: &[f64], bins: usize) -> Bins {
        let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
        let (low, high) = match low < high {
            true => (low, high),
            // One value gets bins around it, and none at all gets some around 0.
            false => Some(low).filter(|low| low.is_finite()).map_or((-0.5, 0.5), |value| (value - 0.5, value + 0.5)),
        };
        let width = (high - low) / bins as f64;
        let mut counts = vec![0; bins];
        values.iter().for_each(|value| counts[(((value - low) / width) as usize).min(bins - 1)] += 1);
        Bins { low, width, counts, values }
    }

    /// Where bin i begins.
    pub fn limit(&self, i: usize) -> f64 {
        self.low + self.width * i as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_number_is_in_one_bin() {
        let bins = Bins::new(&[0.0, 0.1, 0.25, 0.9, 1.0, f64::NAN, f64::INFINITY], 4);
        assert_eq!((bins.counts.as_slice(), bins.low, bins.width), (&[2, 1, 0, 2][..], 0.0, 0.25));
        assert_eq!(bins.values.len(), 5);
        assert_eq!(Bins::new(&[3.0, 3.0], 2), Bins { low: 2.5, width: 0.5, counts: vec![0, 2], values: vec![3.0, 3.0] });
        assert_eq!(Bins::new(&[], 3).counts, [0, 0, 0]);
    }
}
