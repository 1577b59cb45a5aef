//! Numbers with their intervals along an axis, in panels.

use image::RgbImage;
use plotters::prelude::*;

use super::{DrawError, SUPERSAMPLING, font, smooth};

/// Of a panel.
const WIDTH: u32 = 560;
const HEIGHT: u32 = 220;
const COLUMNS: usize = 2;
const COLOUR: RGBColor = RGBColor(22, 84, 160);

/// A number along an axis.
pub struct Series {
    pub title: String,
    /// Place, value and half of the interval.
    pub points: Vec<[f64; 3]>,
    /// A level to compare with, if there is one.
    pub level: Option<f64>,
}

/// A panel for each number, in rows of two; `along` names the axis.
pub fn intervals(series: &[Series], along: &str) -> RgbImage {
    let rows = series.len().div_ceil(COLUMNS).max(1);
    smooth((WIDTH * COLUMNS as u32, HEIGHT * rows as u32), |area| {
        area.fill(&WHITE)?;
        let panels = area.split_evenly((rows, COLUMNS));
        series.iter().zip(&panels).try_for_each(|(series, area)| panel(area, series, along))
    })
}

fn panel<'a>(area: &DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>, series: &Series, along: &str) -> Result<(), DrawError<'a>> {
    let s = SUPERSAMPLING;
    let font = |points| font(points, s);
    let Series { title, points, level } = series;
    area.draw_text(title, &font(15), ((70 * s) as i32, (10 * s) as i32))?;
    let ends = |ends: &mut dyn Iterator<Item = f64>| {
        let (low, high) =
            ends.filter(|x| x.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        // One place gets some room around it.
        let (low, high) = if low < high { (low, high) } else { (low.min(0.0) - 0.5, high.max(0.0) + 0.5) };
        let room = 0.06 * (high - low);
        low - room..high + room
    };
    let x = ends(&mut points.iter().map(|point| point[0]));
    let y = ends(&mut points.iter().flat_map(|[_, y, half]| [y - half, y + half]).chain(*level));
    let mut chart = ChartBuilder::on(area)
        .margin_top(32 * s)
        .margin_right(20 * s)
        .set_label_area_size(LabelAreaPosition::Left, 70 * s)
        .set_label_area_size(LabelAreaPosition::Bottom, 40 * s)
        .build_cartesian_2d(x.clone(), y)?;
    chart
        .configure_mesh()
        .x_desc(along)
        .x_labels(8)
        .y_labels(5)
        .axis_desc_style(font(12))
        .max_light_lines(0)
        .bold_line_style(RGBColor(232, 232, 232))
        .axis_style(RGBColor(150, 150, 150))
        .x_label_formatter(&|x| format!("{x:.0}"))
        // Without what binary fractions leave, and without a sign of 0.
        .y_label_formatter(&|y| format!("{}", (y * 1e9).round() / 1e9 + 0.0))
        .label_style(font(12))
        .draw()?;
    if let Some(level) = level {
        chart.draw_series([PathElement::new([(x.start, *level), (x.end, *level)], RGBColor(150, 150, 150).stroke_width(s))])?;
    }
    chart.draw_series(LineSeries::new(points.iter().map(|point| (point[0], point[1])), COLOUR.mix(0.6).stroke_width(s)))?;
    let bar = |&[x, y, half]: &[f64; 3]| ErrorBar::new_vertical(x, y - half, y, y + half, COLOUR.filled(), 8 * s);
    chart.draw_series(points.iter().map(bar)).map(drop)
}
