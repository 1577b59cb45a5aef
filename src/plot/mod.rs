//! Pictures for people: grids of images, scatter plots, histograms, heat maps, curves.

pub mod chart;
mod curves;
mod grid;
mod heat;
mod histogram;
mod scatter;

use std::io::Cursor;
use std::sync::Once;

use image::{ImageFormat, RgbImage, imageops};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

pub use curves::{Panel, curves, curves_png, curves_svg};
pub use grid::{grid, strips};
pub use heat::{HeatMap, finite_mean};
pub use histogram::Bins;
pub use scatter::{scatter, scatters, scatters_alike};

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

/// Makes "sans-serif" known to plotters.
pub fn with_font() {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular()).unwrap_or_else(|_| panic!("DejaVu is a font"))
    });
}

/// Pictures below each other, from the left, on white.
pub fn stacked(pictures: &[RgbImage]) -> RgbImage {
    let width = pictures.iter().map(RgbImage::width).max().unwrap_or(0);
    let mut whole = RgbImage::from_pixel(width, pictures.iter().map(RgbImage::height).sum(), image::Rgb([255; 3]));
    let mut top = 0;
    for picture in pictures {
        imageops::replace(&mut whole, picture, 0, top);
        top += i64::from(picture.height());
    }
    whole
}

/// A line of words.
pub fn caption(words: &str) -> RgbImage {
    let s = SUPERSAMPLING;
    smooth((1280, 32), |area| {
        area.fill(&WHITE)?;
        area.draw_text(words, &font(13, s), ((12 * s) as i32, (8 * s) as i32))?;
        area.present()
    })
}

/// The picture as a PNG file.
pub fn png(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).expect("memory takes everything");
    bytes.into_inner()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_png_holds_the_picture() {
        let picture = RgbImage::from_fn(6, 2, |x, y| Rgb([x as u8, y as u8, 9]));
        assert_eq!(image::load_from_memory(&png(&picture)).unwrap().to_rgb8(), picture);
    }
}
