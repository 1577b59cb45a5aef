//! PyTorch's `.pth` files, read without running them.
//!
//! ```text
//! archive.rs    the file: a zip archive (PyTorch 1.6 and later) or the sequence of pickles before it; where each storage's bytes are
//! unpickle.rs   the pickle in it as plain values (value.rs); of all Python names only those in calls.rs,
//!               which put tensors and numbers together
//! diffusers/    folders of Hugging Face's diffusers, whose weights are safetensors
//! state.rs      those values as weights alone
//! reference.rs  those values as a training checkpoint of the reference implementation
//! ```
//!
//! A pickle is a program. `unpickle.rs` knows the few instructions that describe data, and refuses a file at the first name that is not
//! among its own, called or not. Every length is checked against the bytes that are there before anything is allocated.

mod archive;
mod calls;
pub mod diffusers;
mod opcode;
pub mod reference;
mod state;
mod unpickle;
mod value;

pub use archive::{Archive, Storages};
pub use state::StateDict;
pub use unpickle::unpickle;
pub use value::{Pickle, TensorRef, Value};

use std::path::Path;

use crate::error::Error;

/// Why a file can't be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// It names something that would have to be called, as `module.name`.
    Call(String),
    /// It is not whole, or not what it says.
    Damaged(String),
    /// It may be whole, but is of a kind that is not read here.
    Unsupported(String),
}

impl Problem {
    fn call(module: &str, name: &str) -> Problem {
        Problem::Call(format!("{}.{}", shown(module), shown(name)))
    }

    /// The error for the file at `path`.
    pub fn at(self, path: &Path) -> Error {
        match self {
            Problem::Call(name) => Error::data(
                path,
                format!("refusing to call `{name}`"),
                "a checkpoint of weights needs no such call, so the file may be an attack; nothing of it was run. \
                 If you trust it, load it in PyTorch and save a dict of nothing but tensors, numbers, lists and dicts",
            ),
            Problem::Damaged(what) => Error::data(path, format!("is damaged: {what}"), "copy or download it again"),
            Problem::Unsupported(what) => {
                Error::data(path, what, "give a checkpoint that torch.save wrote: a dict with optimizer, model, ema and step")
            }
        }
    }
}

/// A word of the file as a message may show it.
fn shown(word: &str) -> String {
    let start: String = word.chars().take(100).collect();
    let rest = if start.len() < word.len() { "..." } else { "" };
    format!("{}{rest}", start.escape_debug())
}
