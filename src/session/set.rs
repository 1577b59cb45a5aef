//! What the name of a set stands for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data::{Data, Dataset, Split, open_given};
use crate::error::{Error, Result};
use crate::evaluation::{FeatureTable, Holds, KeptMoments, Labels, Set};
use crate::experiment;
use crate::run::Run;

const NAMES: &str = "give a run folder, RUN:NAME, FILE.toml:train or FILE.toml:test, an .npy or .npz file, FILE.npz:ARRAY, a folder or .zip of \
                     PNG and JPEG files, or features that --save wrote";

/// The set of a name: a run folder (its samples), `RUN:NAME` (those of that name), `FILE.toml:train` or `FILE.toml:test` (a split of an
/// experiment's data), an `.npy` or `.npz` file, `FILE.npz:ARRAY`, a folder or `.zip` of PNG and JPEG files, or a `.safetensors` file
/// of kept features.
///
/// Errors: there is no such set, or it can't be read.
pub fn open_set(name: &str) -> Result<Set> {
    let (path, word) = parts(name);
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    let examples = |word| Ok::<_, Error>(Holds::Examples(open_given(&path, word)?, None));
    let holds = match extension.to_str() {
        _ if !path.exists() => return Err(Error::data(path, "there is no such file or folder", NAMES)),
        _ if path.join("experiment.toml").is_file() => {
            return Ok(Set { name: name.to_owned(), ..Set::of_run(&Run::reading(&path)?, word.unwrap_or("samples"))? });
        }
        Some("toml") => return split(name, &path, word),
        Some("npz") if word.is_none() && KeptMoments::are_in(&path) => {
            let message = format!("{name} holds a mean and a covariance, and no examples");
            return Err(Error::Usage { message, help: "give it as --against: sets can be compared with moments".into() });
        }
        Some("npz") => examples(word)?,
        _ if word.is_some() => {
            let message = format!("{name}: no file or folder has this name, and {} has no parts with names", path.display());
            return Err(Error::Usage { message, help: NAMES.into() });
        }
        Some("safetensors") => Holds::Features(Box::new(FeatureTable::read(&path)?)),
        Some("npy" | "zip") => examples(None)?,
        _ if path.is_dir() => examples(None)?,
        _ => return Err(Error::Usage { message: format!("{name}: its name does not tell what it holds"), help: NAMES.into() }),
    };
    Ok(Set { name: name.to_owned(), holds, labels: None })
}

/// The path of a name and the word after its last colon; a path that exists has none.
fn parts(name: &str) -> (PathBuf, Option<&str>) {
    match name.rsplit_once(':') {
        Some((path, word)) if !Path::new(name).exists() && !path.is_empty() => (path.into(), Some(word)),
        _ => (name.into(), None),
    }
}

fn split(name: &str, path: &Path, word: Option<&str>) -> Result<Set> {
    let split = match word {
        Some("train") => Split::Train,
        Some("test") => Split::Test,
        _ => {
            let message = format!("{} has two splits, and {} is neither", path.display(), word.unwrap_or("nothing"));
            return Err(Error::Usage { message, help: format!("give {0}:train or {0}:test", path.display()) });
        }
    };
    let (seed, data) = experiment::load_data(path, &[])?;
    Ok(of_split(name.to_owned(), data.open(split, seed)?, &data, split, seed))
}

/// A split that is open.
pub(super) fn of_split(name: String, set: Arc<dyn Dataset>, data: &Data, split: Split, seed: u64) -> Set {
    let data = data.has_labels().then(|| data.clone());
    let labels = data.map(|data| Box::new(move || data.labels(split, seed)) as Labels);
    Set { name, holds: Holds::Examples(set, None), labels }
}
