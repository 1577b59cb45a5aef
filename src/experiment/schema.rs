//! The schema of an experiment file.

use schemars::schema_for;
use serde_json::{Map, Value, json};

use super::written::Experiment;

/// The key, at the top of a file, of the file that it extends.
pub(super) const EXTENDS: &str = "extends";
/// What an editor says of the key that names another file.
const OF_EXTENDS: &str = "Another experiment, by its path beside this file. Its keys hold where this file says nothing: tables are put on top of \
                          each other key by key, but a table that takes one choice is replaced where the choice is another.";
/// The names of what is only asked of a file that extends none.
const COMPLETE: &str = "Complete";
/// What says that a table needs some keys: these, or these or those.
const SOME: [&str; 2] = ["required", "anyOf"];

/// The JSON Schema (2020-12) of the structs that parse an experiment, for editors: every table and key with its words, its kind and its choices.
/// A file that extends another may leave out what is required of others. What only several keys together can be wrong about, and ranges, are
/// the parser's alone.
pub fn schema() -> Value {
    let mut schema = serde_json::to_value(schema_for!(Experiment)).expect("a schema is JSON");
    schema["title"] = json!("An experiment of score-sde");
    let complete = complete(&schema);
    let definitions = schema["$defs"].as_object().cloned().unwrap_or_default();
    let completed = definitions.iter().map(|(name, value)| (format!("{COMPLETE}{name}"), self::complete(value)));
    let completed: Vec<(String, Value)> = completed.collect();
    relax(&mut schema);
    completed.into_iter().for_each(|(name, value)| schema["$defs"][name] = value);
    schema["properties"][EXTENDS] = json!({ "type": "string", "minLength": 1, "description": OF_EXTENDS });
    schema["if"] = json!({ "required": [EXTENDS] });
    schema["else"] = complete;
    schema
}

/// Takes away what is required of tables, but for the choice of those that take one.
fn relax(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(relax),
        Value::Object(fields) => {
            if fields.contains_key("properties") {
                SOME.iter().for_each(|keyword| drop(fields.remove(*keyword)));
            }
            for (name, value) in fields {
                match value {
                    Value::Array(choices) if name == "oneOf" => {
                        choices.iter_mut().filter_map(|choice| choice.get_mut("properties")).for_each(relax);
                    }
                    value => relax(value),
                }
            }
        }
        _ => {}
    }
}

/// Of a value of the schema nothing but what is required in it.
fn complete(value: &Value) -> Value {
    if let Some(name) = value["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return json!({ "$ref": format!("#/$defs/{COMPLETE}{name}") });
    }
    if let Some(all) = value["anyOf"].as_array().filter(|_| value["properties"].is_null()) {
        return all.iter().map(complete).find(|value| *value != json!({})).unwrap_or(json!({}));
    }
    let mut found = Map::new();
    let choices = value["oneOf"].as_array().into_iter().flatten();
    let tables = std::iter::once(value).chain(choices).filter_map(|table| table["properties"].as_object());
    let within: Map<String, Value> =
        tables.flatten().map(|(name, value)| (name.clone(), complete(value))).filter(|(_, value)| *value != json!({})).collect();
    if !within.is_empty() {
        found.insert("properties".into(), within.into());
    }
    for keyword in SOME.into_iter().filter(|keyword| value["properties"].is_object() && value[keyword].is_array()) {
        found.insert(keyword.into(), value[keyword].clone());
    }
    let items = value.get("items").map(complete).filter(|items| *items != json!({}));
    found.extend(items.map(|items| ("items".to_owned(), items)));
    found.into()
}
