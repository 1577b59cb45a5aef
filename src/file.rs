//! Opening a user's file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

/// Opens a regular file for reading. Error: it is something else, such as a pipe, for which nobody is made to wait.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    check(&file).map(|()| file)
}

/// The content of the file at `path`; none where there is none.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map(|_| Some(bytes))
}

/// The SHA-256 of some bytes after each other, in hexadecimal digits.
pub fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    hex(&parts.into_iter().fold(Sha256::new(), |sha, part| sha.chain_update(part)).finalize())
}

/// What tells most files from others: the SHA-256 of a file's size, first and last MiB, or of the names and sizes of all files in a folder.
pub fn fingerprint(path: &Path) -> io::Result<String> {
    let mut sha = Sha256::new();
    if path.is_dir() {
        for entry in WalkDir::new(path).sort_by_file_name() {
            let entry = entry.map_err(io::Error::other)?;
            if entry.file_type().is_file() {
                let name = entry.path().strip_prefix(path).unwrap_or(entry.path());
                sha.update(format!("{}\0{}\0", name.display(), entry.metadata().map_err(io::Error::other)?.len()));
            }
        }
    } else {
        const END: u64 = 1 << 20;
        let file = open(path)?;
        let size = file.metadata()?.len();
        let mut part = vec![0; size.min(END) as usize];
        sha.update(format!("{size}\0"));
        for at in [0, size.saturating_sub(END)] {
            file.read_exact_at(&mut part, at)?;
            sha.update(&part);
        }
    }
    Ok(hex(&sha.finalize()))
}

/// In hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Error: this is no regular file.
pub fn check(file: &File) -> io::Result<()> {
    match file.metadata()?.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}
