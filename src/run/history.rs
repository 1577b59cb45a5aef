//! `history.jsonl`: a line of JSON for what was done to a run, in its order: its sessions, and what of its experiment changed.

use serde_json::{Value, json};

use super::Run;
use super::log::wall_time;
use crate::error::Result;

const FILE: &str = "history.jsonl";

impl Run {
    /// Adds a line: `what` with its `fields`, an object, and when.
    pub fn note(&self, what: &str, fields: Value) -> Result<()> {
        let mut line = json!({ "what": what, "wall_time": wall_time() });
        fields.as_object().into_iter().flatten().for_each(|(key, value)| line[key] = value.clone());
        let mut lines = self.read(FILE)?.unwrap_or_default();
        lines.extend(format!("{line}\n").into_bytes());
        self.write(FILE, &lines).map(drop)
    }

    /// The lines of the history; what is no JSON is passed over.
    pub fn history(&self) -> Result<Vec<Value>> {
        let bytes = self.read(FILE)?.unwrap_or_default();
        Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}
