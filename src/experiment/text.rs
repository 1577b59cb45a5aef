//! An experiment's text: layers, one upon the other, and errors that point at the line of the layer that they are of.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::{Kind, Layer, Override, merged};
use super::spelling::{as_written, in_words};
use super::written::Experiment;
use crate::error::{Error, Fault, Result};

/// An experiment's text: the files that it extends, the furthest first, its own, and what is changed on top of it. Places count through all
/// layers, as if their texts stood one below the other.
pub(super) struct Text {
    /// What messages call it: the name of its own file.
    pub name: String,
    layers: Vec<Layer>,
}

/// Where a key stands.
struct Place {
    /// What is shown of it: its value, or the name of a table that has a header.
    shown: Range<usize>,
    /// Whether it is a key of the text, and not the nearest table around one.
    exact: bool,
}

impl Text {
    /// Error: bad syntax, a file that is extended and can't be, a change that is none, a number that TOML has not.
    pub fn new(name: &str, text: &str, overrides: &[Override]) -> Result<Text> {
        let own = Layer { name: name.to_owned(), text: text.to_owned(), kind: Kind::File };
        let mut text = Text { name: name.to_owned(), layers: own.with_extended()? };
        for setting in overrides {
            text.layers.push(Layer::of(setting)?);
            text.merged()?;
        }
        match too_large(text.tree().get_ref()) {
            None => Ok(text),
            Some(span) => {
                Err(text.error("a whole number that TOML has not".into(), Some(span), Some(format!("give at most {}", i64::MAX))))
            }
        }
    }

    /// All layers in one.
    ///
    /// Error: a layer takes away what no experiment has.
    fn merged(&self) -> Result<Spanned<DeTable<'_>>> {
        merged(&self.layers, |begin| self.offset(begin)).map_err(|unknown| self.error(unknown.message, Some(unknown.span), unknown.help))
    }

    pub fn tree(&self) -> Spanned<DeTable<'_>> {
        self.merged().expect("it was merged when it was made")
    }

    /// Where a layer begins.
    fn offset(&self, layer: usize) -> usize {
        self.layers[..layer].iter().map(|layer| layer.text.len() + 1).sum()
    }

    /// The layer of a place.
    fn layer_at(&self, place: usize) -> usize {
        (0..self.layers.len()).rfind(|layer| self.offset(*layer) <= place).unwrap_or(0)
    }

    /// The layer of the experiment's own file.
    fn own(&self) -> usize {
        self.layers.iter().rposition(|layer| layer.kind == Kind::File).unwrap_or(0)
    }

    fn error(&self, message: String, span: Option<Range<usize>>, help: Option<String>) -> Error {
        let layer = span.as_ref().map_or(self.own(), |span| self.layer_at(span.start));
        self.layers[layer].error(message, span.map(|span| span.start - self.offset(layer)..span.end - self.offset(layer)), help)
    }

    /// Sorts mistakes as their places follow each other.
    pub fn sort(&self, mistakes: &mut [Error]) {
        mistakes.sort_by_key(|mistake| match mistake {
            Error::Experiment { text, span: Some(span), .. } => {
                let layer = self.layers.iter().position(|layer| layer.name == text.name() && layer.text == *text.inner());
                self.offset(layer.unwrap_or(0)) + span.offset()
            }
            _ => 0,
        });
    }

    /// The report of an error that serde found: unknown or missing keys, wrong types, bad syntax.
    /// The word is at this path, if that is known.
    pub fn misspelt(&self, error: &toml::de::Error, path: &[String]) -> Error {
        let (message, help) = in_words(error, path);
        self.error(message, error.span(), help)
    }

    /// Error: a list stands where a table belongs. The parser takes its entries for the table's keys, in an order that no file tells.
    pub fn has_tables(&self, experiment: &Experiment) -> Result<()> {
        let read = toml::Value::try_from(experiment).expect("an experiment is a TOML document");
        let tree = self.tree();
        let written = DeValue::Table(tree.into_inner());
        let Some((key, table)) = list_for_table("", &written, &read) else { return Ok(()) };
        let keys: Vec<&str> = table.keys().map(String::as_str).collect();
        let help = format!("write {key} = {{ {} = ... }}", keys.join(" = ..., "));
        Err(self.fault(Fault { key, message: "a list, but this is a table with keys of its own".into(), help }))
    }

    /// The report of a value that can't work: the line of its key, or of the nearest table around it.
    pub fn fault(&self, fault: Fault) -> Error {
        let tree = self.tree();
        let span = self.place(tree.get_ref(), &fault.key).map(|place| place.shown);
        let message = if fault.key.is_empty() { fault.message } else { format!("{}: {}", fault.key, fault.message) };
        self.error(message, span, Some(fault.help))
    }

    /// Where a key is written, or the deepest of the names that lead to it.
    fn place(&self, tree: &DeTable, key: &str) -> Option<Place> {
        let (mut table, mut found) = (Some(tree), None);
        for name in key.split('.') {
            let entry = table.and_then(|table| table.get_key_value(as_written(table, name).as_ref()));
            let Some((name, value)) = entry else {
                // What stands in a value, such as a list, is where that is.
                return found.map(|shown| Place { shown, exact: table.is_none() });
            };
            table = value.get_ref().as_table();
            let has_header = table.is_some() && !self.text_at(&value.span()).starts_with('{');
            found = Some(if has_header { name.span() } else { value.span() });
        }
        found.map(|shown| Place { shown, exact: true })
    }

    fn text_at(&self, span: &Range<usize>) -> &str {
        let layer = self.layer_at(span.start);
        self.layers[layer].text.get(span.start - self.offset(layer)..).unwrap_or_default()
    }

    /// The layer in which a key is written.
    fn layer_of(&self, tree: &DeTable, key: &str) -> Option<&Layer> {
        self.place(tree, key).filter(|place| place.exact).map(|place| &self.layers[self.layer_at(place.shown.start)])
    }

    /// The folder of the file in which a key is written; of what is written in none, that of the experiment's own file.
    pub fn folder_of(&self, key: &str) -> &Path {
        self.folder_of_layer(self.layer_of(self.tree().get_ref(), key))
    }

    /// The folder of the file that names a path.
    pub fn folder_naming(&self, path: &Path) -> &Path {
        let tree = self.tree();
        let found = naming(tree.get_ref(), &path.to_string_lossy()).map(|place| &self.layers[self.layer_at(place)]);
        self.folder_of_layer(found)
    }

    fn folder_of_layer<'a>(&'a self, layer: Option<&'a Layer>) -> &'a Path {
        let file = layer.filter(|layer| layer.kind == Kind::File).map_or(&self.name, |layer| &layer.name);
        Path::new(file).parent().unwrap_or(Path::new(""))
    }

    /// Where a key of the text's tree comes from: a file, as messages name it, or `--set`; none where it is a default.
    pub fn origin_of(&self, tree: &DeTable, key: &str) -> Option<&str> {
        self.layer_of(tree, key).map(|layer| &*layer.name)
    }
}

/// Where a whole number stands that has more than 64 bits with its sign.
fn too_large(table: &DeTable) -> Option<Range<usize>> {
    fn within(value: &Spanned<DeValue>) -> Option<Range<usize>> {
        match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).is_err().then(|| value.span()),
            DeValue::Array(list) => list.iter().find_map(within),
            DeValue::Table(table) => too_large(table),
            _ => None,
        }
    }
    table.values().find_map(within)
}

/// Where a word stands as a value.
fn naming(table: &DeTable, word: &str) -> Option<usize> {
    table.values().find_map(|value| match value.get_ref() {
        DeValue::Table(inner) => naming(inner, word),
        DeValue::String(there) => (there == word).then(|| value.span().start),
        _ => None,
    })
}

/// The first table of what was read that is a list in the text: its key, and its own keys.
fn list_for_table<'a>(key: &str, written: &DeValue, read: &'a toml::Value) -> Option<(String, &'a toml::Table)> {
    let table = read.as_table()?;
    if written.is_array() {
        return Some((key.to_owned(), table));
    }
    let written = written.as_table()?;
    table.iter().find_map(|(name, read)| {
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        list_for_table(&key, written.get(as_written(written, name).as_ref())?.get_ref(), read)
    })
}
