//! The bytes of a file, or of a file in a zip archive: read by their position, so that threads share them without waiting for each other.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::DeflateDecoder;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::open_file;
use crate::error::{Error, Result};

/// What a data file holds.
pub(super) struct Source {
    /// Where it is, as people are told.
    pub path: PathBuf,
    bytes: Bytes,
    /// Bytes, those of a compressed file when it is unpacked.
    pub len: u64,
    /// Of all bytes, where an archive says so.
    crc32: Option<u32>,
}

enum Bytes {
    Placed { file: Arc<File>, start: u64 },
    Deflated { file: Arc<File>, start: u64, stored: u64 },
    Loaded(Vec<u8>),
}

impl Source {
    /// A file; `cure` says what brings it when it is missing.
    pub fn open(path: &Path, cure: &str) -> Result<Source> {
        let file = open_file(path, cure)?;
        let len = file.metadata().map_err(|error| Error::io("read", path, error))?.len();
        Ok(Source { path: path.to_owned(), bytes: Bytes::Placed { file: Arc::new(file), start: 0 }, len, crc32: None })
    }

    /// Whether reading any part but the first takes as long as reading all before it.
    pub fn is_deflated(&self) -> bool {
        matches!(self.bytes, Bytes::Deflated { .. })
    }

    /// Fills `out` with the bytes from `at` on.
    pub fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        match &self.bytes {
            Bytes::Placed { file, start } => file.read_exact_at(out, start + at),
            Bytes::Deflated { file, start, stored } => {
                let mut unpacked = DeflateDecoder::new(BufReader::new(Part { file, at: *start, end: start + stored }));
                let skipped = io::copy(&mut (&mut unpacked).take(at), &mut io::sink())?;
                if skipped < at { Err(io::ErrorKind::UnexpectedEof.into()) } else { unpacked.read_exact(out) }
            }
            Bytes::Loaded(bytes) => {
                let bytes = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..out.len()));
                out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    /// All bytes. Error: they are not those that the archive was made of.
    pub fn all(&self) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.resize(size, 0);
        self.read(0, &mut bytes)?;
        match self.crc32 {
            Some(sum) if crc32fast::hash(&bytes) != sum => Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is another")),
            _ => Ok(bytes),
        }
    }

    /// The same source with other bytes, in memory.
    pub fn with(self, bytes: Vec<u8>) -> Source {
        Source { len: bytes.len() as u64, bytes: Bytes::Loaded(bytes), crc32: None, ..self }
    }
}

/// What went wrong with a read, for people.
pub(super) fn unread(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut short".into(),
        io::ErrorKind::OutOfMemory => "is larger than memory".into(),
        _ => format!("can't be read: {error}"),
    }
}

/// The bytes of a file from `at` to `end`.
struct Part<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min((self.end - self.at) as usize);
        let read = self.file.read_at(&mut out[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A zip archive.
pub(super) struct Archive {
    pub path: PathBuf,
    file: Arc<File>,
    /// Its files, without folders, in the archive's order.
    pub entries: Vec<Entry>,
}

/// A file in an archive.
pub(super) struct Entry {
    pub name: String,
    start: u64,
    stored: u64,
    size: u64,
    crc32: u32,
    deflated: bool,
}

impl Archive {
    /// `cure` says what brings it when it is missing or damaged. Errors: it is no archive, or holds what can't be unpacked here.
    pub fn open(path: &Path, cure: &str) -> Result<Archive> {
        let file = open_file(path, cure)?;
        let mut entries = Vec::new();
        Archive::list(&file, &mut entries).map_err(|message| Error::data(path, message, cure))?;
        Ok(Archive { path: path.to_owned(), file: Arc::new(file), entries })
    }

    fn list(file: &File, entries: &mut Vec<Entry>) -> Result<(), String> {
        let wrong = |error: ZipError| format!("is no zip archive, or is cut short: {error}");
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(wrong)?;
        for i in 0..archive.len() {
            let entry = archive.by_index_raw(i).map_err(wrong)?;
            if entry.is_dir() {
                continue;
            }
            let deflated = match entry.compression() {
                _ if entry.encrypted() => return Err(format!("holds {}, which needs a password", entry.name())),
                CompressionMethod::Stored => false,
                method if method == CompressionMethod::DEFLATE => true,
                method => return Err(format!("holds {}, which is packed by the method {method}", entry.name())),
            };
            let (start, stored, size, crc32) = (entry.data_start(), entry.compressed_size(), entry.size(), entry.crc32());
            entries.push(Entry { name: entry.name().to_owned(), start, stored, size, crc32, deflated });
        }
        Ok(())
    }

    /// The names of NumPy's arrays in it.
    pub fn arrays(&self) -> Vec<&str> {
        self.entries.iter().filter_map(|entry| entry.name.strip_suffix(".npy")).collect()
    }

    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    pub fn source(&self, entry: &Entry) -> Source {
        let &Entry { start, stored, size, crc32, deflated, .. } = entry;
        let file = self.file.clone();
        let bytes = if deflated { Bytes::Deflated { file, start, stored } } else { Bytes::Placed { file, start } };
        Source { path: self.path.join(&entry.name), bytes, len: size, crc32: Some(crc32) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Cursor, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// An archive with one stored file.
    fn stored(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file(name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored)).unwrap();
        archive.write_all(bytes).unwrap();
        archive.finish().unwrap().into_inner()
    }

    /// The same archive with its one file deflated, by what the format says of the two headers and the end.
    fn deflated(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(bytes).unwrap();
        let gzip = gzip.finish().unwrap();
        let packed = &gzip[10..gzip.len() - 8];
        let plain = stored(name, bytes);
        let directory = plain.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        let content = directory - bytes.len();
        let mut archive = [&plain[..content], packed, &plain[directory..]].concat();
        let directory = content + packed.len();
        let size = (packed.len() as u32).to_le_bytes();
        for (method, length) in [(8, 18), (directory + 10, directory + 20)] {
            archive[method..method + 2].copy_from_slice(&[8, 0]);
            archive[length..length + 4].copy_from_slice(&size);
        }
        let end = archive.len() - 6;
        archive[end..end + 4].copy_from_slice(&(directory as u32).to_le_bytes());
        archive
    }

    fn opened(bytes: &[u8]) -> (tempfile::TempDir, Result<Archive>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        fs::write(&path, bytes).unwrap();
        (folder, Archive::open(&path, ""))
    }

    #[test]
    fn stored_and_deflated_files_are_read_at_any_place() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i / 7) as u8).collect();
        for archive in [stored("b/x", &bytes), deflated("b/x", &bytes)] {
            let (_folder, archive) = opened(&archive);
            let archive = archive.unwrap();
            let source = archive.source(archive.entry("b/x").unwrap());
            assert!(source.path.ends_with("a.zip/b/x") && source.len == 100_000);
            assert_eq!(source.all().unwrap(), bytes);
            let mut part = [0; 50];
            source.read(70_000, &mut part).unwrap();
            assert_eq!(part, bytes[70_000..70_050]);
            assert_eq!(source.is_deflated(), archive.entries[0].deflated);
            let loaded = source.with(bytes.clone());
            loaded.read(99_950, &mut part).unwrap();
            assert_eq!(part, bytes[99_950..]);
            assert!(loaded.read(99_951, &mut part).is_err());
        }
    }

    #[test]
    fn damage_is_seen() {
        let mut archive = stored("x", b"0123456789");
        let at = archive.windows(4).position(|four| four == b"3456").unwrap();
        archive[at] ^= 1;
        let (_folder, archive) = opened(&archive);
        let archive = archive.unwrap();
        let error = archive.source(&archive.entries[0]).all().unwrap_err();
        assert_eq!(unread(&error), "can't be read: its checksum is another");
        let error = opened(b"PK\x03\x04 and no more").1.err().unwrap().to_string();
        assert!(error.contains("a.zip: is no zip archive, or is cut short"), "{error}");
    }
}
