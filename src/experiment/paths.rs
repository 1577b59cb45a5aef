//! The paths in an experiment: relative ones are looked for beside its file first, and then in the working directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::file;

/// The keys of paths; `*` is any name.
const PATHS: [&str; 17] = [
    "data.*.train",
    "data.*.test",
    "data.*.folder",
    "data.*.labels.train",
    "data.*.labels.test",
    "condition.vector.train",
    "condition.vector.test",
    "network.torchscript.file",
    "space.latent.run",
    "sample.given.file",
    "sample.guidance.autoguidance.run",
    "sample.measurement.observation.file",
    "sample.measurement.operator.matrix.file",
    "sample.measurement.operator.mask.file",
    "evaluate.features.torchscript.file",
    "evaluate.features.efficientnet-lite0.weights",
    "evaluate.features.classifier.run",
];

/// Whether a key is that of a path.
pub(super) fn is_path(key: &str) -> bool {
    PATHS.iter().any(|path| {
        let (path, key) = (path.split('.'), key.split('.'));
        path.clone().count() == key.clone().count() && path.zip(key).all(|(path, key)| path == "*" || path == key)
    })
}

/// An experiment, or a part of one, in which every relative path that leads somewhere is absolute; `base` is the folder of the file that
/// has a key.
pub(super) fn resolved<'a, E: Serialize + DeserializeOwned>(experiment: E, base: impl Fn(&str) -> &'a Path) -> E {
    changed(experiment, &mut |key, path| {
        let found = [base(key).join(&*path), PathBuf::from(&*path)].into_iter().find(|path| path.exists());
        if let Some(found) = found.and_then(|found| std::path::absolute(found).ok()?.into_os_string().into_string().ok()) {
            *path = found;
        }
    })
}

/// An experiment without what its paths are.
pub(super) fn without<E: Serialize + DeserializeOwned>(experiment: E) -> E {
    changed(experiment, &mut |_, path| path.clear())
}

fn changed<E: Serialize + DeserializeOwned>(experiment: E, change: &mut impl FnMut(&str, &mut String)) -> E {
    let mut value = toml::Value::try_from(experiment).expect("an experiment is a TOML document");
    visit("", &mut value, change);
    value.try_into().expect("paths are strings before and after")
}

/// Calls `found` with every path that is not empty, and its key.
fn visit(key: &str, value: &mut toml::Value, found: &mut impl FnMut(&str, &mut String)) {
    match value {
        toml::Value::Table(table) => table.iter_mut().for_each(|(name, value)| {
            let key = if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
            visit(&key, value, found);
        }),
        toml::Value::String(path) if is_path(key) && !path.is_empty() => found(key, path),
        _ => {}
    }
}

/// The error of a path that leads nowhere says where it was looked for; `base` is the folder of the file that names a path.
pub(super) fn looked_for<'a>(error: Error, base: impl Fn(&Path) -> &'a Path) -> Error {
    match error {
        Error::Data { path, message, help } if path.is_relative() && !path.exists() => {
            let (here, base) = (std::env::current_dir().unwrap_or_default(), base(&path));
            let base = std::path::absolute(if base.as_os_str().is_empty() { Path::new(".") } else { base }).unwrap_or_default();
            let places = if base == here { here.display().to_string() } else { format!("{} or in {}", base.display(), here.display()) };
            Error::Data { path, message: format!("{message} in {places}"), help }
        }
        error => error,
    }
}

/// What the files of data and conditions hold, by their keys, as far as sizes, beginnings and ends tell. Error: one can't be read.
pub(super) fn fingerprints(experiment: &impl Serialize) -> Result<BTreeMap<String, String>> {
    let mut value = toml::Value::try_from(experiment).expect("an experiment is a TOML document");
    let mut paths = Vec::new();
    visit("", &mut value, &mut |key, path| paths.push((key.to_owned(), PathBuf::from(&*path))));
    let of_data = paths.into_iter().filter(|(key, _)| is_of_data(key));
    of_data.map(|(key, path)| Ok((key, file::fingerprint(&path).map_err(|error| Error::io("read", &path, error))?))).collect()
}

/// Whether a key is that of a path to data, or to what is known of them.
pub(super) fn is_of_data(key: &str) -> bool {
    is_path(key) && (key.starts_with("data.") || key.starts_with("condition."))
}
