//! Features that networks made, kept by what they are of, so that they are computed once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;
use tch::{Device, Tensor};

use super::table::{About, FeatureTable, Source};
use crate::file::sha256;
use crate::progress::warn;

/// A folder of [`FeatureTable`]s, each in a file named by its content.
pub struct Cache {
    folder: PathBuf,
    /// Bytes of all files; those that were of no use for longest go first.
    limit: u64,
}

/// Features of 60,000 images by EfficientNet-Lite0 have 0.3 GB.
const LIMIT: u64 = 8 << 30;

impl Cache {
    /// `score-sde/features` in `$XDG_CACHE_HOME`, or in `~/.cache`; none where the environment names neither.
    pub fn of_user() -> Option<Cache> {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")))?;
        Some(Cache { folder: home.join("score-sde/features"), limit: LIMIT })
    }

    /// The features [N, D] of examples of this SHA-256 and shape, made by `source` on such a device, if they are there and whole.
    pub fn get(&self, examples: (&str, &[usize]), source: &Source, device: Device) -> Option<Tensor> {
        let path = self.path(examples, source, device);
        if !path.exists() {
            return None;
        }
        match FeatureTable::read(&path) {
            Ok(FeatureTable { x, about, .. }) if (&*about.sha256, &*about.shape) == examples && about.features.source.is(source) => {
                let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                Some(x)
            }
            _ => {
                warn(&format!("{}: is damaged, and is made again", path.display()));
                None
            }
        }
    }

    /// Keeps features, or says why it can't.
    pub fn put(&self, table: &FeatureTable, device: Device) {
        let About { sha256, shape, features, .. } = &table.about;
        let path = self.path((sha256, shape), &features.source, device);
        match table.save(&path) {
            Ok(()) => self.prune(&path),
            Err(error) => warn(&format!("features are not kept: {error}")),
        }
    }

    /// Named by all that the numbers depend on, but for their last digits.
    fn path(&self, (examples, shape): (&str, &[usize]), source: &Source, device: Device) -> PathBuf {
        let Source { protocol, sha256: network, .. } = source;
        let on = json!({ "examples": examples, "shape": shape, "network": network, "protocol": protocol, "cpu": device == Device::Cpu });
        self.folder.join(sha256([on.to_string().as_bytes()])).with_extension("safetensors")
    }

    /// Removes files until the rest is within the limit; never the one at `latest`.
    fn prune(&self, latest: &Path) {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut files: Vec<(SystemTime, u64, PathBuf)> = files
            .map(|entry| entry.path())
            .filter(|path| path != latest)
            .filter_map(|path| fs::metadata(&path).and_then(|about| Ok((about.modified()?, about.len(), path))).ok())
            .collect();
        files.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut kept = fs::metadata(latest).map_or(0, |about| about.len());
        for (_, bytes, path) in files {
            kept += bytes;
            if kept > self.limit {
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::FeatureKind;
    use super::*;
    use std::time::Duration;

    fn table(examples: &str, network: &str) -> FeatureTable {
        let source = Source { name: "a name".into(), protocol: None, sha256: Some(network.into()) };
        let about = About {
            name: "a set".into(),
            count: 3,
            shape: vec![2],
            sha256: examples.into(),
            note: None,
            made_by: None,
            features: FeatureKind { source, dimension: 2 },
        };
        FeatureTable {
            x: Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([3, 2]),
            places: vec![0, 1, 2],
            classes: None,
            examples: None,
            about,
        }
    }

    fn get(cache: &Cache, examples: &str, network: &str) -> Option<Tensor> {
        cache.get((examples, &[2]), &table(examples, network).about.features.source, Device::Cpu)
    }

    #[test]
    fn what_is_kept_is_found_by_examples_and_network_and_only_whole() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache { folder: home.path().join("features"), limit: LIMIT };
        assert!(get(&cache, "x", "a").is_none());
        cache.put(&table("x", "a"), Device::Cpu);
        assert_eq!(get(&cache, "x", "a"), Some(table("x", "a").x));
        assert!(get(&cache, "y", "a").is_none() && get(&cache, "x", "b").is_none());
        assert!(cache.get(("x", &[1, 2]), &table("x", "a").about.features.source, Device::Cpu).is_none());
        let path = fs::read_dir(&cache.folder).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(get(&cache, "x", "a").is_none());
    }

    #[test]
    fn what_was_of_no_use_for_longest_goes_first() {
        let home = tempfile::tempdir().unwrap();
        let mut cache = Cache { folder: home.path().to_owned(), limit: LIMIT };
        for (age, examples) in [(30, "old"), (20, "older by name"), (10, "new")] {
            cache.put(&table(examples, "a"), Device::Cpu);
            let path = cache.path((examples, &[2]), &table(examples, "a").about.features.source, Device::Cpu);
            File::open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        assert!(get(&cache, "old", "a").is_some(), "which makes it the latest");
        let bytes: u64 = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        cache.limit = bytes * 4 / 5;
        cache.put(&table("last", "a"), Device::Cpu);
        let there = ["old", "older by name", "new", "last"].map(|examples| get(&cache, examples, "a").is_some());
        assert_eq!(there, [true, false, false, true]);
    }
}
