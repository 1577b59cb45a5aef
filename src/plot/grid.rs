//! Grids of images.

use image::{Rgb, RgbImage};

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
}
