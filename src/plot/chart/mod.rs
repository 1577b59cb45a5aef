//! Charts: layers over a pair of axes, alone or several on a sheet, as pixels for PNG files and as SVG.

mod axis;
mod layer;

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;

pub use axis::Axis;
pub use layer::{Heat, Layer, Line, Stroke};

use super::{SUPERSAMPLING, font, smooth, with_font};

/// Of text, of axes and of what lies behind.
pub const INK: RGBColor = RGBColor(40, 40, 40);
pub const AXIS: RGBColor = RGBColor(150, 150, 150);
pub const GRID: RGBColor = RGBColor(230, 230, 230);
pub const PAPER: RGBColor = WHITE;

/// The colours of curves, which people who are colour-blind tell apart (Okabe & Ito 2008); of their order, those that are dark on white come first.
pub const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
];

/// Layers over a pair of axes.
pub struct Chart {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    /// The first is the lowest.
    pub layers: Vec<Layer>,
    /// Whether both axes have the same scale, as a plane has.
    pub square: bool,
}

/// Charts in rows, each of the same size.
pub struct Sheet {
    pub charts: Vec<Chart>,
    pub columns: usize,
    /// Of a chart, in pixels.
    pub size: (u32, u32),
}

impl Sheet {
    /// One chart.
    pub fn of(chart: Chart, size: (u32, u32)) -> Sheet {
        Sheet { charts: vec![chart], columns: 1, size }
    }

    /// Each chart by itself.
    pub fn apart(self) -> Vec<Sheet> {
        self.charts.into_iter().map(|chart| Sheet::of(chart, self.size)).collect()
    }

    fn rows(&self) -> usize {
        self.charts.len().div_ceil(self.columns).max(1)
    }

    fn pixels(&self) -> (u32, u32) {
        (self.size.0 * self.columns as u32, self.size.1 * self.rows() as u32)
    }

    pub fn picture(&self) -> RgbImage {
        smooth(self.pixels(), |area| {
            area.fill(&PAPER)?;
            self.draw(area, SUPERSAMPLING)
        })
    }

    /// A file of its own, on white.
    pub fn svg(&self) -> String {
        self.vectors(true)
    }

    /// A part of a page, on what lies behind it.
    pub fn inline_svg(&self) -> String {
        self.vectors(false)
    }

    fn vectors(&self, on_white: bool) -> String {
        let mut text = String::new();
        with_font();
        let area = SVGBackend::with_string(&mut text, self.pixels()).into_drawing_area();
        let fill = if on_white { area.fill(&PAPER) } else { Ok(()) };
        fill.and_then(|()| self.draw(&area, 1)).unwrap_or_else(|_| unreachable!("memory can be drawn on and the font is registered"));
        drop(area);
        text
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: u32) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let areas = area.split_evenly((self.rows(), self.columns));
        self.charts.iter().zip(&areas).try_for_each(|(chart, area)| chart.draw(area, scale))?;
        area.present()
    }
}

/// Room around the axes: left, right, above and below.
const ROOM: [u32; 4] = [56, 16, 36, 42];

impl Chart {
    /// The ends of both axes.
    fn ends(&self) -> [std::ops::Range<f64>; 2] {
        let points = || self.layers.iter().flat_map(Layer::extent);
        let [x, y] = [self.x.ends(points().map(|p| p[0])), self.y.ends(points().map(|p| p[1]))];
        if !self.square {
            return [x, y];
        }
        let half = (x.end - x.start).max(y.end - y.start) / 2.0;
        [x, y].map(|ends| {
            let middle = (ends.start + ends.end) / 2.0;
            middle - half..middle + half
        })
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: u32) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let font = |points| font(points, scale);
        let [left, right, top, bottom] = ROOM.map(|room| room * scale);
        area.draw_text(&self.title, &font(15), ((left + 12 * scale) as i32, (10 * scale) as i32))?;
        let [x, y] = self.ends();
        let mut builder = ChartBuilder::on(area);
        builder
            .margin_top(top)
            .margin_right(right)
            .margin_left(12 * scale)
            .set_label_area_size(LabelAreaPosition::Left, left)
            .set_label_area_size(LabelAreaPosition::Bottom, bottom);
        let mut chart = builder.build_cartesian_2d(self.x.scale(x), self.y.scale(y))?;
        chart
            .configure_mesh()
            .x_desc(&self.x.name)
            .y_desc(&self.y.name)
            .axis_desc_style(font(12))
            .x_labels(7)
            .y_labels(6)
            .max_light_lines(0)
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .label_style(font(12))
            .draw()?;
        let mut named = 0;
        for layer in &self.layers {
            layer.draw(&mut chart, scale, &mut named)?;
        }
        if named == 0 {
            return Ok(());
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(PAPER.mix(0.8))
            .border_style(GRID)
            .legend_area_size(26 * scale)
            .label_font(font(12))
            .draw()
    }
}

#[cfg(test)]
mod tests;
