//! Classes of image files: by the folders they are in, or by a list beside them.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ImageFiles;
use super::files::{DATASET_JSON, Files};
use crate::data::Split;
use crate::data::classes::within;
use crate::data::source::unread;
use crate::error::{Error, Result};

/// What says the classes of image files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImageLabels {
    /// The folders at the top, in the order of their names: torchvision's `ImageFolder`. In an archive that holds one folder alone, those below
    /// it. Both splits have the classes of `train`.
    Folders,
    /// `dataset.json` at the top, as EDM's `dataset_tool.py` writes it: `{"labels": [["a.png", 0], ...]}`.
    DatasetJson,
}

impl ImageFiles {
    /// The class of each image of a split; none without `labels`.
    pub(in crate::data) fn labels(&self, split: Split) -> Result<Vec<u32>> {
        let files = Files::list(split.of(&self.train, &self.test))?;
        match self.labels {
            None => Ok(Vec::new()),
            Some(ImageLabels::Folders) => {
                let classes = match split {
                    Split::Train => class_names(&files)?,
                    Split::Test => class_names(&Files::list(&self.train)?)?,
                };
                let class = |name: &OsString| {
                    classes.binary_search(name).map(|class| class as u32).map_err(|_| {
                        let message = format!("has the class {}, which {} has not", name.display(), self.train.display());
                        Error::data(files.root(), message, "train with all classes, or take it away")
                    })
                };
                folders(&files)?.iter().map(class).collect()
            }
            Some(ImageLabels::DatasetJson) => listed(&files),
        }
    }

    /// The names of the classes, where folders have them.
    pub fn class_names(&self) -> Result<Option<Vec<String>>> {
        if self.labels != Some(ImageLabels::Folders) {
            return Ok(None);
        }
        let names = class_names(&Files::list(&self.train)?)?;
        Ok(Some(names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect()))
    }
}

/// The folder of each file.
fn folders(files: &Files) -> Result<Vec<OsString>> {
    let depth = files.depth_of_classes();
    let folder = |name: &Path| {
        let mut parts = name.iter().skip(depth);
        match (parts.next(), parts.next()) {
            (Some(class), Some(_)) => Ok(class.to_owned()),
            _ => Err(Error::data(
                files.root().join(name),
                "is in no folder of a class",
                "move it to the folder of its class, or remove data.images.labels",
            )),
        }
    };
    files.names().map(folder).collect()
}

fn class_names(files: &Files) -> Result<Vec<OsString>> {
    Ok(folders(files)?.into_iter().collect::<BTreeSet<_>>().into_iter().collect())
}

/// `dataset.json`.
#[derive(Deserialize)]
struct Listed {
    labels: Option<Vec<(String, i64)>>,
}

fn listed(files: &Files) -> Result<Vec<u32>> {
    let source = files.beside(DATASET_JSON)?;
    let wrong = |message: String| Error::data(&source.path, message, "{\"labels\": [[\"a.png\", 0], ...]} with whole numbers is wanted");
    let bytes = source.all().map_err(|error| wrong(unread(&error)))?;
    let listed: Listed = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("can't be understood: {error}")))?;
    let labels: HashMap<String, i64> = listed.labels.ok_or_else(|| wrong("has no labels".into()))?.into_iter().collect();
    let label =
        |name: &Path| labels.get(&*name.to_string_lossy()).copied().ok_or_else(|| wrong(format!("has no label of {}", name.display())));
    let labels = files.names().map(label).collect::<Result<Vec<i64>>>()?;
    within(labels).map_err(wrong)
}
