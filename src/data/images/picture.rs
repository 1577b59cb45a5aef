//! One PNG or JPEG file: its size from its header, and its pixels.

use std::io::{BufRead, Cursor, Seek};

use image::codecs::png::PngDecoder;
use image::{ColorType, ImageDecoder};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::data::source::{Source, unread};

/// Pixels of one or three bytes, row by row.
pub(super) struct Picture {
    /// Height and width.
    pub size: [usize; 2],
    /// 1 or 3.
    pub channels: usize,
    pub pixels: Vec<u8>,
}

/// Why a file is no example.
#[derive(Debug)]
pub(super) struct Refused {
    pub message: String,
    pub help: String,
}

impl Refused {
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Refused {
        Refused { message: message.into(), help: help.into() }
    }

    pub fn damaged(message: impl Into<String>) -> Refused {
        Refused::new(message, "bring a fresh copy, or take the file away")
    }
}

/// Bytes in which a header mostly ends, and among the last of which the mark of a file's end is.
const GLIMPSE: u64 = 1 << 16;

/// Pixels that a file may have.
const MOST_PIXELS: usize = 100_000_000;

/// Bytes that a file may have.
const MOST_BYTES: u64 = 1 << 30;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Png,
    Jpeg,
}

impl Kind {
    fn of(bytes: &[u8]) -> Result<Kind, Refused> {
        match bytes {
            [0x89, b'P', b'N', b'G', ..] => Ok(Kind::Png),
            [0xff, 0xd8, ..] => Ok(Kind::Jpeg),
            [] => Err(Refused::damaged("the file is empty")),
            _ => Err(Refused::new("is neither a PNG nor a JPEG file, whatever its name says", "save it as PNG, or take it away")),
        }
    }

    /// What a whole file has at its end, before whatever follows.
    fn end(self) -> &'static [u8] {
        match self {
            Kind::Png => b"IEND\xae\x42\x60\x82",
            Kind::Jpeg => b"\xff\xd9",
        }
    }
}

/// Height and width by the header of a file, which has an end; most of it is not read.
pub(super) fn header(source: &Source) -> Result<[usize; 2], Refused> {
    if source.len > MOST_BYTES {
        return Err(Refused::new(format!("has {} bytes, more than a gigabyte", source.len), "make it smaller, or take it away"));
    }
    let glimpse = source.len.min(GLIMPSE);
    let part = |at: u64| {
        let mut bytes = vec![0; glimpse as usize];
        source.read(at, &mut bytes).map(|()| bytes).map_err(|error| Refused::damaged(unread(&error)))
    };
    let start = part(0)?;
    let kind = Kind::of(&start)?;
    let size = match size(kind, &start) {
        Err(_) if glimpse < source.len => size(kind, &source.all().map_err(|error| Refused::damaged(unread(&error)))?)?,
        size => size?,
    };
    let end = if glimpse < source.len { part(source.len - glimpse)? } else { start };
    match end.windows(kind.end().len()).rev().any(|bytes| bytes == kind.end()) {
        true => Ok(size),
        false => Err(Refused::damaged("is cut short: it has no end")),
    }
}

fn size(kind: Kind, bytes: &[u8]) -> Result<[usize; 2], Refused> {
    match kind {
        Kind::Png => png(Cursor::new(bytes)).map(|opened| opened.size),
        Kind::Jpeg => jpeg(bytes).map(|opened| opened.size),
    }
}

/// The pixels of a file with one or three channels.
pub(super) fn decode(bytes: &[u8], channels: usize) -> Result<Picture, Refused> {
    stored(bytes).map(|picture| picture.with_channels(channels))
}

/// The pixels of a file with the channels that it has.
pub(super) fn stored(bytes: &[u8]) -> Result<Picture, Refused> {
    Ok(match Kind::of(bytes)? {
        Kind::Png => {
            let Opened { size, decoder } = png(Cursor::new(bytes))?;
            let channels = decoder.color_type().channel_count() as usize;
            let mut pixels = vec![0; size[0] * size[1] * channels];
            decoder.read_image(&mut pixels).map_err(broken)?;
            Picture { size, channels, pixels }
        }
        Kind::Jpeg => {
            let Opened { size, mut decoder } = jpeg(bytes)?;
            let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
            let colours = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
            decoder.set_options(decoder.options().jpeg_set_out_colorspace(colours));
            Picture { size, channels: if grey { 1 } else { 3 }, pixels: decoder.decode().map_err(broken)? }
        }
    })
}

/// A file of which the header is read.
struct Opened<D> {
    size: [usize; 2],
    decoder: D,
}

fn png<R: BufRead + Seek>(file: R) -> Result<Opened<PngDecoder<R>>, Refused> {
    let decoder = PngDecoder::new(file).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let size = within([height as usize, width as usize])?;
    match decoder.color_type() {
        ColorType::L8 | ColorType::Rgb8 => Ok(Opened { size, decoder }),
        ColorType::La8 | ColorType::Rgba8 => {
            let help = "say what is behind it, such as white: magick mogrify -background white -alpha remove -alpha off FILES";
            Err(Refused::new("has transparent pixels, which have no one colour", help))
        }
        _ => Err(Refused::new("has 16 bits for each colour", "save it with 8: magick mogrify -depth 8 FILES")),
    }
}

fn jpeg(bytes: &[u8]) -> Result<Opened<JpegDecoder<ZCursor<&[u8]>>>, Refused> {
    // Not strict, it would fill with grey what is missing.
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(broken)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| Refused::damaged("is damaged: it has no size"))?;
    Ok(Opened { size: within([height, width])?, decoder })
}

/// Before any memory is taken for pixels.
fn within(size: [usize; 2]) -> Result<[usize; 2], Refused> {
    let [height, width] = size;
    match height.checked_mul(width) {
        Some(1..=MOST_PIXELS) => Ok(size),
        _ => Err(Refused::new(
            format!("says that it has {height} x {width} pixels, which are none, or more than {} million", MOST_PIXELS / 1_000_000),
            "make it smaller, or take it away",
        )),
    }
}

fn broken(error: impl std::fmt::Display) -> Refused {
    Refused::damaged(format!("is damaged or cut short: {error}"))
}

impl Picture {
    fn with_channels(self, channels: usize) -> Picture {
        let pixels = match (self.channels, channels) {
            (1, 3) => self.pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
            (3, 1) => self.pixels.chunks_exact(3).map(luma).collect(),
            _ => self.pixels,
        };
        Picture { channels, pixels, ..self }
    }
}

/// 0.299 R + 0.587 G + 0.114 B, rounded.
fn luma(rgb: &[u8]) -> u8 {
    let sum: u32 = rgb.iter().zip([299, 587, 114]).map(|(&colour, weight)| u32::from(colour) * weight).sum();
    ((sum + 500) / 1000) as u8
}
