//! Sizes and checksums of the curves as they were last synced.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;

use super::{EVENTS, Run, events};
use crate::error::{Error, Result};
use crate::progress::warn;
use crate::run::product::{Manifest, Stamp};

/// The file, a manifest. A run that never synced has none.
const FILE: &str = "curves.stamps";

#[derive(Default)]
pub struct Stamps {
    pub of: BTreeMap<String, Stamp>,
}

impl Stamps {
    /// Checks the curves of earlier sessions, and drops what came after they were last synced: that is logged again.
    ///
    /// Error: a curve is damaged.
    pub fn open(run: &Run) -> Result<Stamps> {
        let Some(stamps) = Stamps::read(run)? else { return Ok(Stamps::default()) };
        for (name, what) in judge(run)? {
            if let Some(what) = what {
                let help = format!("restore it from a copy; or remove {FILE}, and the run goes on with the curves as they are");
                return Err(Error::run(run.folder().at(&name), what, help));
            }
        }
        for (name, stamp) in &stamps.of {
            let file = run.folder().grow(name)?;
            let cut = || if file.metadata()?.len() > stamp.bytes { file.set_len(stamp.bytes) } else { Ok(()) };
            cut().map_err(|e| Error::io("write", run.folder().at(name), e))?;
        }
        for name in events::files(run)?.iter().filter(|name| is_ours(name) && !stamps.of.contains_key(*name)) {
            run.folder().remove(name)?;
        }
        Ok(stamps)
    }

    /// None where there are none that can be read.
    fn read(run: &Run) -> Result<Option<Stamps>> {
        let Some(bytes) = run.read(FILE)? else { return Ok(None) };
        let read = Manifest::parse(&bytes).map(|Manifest { files, .. }| Stamps { of: files });
        if read.is_none() {
            warn(&format!("{} is damaged: the curves before can't be checked", run.folder().at(FILE).display()));
        }
        Ok(read)
    }

    pub fn save(&self, run: &Run) -> Result<()> {
        let manifest = Manifest { of: Value::Null, files: self.of.clone() };
        run.write(FILE, manifest.encode().as_bytes()).map(drop)
    }

    /// A file is about to change.
    pub fn forget(&mut self, run: &Run, name: &str) -> Result<()> {
        self.of.remove(name).map_or(Ok(()), |_| self.save(run))
    }
}

/// What is wrong with the curves, up to where they were synced, by name.
pub fn judge(run: &Run) -> Result<BTreeMap<String, Option<String>>> {
    let stamps = Stamps::read(run)?.unwrap_or_default();
    stamps.of.iter().map(|(name, stamp)| Ok((name.clone(), damage(run, name, stamp)?))).collect()
}

/// What is wrong with a file, up to where it was synced.
fn damage(run: &Run, name: &str, stamp: &Stamp) -> Result<Option<String>> {
    let Some(file) = run.folder().file(name)? else { return Ok(Some("is missing".into())) };
    let found = Stamp::of(file.take(stamp.bytes)).map_err(|e| Error::io("read", run.folder().at(name), e))?;
    Ok((found != *stamp).then(|| "is damaged: its checksum does not fit its content".into()))
}

/// Whether a session of this program gave an event file its name.
fn is_ours(name: &str) -> bool {
    let parts = name.strip_prefix(EVENTS).and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(second, process)| {
        second.len() == 10 && [second, process].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()))
    })
}
