//! The schema of an experiment file.

use schemars::schema_for;
use serde_json::{Value, json};

use super::written::Experiment;

/// The JSON Schema (2020-12) of the structs that parse an experiment, for editors: every table and key with its words, its kind and its choices.
/// What only several keys together can be wrong about, and ranges, are the parser's alone.
pub fn schema() -> Value {
    let mut schema = serde_json::to_value(schema_for!(Experiment)).expect("a schema is JSON");
    schema["title"] = json!("An experiment of score-sde");
    schema
}
