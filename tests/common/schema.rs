//! The schema of an experiment file, from the structs that parse it.

use std::collections::BTreeMap;

use schemars::schema_for;
use score_sde::experiment::Experiment;
use serde_json::Value;

/// The types of the schema by name, the experiment itself among them.
pub struct Schema(pub BTreeMap<String, Value>);

impl Schema {
    pub fn new() -> Schema {
        let whole = serde_json::to_value(schema_for!(Experiment)).unwrap();
        let mut types: BTreeMap<String, Value> = whole["$defs"].as_object().unwrap().clone().into_iter().collect();
        types.insert("Experiment".into(), whole);
        Schema(types)
    }

    /// The name of the type that a value refers to, behind an option or not.
    pub fn reference(&self, value: &Value) -> Option<String> {
        let of = |value: &Value| Some(value["$ref"].as_str()?.rsplit('/').next()?.to_owned());
        of(value).or_else(|| value["anyOf"].as_array()?.iter().find_map(of))
    }

    /// Every key in a table with its value, in the order of the struct: the required ones, then the others.
    pub fn keys<'a>(&self, table: &'a Value) -> Vec<(&'a str, &'a Value, bool)> {
        let Some(properties) = table["properties"].as_object() else { return Vec::new() };
        let required: Vec<&str> = table["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let optional = properties.keys().map(String::as_str).filter(|key| !required.contains(key));
        required.iter().copied().chain(optional).map(|key| (key, &properties[key], required.contains(&key))).collect()
    }
}
