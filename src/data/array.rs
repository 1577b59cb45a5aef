//! Arrays of numbers in `.npy` and `.npz` files: what their headers say, and their rows, read by position.

use std::path::Path;

use half::f16;
use ndarray::{ArrayViewD, IxDyn, ShapeBuilder};
use py_literal::Value;

use super::source::{Archive, Source, unread};
use crate::error::{Error, Result};

/// An array, of which the header is read. In row-major ("C") order and not compressed, its numbers stay in the file; else they are loaded.
pub(super) struct Array {
    source: Source,
    /// Where the numbers begin.
    start: u64,
    element: Element,
    pub shape: Vec<usize>,
    fortran: bool,
}

/// The kind of the numbers: `<f4` in NumPy's spelling.
#[derive(Clone, Debug, PartialEq)]
struct Element {
    kind: u8,
    size: usize,
    big_endian: bool,
}

const CURE: &str = "save the array there with numpy.save or numpy.savez, or correct the path";

/// Bytes of a file that may be its header.
const HEADER: u64 = 1 << 16;

/// Brackets that a header may have: more than any array has axes.
const BRACKETS: usize = 100;

/// Bytes of numbers that are read at once.
const AT_ONCE: usize = 1 << 20;

impl Array {
    /// An `.npy` file, or the array `name` of an `.npz` archive.
    pub fn open(path: &Path, name: Option<&str>) -> Result<Array> {
        let source = match name.filter(|_| is_npz(path)) {
            None => Source::open(path, CURE)?,
            Some(name) => {
                let archive = Archive::open(path, CURE)?;
                let Some(entry) = archive.entry(&format!("{name}.npy")) else {
                    return Err(Error::data(path, format!("holds no array {name}"), format!("it holds {}", archive.arrays().join(", "))));
                };
                archive.source(entry)
            }
        };
        Array::of(source).map_err(|(source, message)| Error::data(&source.path, message, CURE))
    }

    fn of(source: Source) -> Result<Array, (Source, String)> {
        match Array::header(&source) {
            Ok((start, element, shape, fortran)) => Ok(Array { source, start, element, shape, fortran }),
            Err(message) => Err((source, message)),
        }
    }

    fn header(source: &Source) -> Result<(u64, Element, Vec<usize>, bool), String> {
        let mut bytes = vec![0; source.len.min(HEADER) as usize];
        source.read(0, &mut bytes).map_err(|error| unread(&error))?;
        let short = "is cut short within its header";
        let (version, rest) = match bytes.get(..8) {
            _ if bytes.is_empty() => return Err("the file is empty".into()),
            Some([0x93, b'N', b'U', b'M', b'P', b'Y', version @ 1..=3, _]) => (*version, &bytes[8..]),
            _ if bytes.starts_with(b"PK\x03\x04") => return Err("is an .npz archive, and its name does not end with .npz".into()),
            None if b"\x93NUMPY".starts_with(&bytes[..bytes.len().min(6)]) => return Err(short.into()),
            _ => return Err("is not an .npy file".into()),
        };
        let width = if version == 1 { 2 } else { 4 };
        let length = rest.get(..width).ok_or(short)?.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let text = rest.get(width..).and_then(|rest| rest.get(..length)).ok_or(short)?;
        let (element, shape, fortran) = parsed(text).ok_or("is not an .npy file: its header can't be read")?;
        let element = element?;
        if shape.iter().product::<usize>() == 0 {
            return Err(format!("holds nothing: its shape is {shape:?}"));
        }
        let start = (8 + width + length) as u64;
        let wanted = shape.iter().try_fold(element.size as u64, |bytes, &n| bytes.checked_mul(n as u64)).ok_or("is larger than memory")?;
        match source.len - start {
            found if found < wanted => Err(format!("is cut short: {} bytes are missing", wanted - found)),
            found if found > wanted => Err(format!("is too long: {} bytes follow the array", found - wanted)),
            _ => Ok((start, element, shape, fortran)),
        }
    }

    /// What a person knows it by.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Whether its numbers can't be read one by one, but only all.
    pub fn is_loaded(&self) -> bool {
        self.fortran || self.source.is_deflated()
    }

    /// Bytes of memory that its numbers take, at most, an estimate.
    pub fn bytes(&self) -> u64 {
        let size = self.source.len - self.start;
        if self.fortran {
            2 * size
        } else if self.is_loaded() {
            size
        } else {
            0
        }
    }

    /// Whether its numbers are bytes, 0 to 255.
    pub fn holds_bytes(&self) -> bool {
        (self.element.kind, self.element.size) == (b'u', 1)
    }

    /// Whether its numbers may be other than whole.
    pub fn holds_floats(&self) -> bool {
        self.element.kind == b'f'
    }

    /// Ready for rows: loads what can't be read row by row.
    pub fn ready(self) -> Result<Array> {
        if !self.is_loaded() {
            return Ok(self);
        }
        let bytes = self.source.all().map_err(|error| Error::data(&self.source.path, unread(&error), CURE))?;
        let start = self.start as usize;
        let bytes = if self.fortran { self.element.transposed(&self.shape, &bytes[start..]) } else { bytes[start..].to_vec() };
        Ok(Array { source: self.source.with(bytes), start: 0, fortran: false, ..self })
    }

    /// Numbers of a row, which has all axes but the first.
    pub fn width(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// The rows from `first` on, as many as `out` holds. Only of an array that is [`ready`](Array::ready).
    pub fn rows<A>(&self, first: usize, out: &mut [A], to: impl Fn(f64) -> A) -> Result<()> {
        let mut at = self.start + (first * self.width() * self.element.size) as u64;
        let mut bytes = vec![0; AT_ONCE.min(out.len() * self.element.size)];
        for out in out.chunks_mut(AT_ONCE / self.element.size) {
            let bytes = &mut bytes[..out.len() * self.element.size];
            self.source.read(at, bytes).map_err(|error| Error::data(&self.source.path, unread(&error), CURE))?;
            self.element.convert(bytes, out, &to);
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// All numbers in row-major order.
    pub fn numbers(self) -> Result<Vec<f64>> {
        let array = self.ready()?;
        let mut numbers = vec![0.0; array.shape.iter().product()];
        array.rows(0, &mut numbers, |value| value)?;
        Ok(numbers)
    }
}

/// Whether a path is one of an archive of arrays.
pub(super) fn is_npz(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz"))
}

/// The parts of a header's text; the kind is an error of its own.
fn parsed(text: &[u8]) -> Option<(Result<Element, String>, Vec<usize>, bool)> {
    // The parser calls itself for each.
    if text.iter().filter(|byte| b"([{".contains(byte)).count() > BRACKETS {
        return None;
    }
    let Value::Dict(entries) = std::str::from_utf8(text).ok()?.trim().parse().ok()? else { return None };
    let of = |name: &str| entries.iter().find(|(key, _)| key.as_string().is_some_and(|key| key == name)).map(|(_, value)| value);
    let shape = of("shape")?.as_tuple()?.iter().map(|n| usize::try_from(n.as_integer()?).ok()).collect::<Option<Vec<usize>>>()?;
    shape.iter().try_fold(1usize, |size, &n| size.checked_mul(n))?;
    let element = match of("descr")? {
        Value::String(name) => Element::new(name),
        _ => Err("holds records of several numbers, not plain numbers".into()),
    };
    Some((element, shape, of("fortran_order")?.as_boolean()?))
}

impl Element {
    fn new(name: &str) -> Result<Element, String> {
        let wrong = || format!("holds elements of type {name}, which are no integers or floating-point numbers of 16, 32 or 64 bits");
        let [order, kind, size @ ..] = name.as_bytes() else { return Err(wrong()) };
        let size = std::str::from_utf8(size).ok().and_then(|size| size.parse().ok()).ok_or_else(wrong)?;
        let big_endian = match order {
            b'<' | b'|' => false,
            b'>' => true,
            _ => return Err(wrong()),
        };
        match (kind, size) {
            (b'b', 1) | (b'i' | b'u', 1 | 2 | 4 | 8) | (b'f', 2 | 4 | 8) => Ok(Element { kind: *kind, size, big_endian }),
            _ => Err(wrong()),
        }
    }

    /// One number for each of `out`.
    fn convert<A>(&self, bytes: &[u8], out: &mut [A], to: impl Fn(f64) -> A) {
        let big = self.big_endian;
        match (self.kind, self.size) {
            (b'f', 2) => each(bytes, big, out, |b| to(f16::from_le_bytes(b).to_f64())),
            (b'f', 4) => each(bytes, big, out, |b| to(f32::from_le_bytes(b).into())),
            (b'f', _) => each(bytes, big, out, |b| to(f64::from_le_bytes(b))),
            (b'i', 1) => each(bytes, big, out, |b| to(i8::from_le_bytes(b).into())),
            (b'i', 2) => each(bytes, big, out, |b| to(i16::from_le_bytes(b).into())),
            (b'i', 4) => each(bytes, big, out, |b| to(i32::from_le_bytes(b).into())),
            (b'i', _) => each(bytes, big, out, |b| to(i64::from_le_bytes(b) as f64)),
            (_, 2) => each(bytes, big, out, |b| to(u16::from_le_bytes(b).into())),
            (_, 4) => each(bytes, big, out, |b| to(u32::from_le_bytes(b).into())),
            (_, 8) => each(bytes, big, out, |b| to(u64::from_le_bytes(b) as f64)),
            _ => each(bytes, big, out, |b| to(u8::from_le_bytes(b).into())),
        }
    }

    /// Numbers in column-major ("Fortran") order, in row-major order.
    fn transposed(&self, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
        fn of<const N: usize>(shape: &[usize], bytes: &[u8]) -> Vec<u8> {
            let (numbers, _) = bytes.as_chunks::<N>();
            let view = ArrayViewD::from_shape(IxDyn(shape).f(), numbers).expect("as many numbers as the shape says");
            view.iter().flatten().copied().collect()
        }
        match self.size {
            1 => of::<1>(shape, bytes),
            2 => of::<2>(shape, bytes),
            4 => of::<4>(shape, bytes),
            _ => of::<8>(shape, bytes),
        }
    }
}

fn each<A, const N: usize>(bytes: &[u8], big_endian: bool, out: &mut [A], to: impl Fn([u8; N]) -> A) {
    for (number, out) in bytes.as_chunks::<N>().0.iter().zip(out) {
        let mut number = *number;
        if big_endian {
            number.reverse();
        }
        *out = to(number);
    }
}

#[cfg(test)]
mod tests;
