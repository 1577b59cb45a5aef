//! Samples that belong together.

use image::RgbImage;
use tch::Tensor;

use crate::plot;
use crate::run::Npz;
use crate::tensor::to_vec;

/// Rows of samples, as many in each, that begin with the same thing.
pub struct Rows {
    /// What each row begins with [R, ...], in data units: images as u8.
    pub lead: Tensor,
    /// When it begins, `[R]`.
    pub t: Vec<f64>,
}

/// Rows, and samples of a row, that a picture shows.
const SHOWN: i64 = 16;

impl Rows {
    /// A row of images each, what it begins with first; or a scatter plot each. `x` [R n, ...] in data units.
    pub(super) fn picture(&self, x: &Tensor) -> RgbImage {
        let shown = |x: &Tensor, axis| x.narrow(axis, 0, x.size()[axis as usize].min(SHOWN));
        let of_row = [&[self.t.len() as i64, -1], &x.size()[1..]].concat();
        let x = shown(&shown(&x.view(&of_row[..]), 0), 1);
        match x.size()[..] {
            [rows, n, c, h, w] => {
                let images = Tensor::cat(&[shown(&self.lead, 0).unsqueeze(1), x], 1);
                let pixels: Vec<u8> = Vec::try_from(images.contiguous().view(-1)).expect("pixels are bytes");
                let shape = [rows * (n + 1), c, h, w].map(|n| n as usize);
                plot::strips(&pixels, &shape, n as usize + 1)
            }
            _ => {
                let panel = |(row, t): (usize, &f64)| (format!("{row}: t = {t:.3}"), first_two(&x.get(row as i64)));
                plot::scatters(&self.t.iter().enumerate().take(SHOWN as usize).map(panel).collect::<Vec<_>>())
            }
        }
    }

    /// Adds `row` and `begins_at`, one number for each of `count` samples.
    pub(super) fn save(&self, count: usize, archive: &mut Npz) {
        let row = |i: usize| i * self.t.len() / count;
        archive.column("row", &(0..count).map(|i| row(i) as u64).collect::<Vec<_>>());
        archive.column("begins_at", &(0..count).map(|i| self.t[row(i)]).collect::<Vec<_>>());
    }
}

/// The first two components of vectors [n, D]; 0 where there is no second.
pub fn first_two(x: &Tensor) -> Vec<[f64; 2]> {
    let d = x.size()[1] as usize;
    to_vec(x).chunks(d).map(|row| [row[0], *row.get(1).unwrap_or(&0.0)]).collect()
}
