//! What charts are made of.

use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::super::Bins;
use super::axis::Scale;
use super::{AXIS, INK, PALETTE};

/// One layer of a chart. What is not finite is not drawn.
pub enum Layer {
    Line(Line),
    /// Points of the plane.
    Dots(Vec<[f64; 2]>),
    /// Numbers over a rectangle of the plane.
    Heat(Heat),
    /// From and to.
    Arrows(Vec<[[f64; 2]; 2]>),
    /// Bars from 0, and a line at the mean.
    Bars(Bins),
    /// Values with half of their intervals, at their places.
    Intervals(Vec<[f64; 3]>),
    /// A level across the chart.
    Level(f64),
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub struct Line {
    /// In the legend.
    pub name: Option<String>,
    pub points: Vec<[f64; 2]>,
    pub stroke: Stroke,
}

/// How a line is drawn, with its place in the palette.
#[derive(Clone, Copy, Debug)]
pub enum Stroke {
    /// With dashes of its own, but for the first colour.
    Strong(usize),
    /// Behind a strong one of the same colour.
    Faint(usize),
    /// Grey, one of many.
    Thin,
}

/// A grid of numbers over x × y, row by row from the lowest y; 0 is white, and the largest is blue.
pub struct Heat {
    pub values: Vec<f64>,
    pub columns: usize,
    pub x: [f64; 2],
    pub y: [f64; 2],
}

type Plane<'a, B> = ChartContext<'a, B, Cartesian2d<Scale, Scale>>;
type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// Dash and gap of a line of each colour but the first.
const DASHES: [(u32, u32); 6] = [(9, 4), (3, 3), (14, 4), (6, 2), (2, 5), (10, 8)];

fn colour(place: usize) -> RGBColor {
    PALETTE[place % PALETTE.len()]
}

fn finite(points: &[[f64; 2]]) -> impl Iterator<Item = [f64; 2]> {
    points.iter().copied().filter(|point| point.iter().all(|x| x.is_finite()))
}

impl Layer {
    /// Points between which all of it lies.
    pub(super) fn extent(&self) -> Vec<[f64; 2]> {
        match self {
            Layer::Line(Line { points, .. }) | Layer::Dots(points) => points.clone(),
            Layer::Heat(Heat { x, y, .. }) => vec![[x[0], y[0]], [x[1], y[1]]],
            Layer::Arrows(arrows) => arrows.concat(),
            Layer::Bars(bins) => {
                let most = bins.counts.iter().max().copied().unwrap_or(0).max(1) as f64;
                vec![[bins.low, 0.0], [bins.limit(bins.counts.len()), most]]
            }
            Layer::Intervals(points) => points.iter().flat_map(|&[x, y, half]| [[x, y - half], [x, y + half]]).collect(),
            // It has no place along the axis below.
            Layer::Level(y) => vec![[f64::NAN, *y]],
        }
    }

    /// `named` counts what is in the legend.
    pub(super) fn draw<B: DrawingBackend>(&self, chart: &mut Plane<B>, scale: u32, named: &mut usize) -> Drawn<B> {
        match self {
            Layer::Line(line) => {
                *named += usize::from(line.name.is_some());
                line.draw(chart, scale)
            }
            Layer::Dots(points) => {
                let opacity = (20.0 / (points.len() as f64).sqrt()).clamp(0.06, 0.7);
                let dot = INK.mix(opacity).filled();
                let radius = (3 * scale / 2) as i32;
                chart.draw_series(inside(chart, finite(points)).into_iter().map(|[x, y]| Circle::new((x, y), radius, dot))).map(drop)
            }
            Layer::Heat(heat) => heat.draw(chart),
            Layer::Arrows(arrows) => arrows.iter().try_for_each(|arrow| draw_arrow(arrow, chart, scale)),
            Layer::Bars(bins) => draw_bars(bins, chart, scale),
            Layer::Intervals(points) => {
                let bar = |&[x, y, half]: &[f64; 3]| ErrorBar::new_vertical(x, y - half, y, y + half, colour(0).filled(), 8 * scale);
                chart.draw_series(points.iter().map(bar)).map(drop)
            }
            Layer::Level(y) => {
                let ends = chart.x_range();
                chart.draw_series([PathElement::new([(ends.start, *y), (ends.end, *y)], AXIS.stroke_width(scale))]).map(drop)
            }
        }
    }
}

/// The points between the ends of both axes.
fn inside<B: DrawingBackend>(chart: &Plane<B>, points: impl Iterator<Item = [f64; 2]>) -> Vec<[f64; 2]> {
    let (x, y) = (chart.x_range(), chart.y_range());
    points.filter(|point| x.contains(&point[0]) && y.contains(&point[1])).collect()
}

impl Line {
    pub fn named(name: impl Into<String>, colour: usize, points: Vec<[f64; 2]>) -> Line {
        Line { name: Some(name.into()), points, stroke: Stroke::Strong(colour) }
    }

    /// Without a place in the legend.
    pub fn plain(stroke: Stroke, points: Vec<[f64; 2]>) -> Line {
        Line { name: None, points, stroke }
    }

    fn draw<B: DrawingBackend>(&self, chart: &mut Plane<B>, scale: u32) -> Drawn<B> {
        let (style, dashes) = self.stroke.style(scale);
        let (x, y) = (chart.x_range(), chart.y_range());
        let shown = |point: &[f64; 2]| x.contains(&point[0]) && y.contains(&point[1]);
        // What is not finite, or outside, parts a line.
        let parts = self.points.split(|point| !shown(point)).map(|part| part.iter().map(|&[x, y]| (x, y)).collect::<Vec<_>>());
        for part in parts.filter(|part| part.len() > 1) {
            match dashes {
                None => drop(chart.draw_series(LineSeries::new(part, style))?),
                Some((dash, gap)) => drop(chart.draw_series(DashedLineSeries::new(part, dash, gap, style))?),
            }
        }
        let Some(name) = &self.name else { return Ok(()) };
        let long = 22 * scale as i32;
        let (dash, gap) = dashes.map_or((long, 0), |(dash, gap)| (dash as i32, gap as i32));
        let sample = move |(x, y)| DashedPathElement::new([(x, y), (x + long, y)], dash, gap, style);
        chart.draw_series(LineSeries::new([], style))?.label(name).legend(sample);
        Ok(())
    }
}

impl Stroke {
    /// With dash and gap, where it has some.
    fn style(self, scale: u32) -> (ShapeStyle, Option<(u32, u32)>) {
        match self {
            Stroke::Strong(place) => {
                let dashes = place.checked_sub(1).map(|i| DASHES[i % DASHES.len()]);
                (colour(place).stroke_width(2 * scale), dashes.map(|(dash, gap)| (dash * scale, gap * scale)))
            }
            Stroke::Faint(place) => (colour(place).mix(0.3).stroke_width(scale), None),
            Stroke::Thin => (AXIS.mix(0.6).stroke_width(scale), None),
        }
    }
}

impl Heat {
    fn draw<B: DrawingBackend>(&self, chart: &mut Plane<B>) -> Drawn<B> {
        let rows = self.values.len() / self.columns;
        let most = self.values.iter().copied().filter(|x| x.is_finite()).fold(0.0, f64::max);
        let at = |[low, high]: [f64; 2], i: usize, n: usize| low + (high - low) * i as f64 / n as f64;
        let cell = |(i, &value): (usize, &f64)| {
            let (row, column) = (i / self.columns, i % self.columns);
            let corner = |row, column| (at(self.x, column, self.columns), at(self.y, row, rows));
            let share = if most > 0.0 && value.is_finite() { (value / most).clamp(0.0, 1.0) } else { 0.0 };
            Rectangle::new([corner(row, column), corner(row + 1, column + 1)], shade(share).filled())
        };
        chart.draw_series(self.values.iter().enumerate().map(cell)).map(drop)
    }
}

/// From white to blue.
fn shade(share: f64) -> RGBColor {
    let RGBColor(r, g, b) = PALETTE[0];
    let mix = |to: u8| (255.0 + share * (f64::from(to) - 255.0)).round() as u8;
    RGBColor(mix(r), mix(g), mix(b))
}

fn draw_arrow<B: DrawingBackend>(&[from, to]: &[[f64; 2]; 2], chart: &mut Plane<B>, scale: u32) -> Drawn<B> {
    /// The head's sides as a share of the length, and how far they stand off.
    const HEAD: (f64, f64) = (0.35, 0.18);
    let [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    if !(dx.is_finite() && dy.is_finite()) || dx == 0.0 && dy == 0.0 {
        return Ok(());
    }
    let side = |sign: f64| (to[0] - HEAD.0 * dx - sign * HEAD.1 * dy, to[1] - HEAD.0 * dy + sign * HEAD.1 * dx);
    let tip = (to[0], to[1]);
    let style = colour(1).stroke_width(scale);
    let paths = [vec![(from[0], from[1]), tip], vec![side(1.0), tip, side(-1.0)]];
    chart.draw_series(paths.map(|path| PathElement::new(path, style))).map(drop)
}

fn draw_bars<B: DrawingBackend>(bins: &Bins, chart: &mut Plane<B>, scale: u32) -> Drawn<B> {
    let bars = bins.counts.iter().enumerate().map(|(i, &count)| {
        let bar = [(bins.limit(i) + 0.06 * bins.width, 0.0), (bins.limit(i + 1) - 0.06 * bins.width, count as f64)];
        Rectangle::new(bar, colour(0).mix(0.75).filled())
    });
    chart.draw_series(bars)?;
    if bins.values.is_empty() {
        return Ok(());
    }
    let mean = bins.values.iter().sum::<f64>() / bins.values.len() as f64;
    let top = chart.y_range().end;
    chart.draw_series([PathElement::new([(mean, 0.0), (mean, top)], colour(1).stroke_width(2 * scale))]).map(drop)
}
