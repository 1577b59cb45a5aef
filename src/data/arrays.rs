//! Splits held in memory as arrays.

use ndarray::{Array2, Array4, Axis};

use super::Dataset;
use crate::error::Result;

/// Images [N, C, H, W], one byte a pixel.
pub struct Images {
    pub pixels: Array4<u8>,
    pub note: Option<String>,
}

impl Dataset for Images {
    fn shape(&self) -> &[usize] {
        &self.pixels.shape()[1..]
    }

    fn len(&self) -> usize {
        self.pixels.len_of(Axis(0))
    }

    fn read(&self, i: usize, out: &mut [f32]) -> Result<()> {
        let image = self.pixels.index_axis(Axis(0), i);
        let pixels = image.to_slice().expect("images are stored row by row");
        out.iter_mut().zip(pixels).for_each(|(out, p)| *out = f32::from(*p));
        Ok(())
    }

    fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

/// ln p(x), where known.
pub type LogDensity = Box<dyn Fn(&[f64]) -> Option<f64> + Send + Sync>;

/// Vectors [N, D].
pub struct Vectors {
    pub values: Array2<f32>,
    pub log_density: LogDensity,
}

impl Dataset for Vectors {
    fn shape(&self) -> &[usize] {
        &self.values.shape()[1..]
    }

    fn len(&self) -> usize {
        self.values.nrows()
    }

    fn read(&self, i: usize, out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(self.values.row(i).to_slice().expect("vectors are stored row by row"));
        Ok(())
    }

    fn log_density(&self, x: &[f64]) -> Option<f64> {
        (self.log_density)(x)
    }
}
