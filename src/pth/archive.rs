//! The file around the pickle, and the numbers beside it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};
use zip::ZipArchive;
use zip::result::ZipError;

use super::{Pickle, Problem, TensorRef, shown, unpickle};
use crate::error::{Error, Result as Fallible};
use crate::file;
use crate::progress::warn;

/// What a zip archive begins with.
const ZIP: &[u8; 4] = b"PK\x03\x04";

type Result<T> = std::result::Result<T, Problem>;

/// Bytes of the longest pickle that is read; that of a network of 1700 tensors with its optimiser has about a million.
const LONGEST: u64 = 1 << 23;

/// The first three pickles of the old layout: a magic number, a version, and what the machine was that wrote it.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const VERSION: i128 = 1001;

/// An open file: its values, and where the numbers of its tensors are.
pub struct Archive<R> {
    pub pickle: Pickle,
    pub storages: Storages<R>,
}

/// The numbers of the tensors, one storage by the key that tensors name.
pub struct Storages<R> {
    layout: Layout<R>,
    /// Bytes of the whole file.
    length: u64,
    /// The storage that was read last, since those who share one follow each other.
    last: Option<(String, Tensor)>,
}

enum Layout<R> {
    /// One file `<folder>/data/<key>` for each storage.
    Zip { archive: ZipArchive<R>, folder: String },
    /// One storage after the other: the position of the first number of each.
    Sequence { file: R, positions: HashMap<String, u64> },
}

impl Archive<BufReader<File>> {
    /// Opens the file at `path`. Errors name it, what is wrong with it, and the cure.
    pub fn open(path: &Path) -> Fallible<Self> {
        let io = |e| Error::io("open", path, e);
        let mut file = file::open(path).map_err(io)?;
        let mut start = [0; 4];
        if file.read(&mut start).map_err(io)? == 4 && start != *ZIP {
            let hash = hash(path).map_err(io)?;
            warn(&format!(
                "{}: files of this old layout have no checksums; its SHA-256 is {hash}: compare it with its source",
                path.display()
            ));
        }
        file.rewind().map_err(io)?;
        Archive::read(BufReader::new(file)).map_err(|problem| problem.at(path))
    }
}

/// The SHA-256 of a file in hexadecimal digits.
fn hash(path: &Path) -> std::io::Result<String> {
    let (mut hasher, mut file, mut buffer) = (Sha256::new(), file::open(path)?, vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the values of a file of either layout, and finds its storages.
    pub fn read(mut file: R) -> Result<Archive<R>> {
        let length = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
        let mut start = [0; 4];
        file.rewind().map_err(unreadable)?;
        let zip = length >= 4 && file.read_exact(&mut start).is_ok() && start == *ZIP;
        if zip { Archive::read_zip(file, length) } else { Archive::read_sequence(file, length) }
    }

    fn read_zip(file: R, length: u64) -> Result<Archive<R>> {
        let mut archive = ZipArchive::new(file).map_err(bad_zip)?;
        let folder = archive.file_names().find_map(|name| name.strip_suffix("/data.pkl"));
        let folder = folder.ok_or_else(|| Problem::Unsupported("is a zip archive, but none of PyTorch: it holds no data.pkl".into()))?;
        let folder = folder.to_owned();
        if archive.file_names().any(|name| name == format!("{folder}/byteorder")) {
            let order = read_entry(&mut archive, &format!("{folder}/byteorder"), length.min(16))?;
            if order != b"little" {
                return Err(Problem::Unsupported("was written on a machine with the big end first, which is not read here".into()));
            }
        }
        let bytes = read_entry(&mut archive, &format!("{folder}/data.pkl"), length.min(LONGEST))?;
        let (pickle, _) = unpickle(&bytes)?;
        Ok(Archive { pickle, storages: Storages { layout: Layout::Zip { archive, folder }, length, last: None } })
    }

    fn read_sequence(mut file: R, length: u64) -> Result<Archive<R>> {
        file.rewind().map_err(unreadable)?;
        // Five pickles at most; the numbers begin behind them.
        let mut bytes = Vec::new();
        file.by_ref().take(5 * LONGEST).read_to_end(&mut bytes).map_err(unreadable)?;
        let mut end = 0;
        let mut next = || -> Result<Pickle> {
            let rest = &bytes[end..];
            let (pickle, taken) = unpickle(&rest[..rest.len().min(LONGEST as usize)])?;
            end += taken;
            Ok(pickle)
        };
        let foreign = || Problem::Unsupported("is no checkpoint of PyTorch".into());
        let first = next().map_err(|problem| if matches!(problem, Problem::Call(_)) { problem } else { foreign() })?;
        if first.root().int() != Some(MAGIC) || next()?.root().int() != Some(VERSION) {
            return Err(foreign());
        }
        if next()?.root().get("little_endian").and_then(|order| order.bool()) != Some(true) {
            return Err(Problem::Unsupported("was written on a machine with the big end first, which is not read here".into()));
        }
        let pickle = next()?;
        let keys = next()?;
        let keys = keys.root().items().ok_or_else(|| Problem::Damaged("it has no list of its storages".into()))?;

        let sizes: HashMap<&str, (Kind, i64)> = pickle.storages().map(|(key, kind, numel)| (key, (kind, numel))).collect();
        let mut positions = HashMap::new();
        let mut at = end as u64;
        for key in keys {
            let key = key.text().ok_or_else(|| Problem::Damaged("the list of its storages holds more than names".into()))?;
            let name = shown(key);
            let (kind, numel) =
                *sizes.get(key).ok_or_else(|| Problem::Damaged(format!("no tensor tells the type of its storage {name}")))?;
            let cut = || Problem::Damaged(format!("it is cut short: storage {name} of {numel} numbers begins at byte {at} of {length}"));
            if at + 8 > length {
                return Err(cut());
            }
            let mut stated = [0; 8];
            file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut stated)).map_err(unreadable)?;
            if i64::from_le_bytes(stated) != numel {
                let stated = i64::from_le_bytes(stated);
                return Err(Problem::Damaged(format!("storage {name} says it has {stated} numbers, its tensors {numel}")));
            }
            let end = numel as u64 * kind.elt_size_in_bytes() as u64;
            let end = (at + 8).checked_add(end).filter(|end| *end <= length).ok_or_else(cut)?;
            positions.insert(key.to_owned(), at + 8);
            at = end;
        }
        Ok(Archive { pickle, storages: Storages { layout: Layout::Sequence { file, positions }, length, last: None } })
    }
}

impl<R: Read + Seek> Storages<R> {
    /// The tensor as a view of its storage, with the strides of the file. An expanded one may stand for more numbers than there are: check
    /// its shape before it is copied.
    pub fn read(&mut self, tensor: &TensorRef) -> Result<Tensor> {
        let storage = match self.last.take() {
            Some((key, storage)) if key == tensor.key && storage.kind() == tensor.kind && storage.numel() == tensor.numel as usize => {
                storage
            }
            _ => self.storage(tensor)?,
        };
        let view = storage.as_strided(tensor.size, tensor.stride, tensor.offset);
        self.last = Some((tensor.key.to_owned(), storage));
        Ok(view)
    }

    /// The whole storage below a tensor.
    fn storage(&mut self, tensor: &TensorRef) -> Result<Tensor> {
        let bytes = tensor.numel as u64 * tensor.kind.elt_size_in_bytes() as u64;
        let (key, name) = (tensor.key, shown(tensor.key));
        if bytes > self.length {
            return Err(Problem::Damaged(format!("storage {name} is to have {bytes} bytes, more than the file")));
        }
        let content = match &mut self.layout {
            Layout::Zip { archive, folder } => {
                let content = read_entry(archive, &format!("{folder}/data/{key}"), bytes)?;
                if content.len() as u64 != bytes {
                    return Err(Problem::Damaged(format!("storage {name} has {} bytes, its tensors expect {bytes}", content.len())));
                }
                content
            }
            Layout::Sequence { file, positions } => {
                let at = *positions.get(key).ok_or_else(|| Problem::Damaged(format!("it holds no storage {name}")))?;
                if at + bytes > self.length {
                    return Err(Problem::Damaged(format!("it is cut short: storage {name} ends at byte {}", at + bytes)));
                }
                let mut content = vec![0; bytes as usize];
                file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut content)).map_err(unreadable)?;
                content
            }
        };
        Ok(Tensor::from_data_size(&content, &[tensor.numel], tensor.kind))
    }
}

/// A file of the archive, which `torch.save` stores as it is; its checksum is checked. `limit`: its greatest size.
fn read_entry<R: Read + Seek>(archive: &mut ZipArchive<R>, name: &str, limit: u64) -> Result<Vec<u8>> {
    let shown = shown(name);
    let mut entry = archive.by_name(name).map_err(|e| match e {
        ZipError::FileNotFound => Problem::Damaged(format!("it holds no {shown}")),
        e => bad_zip(e),
    })?;
    if entry.compression() != zip::CompressionMethod::Stored {
        return Err(Problem::Unsupported(format!("holds {shown} compressed, which torch.save never does")));
    }
    if entry.size() > limit {
        return Err(Problem::Damaged(format!("{shown} has {} bytes, more than the {limit} it can have", entry.size())));
    }
    let mut content = Vec::with_capacity(entry.size() as usize);
    // One byte more, since the checksum is checked at the end of the file alone.
    entry.by_ref().take(limit + 1).read_to_end(&mut content).map_err(|e| Problem::Damaged(format!("{shown}: {e}")))?;
    Ok(content)
}

fn bad_zip(e: ZipError) -> Problem {
    match e {
        ZipError::Io(e) => unreadable(e),
        e => Problem::Damaged(format!("the zip archive can't be read: {e}")),
    }
}

fn unreadable(e: std::io::Error) -> Problem {
    Problem::Damaged(format!("it can't be read: {e}"))
}
