//! Classes of examples as numbers: 0, 1, ... without a gap.

use std::path::Path;

use super::array::Array;
use crate::error::{Error, Result};

/// Classes that a set may have.
const MOST: u32 = 65_536;

/// What labels are, for a file that holds something else.
pub(super) const CURE: &str = "give an .npy array [N] of whole numbers, numpy.save(path, y), or an IDX file of labels; \
                               scripts/fetch-fashion-mnist brings those of its images";

/// Whole numbers in an array `[N]`.
pub(super) fn whole(array: Array) -> Result<Vec<i64>> {
    let message = match array.shape.len() {
        1 if array.holds_floats() => "holds floating-point numbers, and classes are whole ones".to_owned(),
        1 => return Ok(array.numbers()?.into_iter().map(|label| label as i64).collect()),
        _ => format!("holds labels of shape {:?}, not [\"N\"]", array.shape),
    };
    Err(Error::data(array.path(), message, CURE))
}

/// Classes, each below [`MOST`].
pub(super) fn within(labels: Vec<i64>) -> Result<Vec<u32>, String> {
    let class = |(i, &label): (usize, &i64)| match u32::try_from(label) {
        Ok(class) if class < MOST => Ok(class),
        _ => Err(format!("says of example {i} that its class is {label}; classes are numbers from 0 to {}", MOST - 1)),
    };
    labels.iter().enumerate().map(class).collect()
}

/// How many classes the labels of a file name. Error: one of them has no example.
pub(super) fn count(path: &Path, labels: &[u32]) -> Result<usize> {
    let mut seen = vec![false; labels.iter().max().map_or(0, |class| *class as usize + 1)];
    labels.iter().for_each(|class| seen[*class as usize] = true);
    match seen.iter().position(|seen| !seen) {
        None => Ok(seen.len()),
        Some(class) => {
            let message = format!("holds no example of class {class}, but some of class {}", seen.len() - 1);
            Err(Error::data(path, message, "classes are counted from 0 without a gap: give each example its place among them"))
        }
    }
}
