//! Heat maps: numbers of a few rows along one axis.

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{DrawError, SUPERSAMPLING, font, smooth};

const SIZE: (u32, u32) = (820, 420);
/// Columns that are drawn; more are joined by their means.
const MOST: usize = 200;
/// From the least to the most: dark blue to yellow, evenly bright.
const COLOURS: [(f64, f64, f64); 5] =
    [(13.0, 8.0, 80.0), (110.0, 10.0, 160.0), (200.0, 60.0, 110.0), (245.0, 140.0, 60.0), (245.0, 240.0, 80.0)];

/// Columns of numbers, one for each row; what is not finite is not drawn.
pub struct HeatMap<'a> {
    pub title: &'a str,
    /// What the columns are by, and the place of each, which rises.
    pub along: &'a str,
    pub at: Vec<f64>,
    /// The rows, at least one, from the bottom up.
    pub rows: Vec<String>,
    pub columns: Vec<Vec<f64>>,
}

impl HeatMap<'_> {
    /// As a picture, in colours by the logarithm where all numbers are above 0, with a scale.
    pub fn picture(&self) -> RgbImage {
        smooth(SIZE, |area| self.draw(area))
    }

    /// Where each drawn column begins and ends, and its numbers.
    fn joined(&self) -> Vec<(f64, f64, Vec<f64>)> {
        let size = self.columns.len().div_ceil(MOST).max(1);
        let mut left = 0.0;
        let pairs = self.at.chunks(size).zip(self.columns.chunks(size));
        pairs
            .map(|(at, columns)| {
                let right = at[at.len() - 1];
                let begin = std::mem::replace(&mut left, right);
                (begin, right, (0..self.rows.len()).map(|row| finite_mean(columns.iter().map(|column| column[row]))).collect())
            })
            .collect()
    }

    fn draw<'a>(&self, area: &DrawingArea<BitMapBackend<'a>, Shift>) -> Result<(), DrawError<'a>> {
        let s = SUPERSAMPLING;
        let font = |points| font(points, s);
        area.fill(&WHITE)?;
        area.draw_text(self.title, &font(17), ((92 * s) as i32, (14 * s) as i32))?;
        let columns = self.joined();
        let scale = ColourScale::of(columns.iter().flat_map(|(.., numbers)| numbers.iter().copied()));
        let (map, bar) = area.split_horizontally((SIZE.0 - 96) * s);
        let end = columns.last().map_or(1.0, |(_, end, _)| *end).max(f64::MIN_POSITIVE);
        let rows = self.rows.len();
        let mut chart = ChartBuilder::on(&map)
            .margin_top(44 * s)
            .margin_right(12 * s)
            .margin_bottom(8 * s)
            .set_label_area_size(LabelAreaPosition::Left, 92 * s)
            .set_label_area_size(LabelAreaPosition::Bottom, 46 * s)
            .build_cartesian_2d(0.0..end, (0..rows - 1).into_segmented())?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_labels(7)
            .x_desc(self.along)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|row| match row {
                SegmentValue::CenterOf(row) => self.rows.get(*row).cloned().unwrap_or_default(),
                _ => String::new(),
            })
            .y_labels(rows)
            .axis_style(RGBColor(150, 150, 150))
            .label_style(font(13))
            .draw()?;
        let cells = columns.iter().flat_map(|(begin, end, numbers)| {
            let finite = numbers.iter().enumerate().filter(|(_, number)| number.is_finite());
            finite.map(|(row, number)| {
                let top = if row + 1 < rows { SegmentValue::Exact(row + 1) } else { SegmentValue::Last };
                Rectangle::new([(*begin, SegmentValue::Exact(row)), (*end, top)], scale.colour(*number).filled())
            })
        });
        chart.draw_series(cells)?;
        scale.draw(&bar)?;
        area.present()
    }
}

/// The mean of what is finite; NaN where nothing is.
pub fn finite_mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = numbers.filter(|number| number.is_finite()).fold((0.0, 0.0), |(sum, n), number| (sum + number, n + 1.0));
    sum / n
}

/// Colours of numbers between two.
struct ColourScale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl ColourScale {
    /// From the first to the last tenth: what lies outside has the colour of the end, so that a few do not take all colours.
    fn of(numbers: impl Iterator<Item = f64>) -> ColourScale {
        let mut finite: Vec<f64> = numbers.filter(|number| number.is_finite()).collect();
        finite.sort_by(f64::total_cmp);
        let outside = finite.len() / 10;
        let ends = (finite.get(outside), finite.get(finite.len().saturating_sub(outside + 1)));
        let (low, high) = if let (Some(&low), Some(&high)) = ends { (low, high) } else { (0.0, 1.0) };
        ColourScale { low, high, logarithmic: finite.first().is_some_and(|least| *least > 0.0) }
    }

    /// The number at a share of the way from the least to the most.
    fn number(&self, share: f64) -> f64 {
        match self.logarithmic {
            true => self.low * (self.high / self.low).powf(share),
            false => self.low + (self.high - self.low) * share,
        }
    }

    fn colour(&self, number: f64) -> RGBColor {
        let share = match self.logarithmic {
            true => (number / self.low).ln() / (self.high / self.low).ln(),
            false => (number - self.low) / (self.high - self.low),
        };
        // One number alone is in the middle.
        let place = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 } * (COLOURS.len() - 1) as f64;
        let i = (place as usize).min(COLOURS.len() - 2);
        let (a, b, rest) = (COLOURS[i], COLOURS[i + 1], place - i as f64);
        let mix = |a: f64, b: f64| (a + (b - a) * rest).round() as u8;
        RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
    }

    /// The scale itself: a bar with numbers beside it.
    fn draw<'a>(&self, area: &DrawingArea<BitMapBackend<'a>, Shift>) -> Result<(), DrawError<'a>> {
        const STEPS: i32 = 100;
        let s = SUPERSAMPLING as i32;
        let (top, height) = (44 * s, (SIZE.1 as i32 - 44 - 54) * s);
        let y = |share: f64| top + ((1.0 - share) * f64::from(height)) as i32;
        for step in 0..STEPS {
            let (low, high) = (f64::from(step) / f64::from(STEPS), f64::from(step + 1) / f64::from(STEPS));
            let corners = [(0, y(high)), (14 * s, y(low))];
            area.draw(&Rectangle::new(corners, self.colour(self.number(0.5 * (low + high))).filled()))?;
        }
        for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
            area.draw_text(&short(self.number(share)), &font(12, SUPERSAMPLING), (20 * s, y(share) - 7 * s))?;
        }
        Ok(())
    }
}

/// A number in three digits.
fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e4).contains(&size) => {
            let digits = (2 - size.log10().floor() as i32).clamp(0, 5) as usize;
            format!("{number:.digits$}")
        }
        _ => format!("{number:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(columns: Vec<Vec<f64>>) -> HeatMap<'static> {
        let at = (1..=columns.len()).map(|i| i as f64).collect();
        HeatMap { title: "", along: "step", at, rows: vec!["low".into(), "high".into()], columns }
    }

    #[test]
    fn a_cell_has_the_colour_of_its_number_at_its_place() {
        let picture = map(vec![vec![1.0, 100.0], vec![f64::NAN, 10.0]]).picture();
        // The middles of the four cells.
        let at = |x: f64, y: f64| *picture.get_pixel((92.0 + x * 620.0) as u32, (44.0 + y * 322.0) as u32);
        let colour = |(r, g, b): (f64, f64, f64)| image::Rgb([r as u8, g as u8, b as u8]);
        assert_eq!([at(0.25, 0.75), at(0.25, 0.25), at(0.75, 0.25)], [colour(COLOURS[0]), colour(COLOURS[4]), colour(COLOURS[2])]);
        assert_eq!(at(0.75, 0.75), image::Rgb([255; 3]), "what is no number is not drawn");
        let _ = map(Vec::new()).picture();
    }

    #[test]
    fn a_few_numbers_far_off_do_not_take_all_colours() {
        let scale = ColourScale::of((1..=20).map(|i| if i == 20 { 1e9 } else { f64::from(i) }));
        assert_eq!((scale.low, scale.high), (3.0, 18.0));
        assert_eq!(scale.colour(1e9), scale.colour(18.0));
    }

    #[test]
    fn many_columns_are_joined_by_their_means() {
        let joined = map((0..MOST * 2 + 1).map(|i| vec![i as f64, if i == 0 { f64::NAN } else { 3.0 }]).collect()).joined();
        assert_eq!(joined.len(), 134);
        assert_eq!(joined[0], (0.0, 3.0, vec![1.0, 3.0]));
        assert_eq!(joined[133].1, 401.0);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.0123, 1.0, 45.678, 1234.5, 1e-5, -2.5].map(short), ["0", "0.0123", "1.00", "45.7", "1234", "1.0e-5", "-2.50"]);
    }
}
