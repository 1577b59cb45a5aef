//! Scatter plots of points of the plane.

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{DrawError, SUPERSAMPLING, font, smooth};

/// The side of a scatter panel's axes and the room around them, in pixels of the result.
const SIDE: u32 = 480;
const LEFT: u32 = 56;
const RIGHT: u32 = 20;
const TOP: u32 = 40;
const BOTTOM: u32 = 36;
const FOOT: u32 = 32;

/// Points of the plane: data left, samples right, on the same equal axes, whose limits are the data's. `note` goes below, with the
/// number of samples that lie outside or are not finite, which are not drawn.
pub fn scatter(data: &[[f64; 2]], samples: &[[f64; 2]], note: &str) -> RgbImage {
    let limits = limits(if data.is_empty() { samples } else { data });
    let inside = |p: &&[f64; 2]| (0..2).all(|axis| limits[axis].contains(&p[axis]));
    let outside = samples.len() - samples.iter().filter(inside).count();
    let note = match outside {
        0 => note.to_owned(),
        _ => format!("{note}{}{outside} of {} samples outside", if note.is_empty() { "" } else { "; " }, samples.len()),
    };
    let panels = [("data", data), ("samples", samples)].map(|(title, points)| Panel {
        title: format!("{title} ({})", points.len()),
        limits: limits.clone(),
        points: points.iter().filter(inside).map(|p| (p[0], p[1])).collect(),
    });
    plots(&panels, 2, &note)
}

/// Points of the plane, a plot with its own limits for each title, up to four in a row. What is not finite is not drawn.
pub fn scatters(plots_of: &[(String, Vec<[f64; 2]>)]) -> RgbImage {
    let panel = |(title, points): &(String, Vec<[f64; 2]>)| Panel {
        title: title.clone(),
        limits: limits(points),
        points: points.iter().filter(|p| p.iter().all(|x| x.is_finite())).map(|p| (p[0], p[1])).collect(),
    };
    plots(&plots_of.iter().map(panel).collect::<Vec<_>>(), 4, "")
}

/// As [`scatters`], so many in a row, all with the limits of the first, which the others should be like; what lies outside is not drawn.
pub fn scatters_alike(plots_of: &[(String, Vec<[f64; 2]>)], columns: usize) -> RgbImage {
    let limits = limits(plots_of.first().map_or(&[], |(_, points)| points));
    let inside = |p: &&[f64; 2]| (0..2).all(|axis| limits[axis].contains(&p[axis]));
    let panel = |(title, points): &(String, Vec<[f64; 2]>)| Panel {
        title: title.clone(),
        limits: limits.clone(),
        points: points.iter().filter(inside).map(|p| (p[0], p[1])).collect(),
    };
    plots(&plots_of.iter().map(panel).collect::<Vec<_>>(), columns, "")
}

/// One scatter plot.
struct Panel {
    title: String,
    limits: [std::ops::Range<f64>; 2],
    points: Vec<(f64, f64)>,
}

/// The panels, up to so many in a row, above a note.
fn plots(panels: &[Panel], most: usize, note: &str) -> RgbImage {
    let columns = panels.len().clamp(1, most);
    let rows = panels.len().div_ceil(columns);
    let size = (columns as u32 * (LEFT + SIDE + RIGHT), rows as u32 * (TOP + SIDE + BOTTOM) + FOOT);
    smooth(size, |area| draw(area, panels, (rows, columns), note))
}

/// A square of the plane around the finite points, with a margin of 4 %.
fn limits(points: &[[f64; 2]]) -> [std::ops::Range<f64>; 2] {
    let finite = || points.iter().filter(|p| p.iter().all(|x| x.is_finite()));
    let span = |axis: usize| finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p[axis]), high.max(p[axis])));
    let spans = [span(0), span(1)];
    let half = spans.iter().map(|(low, high)| 0.5 * (high - low)).fold(0.0, f64::max) * 1.04;
    let half = if half > 0.0 { half } else { 1.0 };
    spans.map(|(low, high)| {
        let centre = if low <= high { 0.5 * (low + high) } else { 0.0 };
        centre - half..centre + half
    })
}

fn draw<'a>(
    area: &DrawingArea<BitMapBackend<'a>, Shift>,
    panels: &[Panel],
    rows_and_columns: (usize, usize),
    note: &str,
) -> Result<(), DrawError<'a>> {
    let s = SUPERSAMPLING;
    let font = |points| font(points, s);
    area.fill(&WHITE)?;
    let (plots, foot) = area.split_vertically(area.dim_in_pixel().1 - FOOT * s);
    for (panel, Panel { title, limits, points }) in plots.split_evenly(rows_and_columns).iter().zip(panels) {
        panel.draw_text(title, &font(17), ((LEFT * s) as i32, (12 * s) as i32))?;
        let mut chart = ChartBuilder::on(panel)
            .margin_top(TOP * s)
            .margin_right(RIGHT * s)
            .set_label_area_size(LabelAreaPosition::Left, LEFT * s)
            .set_label_area_size(LabelAreaPosition::Bottom, BOTTOM * s)
            .build_cartesian_2d(limits[0].clone(), limits[1].clone())?;
        chart
            .configure_mesh()
            .x_labels(7)
            .y_labels(7)
            .max_light_lines(1)
            .bold_line_style(RGBColor(228, 228, 228))
            .light_line_style(TRANSPARENT)
            .axis_style(RGBColor(150, 150, 150))
            .label_style(font(13))
            .draw()?;
        let opacity = (20.0 / (points.len() as f64).sqrt()).clamp(0.06, 0.7);
        let dot = RGBColor(22, 84, 160).mix(opacity).filled();
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, dot)))?;
    }
    foot.draw_text(note, &font(13), ((LEFT * s) as i32, (6 * s) as i32))?;
    area.present()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scatter_limits_are_an_equal_square_around_the_data() {
        let [x, y] = limits(&[[0.0, 5.0], [10.0, 6.0], [f64::NAN, 1e9], [f64::INFINITY, 0.0]]);
        assert!((x.start + 0.2).abs() < 1e-12 && (x.end - 10.2).abs() < 1e-12, "{x:?}");
        assert!((y.start - 0.3).abs() < 1e-12 && (y.end - 10.7).abs() < 1e-12, "{y:?}");
        assert_eq!(limits(&[[3.0, 4.0]]), [2.0..4.0, 3.0..5.0]);
        assert_eq!(limits(&[]), [-1.0..1.0, -1.0..1.0]);
    }

    /// Blue pixels of the left and the right half.
    fn blue(picture: &RgbImage) -> [Vec<(u32, u32)>; 2] {
        let middle = picture.width() / 2;
        let blue = picture.enumerate_pixels().filter(|(_, _, p)| i32::from(p[2]) - i32::from(p[0]) > 30).map(|(x, y, _)| (x, y));
        let (left, right): (Vec<_>, Vec<_>) = blue.partition(|(x, _)| *x < middle);
        [left, right.into_iter().map(|(x, y)| (x - middle, y)).collect()]
    }

    #[test]
    fn equal_points_are_drawn_at_equal_places_and_outliers_not_at_all() {
        let data = [[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]];
        let [left, right] = blue(&scatter(&data, &data, ""));
        assert!(!left.is_empty());
        assert_eq!(left, right);
        // Four dots, one in each corner of a square of SIDE / 1.04 pixels.
        let span = |axis: fn(&(u32, u32)) -> u32| left.iter().map(axis).max().unwrap() - left.iter().map(axis).min().unwrap();
        let expected = f64::from(SIDE) / 1.04;
        for span in [span(|p| p.0), span(|p| p.1)] {
            assert!((f64::from(span) - expected).abs() < 5.0, "{span} instead of {expected}");
        }
        let far = [[5.0, 0.0], [f64::NAN, 0.0], [0.0, f64::NEG_INFINITY]];
        let outliers = scatter(&data, &far, "");
        assert!(blue(&outliers)[1].is_empty());
        assert_eq!(outliers, scatter(&data, &far[..], ""), "drawing is deterministic");
        assert_ne!(outliers, scatter(&data, &[], ""), "the note counts them");
        scatter(&[], &[], "nothing");
        let both = [("data".into(), data.to_vec()), ("other".into(), [&data[..], &far].concat())];
        let [left, right] = blue(&scatters_alike(&both, 2));
        assert_eq!(left, right, "on the same axes");
        scatters_alike(&[], 4);
    }
}
