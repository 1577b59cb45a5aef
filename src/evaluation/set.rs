//! Sets of examples.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::table::FeatureTable;
use crate::data::{Dataset, holds_arrays, open_given, read_array};
use crate::error::{Error, Result};
use crate::run::Run;

/// Examples, or features that were kept of them.
pub struct Set {
    /// As it was given.
    pub name: String,
    pub holds: Holds,
    /// Reads the classes of its examples, where they have some.
    pub labels: Option<Labels>,
}

/// The class of each example of a set.
pub type Labels = Box<dyn Fn() -> Result<Vec<u32>>>;

pub enum Holds {
    /// Examples, and for those of a run how they were made: the JSON file beside the samples.
    Examples(Arc<dyn Dataset>, Option<Value>),
    /// What [`FeatureTable::save`] wrote.
    Features(Box<FeatureTable>),
}

/// The array of the classes that samples were given.
const CLASSES: &str = "classes";

fn classes(path: &Path) -> Result<Vec<u32>> {
    Ok(read_array(path, CLASSES)?.1.into_iter().map(|class| class as u32).collect())
}

impl Set {
    /// The samples of a run that have this name. Error: there are none.
    pub fn of_run(run: &Run, name: &str) -> Result<Set> {
        let file = format!("samples/{name}.npz");
        if !run.has(&file) {
            let archives = run.folder().names("samples").unwrap_or_default();
            let names: Vec<&str> = archives.iter().filter_map(|file| file.strip_suffix(".npz")).collect();
            let help = match names.is_empty() {
                true => format!("draw some: score-sde sample {}", run.path().display()),
                false => format!("its samples are {}", names.join(", ")),
            };
            return Err(Error::run(run.path(), format!("has no samples named {name}"), help));
        }
        let made_by = run.read(&format!("samples/{name}.json"))?.and_then(|text| serde_json::from_slice(&text).ok());
        let path = run.folder().at(&file);
        let examples = open_given(&path, Some("samples"))?;
        let labels = holds_arrays(&path, &[CLASSES]).then(|| Box::new(move || classes(&path)) as Labels);
        Ok(Set { name: format!("{}:{name}", run.path().display()), holds: Holds::Examples(examples, made_by), labels })
    }

    /// The shape of one example: `[D]` or [C, H, W].
    pub fn shape(&self) -> &[usize] {
        match &self.holds {
            Holds::Examples(examples, _) => examples.shape(),
            Holds::Features(features) => &features.about.shape,
        }
    }
}
