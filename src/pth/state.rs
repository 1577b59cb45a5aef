//! Weights alone: a dict of named tensors, as `torch.save(module.state_dict(), FILE)` writes it.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};

use super::{Archive, Pickle, Problem, Storages, Value};
use crate::error::{Error, Result};

/// The tensors of a file, with their bytes still in it.
pub struct StateDict<'a> {
    path: PathBuf,
    /// Where the right file comes from.
    cure: &'static str,
    pickle: Pickle,
    storages: Storages<Cursor<&'a [u8]>>,
}

impl StateDict<'_> {
    /// Of the bytes of the file at `path`. Error: it is damaged, or is no checkpoint of PyTorch.
    pub fn parse<'a>(path: &Path, bytes: &'a [u8], cure: &'static str) -> Result<StateDict<'a>> {
        let Archive { pickle, storages } = Archive::read(Cursor::new(bytes)).map_err(|problem| match problem {
            Problem::Unsupported(what) => Error::data(path, what, cure),
            problem => problem.at(path),
        })?;
        Ok(StateDict { path: path.to_owned(), cure, pickle, storages })
    }

    /// The tensor of a name, f32. Error: there is none, or it has another shape or type.
    pub fn tensor(&mut self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let found = self.pickle.root().get(name);
        match found.and_then(Value::tensor).filter(|tensor| tensor.size() == shape && tensor.kind() == Kind::Float) {
            Some(tensor) => self.storages.read(&tensor).map_err(|problem| problem.at(&self.path)),
            None => {
                let found = found.map_or("none".into(), Value::describe);
                Err(Error::data(&self.path, format!("{name}: expected a tensor {shape:?} of type Float, found {found}"), self.cure))
            }
        }
    }
}
