//! Pictures for people: a grid of images, or scatter plots.

use std::io::Cursor;
use std::sync::Once;

use image::{ImageFormat, Rgb, RgbImage, imageops};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

/// Pixels between the images of a grid, and its colour.
const GAP: usize = 2;
const GAP_COLOUR: Rgb<u8> = Rgb([128, 128, 128]);

/// Images [n, c, h, w] (c = 1 grey or 3 RGB) row by row in a grid as square as can be. Images of up to 64 pixels a side are enlarged by a
/// whole factor, as far as the grid stays within 1024 pixels.
pub fn grid(pixels: &[u8], shape: &[usize]) -> RgbImage {
    strips(pixels, shape, (1..).find(|k| k * k >= shape[0]).unwrap_or(1))
}

/// Images as [`grid`] shows them, with so many in a row.
pub fn strips(pixels: &[u8], shape: &[usize], columns: usize) -> RgbImage {
    let &[n, c, h, w] = shape else { panic!("images have shape [n, c, h, w], not {shape:?}") };
    assert!((c == 1 || c == 3) && pixels.len() == n * c * h * w, "{} bytes are no images {shape:?}", pixels.len());
    let rows = n.div_ceil(columns);
    let factor = if h.max(w) <= 64 { (1024 / (columns * w.max(h)).max(1)).clamp(1, 8) } else { 1 };
    let (cell_w, cell_h) = (w * factor + GAP, h * factor + GAP);
    let mut picture = RgbImage::from_pixel((columns * cell_w + GAP) as u32, (rows * cell_h + GAP) as u32, GAP_COLOUR);
    for (i, image) in pixels.chunks_exact((c * h * w).max(1)).enumerate() {
        let (left, top) = (GAP + i % columns * cell_w, GAP + i / columns * cell_h);
        for (y, x) in (0..h * factor).flat_map(|y| (0..w * factor).map(move |x| (y, x))) {
            let at = y / factor * w + x / factor;
            let rgb = [0, 1, 2].map(|channel| image[channel.min(c - 1) * h * w + at]);
            picture.put_pixel((left + x) as u32, (top + y) as u32, Rgb(rgb));
        }
    }
    picture
}

/// The side of a scatter panel's axes and the room around them, in pixels of the result.
const SIDE: u32 = 480;
const LEFT: u32 = 56;
const RIGHT: u32 = 20;
const TOP: u32 = 40;
const BOTTOM: u32 = 36;
const FOOT: u32 = 32;
/// Drawn at this multiple of the size and scaled down, since plotters does not smooth edges.
pub(crate) const SUPERSAMPLING: u32 = 2;

pub(crate) type DrawError<'a> = DrawingAreaErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>;

/// What `draw` draws on an area of [`SUPERSAMPLING`] times this size.
pub(crate) fn smooth(
    size: (u32, u32),
    draw: impl for<'a> FnOnce(&DrawingArea<BitMapBackend<'a>, Shift>) -> Result<(), DrawError<'a>>,
) -> RgbImage {
    let large = (size.0 * SUPERSAMPLING, size.1 * SUPERSAMPLING);
    let mut buffer = vec![0; 3 * large.0 as usize * large.1 as usize];
    with_font();
    draw(&BitMapBackend::with_buffer(&mut buffer, large).into_drawing_area()).expect("memory can be drawn on and the font is registered");
    let large = RgbImage::from_raw(large.0, large.1, buffer).expect("a buffer of this size");
    imageops::thumbnail(&large, size.0, size.1)
}

/// The letters of plots, at a scale of the drawing.
pub(crate) fn font(points: u32, scale: u32) -> TextStyle<'static> {
    ("sans-serif", points * scale).into_font().color(&RGBColor(40, 40, 40))
}

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
    plots(&panels, &note)
}

/// Points of the plane, a plot with its own limits for each title, up to four in a row. What is not finite is not drawn.
pub fn scatters(plots_of: &[(String, Vec<[f64; 2]>)]) -> RgbImage {
    let panel = |(title, points): &(String, Vec<[f64; 2]>)| Panel {
        title: title.clone(),
        limits: limits(points),
        points: points.iter().filter(|p| p.iter().all(|x| x.is_finite())).map(|p| (p[0], p[1])).collect(),
    };
    plots(&plots_of.iter().map(panel).collect::<Vec<_>>(), "")
}

/// One scatter plot.
struct Panel {
    title: String,
    limits: [std::ops::Range<f64>; 2],
    points: Vec<(f64, f64)>,
}

/// The panels, up to four in a row, above a note.
fn plots(panels: &[Panel], note: &str) -> RgbImage {
    let columns = panels.len().clamp(1, 4);
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

/// Makes "sans-serif" known to plotters.
pub fn with_font() {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular()).unwrap_or_else(|_| panic!("DejaVu is a font"))
    });
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

/// The picture as a PNG file.
pub fn png(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).expect("memory takes everything");
    bytes.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_shows_every_pixel_where_it_belongs() {
        let shape = [5, 3, 40, 70];
        let pixels: Vec<u8> = (0..5 * 3 * 40 * 70).map(|i| (i * 31 % 251) as u8).collect();
        let picture = grid(&pixels, &shape);
        assert_eq!(picture.dimensions(), (3 * 72 + 2, 2 * 42 + 2));
        for (i, c, y, x) in [(0, 0, 0, 0), (1, 1, 39, 69), (4, 2, 7, 30)] {
            let pixel = picture.get_pixel((2 + i % 3 * 72 + x) as u32, (2 + i / 3 * 42 + y) as u32);
            assert_eq!(pixel[c], pixels[((i * 3 + c) * 40 + y) * 70 + x]);
        }
        assert_eq!(*picture.get_pixel(217, 85), GAP_COLOUR, "there is no sixth image");
    }

    #[test]
    fn small_grey_images_are_enlarged_by_a_whole_factor() {
        let picture = grid(&[0, 50, 100, 255], &[1, 1, 2, 2]);
        assert_eq!(picture.dimensions(), (20, 20));
        for (x, y, grey) in [(2, 2, 0), (9, 9, 0), (10, 9, 50), (9, 10, 100), (17, 17, 255)] {
            assert_eq!(*picture.get_pixel(x, y), Rgb([grey; 3]), "({x}, {y})");
        }
        assert!(grid(&vec![0; 64 * 32 * 32], &[64, 1, 32, 32]).width() <= 1024 + 9 * 2);
    }

    #[test]
    fn a_png_holds_the_picture() {
        let picture = RgbImage::from_fn(6, 2, |x, y| Rgb([x as u8, y as u8, 9]));
        assert_eq!(image::load_from_memory(&png(&picture)).unwrap().to_rgb8(), picture);
    }

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
    }
}
