//! A journal: what a long phase has done so far, record by record, so that one that was killed goes on where it was.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Folder;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::progress::warn;
use crate::ranks::Ranks;

mod round;

/// What a journal begins with.
const MAGIC: &[u8; 8] = b"journal1";
const ANEW: &str = "remove the file to begin anew, or give the results another name";

/// Records of a phase in their order, in a file that begins with what they depend on.
///
/// A record is on the disk before the next one is made, in a frame with its length and checksums. What a kill or a power cut tore is dropped;
/// a record that changed on the disk is made again, with all after it, and a warning says so. Numbers come back to the bit.
pub struct Journal<R> {
    /// None keeps nothing.
    file: Option<Place>,
    /// Of earlier processes, and of all.
    earlier: f64,
    seconds: f64,
    /// Who makes records together.
    ranks: Option<Rc<Ranks>>,
    records: PhantomData<R>,
}

struct Place {
    folder: Folder,
    name: String,
    path: PathBuf,
    file: File,
    /// Whether records of an earlier process may follow.
    reading: bool,
    /// Records so far.
    count: usize,
    /// Bytes before the first record.
    empty: u64,
}

#[derive(Serialize, Deserialize)]
struct Timed<R> {
    seconds: f64,
    record: R,
}

impl<R: Serialize + DeserializeOwned> Journal<R> {
    /// Keeps nothing.
    pub fn nowhere() -> Journal<R> {
        Journal { file: None, earlier: 0.0, seconds: 0.0, ranks: None, records: PhantomData }
    }

    /// Goes on with the journal of an earlier process, or begins one. `of` is all that the records depend on.
    ///
    /// Errors: the journal is of something else (the message names the key), is no journal, or another process writes it.
    pub fn open(folder: &Folder, name: &str, of: &Value) -> Result<Journal<R>> {
        let (path, file) = (folder.at(name), folder.grow(name)?);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::run(
                    path,
                    "is being written by another process",
                    "wait until it ends, or give the results another name",
                ));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", path, e)),
        }
        let mut place = Place { folder: folder.again()?, name: name.to_owned(), path, file, reading: true, count: 0, empty: 0 };
        match place.begin()? {
            None => {
                place.append(&[MAGIC, &frame(of.to_string().as_bytes())[..]].concat())?;
                (place.reading, place.count) = (false, 0);
            }
            Some(begun) => {
                if let Some((key, there, here)) = difference("", &begun, of) {
                    let message = format!("holds part of a result with other settings: {key} is {there} there, {here} now");
                    return Err(Error::run(&place.path, message, ANEW));
                }
            }
        }
        place.empty = place.file.stream_position().map_err(|e| place.error("read", e))?;
        Ok(Journal { file: Some(place), earlier: 0.0, seconds: 0.0, ranks: None, records: PhantomData })
    }

    /// The next record: as an earlier process left it, or else made now and kept.
    pub fn next(&mut self, make: impl FnOnce() -> Result<R>) -> Result<R> {
        if let Some(record) = self.recall()? {
            return Ok(record);
        }
        let begun = Instant::now();
        let record = make()?;
        self.keep(record, begun.elapsed().as_secs_f64())
    }

    /// The next record as an earlier process left it.
    fn recall(&mut self) -> Result<Option<R>> {
        if let Some(place) = &self.file {
            interrupt::saved(format!("record {} of {}", place.count, place.path.display()));
        }
        let old: Option<Timed<R>> = self.file.as_mut().map_or(Ok(None), Place::recall)?;
        Ok(old.map(|Timed { seconds, record }| {
            self.earlier += seconds;
            self.seconds += seconds;
            record
        }))
    }

    /// Keeps a record that took so long.
    fn keep(&mut self, record: R, seconds: f64) -> Result<R> {
        let timed = Timed { seconds, record };
        if let Some(place) = &mut self.file {
            place.append(&frame(&postcard::to_stdvec(&timed).expect("memory takes any record")))?;
        }
        self.seconds += seconds;
        Ok(timed.record)
    }

    /// What the records so far took to make, whichever process made them.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The part of it that earlier processes took.
    pub fn earlier(&self) -> f64 {
        self.earlier
    }

    /// The records so far are not what these settings lead to, although the journal says so.
    pub fn stale(&self) -> Error {
        let path = self.file.as_ref().map(|place| place.path.clone()).unwrap_or_default();
        Error::run(path, "does not go on as a result with these settings does", ANEW)
    }

    /// Removes the file: what it was kept for is done.
    pub fn remove(mut self) -> Result<()> {
        let Some(Place { folder, name, file, .. }) = self.file.take() else { return Ok(()) };
        folder.check_is(&name, &file)?;
        folder.remove(&name)
    }
}

impl<R> Drop for Journal<R> {
    /// A journal without records is none.
    fn drop(&mut self) {
        if let Some(Place { folder, name, file, empty, .. }) = &self.file
            && file.metadata().is_ok_and(|file| file.len() == *empty)
            && folder.check_is(name, file).is_ok()
        {
            // One that is left behind does no harm.
            let _ = folder.remove(name);
        }
    }
}

/// Removes a journal whose phase is done, if a kill left it behind.
pub fn discard(folder: &Folder, name: &str) -> Result<()> {
    if folder.has(name) { folder.remove(name) } else { Ok(()) }
}

/// A frame as it was read.
enum Frame {
    Whole(Vec<u8>),
    /// Nothing more, or what a kill tore.
    End,
    Damaged,
}

/// Length u64, checksum of the content u32, checksum of the 12 bytes before u32, content.
fn frame(content: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(content.len() + HEAD);
    frame.extend((content.len() as u64).to_le_bytes());
    frame.extend(crc32fast::hash(content).to_le_bytes());
    frame.extend(crc32fast::hash(&frame).to_le_bytes());
    frame.extend(content);
    frame
}

const HEAD: usize = 16;

fn read_frame(file: &mut impl Read) -> io::Result<Frame> {
    let mut take = |n: u64| {
        let mut bytes = Vec::new();
        file.take(n).read_to_end(&mut bytes).map(|_| bytes)
    };
    let head = take(HEAD as u64)?;
    if head.len() < HEAD {
        return Ok(Frame::End);
    }
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if crc32fast::hash(&head[..12]) != number(12) {
        return Ok(Frame::Damaged);
    }
    let length = u64::from(number(0)) | u64::from(number(4)) << 32;
    let content = take(length)?;
    Ok(match content.len() as u64 == length {
        false => Frame::End,
        true if crc32fast::hash(&content) == number(8) => Frame::Whole(content),
        true => Frame::Damaged,
    })
}

impl Place {
    fn error(&self, what: &'static str, e: io::Error) -> Error {
        Error::io(what, &self.path, e)
    }

    /// What the journal is of; none where nothing whole was left.
    fn begin(&mut self) -> Result<Option<Value>> {
        let mut magic = Vec::new();
        (&mut self.file).take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(|e| self.error("read", e))?;
        if !MAGIC.starts_with(&magic) {
            return Err(Error::run(&self.path, "is no journal of results", ANEW));
        }
        if magic.len() == MAGIC.len()
            && let Frame::Whole(content) = self.read()?
            && let Ok(of) = serde_json::from_slice(&content)
        {
            return Ok(Some(of));
        }
        if self.file.metadata().map_err(|e| self.error("read", e))?.len() > (MAGIC.len() + HEAD) as u64 {
            warn(&format!("{}: its beginning is damaged; all of it is done again", self.path.display()));
        }
        self.cut(0)?;
        Ok(None)
    }

    fn recall<R: DeserializeOwned>(&mut self) -> Result<Option<R>> {
        if !self.reading {
            return Ok(None);
        }
        let good = self.file.stream_position().map_err(|e| self.error("read", e))?;
        let found = match self.read()? {
            Frame::Whole(content) => postcard::from_bytes(&content).ok(),
            Frame::End => {
                self.reading = false;
                self.cut(good)?;
                return Ok(None);
            }
            Frame::Damaged => None,
        };
        if found.is_none() {
            warn(&format!("{}: record {} is damaged; it is made again, and those after it", self.path.display(), self.count + 1));
            self.reading = false;
            self.cut(good)?;
        } else {
            self.count += 1;
        }
        Ok(found)
    }

    fn read(&mut self) -> Result<Frame> {
        read_frame(&mut self.file).map_err(|e| self.error("read", e))
    }

    /// Drops what comes after the first `length` bytes; the next record goes there.
    fn cut(&mut self, length: u64) -> Result<()> {
        self.file.set_len(length).and_then(|()| self.file.seek(io::SeekFrom::Start(length)).map(drop)).map_err(|e| self.error("write", e))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).and_then(|()| self.file.sync_data()).map_err(|e| self.error("write", e))?;
        self.count += 1;
        Ok(())
    }
}

/// What is wrong with the bytes of a journal.
pub(super) fn judge(bytes: &[u8]) -> Result<(), String> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or("is no journal")?;
    let mut count = 0;
    while !rest.is_empty() {
        match read_frame(&mut rest).map_err(|e| e.to_string())? {
            Frame::Whole(_) => count += 1,
            Frame::End => break,
            Frame::Damaged if count == 0 => return Err("its beginning is damaged".into()),
            Frame::Damaged => return Err(format!("record {count} is damaged")),
        }
    }
    Ok(())
}

/// The first key in which two values differ: (key, here, there).
pub fn difference(key: &str, a: &Value, b: &Value) -> Option<(String, String, String)> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            let below = |name: &String| if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            names
                .into_iter()
                .find_map(|name| difference(&below(name), x.get(name).unwrap_or(&Value::Null), y.get(name).unwrap_or(&Value::Null)))
        }
        _ => {
            let shown = |value: &Value| if value.is_null() { "nothing".to_owned() } else { value.to_string() };
            (a != b).then(|| (key.to_owned(), shown(a), shown(b)))
        }
    }
}

#[cfg(test)]
mod tests;
