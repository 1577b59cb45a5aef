//! Histograms: how many of some numbers fall into each of a few equal bins, as counts and as a picture.

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{DrawError, SUPERSAMPLING, font, smooth};

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

const SIZE: (u32, u32) = (720, 420);

/// The histogram as a picture with a title above and a note below; a line marks the mean.
pub fn histogram(bins: &Bins, title: &str, note: &str) -> RgbImage {
    smooth(SIZE, |area| draw(area, bins, title, note))
}

fn draw<'a>(area: &DrawingArea<BitMapBackend<'a>, Shift>, bins: &Bins, title: &str, note: &str) -> Result<(), DrawError<'a>> {
    let s = SUPERSAMPLING;
    let font = |points| font(points, s);
    area.fill(&WHITE)?;
    area.draw_text(title, &font(17), ((56 * s) as i32, (14 * s) as i32))?;
    area.draw_text(note, &font(12), ((56 * s) as i32, ((SIZE.1 - 26) * s) as i32))?;
    let top = bins.counts.iter().copied().max().unwrap_or(0).max(1) as f64 * 1.08;
    let mut chart = ChartBuilder::on(area)
        .margin_top(44 * s)
        .margin_right(24 * s)
        .margin_bottom(32 * s)
        .set_label_area_size(LabelAreaPosition::Left, 56 * s)
        .set_label_area_size(LabelAreaPosition::Bottom, 32 * s)
        .build_cartesian_2d(bins.low..bins.limit(bins.counts.len()), 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(9)
        .y_labels(6)
        .max_light_lines(1)
        .bold_line_style(RGBColor(228, 228, 228))
        .light_line_style(TRANSPARENT)
        .axis_style(RGBColor(150, 150, 150))
        .label_style(font(13))
        .draw()?;
    let bars = bins.counts.iter().enumerate().map(|(i, &count)| {
        let bar = [(bins.limit(i) + 0.06 * bins.width, 0.0), (bins.limit(i + 1) - 0.06 * bins.width, count as f64)];
        Rectangle::new(bar, RGBColor(22, 84, 160).mix(0.75).filled())
    });
    chart.draw_series(bars)?;
    if !bins.values.is_empty() {
        let mean = bins.values.iter().sum::<f64>() / bins.values.len() as f64;
        chart.draw_series([PathElement::new([(mean, 0.0), (mean, top)], RGBColor(190, 60, 30).stroke_width(2 * s))])?;
    }
    area.present()
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

    #[test]
    fn bars_are_as_high_as_their_counts() {
        let blue = |values: &[f64]| {
            let picture = histogram(&Bins::new(values, 2), "", "");
            let columns =
                [SIZE.0 / 4, SIZE.0 * 3 / 4].map(|x| picture.rows().filter(|row| is_blue(row.clone().nth(x as usize).unwrap())).count());
            columns.map(|count| count as f64)
        };
        fn is_blue(pixel: &image::Rgb<u8>) -> bool {
            i32::from(pixel[2]) - i32::from(pixel[0]) > 60
        }
        let [left, right] = blue(&[0.0, 0.1, 0.2, 1.0]);
        assert!((left / right - 3.0).abs() < 0.1, "{left} {right}");
        let _ = histogram(&Bins::new(&[], 30), "nothing", "");
    }
}
