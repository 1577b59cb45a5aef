//! From a file's size to an example's.

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::picture::{Picture, Refused};

/// How a file becomes an example of `size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Fit {
    /// It has that size already; else it is refused.
    Exact,
    /// The largest part in its middle that has the shape of an example, resized: EDM's `center-crop` where that is a square.
    Crop {
        /// How pixels are mixed.
        filter: Filter,
    },
    /// The whole picture, stretched where it has another shape.
    Stretch {
        /// How pixels are mixed.
        filter: Filter,
    },
}

/// The kernel of a resize, which grows with the reduction, so that every pixel of the file counts (as in Pillow).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// The mean of the pixels that a new one covers.
    Box,
    /// A triangle: `Resize` of torchvision.
    Bilinear,
    /// A cubic with a = -1/2; ADM takes it after halvings by boxes.
    Bicubic,
    /// Lanczos, three lobes: EDM's.
    Lanczos,
}

impl Filter {
    fn kernel(self) -> FilterType {
        match self {
            Filter::Box => FilterType::Box,
            Filter::Bilinear => FilterType::Bilinear,
            Filter::Bicubic => FilterType::CatmullRom,
            Filter::Lanczos => FilterType::Lanczos3,
        }
    }
}

impl Fit {
    /// Error: a file of this size can't become an example.
    pub(super) fn check(self, [h, w]: [usize; 2], [height, width]: [usize; 2]) -> Result<(), Refused> {
        if self != Fit::Exact || [h, w] == [height, width] {
            return Ok(());
        }
        let help = "crop and resize every file by [data.images] of an experiment, fit.crop.filter = \"lanczos\", or give its size as it is";
        Err(Refused::new(format!("has {h} x {w} pixels, not {height} x {width}"), help))
    }

    /// A picture of that size.
    pub(super) fn apply(self, picture: Picture, size: [usize; 2]) -> Picture {
        let ([h, w], [height, width]) = (picture.size, size);
        if picture.size == size {
            return picture;
        }
        let (filter, [part_h, part_w]) = match self {
            Fit::Exact => return picture,
            Fit::Stretch { filter } => (filter, [h, w]),
            // Of the two that touch a side, the one that fits.
            Fit::Crop { filter } => (filter, [h.min((w * height / width).max(1)), w.min((h * width / height).max(1))]),
        };
        let kind = if picture.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
        let whole = ImageRef::new(w as u32, h as u32, &picture.pixels, kind).expect("as many pixels as its size says");
        let [top, left, part_h, part_w] = [(h - part_h) / 2, (w - part_w) / 2, part_h, part_w].map(|n| n as u32);
        let part = CroppedImage::new(&whole, left, top, part_w, part_h).expect("a part that is within");
        let mut resized = Image::new(width as u32, height as u32, kind);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter.kernel())).use_alpha(false);
        Resizer::new().resize(&part, &mut resized, &options).expect("two images of one kind");
        Picture { size, pixels: resized.into_vec(), ..picture }
    }
}
