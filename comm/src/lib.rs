//! Processes that work together: a store of words and numbers that all of them see, and collectives on tensors, both LibTorch's own (c10d's
//! `TCPStore` and `ProcessGroupGloo`) behind a shim in C++.
//!
//! Every error is a word on what happened; no text of C++ and no exception comes out. Who is to blame is for the caller to find out.

mod group;
mod native;
mod store;

use std::fmt;

pub use group::Group;
pub use store::Store;

/// What became of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The others did not come, or did not answer, in time.
    TimedOut,
    /// A connection broke: a process at its other end is gone.
    Lost,
    /// Another program listens at the port.
    Taken,
}

pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Error::TimedOut => "no answer came in time",
            Error::Lost => "the connection was lost",
            Error::Taken => "another program listens at this port",
        })
    }
}

impl std::error::Error for Error {}
