//! `run.json`: what a run folder says of itself, for readers on other machines and of other versions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Run, checksum};
use crate::error::{Error, Result};

const FILE: &str = "run.json";
const CRC: &str = "crc32";

/// The format of run folders that this version writes.
///
/// 1: `run.json`; training draws are functions of an example's position in the run. 0, which has no `run.json`: they are functions of the step.
pub const FORMAT: u32 = 1;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is known of a run without its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub format: u32,
    /// Of one example; none where the format did not say.
    pub shape: Option<Vec<usize>>,
    /// Numbers that say what is known of an example; none where the format did not say.
    #[serde(default)]
    pub condition: Option<usize>,
    /// The program that began the run.
    pub version: String,
    /// Of all that its weights depend on; its checkpoints bear it. Empty where the format did not say.
    #[serde(default)]
    pub mark: String,
    /// Of the data's files, by their keys, when it began: see [`crate::file::fingerprint`]. Empty where the data are drawn, or the format did not say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Whose weights it began with; none of fresh ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Origin>,
}

/// A checkpoint of another run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    pub run: PathBuf,
    pub step: u64,
}

impl About {
    /// A run that begins now.
    pub fn new(shape: &[usize], condition: usize, mark: String, data: BTreeMap<String, String>) -> About {
        About { format: FORMAT, shape: Some(shape.to_vec()), condition: Some(condition), version: VERSION.into(), mark, data, from: None }
    }

    /// The report of an experiment in a run that this version can't read, because of `reason`.
    pub fn unreadable(&self, experiment: &Path, reason: &str) -> Error {
        let About { format, version, .. } = self;
        let message = format!("of a run of format {format}, begun by version {version}, can't be read by version {VERSION}: {reason}");
        Error::run(experiment, message, "use the version that began the run, or start it anew (--out DIR)")
    }

    /// Whether this very version began the run.
    pub fn is_current(&self) -> bool {
        self.format == FORMAT && self.version == VERSION
    }
}

impl Run {
    /// Error: the run is of a later format, or its `run.json` is damaged.
    pub fn about(&self) -> Result<About> {
        let Some(bytes) = self.read(FILE)? else {
            return Ok(About {
                format: 0,
                shape: None,
                condition: None,
                version: "0.1.0".into(),
                mark: String::new(),
                data: BTreeMap::new(),
                from: None,
            });
        };
        let about = parse(&bytes).ok_or_else(|| {
            let help = "score-sde run with the same experiment makes it again; or restore it from a copy";
            Error::run(self.folder().at(FILE), "is damaged", help)
        })?;
        if about.format > FORMAT {
            let message = format!(
                "is a run of format {}, written by version {}; this version reads formats 0 to {FORMAT}",
                about.format, about.version
            );
            return Err(Error::run(self.path(), message, "use that version, or a later one"));
        }
        Ok(about)
    }

    /// Whether there is no `run.json`, or a damaged one.
    pub fn is_anonymous(&self) -> Result<bool> {
        Ok(self.read(FILE)?.and_then(|bytes| parse(&bytes)).is_none())
    }

    pub fn introduce(&self, about: &About) -> Result<()> {
        let mut fields = json!(about);
        fields[CRC] = checksum(&fields.to_string()).into();
        self.write(FILE, format!("{fields}\n").as_bytes()).map(drop)
    }
}

/// None where the bytes are damaged. A file of an earlier version has no checksum.
fn parse(bytes: &[u8]) -> Option<About> {
    let mut fields: Value = serde_json::from_slice(bytes).ok()?;
    let stated = fields.as_object_mut()?.remove(CRC);
    let whole = stated.is_none_or(|stated| stated == checksum(&fields.to_string()));
    whole.then(|| serde_json::from_value(fields).ok())?
}
