//! The lab's picture: what an evaluation buys.

use std::collections::{BTreeMap, BTreeSet};

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Point;
use crate::picture::{self, SUPERSAMPLING};

const SIZE: (u32, u32) = (1280, 600);
/// Solvers on the front have a colour of their own, and all where there are few.
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

/// A panel: its title, and one point (evaluations, distance) per setting, by solver.
struct Panel {
    title: &'static str,
    curves: BTreeMap<&'static str, Vec<(f64, f64)>>,
}

impl Panel {
    /// Each solver's best distance for each number of evaluations, but for distances a hundred times the median and more.
    fn new(title: &'static str, points: &[Point], distance: impl Fn(&Point) -> Option<f64>) -> Panel {
        let mut curves: BTreeMap<&'static str, Vec<(f64, f64)>> = BTreeMap::new();
        for point in points {
            let Some(y) = distance(point).filter(|y| *y > 0.0 && y.is_finite()) else { continue };
            let curve = curves.entry(point.setting.solver).or_default();
            match curve.iter_mut().find(|(x, _)| *x == point.evaluations) {
                Some((_, best)) => *best = best.min(y),
                None => curve.push((point.evaluations, y)),
            }
        }
        // A setting that is much worse than most is no use: it would only flatten the rest.
        let mut distances: Vec<f64> = curves.values().flatten().map(|point| point.1).collect();
        distances.sort_by(f64::total_cmp);
        let most = 100.0 * distances.get(distances.len() / 2).copied().unwrap_or(0.0);
        curves.values_mut().for_each(|curve| {
            curve.retain(|point| point.1 < most);
            curve.sort_by(|a, b| a.0.total_cmp(&b.0));
        });
        curves.retain(|_, curve| !curve.is_empty());
        Panel { title, curves }
    }

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

/// The picture as a PNG file.
pub fn png(points: &[Point]) -> Vec<u8> {
    picture::png(&picture::smooth(SIZE, |area| draw(area, SUPERSAMPLING, points)))
}

/// The picture as an SVG file.
pub fn svg(points: &[Point]) -> String {
    let mut text = String::new();
    picture::with_font();
    draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), 1, points)
        .unwrap_or_else(|_| unreachable!("memory can be drawn on and the font is registered"));
    text
}

fn draw<B: DrawingBackend>(area: &DrawingArea<B, Shift>, scale: u32, points: &[Point]) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    area.fill(&WHITE)?;
    // What samples of the very law would show: half of the interval of the most faithful setting.
    let faithful = points.iter().min_by(|a, b| a.energy.value.abs().total_cmp(&b.energy.value.abs()));
    let chance = faithful.map_or(0.0, |point| point.energy.half_width);
    let panels = [
        Panel::new("distance to the accurate solve of the same start points", points, |point| point.error),
        Panel::new("energy distance to the data, down to what chance leaves", points, |point| Some(point.energy.value.max(chance))),
    ];
    let (left, right) = area.split_horizontally(SIZE.0 * scale / 2);
    panel(&left, scale, &panels[0])?;
    panel(&right, scale, &panels[1])?;
    area.present()
}

fn panel<B: DrawingBackend>(area: &DrawingArea<B, Shift>, scale: u32, panel: &Panel) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let font = |points| picture::font(points, scale);
    area.draw_text(panel.title, &font(16), ((64 * scale) as i32, (12 * scale) as i32))?;
    if panel.curves.is_empty() {
        return area.draw_text("no point here", &font(14), ((64 * scale) as i32, (60 * scale) as i32));
    }
    let (curves, front) = (&panel.curves, panel.front());
    let all = || curves.values().flatten();
    let least = |f: fn(&(f64, f64)) -> f64| all().map(f).fold(f64::INFINITY, f64::min);
    let most = |f: fn(&(f64, f64)) -> f64| all().map(f).fold(0.0, f64::max);
    let (x, y) = ((least(|p| p.0) * 0.85, most(|p| p.0) * 1.2), (least(|p| p.1) * 0.6, most(|p| p.1) * 1.5));
    let round: Vec<f64> =
        (0..7).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power))).filter(|n| (x.0..x.1).contains(n)).collect();
    let mut chart = ChartBuilder::on(area)
        .margin_top(40 * scale)
        .margin_right(20 * scale)
        .set_label_area_size(LabelAreaPosition::Left, 64 * scale)
        .set_label_area_size(LabelAreaPosition::Bottom, 44 * scale)
        .build_cartesian_2d((x.0..x.1).log_scale().with_key_points(round), (y.0..y.1).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("evaluations of the score per sample")
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
