//! Axes: linear, or logarithmic.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// What lies along an axis.
#[derive(Clone, Debug, Default)]
pub struct Axis {
    pub name: String,
    pub logarithmic: bool,
    /// Where it ends, whatever lies there; by what lies there, if this is not said.
    pub ends: Option<[f64; 2]>,
}

impl Axis {
    pub fn linear(name: impl Into<String>) -> Axis {
        Axis { name: name.into(), logarithmic: false, ends: None }
    }

    pub fn logarithmic(name: impl Into<String>) -> Axis {
        Axis { logarithmic: true, ..Axis::linear(name) }
    }

    pub fn between(self, ends: [f64; 2]) -> Axis {
        Axis { ends: Some(ends), ..self }
    }

    /// Around all that can be shown, with some room.
    pub(super) fn ends(&self, values: impl Iterator<Item = f64>) -> Range<f64> {
        if let Some([low, high]) = self.ends {
            return low..high;
        }
        let shown = values.filter(|x| x.is_finite() && (!self.logarithmic || *x > 0.0)).map(|x| self.along(x));
        let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let (low, high) = match () {
            () if low < high => (low, high),
            () if low == high => (low - 0.5, high + 0.5),
            () => (0.0, 1.0),
        };
        let room = 0.05 * (high - low);
        self.back(low - room)..self.back(high + room)
    }

    /// The place of a value along the axis, and back.
    fn along(&self, x: f64) -> f64 {
        if self.logarithmic { x.log10() } else { x }
    }

    fn back(&self, x: f64) -> f64 {
        if self.logarithmic { 10f64.powf(x) } else { x }
    }

    pub(super) fn scale(&self, ends: Range<f64>) -> Scale {
        Scale { axis: self.clone(), ends }
    }
}

/// An axis between its ends.
pub(super) struct Scale {
    axis: Axis,
    ends: Range<f64>,
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let [low, high, at] = [self.ends.start, self.ends.end, *value].map(|x| self.axis.along(x));
        // What is far outside stays within the numbers of pixels.
        let share = ((at - low) / (high - low)).clamp(-10.0, 10.0);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let Range { start, end } = self.ends;
        let most = hint.max_num_points().max(2);
        let decades = if self.axis.logarithmic { (end / start).log10() } else { 0.0 };
        match decades >= 1.0 {
            true => powers(start, end, most),
            false => round(start, end, most),
        }
    }

    fn range(&self) -> Range<f64> {
        self.ends.clone()
    }
}

/// Numbers with one digit, 1, or 2, or 5, between two that a factor of ten or more lies between.
fn powers(start: f64, end: f64, most: usize) -> Vec<f64> {
    let (first, last) = (start.log10().floor() as i32, end.log10().ceil() as i32);
    let of = |digits: &[f64], step: usize| -> Vec<f64> {
        let all = (first..=last).step_by(step).flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
        all.filter(|x| (start..=end).contains(x)).collect()
    };
    let few = |found: &Vec<f64>| found.len() <= most;
    let fine = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]].into_iter().map(|digits| of(digits, 1)).find(few);
    fine.unwrap_or_else(|| of(&[1.0], ((last - first) as usize).div_ceil(most)))
}

/// Multiples of a step of one digit, 1, or 2, or 5.
fn round(start: f64, end: f64, most: usize) -> Vec<f64> {
    let rough = (end - start) / most as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let (first, last) = ((start / step).ceil() as i64, (end / step).floor() as i64);
    (first..=last).map(|n| n as f64 * step).collect()
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        label(*value)
    }
}

/// A round number, without what binary fractions leave of it.
fn label(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let digits = format!("{x:.6e}");
    let (mantissa, power) = digits.split_once('e').expect("this notation has a power");
    match power.parse().unwrap_or(0) {
        power @ -4..5 => format!("{:.*}", (6 - power).max(0) as usize, x).trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => format!("{}e{power}", mantissa.trim_end_matches('0').trim_end_matches('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_numbers_lie_along_an_axis() {
        let ticks = |axis: Axis, ends: Range<f64>, most: usize| {
            let scale = axis.scale(ends);
            scale.key_points(most).iter().map(|x| scale.format_ext(x)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ticks(Axis::linear("x"), -0.32..1.04, 7), "-0.2 0 0.2 0.4 0.6 0.8 1");
        assert_eq!(ticks(Axis::linear("x"), 0.0..120000.0, 4), "0 50000 1e5");
        assert_eq!(ticks(Axis::logarithmic("x"), 1e-6..1e6, 4), "1e-6 0.001 1 1000 1e6");
        assert_eq!(ticks(Axis::logarithmic("x"), 0.8..60.0, 7), "1 2 5 10 20 50");
        assert_eq!(ticks(Axis::logarithmic("x"), 2.1..4.2, 5), "2.5 3 3.5 4");
    }

    #[test]
    fn an_axis_ends_around_what_it_can_show() {
        let ends = Axis::linear("x").ends([0.0, f64::NAN, 10.0, f64::INFINITY].into_iter());
        assert_eq!(ends, -0.5..10.5);
        let ends = Axis::logarithmic("x").ends([1.0, 0.0, -3.0, 100.0].into_iter());
        assert!((ends.start - 10f64.powf(-0.1)).abs() < 1e-12 && (ends.end - 10f64.powf(2.1)).abs() < 1e-9, "{ends:?}");
        assert_eq!(Axis::linear("x").ends([].into_iter()), -0.05..1.05);
        assert_eq!(Axis::linear("x").between([2.0, 3.0]).ends([9.0].into_iter()), 2.0..3.0);
    }
}
