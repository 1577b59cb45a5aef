//! The run folder: everything one experiment leaves behind, with one writer at a time and any number of readers.
//!
//! ```text
//! runs/ve_cifar/
//!   experiment.toml            the resolved experiment
//!   run.json                   the format of the folder, and the shape of the data
//!   metrics.jsonl              one line of numbers per logged step
//!   events.out.*               the same for TensorBoard, one file per session
//!   checkpoints/               step-00000020.safetensors, the newest few
//!   samples/                   pictures, arrays and what they cost
//!   dequantiser.safetensors    the trained law of dequantisation, if there is one
//!   likelihood.*               the number, every example's, their histogram, and every solve as it was finished
//!   lab/                       solvers compared
//!   .lock                      held while a process trains here
//! ```

mod about;
pub mod checkpoint;
mod journal;
pub mod log;
mod npz;
pub mod tensors;

pub use about::{About, FORMAT};
pub use journal::Journal;
pub use npz::Npz;

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};

/// The file that makes a folder a run.
const EXPERIMENT: &str = "experiment.toml";
/// Files of this prefix are being written; one that outlives its process is rubbish.
const PARTIAL: &str = ".partial-";

/// An open run folder. A writer's lock is held until this is dropped, or the process dies in whatever way; a reader has none.
#[derive(Debug)]
pub struct Run {
    path: PathBuf,
    _lock: Option<File>,
}

/// The name of a result that nobody else writes meanwhile.
#[derive(Debug)]
pub struct Reserved {
    path: PathBuf,
    _lock: File,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // An empty file left behind does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

impl Run {
    /// Opens the folder at `path` for this process alone; creates it, `checkpoints/` and `samples/` where missing, and removes what a
    /// killed process left half written.
    ///
    /// Errors: `path` is a file, another process works there, or the folder can't be written.
    pub fn open(path: &Path) -> Result<Run> {
        if path.is_file() {
            return Err(Error::run(path, "is a file, but a run is a folder", "name a folder, new or of an earlier run (--out DIR)"));
        }
        for folder in [path, &path.join("checkpoints"), &path.join("samples")] {
            fs::create_dir_all(folder).map_err(|e| Error::io("create the folder", folder, e))?;
        }
        let lock = lock(path)?;
        sweep(path)?;
        Ok(Run { path: path.to_owned(), _lock: Some(lock) })
    }

    /// Opens a run that must exist already: a folder with an `experiment.toml`.
    ///
    /// Errors: as `open`, and if there is no such run; that error lists the runs in or beside `path`.
    pub fn existing(path: &Path) -> Result<Run> {
        Run::find(path)?;
        Run::open(path)
    }

    /// Opens a run that must exist already beside whoever works there: what is read are files that a writer only ever replaces as a whole, and
    /// what is written has a name of its own.
    ///
    /// Errors: there is no such run; that error lists the runs in or beside `path`.
    pub fn reading(path: &Path) -> Result<Run> {
        Run::find(path)?;
        Ok(Run { path: path.to_owned(), _lock: None })
    }

    fn find(path: &Path) -> Result<()> {
        if path.join(EXPERIMENT).is_file() {
            return Ok(());
        }
        let problem = match fs::metadata(path) {
            Ok(found) if found.is_dir() => format!("is not a run: it holds no {EXPERIMENT}"),
            Ok(_) => "is a file, but a run is a folder".to_owned(),
            Err(_) => "does not exist".to_owned(),
        };
        let runs = runs_around(path);
        let help = match runs.is_empty() {
            true => "a run is the folder that `score-sde run FILE` makes, runs/<name of FILE>; no run was found here".to_owned(),
            false => format!("a run is the folder that `score-sde run FILE` makes; found: {}", runs.join(", ")),
        };
        Err(Error::run(path, problem, help))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text of `experiment.toml`; none in a new folder.
    pub fn experiment(&self) -> Result<Option<String>> {
        let Some(bytes) = self.read(EXPERIMENT)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|e| {
            let help = "restore the file, or start the run anew in another folder (--out DIR)";
            Error::run(self.path.join(EXPERIMENT), format!("is not text: {e}"), help)
        })?;
        Ok(Some(text))
    }

    /// Whether there is a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).is_file()
    }

    /// Reserves the name of a result for this process until the guard is dropped, or the process dies; `None` if another one has it.
    pub fn reserve(&self, name: &str) -> Result<Option<Reserved>> {
        let path = self.path.join(format!(".reserved-{}", name.replace('/', "-")));
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(|e| Error::io("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Reserved { path, _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(Error::io("lock", &path, e)),
        }
    }

    /// Puts a file of this content at `name`, relative to the run (`samples/grid.png`). Whatever happens meanwhile, even a power cut,
    /// the file is afterwards either the old one or the new one, whole.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        self.replace(name, |file| file.write_all(bytes))
    }

    /// As `write`, with a report as JSON that people can read, too. Numbers that are not finite are null.
    pub fn write_json(&self, name: &str, report: &impl Serialize) -> Result<PathBuf> {
        let text = serde_json::to_string_pretty(report).expect("a report is JSON");
        self.write(name, format!("{text}\n").as_bytes())
    }

    /// The content of the file `name`; none if there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", path, e)),
        }
    }

    /// As `write`, with the content written by `fill`.
    fn replace(&self, name: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<PathBuf> {
        let path = self.path.join(name);
        replace(&path, fill)?;
        Ok(path)
    }
}

/// Puts a file at `path` that holds what `fill` writes, whole or not at all; creates the folders above it.
pub fn replace(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let attempt = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let readable = Permissions::from_mode(0o644);
        let prefix = format!("{PARTIAL}{}-", std::process::id());
        let mut partial = tempfile::Builder::new().prefix(&prefix).permissions(readable).tempfile_in(folder)?;
        fill(partial.as_file_mut())?;
        partial.as_file().sync_all()?;
        partial.persist(path).map_err(|e| e.error)?;
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|e| Error::io("write", path, e))
}

/// Takes the lock of a run folder and leaves the process id in it, for the message another process gets.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(|e| Error::io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let message = format!("another process works in this run folder (process {})", owner.trim());
            return Err(Error::run(folder, message, "wait until it ends, stop it, or use another folder (--out DIR)"));
        }
    }
    let note = |file: &mut File| -> io::Result<()> {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    note(&mut file).map_err(|e| Error::io("write", &path, e))?;
    Ok(file)
}

/// Removes half-written files from a folder and the folders in it.
fn sweep(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| Error::io("read the folder", folder, e))? {
        let entry = entry.map_err(|e| Error::io("read the folder", folder, e))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep(&entry.path())?;
        } else if is_orphan(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).map_err(|e| Error::io("remove", entry.path(), e))?;
        }
    }
    Ok(())
}

/// Whether this is a half-written file of a process that is gone.
fn is_orphan(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PARTIAL) else { return false };
    let owner = rest.split('-').next().and_then(|id| id.parse::<u32>().ok());
    owner.is_none_or(|id| id != std::process::id() && !Path::new("/proc").join(id.to_string()).exists())
}

/// The runs in a folder, or, if it has none, those beside it, or else those in `runs/`; the newest ten, newest first.
fn runs_around(path: &Path) -> Vec<String> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let runs_in = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut runs: Vec<_> = entries.filter_map(|run| Some((fs::metadata(run.join(EXPERIMENT)).ok()?.modified().ok()?, run))).collect();
        runs.sort_by(|a, b| b.cmp(a));
        let names = runs.into_iter().take(10).map(|(_, run)| run.strip_prefix("./").unwrap_or(&run).display().to_string());
        names.collect::<Vec<_>>()
    };
    [path, parent, Path::new("runs")].into_iter().map(runs_in).find(|runs| !runs.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
