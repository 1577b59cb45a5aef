//! Arrays with names, as NumPy reads them.

use std::io::Cursor;

use ndarray::ArrayViewD;
use ndarray_npy::{NpzWriter, WritableElement};

/// A compressed `.npz` in memory.
pub struct Npz(NpzWriter<Cursor<Vec<u8>>>);

impl Npz {
    #[expect(clippy::new_without_default, reason = "an archive is begun, not defaulted")]
    pub fn new() -> Npz {
        Npz(NpzWriter::new_compressed(Cursor::new(Vec::new())))
    }

    /// Adds an array of this shape, whose values are in row-major order. Panics where their number is another.
    pub fn add<T: WritableElement>(&mut self, name: &str, shape: &[usize], values: &[T]) {
        let array = ArrayViewD::from_shape(shape, values).expect("as many values as the shape says");
        self.0.add_array(name, &array).expect("memory takes any array");
    }

    /// Adds one number for each example.
    pub fn column<T: WritableElement>(&mut self, name: &str, values: &[T]) {
        self.add(name, &[values.len()], values);
    }

    pub fn finish(self) -> Vec<u8> {
        self.0.finish().expect("memory takes any archive").into_inner()
    }
}
