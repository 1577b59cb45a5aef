//! Curves side by side on logarithmic axes, those that are nowhere beaten in colour.

use std::collections::{BTreeMap, BTreeSet};

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{SUPERSAMPLING, font, png, smooth, with_font};

const SIZE: (u32, u32) = (1280, 600);
/// Curves on the front have a colour of their own, and all where there are few.
const COLOURS: [RGBColor; 8] = [
    RGBColor(22, 84, 160),
    RGBColor(204, 85, 0),
    RGBColor(27, 128, 70),
    RGBColor(170, 30, 60),
    RGBColor(110, 64, 170),
    RGBColor(120, 84, 50),
    RGBColor(0, 140, 160),
    RGBColor(200, 120, 0),
];
const GREY: RGBColor = RGBColor(200, 200, 200);

/// Named curves of points (cost, loss), all above 0, below a title.
pub struct Panel {
    pub title: String,
    pub curves: BTreeMap<&'static str, Vec<(f64, f64)>>,
}

impl Panel {
    /// The points that no cheaper or equally cheap one beats, cheapest first.
    fn front(&self) -> Vec<(&'static str, (f64, f64))> {
        let mut all: Vec<(&'static str, (f64, f64))> =
            self.curves.iter().flat_map(|(name, curve)| curve.iter().map(|point| (*name, *point))).collect();
        all.sort_by(|a, b| a.1.0.total_cmp(&b.1.0).then(a.1.1.total_cmp(&b.1.1)));
        let mut best = f64::INFINITY;
        all.retain(|(_, (_, y))| {
            let better = *y < best;
            best = best.min(*y);
            better
        });
        all
    }
}

/// Two panels as a PNG file; `cost` names the horizontal axis.
pub fn curves_png(panels: &[Panel; 2], cost: &str) -> Vec<u8> {
    png(&curves(panels, cost))
}

/// The same as a picture.
pub fn curves(panels: &[Panel; 2], cost: &str) -> RgbImage {
    smooth(SIZE, |area| draw(area, SUPERSAMPLING, panels, cost))
}

/// Two panels as an SVG file.
pub fn curves_svg(panels: &[Panel; 2], cost: &str) -> String {
    let mut text = String::new();
    with_font();
    draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), 1, panels, cost)
        .unwrap_or_else(|_| unreachable!("memory can be drawn on and the font is registered"));
    text
}

fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    scale: u32,
    panels: &[Panel; 2],
    cost: &str,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(SIZE.0 * scale / 2);
    panel(&left, scale, &panels[0], cost)?;
    panel(&right, scale, &panels[1], cost)?;
    area.present()
}

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    scale: u32,
    panel: &Panel,
    cost: &str,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let font = |points| font(points, scale);
    area.draw_text(&panel.title, &font(16), ((64 * scale) as i32, (12 * scale) as i32))?;
    if panel.curves.is_empty() {
        return area.draw_text("no point here", &font(14), ((64 * scale) as i32, (60 * scale) as i32));
    }
    let (curves, front) = (&panel.curves, panel.front());
    let all = || curves.values().flatten();
    let least = |f: fn(&(f64, f64)) -> f64| all().map(f).fold(f64::INFINITY, f64::min);
    let most = |f: fn(&(f64, f64)) -> f64| all().map(f).fold(0.0, f64::max);
    let (x, y) = ((least(|p| p.0) * 0.85, most(|p| p.0) * 1.2), (least(|p| p.1) * 0.6, most(|p| p.1) * 1.5));
    let round = |(low, high): (f64, f64)| -> Vec<f64> {
        (-15..16).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power))).filter(|n| (low..high).contains(n)).collect()
    };
    // Between two powers of ten there would be no number at all, and among many all of these are too many.
    let heights = round(y);
    let heights: Vec<f64> = if heights.len() > 12 { heights.into_iter().step_by(3).collect() } else { heights };
    let mut chart = ChartBuilder::on(area)
        .margin_top(40 * scale)
        .margin_right(20 * scale)
        .set_label_area_size(LabelAreaPosition::Left, 64 * scale)
        .set_label_area_size(LabelAreaPosition::Bottom, 44 * scale)
        .build_cartesian_2d((x.0..x.1).log_scale().with_key_points(round(x)), (y.0..y.1).log_scale().with_key_points(heights))?;
    chart
        .configure_mesh()
        .x_desc(cost)
        .axis_desc_style(font(13))
        .max_light_lines(0)
        .bold_line_style(RGBColor(232, 232, 232))
        .axis_style(RGBColor(150, 150, 150))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0e}"))
        .label_style(font(13))
        .draw()?;
    let mut named: Vec<&str> = front.iter().map(|(name, _)| *name).collect();
    if curves.len() <= COLOURS.len() {
        named.extend(curves.keys());
    }
    let mut seen = BTreeSet::new();
    named.retain(|name| seen.insert(*name));
    for curve in curves.iter().filter(|(name, _)| !seen.contains(*name)).map(|(_, curve)| curve) {
        chart.draw_series(LineSeries::new(curve.iter().copied(), GREY.stroke_width(scale)))?;
    }
    for (i, name) in named.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let curve = &curves[name];
        chart
            .draw_series(LineSeries::new(curve.iter().copied(), colour.stroke_width(2 * scale)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18 * scale as i32, y)], colour.stroke_width(2 * scale)));
        chart.draw_series(curve.iter().map(|point| Circle::new(*point, 2 * scale, colour.filled())))?;
        let on_front = front.iter().filter(|(other, _)| other == name).map(|(_, point)| *point);
        chart.draw_series(on_front.map(|point| Circle::new(point, 4 * scale, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .legend_area_size(24 * scale)
        .label_font(font(13))
        .draw()
}
