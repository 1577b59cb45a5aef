//! Reading golden cases: an index and the files beside it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use crate::file;

const FORMAT: &str = "an index maps each case's name to its description, a table with `kind` and `file`";

/// An `index.json`; files are relative to it.
pub struct Index {
    path: PathBuf,
    cases: Map<String, Value>,
}

/// One case of an index.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    index: &'a Index,
    name: &'a str,
    description: &'a Value,
}

/// The tensors of one file.
pub struct Tensors {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
}

impl Index {
    pub fn open(path: &Path) -> Result<Index> {
        let text = fs::read_to_string(path).map_err(|e| Error::io("read the index", path, e))?;
        let cases = serde_json::from_str(&text).map_err(|e| Error::data(path, format!("is not an index: {e}"), FORMAT))?;
        Ok(Index { path: path.to_owned(), cases })
    }

    /// The cases of these names and kinds, in the index's order; an empty list takes all. Error: a name or kind that the index lacks.
    pub fn select(&self, names: &[String], kinds: &[String]) -> Result<Vec<Case<'_>>> {
        let all: Vec<Case> = self.cases.iter().map(|(name, description)| Case { index: self, name, description }).collect();
        let known = |what: &str, asked: &[String], mut choices: Vec<&str>| {
            choices.dedup();
            match asked.iter().find(|name| !choices.contains(&name.as_str())) {
                None => Ok(()),
                Some(name) => Err(Error::Usage {
                    message: format!("{} has no {what} `{name}`", self.path.display()),
                    help: format!("it has {}", choices.join(", ")),
                }),
            }
        };
        known("case", names, all.iter().map(|case| case.name).collect())?;
        let mut kinds_here: Vec<&str> = all.iter().map(Case::kind).collect();
        kinds_here.sort_unstable();
        known("case of kind", kinds, kinds_here)?;
        let among = |list: &[String], word: &str| list.is_empty() || list.iter().any(|w| w == word);
        Ok(all.into_iter().filter(|case| among(names, case.name) && among(kinds, case.kind())).collect())
    }

    fn find(&self, what: &str, wanted: impl Fn(&str, &Value) -> bool) -> Result<Case<'_>> {
        let found = self.cases.iter().find(|(name, description)| wanted(name, description));
        let (name, description) =
            found.ok_or_else(|| Error::data(&self.path, format!("has no case {what}"), "it was meant to go with it"))?;
        Ok(Case { index: self, name, description })
    }
}

impl<'a> Case<'a> {
    pub fn name(&self) -> &'a str {
        self.name
    }

    pub fn kind(&self) -> &'a str {
        self.description["kind"].as_str().unwrap_or("none")
    }

    /// The description as a table of the fields that are needed; others are passed over.
    pub(super) fn describe<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.description.clone()).map_err(|e| self.error(e.to_string()))
    }

    /// Another case of the same index.
    pub(super) fn beside(&self, name: &str) -> Result<Case<'a>> {
        self.index.find(name, |other, _| other == name)
    }

    /// The case of the same index whose file this is.
    pub(super) fn owner_of(&self, file: &str) -> Result<Case<'a>> {
        self.index.find(&format!("of the file {file}"), |_, description| description["file"] == file)
    }

    pub(super) fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::data(&self.index.path, format!("{}: {message}", self.name), FORMAT)
    }

    pub(super) fn tensors(&self, name: &str) -> Result<Tensors> {
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(self.error(format!("its file {name:?} is not one of the folder's")));
        }
        let path = self.index.path.parent().unwrap_or(Path::new("")).join(name);
        let mut bytes = Vec::new();
        let read = file::open(&path).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|e| Error::io("read the golden tensors", &path, e))?;
        let damaged = |e| Error::data(&path, format!("is not a safetensors file: {e}"), "bring it anew");
        let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let kind = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::F64 => Kind::Double,
                Dtype::I64 => Kind::Int64,
                Dtype::I32 => Kind::Int,
                Dtype::U8 => Kind::Uint8,
                Dtype::BOOL => Kind::Bool,
                other => {
                    return Err(Error::data(
                        &path,
                        format!("holds `{name}` as {other}"),
                        "golden tensors are F32, F64, I64, I32, U8 or BOOL",
                    ));
                }
            };
            let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
            tensors.insert(name.to_owned(), Tensor::from_data_size(view.data(), &shape, kind));
        }
        Ok(Tensors { path, tensors })
    }
}

/// What the names of results in this precision start with.
pub fn prefix(kind: Kind) -> &'static str {
    if kind == Kind::Double { "f64" } else { "f32" }
}

impl Tensors {
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.find(name).ok_or_else(|| Error::data(&self.path, format!("holds no tensor `{name}`"), "the case can't do without it"))
    }

    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// What follows `prefix` in the names that start with it.
    pub fn names_after<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.tensors.keys().filter_map(move |name| name.strip_prefix(prefix))
    }
}
