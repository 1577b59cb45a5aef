//! The names of results: which can be given, and whose they are while they are made.

use std::fs::{File, TryLockError};

use super::product::TRAJECTORY;
use super::{Folder, Run, manifest};
use crate::error::{Error, Result};

/// What files and folders of a run are called that are no results of a name, without their endings.
const TAKEN: [&str; 15] = [
    "experiment",
    "run",
    "report",
    "metrics",
    "events",
    "curves",
    "network",
    "checkpoints",
    "autoencoder",
    "classifier",
    "analytic_variance",
    "dequantiser",
    "evaluation",
    "weights",
    "lab",
];

/// The name of a result that nobody else writes meanwhile.
#[derive(Debug)]
pub struct Reserved<'a> {
    folder: &'a Folder,
    name: String,
    _lock: File,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        // An empty file left behind does no harm.
        let _ = self.folder.remove(&self.name);
    }
}

/// Reserves the name of a result in a folder for this process until the guard is dropped, or the process dies; `None` if another one has it.
pub fn reserve<'a>(folder: &'a Folder, name: &str) -> Result<Option<Reserved<'a>>> {
    let name = format!(".reserved-{}", name.replace('/', "-"));
    let file = folder.grow(&name)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Reserved { folder, name, _lock: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", folder.at(&name), e)),
    }
}

/// The given name of a result, or the first free one of `<base>-2`, `<base>-3`, …, reserved for this process; `product` is the product of a name.
pub fn result_name<'a>(
    place: &'a Run,
    name: Option<String>,
    base: &str,
    product: impl Fn(&str) -> String,
) -> Result<(String, Reserved<'a>)> {
    if let Some(name) = name {
        let name = plain_name(name)?;
        let reserved = reserve(place.folder(), &product(&name))?.ok_or_else(|| {
            let help = "wait until it ends, or give another --name".to_owned();
            Error::Usage { message: format!("another process is writing {}", place.folder().at(&product(&name)).display()), help }
        })?;
        return Ok((name, reserved));
    }
    let mut n = 2;
    loop {
        let name = format!("{base}-{n}");
        if !place.has(&manifest(&product(&name)))
            && let Some(reserved) = reserve(place.folder(), &product(&name))?
        {
            return Ok((name, reserved));
        }
        n += 1;
    }
}

/// A name whose files are those of no other result, and of nothing else in a run. Error: it is none.
pub fn plain_name(name: String) -> Result<String> {
    let refused = |why: &str| {
        let help = "give a plain name without slashes and dots, such as --name heun-40".into();
        Err(Error::Usage { message: format!("{name:?} can't name a result: {why}"), help })
    };
    let is_plain = !name.is_empty() && name.len() <= LONGEST && !name.contains(|c: char| "/\\.".contains(c) || c.is_control());
    let of_trajectory = TRAJECTORY.trim_end_matches(".png");
    match () {
        () if !is_plain => refused("its files are called after it"),
        () if TAKEN.iter().any(|taken| name.eq_ignore_ascii_case(taken)) => refused("files of the run itself are called so"),
        () if name.ends_with(of_trajectory) => refused("the pictures of samples on their way are called so"),
        () => Ok(name),
    }
}

/// Bytes of a name: what is added to it is no longer than the rest of the 255 that file systems take.
const LONGEST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_file_of_a_run() {
        for name in ["heun-40", "samples", "likelihood-2", "t=0_5", "größer"] {
            assert_eq!(plain_name(name.into()).unwrap(), name);
        }
        let long = "x".repeat(201);
        for name in ["", ".", "..", "a/b", "a\\b", "a.bound", "a\nb", &long] {
            assert!(plain_name(name.into()).unwrap_err().to_string().contains("called after it"), "{name:?}");
        }
        for name in ["run", "experiment", "Experiment", "weights"] {
            assert!(plain_name(name.into()).unwrap_err().to_string().contains("of the run itself"), "{name}");
        }
        assert!(plain_name("samples-trajectory".into()).unwrap_err().to_string().contains("on their way"));
    }
}
