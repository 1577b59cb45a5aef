//! One error type. Every variant says where (path, key or step), what, and how to cure it; no variant carries a backtrace.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, Error, Diagnostic)]
pub enum Error {
    /// The experiment file is wrong at a known place.
    #[error("{message}")]
    Experiment {
        message: String,
        #[source_code]
        text: Arc<NamedSource<String>>,
        #[label("here")]
        span: Option<SourceSpan>,
        #[help]
        help: Option<String>,
    },
    /// The experiment file is wrong at several places.
    #[error("{message}")]
    Mistakes {
        message: String,
        #[related]
        mistakes: Vec<Error>,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        reason: std::io::Error,
        #[help]
        help: &'static str,
    },
    /// A data file is missing or is not what it should be.
    #[error("{}: {message}", path.display())]
    Data {
        path: PathBuf,
        message: String,
        #[help]
        help: String,
    },
    /// A run folder, or something in it, can't be used.
    #[error("{}: {message}", path.display())]
    Run {
        path: PathBuf,
        message: String,
        #[help]
        help: String,
    },
    /// Training met a loss or gradient that is not a finite number.
    #[error("{what} is {value} at step {step}{place}")]
    NotFinite {
        what: &'static str,
        value: f64,
        step: u64,
        /// Where the worst example of the batch was, if there is more to say than its loss.
        place: String,
        #[help]
        help: String,
    },
    /// A solver left the finite numbers or would never arrive.
    #[error("{message}")]
    Solver {
        message: String,
        #[help]
        help: String,
    },
    /// Memory ran out, or is not enough for what is asked.
    #[error("{message}")]
    Memory {
        message: String,
        #[help]
        help: String,
    },
    /// The command line asks for something that does not exist here.
    #[error("{message}")]
    Usage {
        message: String,
        #[help]
        help: String,
    },
    /// Golden cases came out otherwise than the reference's.
    #[error("{failed} of {compared} golden cases differ from the reference by more than they may")]
    Parity { failed: usize, compared: usize },
    /// Another process of this run ended it; without a message where that one reports it.
    #[error("{message}")]
    Rank {
        message: String,
        #[help]
        help: &'static str,
        code: u8,
    },
    /// The user asked to stop; what was done is saved.
    #[error("interrupted at {at}, which is saved; the same command again goes on from there")]
    Interrupted { at: String },
}

/// A value of the experiment file that can't work, found while checking it: `key` is dotted and relative to the table that was checked
/// (`range`, `multipliers`), so that the report can point at the line.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub key: String,
    pub message: String,
    pub help: String,
}

impl Fault {
    pub fn new(key: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { key: key.into(), message: message.into(), help: help.into() }
    }

    /// Holds a number of the file to its range, both ends included; `hint` ends the help.
    pub fn unless_in<N: PartialOrd + Display>(key: &str, value: N, range: RangeInclusive<N>, hint: &str) -> Result<(), Fault> {
        if range.contains(&value) {
            return Ok(());
        }
        let name = key.rsplit('.').next().unwrap_or(key);
        let help = format!("give a whole number from {} to {}; {hint}", range.start(), range.end());
        Err(Fault::new(key, format!("{name} is {value}"), help))
    }

    /// The same fault seen from the table around: its key gets the table's name in front. An empty key is the table as a whole.
    pub fn within(self, table: &str) -> Fault {
        let key = if self.key.is_empty() { table.to_owned() } else { format!("{table}.{}", self.key) };
        Fault { key, ..self }
    }
}

/// A fault of settings that no file was checked for, such as those a program makes.
impl From<Fault> for Error {
    fn from(Fault { key, message, help }: Fault) -> Error {
        Error::Usage { message: if key.is_empty() { message } else { format!("{key}: {message}") }, help }
    }
}

impl Error {
    /// What is wrong, each mistake of several.
    pub fn in_words(&self) -> String {
        match self {
            Error::Mistakes { mistakes, .. } => mistakes.iter().map(Error::in_words).collect::<Vec<_>>().join("; "),
            other => other.to_string(),
        }
    }

    /// Whether all processes of a run come to it in the same step.
    pub fn is_of_all(&self) -> bool {
        matches!(self, Error::Interrupted { .. } | Error::NotFinite { .. })
    }

    /// Of a process that ends with it: 2 where the command line is wrong, 75 where the same command goes on from what is saved, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage { .. } => 2,
            Error::Interrupted { .. } => 75,
            Error::Rank { code, .. } => *code,
            _ => 1,
        }
    }

    pub fn io(action: &'static str, path: impl AsRef<Path>, reason: std::io::Error) -> Error {
        let help = cure(&reason);
        Error::Io { action, path: path.as_ref().to_owned(), reason, help }
    }

    pub fn data(path: impl AsRef<Path>, message: impl Into<String>, help: impl Into<String>) -> Error {
        Error::Data { path: path.as_ref().to_owned(), message: message.into(), help: help.into() }
    }

    pub fn run(path: impl AsRef<Path>, message: impl Into<String>, help: impl Into<String>) -> Error {
        Error::Run { path: path.as_ref().to_owned(), message: message.into(), help: help.into() }
    }
}

/// What helps when the system refuses.
fn cure(reason: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match reason.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space, or name a folder on another disk; what was saved before is whole"
        }
        ErrorKind::ReadOnlyFilesystem => "name a folder that can be written: --out DIR",
        ErrorKind::PermissionDenied => "let this user read and write it, or name another place: --out DIR",
        ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::InvalidInput | ErrorKind::AlreadyExists => {
            "something else is in its place: move that away, or name another path"
        }
        _ if reason.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => "it is a link: move that away, or name another path",
        ErrorKind::NotFound => "something on the way to it does not exist: correct the path",
        _ => "look at the disk; what was saved before is whole, and the same command goes on from there",
    }
}
