//! The names that a table of an experiment can hold, by the schema of the structs that parse it.

use std::sync::LazyLock;

use serde_json::Value;

use super::schema::schema;

static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

/// What a table's names are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Names {
    /// Keys, all of which may stand beside each other.
    Keys(Vec<String>),
    /// Choices, exactly one of which a table takes.
    Choices(Vec<String>),
}

impl Names {
    pub fn into_inner(self) -> Vec<String> {
        match self {
            Names::Keys(names) | Names::Choices(names) => names,
        }
    }
}

/// The names of the table at a path; none where no experiment has one there.
pub(super) fn names_at(path: &[String]) -> Option<Names> {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema);
    let mut here = vec![&*SCHEMA];
    for name in path {
        here =
            here.into_iter().flat_map(|value| properties(&SCHEMA, value)).filter(|(key, _)| *key == name).map(|(_, value)| value).collect();
    }
    let names = |value: &'static Value| properties(&SCHEMA, value).into_iter().map(|(name, _)| name.clone());
    let all: Vec<String> = here.iter().flat_map(|value| names(value)).collect();
    let chooses = here.iter().flat_map(|value| alternatives(&SCHEMA, value)).any(|value| value["oneOf"].is_array());
    match (all.is_empty(), chooses) {
        (true, _) => None,
        (_, true) => Some(Names::Choices(all)),
        (_, false) => Some(Names::Keys(all)),
    }
}

/// What is said of the key, table or choice at a path: its own words, or those of its type.
pub(super) fn words_at(path: &[String]) -> Option<String> {
    let (last, table) = path.split_last()?;
    let words = |value: &Value| value["description"].as_str().map(str::to_owned);
    let choices = values_at(table).into_iter().flat_map(|value| alternatives(&SCHEMA, value));
    let choices = choices.flat_map(|value| value["oneOf"].as_array().into_iter().flatten());
    let of_choice = choices.filter(|choice| !choice["properties"][last].is_null()).find_map(words);
    let here = values_at(path);
    let own = here.iter().copied().find_map(words);
    of_choice.or(own).or_else(|| here.into_iter().flat_map(|value| alternatives(&SCHEMA, value)).find_map(words))
}

/// The values of the schema at a path: several where choices have keys of one name.
fn values_at(path: &[String]) -> Vec<&'static Value> {
    let mut here = vec![&*SCHEMA];
    for name in path {
        here =
            here.into_iter().flat_map(|value| properties(&SCHEMA, value)).filter(|(key, _)| *key == name).map(|(_, value)| value).collect();
    }
    here
}

/// What a value of the schema stands for: itself, or what it refers to, but for nothing at all.
fn alternatives<'a>(schema: &'a Value, value: &'a Value) -> Vec<&'a Value> {
    if let Some(name) = value["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return alternatives(schema, &schema["$defs"][name]);
    }
    match value["anyOf"].as_array().filter(|_| value["properties"].is_null()) {
        Some(all) => all.iter().flat_map(|value| alternatives(schema, value)).collect(),
        None => vec![value],
    }
}

/// The names in a value of the schema, and what they stand for.
fn properties<'a>(schema: &'a Value, value: &'a Value) -> Vec<(&'a String, &'a Value)> {
    let own = |value: &'a Value| value["properties"].as_object().into_iter().flatten();
    let of = |value: &'a Value| own(value).chain(value["oneOf"].as_array().into_iter().flatten().flat_map(own));
    alternatives(schema, value).into_iter().flat_map(of).collect()
}
