//! Products: files that a phase made together, with sizes and checksums and with what they depend on. The manifest is written last.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Folder, Run};
use crate::error::{Error, Result};

/// A product that is being made.
pub struct Product<'a> {
    folder: &'a Folder,
    commit: Commit<'a>,
    name: String,
    manifest: Manifest,
}

/// Has the last word before a file takes its place.
pub type Commit<'a> = Box<dyn Fn() -> Result<()> + 'a>;

/// `<name>.manifest`: a checksum, and JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// All that the product depends on.
    pub of: Value,
    pub files: BTreeMap<String, Stamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub bytes: u64,
    pub crc32: String,
}

impl Manifest {
    pub fn encode(&self) -> String {
        let content = json(self);
        format!("{:08x}\n{content}", crc32fast::hash(content.as_bytes()))
    }

    /// None where the bytes are damaged.
    pub fn parse(bytes: &[u8]) -> Option<Manifest> {
        let (crc, content) = bytes.split_at_checked(9)?;
        let whole = crc == format!("{:08x}\n", crc32fast::hash(content)).as_bytes();
        whole.then(|| serde_json::from_slice(content).ok())?
    }
}

/// A report with what it is of.
#[derive(Serialize)]
struct Signed<'a, R> {
    /// Of the weights.
    #[serde(skip_serializing_if = "Value::is_null")]
    step: &'a Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    seed: &'a Value,
    #[serde(flatten)]
    report: &'a R,
}

/// How the files of a result may end, after its name.
const COMPANIONS: [&str; 4] = [".npz", ".json", ".png", TRAJECTORY];
/// The picture of samples on their way.
pub const TRAJECTORY: &str = "-trajectory.png";

/// What is left of a product.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// There is none.
    Nothing,
    /// All its files are as they were written; it depends on this.
    Whole(Value),
    /// What is wrong with it.
    Damaged(String),
}

impl Stamp {
    pub fn new(bytes: u64, crc: crc32fast::Hasher) -> Stamp {
        Stamp { bytes, crc32: format!("{:08x}", crc.finalize()) }
    }

    pub fn of(mut file: impl Read) -> io::Result<Stamp> {
        let (mut crc, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; 1 << 16]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Stamp::new(bytes, crc)),
                n => {
                    crc.update(&buffer[..n]);
                    bytes += n as u64;
                }
            }
        }
    }
}

impl<'a> Product<'a> {
    pub fn new(folder: &'a Folder, commit: Commit<'a>, name: &str, of: Value) -> Product<'a> {
        Product { folder, commit, name: name.to_owned(), manifest: Manifest { of, files: BTreeMap::new() } }
    }

    /// Puts a file of this content at `name`, relative to the folder.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.folder.replace(name, &self.commit, |file| file.write_all(bytes))?;
        self.manifest.files.insert(name.to_owned(), Stamp::of(bytes).expect("memory can be read"));
        Ok(())
    }

    /// As `write`, with a report as JSON that people can read, too, and `step` and `seed` of what it is of, where it has these. Numbers that are
    /// not finite are null.
    pub fn write_json(&mut self, name: &str, report: &impl Serialize) -> Result<()> {
        let of = &self.manifest.of;
        let bytes = json(&Signed { step: &of["weights"]["step"], seed: &of["seed"], report });
        self.write(name, bytes.as_bytes())
    }

    /// Says that all is written; returns the manifest's path. Files of an earlier product of this name that are none of this one's are removed.
    pub fn finish(self) -> Result<PathBuf> {
        let mut stale = BTreeSet::from_iter(files(self.folder, &self.name)?);
        let text = self.manifest.encode();
        let path = self.folder.replace(&manifest(&self.name), &self.commit, |file| file.write_all(text.as_bytes()))?;
        stale.extend(COMPANIONS.map(|ending| format!("{}{ending}", self.name)));
        stale.retain(|name| !self.manifest.files.contains_key(name) && self.folder.has(name));
        stale.iter().try_for_each(|name| self.folder.remove(name)).map(|()| path)
    }
}

/// The manifest's file.
pub fn manifest(name: &str) -> String {
    format!("{name}.manifest")
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("a report is JSON") + "\n"
}

/// The files of a product; none where its manifest is damaged or missing.
pub(super) fn files(folder: &Folder, name: &str) -> Result<Vec<String>> {
    let manifest = folder.read(&manifest(name))?.and_then(|bytes| Manifest::parse(&bytes));
    Ok(manifest.map_or(Vec::new(), |manifest| manifest.files.into_keys().collect()))
}

/// The files of all products of a run: their bytes and checksums, as they were written.
pub fn manifests(run: &Run) -> Result<BTreeMap<String, [String; 2]>> {
    let mut found = BTreeMap::new();
    for folder in ["", "samples", "evaluation"] {
        for name in run.folder().names(folder)?.iter().filter(|name| name.ends_with(".manifest")) {
            let name = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let manifest = run.read(&name)?.and_then(|bytes| Manifest::parse(&bytes));
            let files = manifest.into_iter().flat_map(|manifest| manifest.files);
            found.extend(files.map(|(name, Stamp { bytes, crc32 })| (name, [bytes.to_string(), crc32])));
        }
    }
    Ok(found)
}

/// Reads every file of a product.
pub fn find(folder: &Folder, name: &str) -> Result<Found> {
    let Some(bytes) = folder.read(&manifest(name))? else { return Ok(Found::Nothing) };
    let Some(Manifest { of, files }) = Manifest::parse(&bytes) else {
        return Ok(Found::Damaged(format!("{} is damaged", folder.at(&manifest(name)).display())));
    };
    for (name, stamp) in &files {
        let path = folder.at(name);
        let Some(file) = folder.file(name)? else { return Ok(Found::Damaged(format!("{} is missing", path.display()))) };
        if Stamp::of(file).map_err(|e| Error::io("read", &path, e))? != *stamp {
            return Ok(Found::Damaged(format!("{} is damaged: its checksum does not fit its content", path.display())));
        }
    }
    Ok(Found::Whole(of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    #[test]
    fn every_flipped_bit_of_every_file_is_seen() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::create(home.path()).unwrap();
        assert_eq!(find(&folder, "a/x").unwrap(), Found::Nothing);
        let mut product = Product::new(&folder, Box::new(|| Ok(())), "a/x", json!({ "seed": 1 }));
        product.write("a/x.npz", b"numbers").unwrap();
        product.write_json("a/x.json", &json!({ "mean": 1.5 })).unwrap();
        assert_eq!(find(&folder, "a/x").unwrap(), Found::Nothing, "the manifest comes last");
        product.finish().unwrap();
        let whole = Found::Whole(json!({ "seed": 1 }));
        assert_eq!(find(&folder, "a/x").unwrap(), whole);
        for name in ["a/x.npz", "a/x.json", "a/x.manifest"] {
            let bytes = fs::read(folder.at(name)).unwrap();
            for bit in 0..8 * bytes.len() {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                fs::write(folder.at(name), flipped).unwrap();
                assert!(matches!(find(&folder, "a/x").unwrap(), Found::Damaged(_)), "{name}: bit {bit}");
            }
            for length in 0..bytes.len() {
                fs::write(folder.at(name), &bytes[..length]).unwrap();
                assert!(matches!(find(&folder, "a/x").unwrap(), Found::Damaged(_)), "{name}: cut at {length}");
            }
            fs::write(folder.at(name), bytes).unwrap();
        }
        assert_eq!(find(&folder, "a/x").unwrap(), whole);
        fs::remove_file(folder.at("a/x.npz")).unwrap();
        let Found::Damaged(message) = find(&folder, "a/x").unwrap() else { panic!() };
        assert!(message.ends_with("x.npz is missing"), "{message}");
    }
}
