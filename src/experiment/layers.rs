//! The layers of an experiment: the files that it extends, its own, and what the command line sets and takes away.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use miette::{NamedSource, SourceSpan};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::choices::{Names, names_at};
use super::schema::EXTENDS;
use super::spelling::{as_written, in_words};
use super::words;
use crate::error::{Error, Result};
use crate::file;

/// Names in a dotted key, more than any key has; what is deeper than that overflows the stack of whoever walks it.
const DEEPEST: usize = 32;

/// A change of an experiment, in the order of the command line.
#[derive(Clone, Debug, PartialEq)]
pub enum Override {
    /// `KEY=VALUE`: the value is TOML, or else a string.
    Set(String),
    /// A key or a table that is taken away, so that its default holds, or nothing is asked for.
    Unset(String),
}

/// What `--set` takes.
impl<S: Into<String>> From<S> for Override {
    fn from(setting: S) -> Override {
        Override::Set(setting.into())
    }
}

impl Override {
    /// As the command line has it.
    pub fn flag(&self) -> [&str; 2] {
        match self {
            Override::Set(setting) => ["--set", setting],
            Override::Unset(key) => ["--unset", key],
        }
    }
}

/// A text by the name that messages give it.
pub(super) struct Layer {
    pub name: String,
    pub text: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    File,
    /// A `KEY = VALUE`.
    Set,
    /// A key, which is taken away.
    Unset,
}

/// A key that no experiment has.
pub(super) struct Unknown {
    pub message: String,
    pub span: Range<usize>,
    pub help: Option<String>,
}

impl Layer {
    /// Error: it is no `KEY=VALUE`, or no key.
    pub fn of(change: &Override) -> Result<Layer> {
        let [flag, word] = change.flag();
        let (key, value, kind, form) = match change {
            Override::Set(_) => match word.split_once('=') {
                Some((key, value)) => (key, Some(value.trim()), Kind::Set, "write --set KEY=VALUE, such as --set train.steps=1000"),
                None => {
                    let help = "write --set KEY=VALUE, such as --set train.steps=1000".into();
                    return Err(Error::Usage { message: format!("--set {word} has no ="), help });
                }
            },
            Override::Unset(_) => (word, None, Kind::Unset, "write --unset KEY, such as --unset sample.thresholding"),
        };
        let names: Vec<&str> = key.split('.').map(str::trim).collect();
        if names.contains(&"") {
            return Err(Error::Usage { message: format!("{flag} {word} names no key"), help: form.into() });
        }
        if names.len() > DEEPEST {
            let message = format!("{flag} names a key in {} tables", names.len() - 1);
            return Err(Error::Usage { message, help: "score-sde check FILE prints every key of an experiment".into() });
        }
        let key = names.into_iter().map(in_toml).collect::<Vec<_>>().join(".");
        let text = match value {
            None => key,
            Some(value) => {
                let text = format!("{key} = {value}");
                let is_toml = DeValue::parse(value).is_ok() && DeTable::parse(&text).is_ok();
                if is_toml { text } else { format!("{key} = {}", toml::Value::from(value)) }
            }
        };
        Ok(Layer { name: flag.to_owned(), text, kind })
    }

    /// Itself, behind the files that it extends.
    ///
    /// Error: one of them can't be read, or extends one above it.
    pub fn with_extended(self) -> Result<Vec<Layer>> {
        let mut chain = vec![self];
        while let Some((name, span)) = chain[0].extended()? {
            let here = &chain[0];
            let path = Path::new(&here.name).parent().unwrap_or(Path::new("")).join(name);
            let path = shortened(path);
            let fault = |message: String, help: &str| here.error(message, Some(span.clone()), Some(help.into()));
            if let Some(again) = chain.iter().position(|layer| same(Path::new(&layer.name), &path)) {
                let circle: String = chain[..=again].iter().rev().map(|layer| format!("{} extends ", layer.name)).collect();
                let message = format!("a circle: {circle}{}", path.display());
                return Err(fault(message, "let the last of them extend none"));
            }
            let bytes = file::read(&path).map_err(|error| Error::io("read", &path, error))?;
            let missing = || fault(format!("there is no file {}", path.display()), "the path is beside this file; correct it");
            let text = String::from_utf8(bytes.ok_or_else(missing)?)
                .map_err(|error| fault(format!("{} is not text: {error}", path.display()), "name an experiment, a TOML file"))?;
            chain.insert(0, Layer { name: path.display().to_string(), text, kind: Kind::File });
        }
        Ok(chain)
    }

    /// The report of an error in it.
    pub fn error(&self, message: String, span: Option<Range<usize>>, help: Option<String>) -> Error {
        let span = span.map(|span| SourceSpan::from((span.start, span.len())));
        let text = NamedSource::new(&self.name, self.text.clone()).with_language("TOML");
        Error::Experiment { message, text: Arc::new(text), span, help }
    }

    /// The report of an error of the parser.
    pub fn misspelt(&self, error: &toml::de::Error) -> Error {
        let (message, help) = in_words(error, &[]);
        self.error(message, error.span(), help)
    }

    /// The file that it extends, and where it says so. Error: bad syntax.
    fn extended(&self) -> Result<Option<(PathBuf, Range<usize>)>> {
        let table = DeTable::parse(&self.text).map_err(|error| self.misspelt(&error))?;
        let Some(value) = table.get_ref().get(EXTENDS) else { return Ok(None) };
        let help = "give the path of an experiment, beside this file: extends = \"base.toml\"";
        let wrong = || self.error("extends is no path".into(), Some(value.span()), Some(help.into()));
        let name = value.get_ref().as_str().filter(|name| !name.is_empty()).ok_or_else(wrong)?;
        Ok(Some((name.into(), value.span())))
    }
}

/// Whether two paths lead to one file.
fn same(a: &Path, b: &Path) -> bool {
    let [a, b] = [a, b].map(|path| path.canonicalize().ok());
    a.is_some() && a == b
}

/// A path without `x/..`, where that leads to the same file.
fn shortened(path: PathBuf) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match (part, short.components().next_back()) {
            (Component::ParentDir, Some(Component::Normal(_))) => drop(short.pop()),
            _ => short.push(part),
        }
    }
    if same(&short, &path) { short } else { path }
}

/// A name of a key as TOML writes it.
fn in_toml(name: &str) -> String {
    let is_bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let escaped = |c: char| if c.is_control() || "\"\\".contains(c) { format!("\\U{:08X}", u32::from(c)) } else { c.to_string() };
    if is_bare { name.to_owned() } else { format!("\"{}\"", name.chars().map(escaped).collect::<String>()) }
}

/// Layers upon each other; `offset` says where each of them begins in the places of the whole.
pub(super) fn merged<'a>(layers: &'a [Layer], offset: impl Fn(usize) -> usize) -> Result<Spanned<DeTable<'a>>, Unknown> {
    let mut whole = DeTable::new();
    for (i, layer) in layers.iter().enumerate() {
        match layer.kind {
            Kind::Unset => take(&mut whole, &layer.text, offset(i))?,
            Kind::File | Kind::Set => {
                let read = DeTable::parse(&layer.text).expect("it was parsed when it was made").into_inner();
                let mut above = shifted(read, offset(i));
                above.remove(EXTENDS);
                put_on(&mut whole, above, &mut Vec::new());
            }
        }
    }
    let own = layers.iter().rposition(|layer| layer.kind == Kind::File).map_or(0, offset);
    Ok(Spanned::new(own..own, whole))
}

/// Puts the keys of one table on top of another's: table by table, but for one that takes exactly one choice, if this is another one.
fn put_on<'a>(below: &mut DeTable<'a>, above: DeTable<'a>, path: &mut Vec<String>) {
    for (name, mut value) in above {
        let key = as_written(below, name.get_ref()).into_owned();
        path.push(key.clone());
        match (below.get_mut(&*key).map(Spanned::get_mut), value.get_mut()) {
            (Some(DeValue::Table(below)), DeValue::Table(above)) if !is_another_choice(below, above, path) => {
                put_on(below, std::mem::take(above), path);
            }
            _ => {
                below.remove(&*key);
                below.insert(name, value);
            }
        }
        path.pop();
    }
}

fn is_another_choice(below: &DeTable, above: &DeTable, path: &[String]) -> bool {
    let chooses_anew = above.keys().any(|name| !below.contains_key(&*as_written(below, name.get_ref())));
    chooses_anew && matches!(names_at(path), Some(Names::Choices(_)))
}

/// Takes away a key, in the text `key` that begins at `offset`, if it is there.
///
/// Error: no experiment has it.
fn take(table: &mut DeTable, key: &str, offset: usize) -> Result<(), Unknown> {
    let names: Vec<&str> = key.split('.').collect();
    let (last, tables) = names.split_last().expect("split gives at least one part");
    let mut there = Some(&mut *table);
    for name in tables {
        there = there.and_then(|table| match table.get_mut(&*as_written(table, name)).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) => Some(inner),
            _ => None,
        });
    }
    if there.is_some_and(|table| table.remove(&*as_written(table, last)).is_some()) {
        return Ok(());
    }
    let mut begin = offset;
    for (i, name) in names.iter().enumerate() {
        let above: Vec<String> = names[..i].iter().map(|name| (*name).to_owned()).collect();
        let known = names_at(&above).map_or(Vec::new(), Names::into_inner);
        if !known.iter().any(|known| *known == **name) {
            let message = format!("there is no key `{key}` in any experiment");
            let choices: Vec<&str> = known.iter().map(String::as_str).collect();
            let listed = || format!("`{}` has: {}", names[..i].join("."), choices.join(", "));
            let help = words::cure(name, &above.join("."), &choices, true).or((i > 0 && !choices.is_empty()).then(listed));
            return Err(Unknown { message, span: begin..begin + name.len(), help });
        }
        begin += name.len() + 1;
    }
    Ok(())
}

fn moved(span: Range<usize>, offset: usize) -> Range<usize> {
    span.start + offset..span.end + offset
}

/// A table with all its places moved.
fn shifted(table: DeTable, offset: usize) -> DeTable {
    let entries = table.into_iter().map(|(name, value)| {
        let span = moved(name.span(), offset);
        (Spanned::new(span, name.into_inner()), shifted_value(value, offset))
    });
    entries.collect()
}

fn shifted_value(value: Spanned<DeValue>, offset: usize) -> Spanned<DeValue> {
    let span = moved(value.span(), offset);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shifted(table, offset)),
        DeValue::Array(list) => DeValue::Array(list.into_iter().map(|value| shifted_value(value, offset)).collect()),
        value => value,
    };
    Spanned::new(span, value)
}
