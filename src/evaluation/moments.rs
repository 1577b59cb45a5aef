//! Mean and covariance of features in an `.npz` file, as other programs keep and read them.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use tch::Tensor;

use super::table::FeatureTable;
use crate::data::{holds_arrays, read_array};
use crate::error::{Error, Result};
use crate::file::sha256;
use crate::metric::Moments;
use crate::run::{Npz, replace};
use crate::tensor::to_vec;

/// The moments of a law, of which no examples are there.
pub struct KeptMoments {
    pub moments: Moments,
    pub about: AboutMoments,
}

/// What is known of them. Of which features they are, and of how many examples, their file does not say.
#[derive(Clone, Debug, Serialize)]
pub struct AboutMoments {
    /// As the file was given.
    pub name: String,
    /// D
    pub dimension: usize,
    /// Of mean and covariance, as little-endian f64.
    pub sha256: String,
}

/// Arrays of EDM's, pytorch-fid's and clean-fid's statistics.
const ARRAYS: [&str; 2] = ["mu", "sigma"];

impl KeptMoments {
    /// Whether a file is one of moments.
    pub fn are_in(path: &Path) -> bool {
        holds_arrays(path, &ARRAYS)
    }

    /// Error: the file can't be read, or its arrays are no mean `[D]` and covariance [D, D].
    pub fn read(path: &Path) -> Result<KeptMoments> {
        let [(of_mean, mean), (of_covariance, covariance)] = [read_array(path, ARRAYS[0])?, read_array(path, ARRAYS[1])?];
        let bytes: Vec<u8> = mean.iter().chain(&covariance).flat_map(|x| x.to_le_bytes()).collect();
        let tensor =
            |shape: Vec<usize>, values: &[f64]| Tensor::from_slice(values).view(&shape.iter().map(|&n| n as i64).collect::<Vec<_>>()[..]);
        let moments = Moments::new(&tensor(of_mean, &mean), &tensor(of_covariance, &covariance)).map_err(|error| {
            let help =
                "its arrays mu [D] and sigma [D, D] are mean and covariance of features, as EDM, pytorch-fid and clean-fid keep them";
            Error::data(path, error.to_string(), help)
        })?;
        let about = AboutMoments { name: path.display().to_string(), dimension: mean.len(), sha256: sha256([&*bytes]) };
        Ok(KeptMoments { moments, about })
    }

    /// Writes those of features in f64.
    pub fn save(table: &FeatureTable, seed: u64, path: &Path) -> Result<()> {
        let moments = Moments::of(&table.features(seed, table.x.device())?);
        let (mut archive, d) = (Npz::new(), table.about.features.dimension);
        archive.add(ARRAYS[0], &[d], &to_vec(moments.mean()));
        archive.add(ARRAYS[1], &[d, d], &to_vec(&moments.covariance().contiguous().view(-1)));
        replace(path, |file| file.write_all(&archive.finish()))
    }
}
