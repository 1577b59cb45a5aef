//! The run folder: everything one experiment leaves behind, with one writer at a time and any number of readers.
//!
//! ```text
//! runs/ve_cifar/
//!   experiment.toml            the resolved experiment
//!   run.json                   the format of the folder, the shape of the data, and the run's own mark
//!   history.jsonl              what was done here, in its order
//!   metrics.jsonl              one line of numbers per logged step
//!   events.out.*               the same for TensorBoard, one file per session
//!   checkpoints/               step-00000020.safetensors, the newest few
//!   network.pt                 the program that the network is, if it is one of [network.torchscript]
//!   autoencoder/               the run of a latent space's autoencoder, if there is one
//!   samples/                   pictures, arrays and what they cost
//!   analytic_variance.*        what the analytic variance is made of, if it is asked for
//!   dequantiser.*              the trained law of dequantisation, if there is one
//!   evaluation.*, evaluation/  samples compared with examples, at the end and along training
//!   likelihood.*               the number, every example's, their histogram, and every solve as it was finished
//!   curves/                    those of results that were made beside the run
//!   lab/                       solvers compared
//!   *.manifest                 of what was made together: sizes, checksums, and what it depends on
//!   *.journal                  what a phase has done so far
//!   .lock                      held while a process trains here
//! ```

mod about;
mod asked;
pub mod checkpoint;
mod folder;
mod history;
pub mod journal;
pub mod log;
mod names;
mod npz;
mod overview;
mod product;
mod provenance;
pub mod tensors;
mod verify;

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use about::{About, FORMAT, Origin};
pub use asked::{ASKED, Asked};
pub use folder::Folder;
pub use journal::{Journal, difference};
pub use names::{Reserved, plain_name, reserve, result_name};
pub use npz::Npz;
pub use overview::{Measured, Overview, runs_below};
pub use product::{Found, Product, TRAJECTORY, manifest, manifests};
pub use provenance::{Clock, Provenance};
pub use verify::{Finding, State, verify};

use crate::error::{Error, Result};
use crate::progress::warn;

/// The folders in a run that are runs themselves: the autoencoder of a latent space, and the classifier that guides samples.
pub const AUTOENCODER: &str = "autoencoder";
pub const CLASSIFIER: &str = "classifier";
/// The file of a network that is a program.
pub const NETWORK: &str = "network.pt";
/// The file that makes a folder a run.
pub const EXPERIMENT: &str = "experiment.toml";
/// Its first line begins so.
const CHECKED: &str = "# crc32 ";
const LOCK: &str = ".lock";

/// An open run folder. A writer's lock is held until this is dropped, or the process dies in whatever way; a reader has none.
#[derive(Debug)]
pub struct Run {
    folder: Folder,
    lock: Option<File>,
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
        let folder = Folder::create(path)?;
        let lock = lock(&folder)?;
        for folder in ["checkpoints", "samples"].map(|name| path.join(name)) {
            fs::create_dir_all(&folder).map_err(|e| Error::io("create the folder", &folder, e))?;
        }
        folder.sweep(&["", "checkpoints", "samples", "evaluation", "lab"])?;
        for group in ["samples", "likelihood"].map(|group| format!("curves/{group}")) {
            folder.names(&group)?.iter().try_for_each(|name| folder.sweep(&[&format!("{group}/{name}")]))?;
        }
        Ok(Run { folder, lock: Some(lock) })
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
        Ok(Run { folder: Folder::open(path)?, lock: None })
    }

    /// A folder for results of a run that can't be written, or should not be.
    pub fn elsewhere(path: &Path) -> Result<Run> {
        Ok(Run { folder: Folder::create(path)?, lock: None })
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
        self.folder.path()
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The text of `experiment.toml`; none in a new folder.
    ///
    /// Error: its checksum does not fit. One without a checksum was edited, or is of an earlier version.
    pub fn experiment(&self) -> Result<Option<String>> {
        let Some(bytes) = self.read(EXPERIMENT)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|e| {
            let help = "restore the file, or start the run anew in another folder (--out DIR)";
            Error::run(self.folder.at(EXPERIMENT), format!("is not text: {e}"), help)
        })?;
        match text.strip_prefix(CHECKED).and_then(|text| text.split_at_checked(8)) {
            Some((crc, rest)) if crc != checksum(rest) => {
                let help = "restore it from a copy; or, if you edited it, remove its first line";
                Err(Error::run(self.folder.at(EXPERIMENT), "is damaged: its checksum does not fit its content", help))
            }
            _ => Ok(Some(text)),
        }
    }

    /// Makes the folder a run of this experiment.
    pub fn keep_experiment(&self, text: &str) -> Result<()> {
        let rest = format!(" is the checksum of what follows; remove this line when you edit it\n{text}");
        self.write(EXPERIMENT, format!("{CHECKED}{}{rest}", checksum(&rest)).as_bytes()).map(drop)
    }

    /// Whether there is a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.folder.has(name)
    }

    /// The content of the file `name`; none if there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.folder.read(name)
    }

    /// Puts a file of this content at `name`, relative to the run (`samples/grid.png`), whole or not at all.
    ///
    /// Error: the folder, or this process's lock in it, is not what it was: nothing is written then.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        self.replace(name, |file| file.write_all(bytes))
    }

    /// As `write`, with the content written by `fill`.
    fn replace(&self, name: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<PathBuf> {
        self.folder.replace(name, || self.check(), fill)
    }

    /// Error: the folder is not where it was, or another process may have its lock.
    fn check(&self) -> Result<()> {
        self.folder.check_in_place()?;
        self.lock.as_ref().map_or(Ok(()), |lock| self.folder.check_is(LOCK, lock))
    }

    /// Whether a product that depends on `of` is there, every byte of it. A damaged one is not, and a warning says so. One of earlier weights is
    /// set aside by the run's writer.
    ///
    /// Error: there is one that depends on something else; the message names the key.
    pub fn is_done(&self, name: &str, of: &Value) -> Result<bool> {
        match self.found(name)? {
            Found::Nothing => Ok(false),
            Found::Damaged(what) => {
                warn(&format!("{what}; it is made again"));
                Ok(false)
            }
            Found::Whole(there) if self.lock.is_some() && step_of(&there) < step_of(of) => self.set_aside(name, there).map(|()| false),
            Found::Whole(there) => match difference("", &there, of) {
                None => Ok(true),
                Some((key, there, here)) => {
                    let message = format!("is a result with other settings: {key} is {there} there, {here} now");
                    Err(Error::run(self.folder.at(name), message, "give this one another --name, or move that one away"))
                }
            },
        }
    }

    /// Keeps a product of earlier weights, and its journals, under a name with their step, `samples-at-2500`; its own name is free then.
    fn set_aside(&self, name: &str, of: Value) -> Result<()> {
        let kept = format!("{name}-at-{}", step_of(&of).unwrap_or_default());
        if !matches!(self.found(&kept)?, Found::Whole(_)) {
            let mut product = self.product(&kept, of);
            for file in product::files(&self.folder, name)? {
                let bytes = self.read(&file)?.unwrap_or_default();
                product.write(&file.replacen(name, &kept, 1), &bytes)?;
            }
            product.finish()?;
        }
        for ending in ["journal", "bound.journal"] {
            if self.has(&format!("{name}.{ending}")) {
                self.folder.rename(&format!("{name}.{ending}"), &format!("{kept}.{ending}"))?;
            }
        }
        Ok(())
    }

    /// Begins a product `name` of this run, which depends on `of`, in the place of one that may be there.
    pub fn product(&self, name: &str, of: Value) -> Product<'_> {
        Product::new(&self.folder, Box::new(|| self.check()), name, of)
    }

    /// What there is of a product.
    pub fn found(&self, name: &str) -> Result<Found> {
        product::find(&self.folder, name)
    }
}

/// The step of the weights that a product is of, if it is of any.
fn step_of(of: &Value) -> Option<u64> {
    of["weights"]["step"].as_u64()
}

fn checksum(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// Puts a file at `path` that holds what `fill` writes, whole or not at all; creates the folders above it.
pub fn replace(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::io("write", path, io::ErrorKind::IsADirectory.into()));
    };
    Folder::create(folder)?.replace(&name.to_string_lossy(), || Ok(()), fill).map(drop)
}

/// Takes the lock of a run folder and leaves the process id in it, for the message another process gets.
fn lock(folder: &Folder) -> Result<File> {
    let path = folder.at(LOCK);
    let mut file = folder.grow(LOCK)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let message = format!("another process works in this run folder (process {})", owner.trim());
            return Err(Error::run(folder.path(), message, "wait until it ends, stop it, or use another folder (--out DIR)"));
        }
    }
    let note = |file: &mut File| -> io::Result<()> {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    note(&mut file).map_err(|e| Error::io("write", &path, e))?;
    Ok(file)
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
