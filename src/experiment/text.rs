//! An experiment's text: overrides, and errors that point at their line.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use miette::{NamedSource, SourceSpan};
use toml_edit::{Document, DocumentMut, Item, Table, TableLike};

use super::words;
use super::written::Experiment;
use crate::error::{Error, Fault, Result};

/// Names in a dotted key, more than any key has; what is deeper than that overflows the stack of whoever walks it.
const DEEPEST: usize = 32;

/// The end of the name of a text that is not quite the file's.
const SET: &str = " + --set";

/// An experiment's text with the name that messages give it.
pub(super) struct Text {
    pub name: String,
    pub text: String,
}

impl Text {
    /// The folder of the file.
    pub fn folder(&self) -> &Path {
        let path = self.name.split_once(SET).map_or(&*self.name, |(path, _)| path);
        Path::new(path).parent().unwrap_or(Path::new(""))
    }

    fn error(&self, message: String, span: Option<std::ops::Range<usize>>, help: Option<String>) -> Error {
        let span = span.map(|s| SourceSpan::from((s.start, s.len())));
        let text = NamedSource::new(&self.name, self.text.clone()).with_language("TOML");
        Error::Experiment { message, text: Arc::new(text), span, help }
    }

    /// All of `--set`, in their order.
    pub fn with_all(self, settings: &[String]) -> Result<Text> {
        settings.iter().try_fold(self, |text, setting| text.with(setting))
    }

    /// One `--set key=value`: the value is TOML, or else a string.
    pub fn with(&self, setting: &str) -> Result<Text> {
        let usage = |message: String, help: &str| Error::Usage { message, help: help.into() };
        let Some((key, value)) = setting.split_once('=') else {
            return Err(usage(format!("--set {setting} has no ="), "write --set KEY=VALUE, such as --set train.steps=1000"));
        };
        let value = value.trim().parse::<toml_edit::Value>().unwrap_or_else(|_| toml_edit::Value::from(value.trim()));
        let mut document = self.text.parse::<DocumentMut>().map_err(|e| self.error(e.message().to_owned(), e.span(), None))?;
        let path: Vec<&str> = key.split('.').map(str::trim).collect();
        if path.contains(&"") {
            return Err(usage(format!("--set {setting} names no key"), "write --set KEY=VALUE, such as --set train.steps=1000"));
        }
        if path.len() > DEEPEST {
            return Err(usage(
                format!("--set names a key in {} tables", path.len() - 1),
                "score-sde check FILE prints every key of an experiment",
            ));
        }
        let (last, tables) = path.split_last().expect("split gives at least one part");
        let mut table: &mut dyn TableLike = document.as_table_mut();
        for name in tables {
            let implicit = || {
                let mut table = Table::new();
                table.set_implicit(true);
                Item::Table(table)
            };
            table = table.entry(&as_written(table, name)).or_insert_with(implicit).as_table_like_mut().ok_or_else(|| {
                usage(
                    format!("--set {setting}: `{name}` is a value, not a table"),
                    "score-sde check FILE prints every key of an experiment",
                )
            })?;
        }
        table.insert(&as_written(table, last), Item::Value(value));
        let name = format!("{}{SET}", self.name.trim_end_matches(SET));
        Ok(Text { name, text: document.to_string() })
    }

    /// The report of an error that serde found: unknown or missing keys, wrong types, bad syntax.
    /// The word is at this path, if that is known.
    pub fn misspelt(&self, error: &toml::de::Error, path: &[String]) -> Error {
        let message = plainly(error.message().trim());
        let table = path.split_last().map_or(String::new(), |(_, table)| table.join("."));
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let help = if message.contains("unknown field") || message.contains("unknown variant") {
            quoted.split_first().and_then(|(wrong, choices)| words::cure(wrong, &table, choices, message.contains("unknown field")))
        } else if message.contains("exactly one choice, but has more") {
            let table = if self.has_choices(path) { path.join(".") } else { table };
            Some(format!("keep one of them; an override replaces the whole table: --set '{table}={{CHOICE={{...}}}}'"))
        } else if message.contains("exactly one choice, but has none") || message.contains("keys of its own") {
            Some("give one; the files in experiments/ show the choices".into())
        } else if message.contains("missing field") {
            Some("every number that changes a result is given in the file; the files in experiments/ show all keys".into())
        } else {
            None
        };
        self.error(message, error.span(), help)
    }

    /// Whether the table at a path has several tables and nothing else.
    fn has_choices(&self, path: &[String]) -> bool {
        let Ok(document) = Document::parse(self.text.as_str()) else { return false };
        let item = path.iter().try_fold(document.as_item(), |item, name| item.as_table_like()?.get(name));
        let is_choice = |(_, item): (_, &Item)| item.is_table_like();
        item.and_then(Item::as_table_like).is_some_and(|table| table.len() > 1 && table.iter().all(is_choice))
    }

    /// Error: a list stands where a table belongs. The parser takes its entries for the table's keys, in an order that no file tells.
    pub fn has_tables(&self, experiment: &Experiment) -> Result<()> {
        let read = toml::Value::try_from(experiment).expect("an experiment is a TOML document");
        let document = Document::parse(self.text.as_str()).expect("it was read");
        let Some((key, table)) = list_for_table("", document.as_item(), &read) else { return Ok(()) };
        let keys: Vec<&str> = table.keys().map(String::as_str).collect();
        let help = format!("write {key} = {{ {} = ... }}", keys.join(" = ..., "));
        Err(self.fault(Fault { key, message: "a list, but this is a table with keys of its own".into(), help }))
    }

    /// The report of a value that can't work: the line of its key, or of the nearest table around it.
    pub fn fault(&self, fault: Fault) -> Error {
        let span = Document::parse(self.text.clone()).ok().and_then(|document| {
            let mut item = document.as_item();
            let mut span = None;
            for name in fault.key.split('.') {
                let Some((key, inner)) = item.as_table_like().and_then(|table| table.get_key_value(&as_written(table, name))) else {
                    break;
                };
                span = inner.span().filter(|_| inner.is_value()).or(key.span()).or(span);
                item = inner;
            }
            span
        });
        let message = if fault.key.is_empty() { fault.message } else { format!("{}: {}", fault.key, fault.message) };
        self.error(message, span, Some(fault.help))
    }
}

/// The first table of what was read that is a list in the text: its key, and its own keys.
fn list_for_table<'a>(key: &str, written: &Item, read: &'a toml::Value) -> Option<(String, &'a toml::Table)> {
    let table = read.as_table()?;
    if written.is_array() {
        return Some((key.to_owned(), table));
    }
    let written = written.as_table_like()?;
    table.iter().find_map(|(name, read)| {
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        list_for_table(&key, written.get(&as_written(written, name))?, read)
    })
}

/// Choices that older files write in snake_case; for the parser they are aliases.
const OLDER: [&str; 5] = ["two_moons", "swiss_roll", "gaussian_mixture", "npy_vectors", "npy_images"];

/// A key as this table spells it: in today's way or, if that is what is there, in the older one.
fn as_written<'a>(table: &dyn TableLike, key: &'a str) -> Cow<'a, str> {
    let older = key.replace('-', "_");
    let other = if older == key { key.replace('_', "-") } else { older.clone() };
    let only_the_other = OLDER.contains(&older.as_str()) && !table.contains_key(key) && table.contains_key(&other);
    if only_the_other { other.into() } else { key.into() }
}

/// A message of the parser in a user's words, which offers no older spelling.
fn plainly(message: &str) -> String {
    let without = |message: String, older: &str| message.replace(&format!(", `{older}`"), "").replace(&format!(" or `{older}`"), "");
    let message = OLDER.into_iter().fold(message.to_owned(), without);
    let words = [
        ("wanted exactly 1 element, more than 1 element", "this table takes exactly one choice, but has more"),
        ("wanted exactly 1 element, found 0 elements", "this table takes exactly one choice, but has none"),
        ("invalid type: unit variant, expected struct variant", "this choice is a table with keys of its own"),
        ("expected u64", "expected a whole number of at least 0"),
        ("expected usize", "expected a whole number of at least 0"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
    ];
    let ending = words.iter().find_map(|(rust, plain)| Some(format!("{}{plain}", message.strip_suffix(rust)?)));
    ending.unwrap_or(message)
}
