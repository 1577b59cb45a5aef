//! The image files below a folder or in a zip archive.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::data::source::{Archive, Source};
use crate::error::{Error, Result};

/// Image files in the order of their paths, compared folder by folder.
pub(super) struct Files {
    place: Place,
    /// Relative to the folder, or within the archive.
    pub names: Vec<PathBuf>,
    /// How many files are no images, and the first of them.
    left_out: (usize, PathBuf),
}

enum Place {
    Folder(PathBuf),
    /// With the place of each file among the archive's entries.
    Archive(Archive, Vec<usize>),
}

const CURE: &str = "name a folder or a zip archive of PNG and JPEG files, or correct the path";

/// The labels of EDM's data sets, beside the images.
pub(super) const DATASET_JSON: &str = "dataset.json";

impl Files {
    /// Error: there is no such folder or archive, or no image in it.
    pub fn list(path: &Path) -> Result<Files> {
        let (place, found) = if path.is_dir() { Files::below(path)? } else { Files::within(path)? };
        let (images, others): (Vec<_>, Vec<_>) =
            found.into_iter().filter(|(name, _)| !is_hidden(name)).partition(|(name, _)| is_image(name));
        let others: Vec<PathBuf> = others.into_iter().map(|(name, _)| name).filter(|name| name != Path::new(DATASET_JSON)).collect();
        if images.is_empty() {
            let message = match others.iter().min() {
                None => "holds no PNG or JPEG files".to_owned(),
                Some(first) => format!("holds no PNG or JPEG files, but others, such as {}", first.display()),
            };
            return Err(Error::data(path, message, CURE));
        }
        let mut images = images;
        images.sort();
        let (names, entries): (Vec<PathBuf>, Vec<usize>) = images.into_iter().unzip();
        let place = match place {
            Place::Archive(archive, _) => Place::Archive(archive, entries),
            folder => folder,
        };
        let left_out = (others.len(), others.into_iter().min().unwrap_or_default());
        Ok(Files { place, names, left_out })
    }

    fn below(folder: &Path) -> Result<(Place, Vec<(PathBuf, usize)>)> {
        let mut found = Vec::new();
        // Links are followed, since large sets are often folders of links; a circle of them is an error.
        for entry in WalkDir::new(folder).follow_links(true).min_depth(1) {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(folder).to_owned();
                match error.loop_ancestor() {
                    Some(ancestor) => Error::data(path, format!("is a link back to {}", ancestor.display()), "remove the link"),
                    None => Error::io("read", path, error.into()),
                }
            })?;
            if entry.file_type().is_file() {
                found.push((entry.path().strip_prefix(folder).unwrap_or(entry.path()).to_owned(), 0));
            }
        }
        Ok((Place::Folder(folder.to_owned()), found))
    }

    fn within(path: &Path) -> Result<(Place, Vec<(PathBuf, usize)>)> {
        let archive = Archive::open(path, CURE)?;
        let found = archive.entries.iter().enumerate().map(|(i, entry)| (PathBuf::from(&entry.name), i)).collect();
        Ok((Place::Archive(archive, Vec::new()), found))
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn source(&self, i: usize) -> Result<Source> {
        match &self.place {
            Place::Folder(folder) => Source::open(&folder.join(&self.names[i]), "it was there before: bring it back"),
            Place::Archive(archive, entries) => Ok(archive.source(&archive.entries[entries[i]])),
        }
    }

    /// The folder or archive itself.
    pub fn root(&self) -> &Path {
        match &self.place {
            Place::Folder(folder) => folder,
            Place::Archive(archive, _) => &archive.path,
        }
    }

    /// Another file at the root.
    pub fn beside(&self, name: &str) -> Result<Source> {
        let cure = "EDM's dataset_tool.py writes it; for classes by folders give data.images.labels = \"folders\"";
        match &self.place {
            Place::Folder(folder) => Source::open(&folder.join(name), cure),
            Place::Archive(archive, _) => match archive.entry(name) {
                Some(entry) => Ok(archive.source(entry)),
                None => Err(Error::data(&archive.path, format!("holds no {name}"), cure)),
            },
        }
    }

    /// The folder that has the class folders below it: in an archive of one folder, that folder.
    pub fn depth_of_classes(&self) -> usize {
        let top = |name: &PathBuf| name.iter().next().map(OsStr::to_owned);
        let wrapped = |name: &PathBuf| name.iter().count() > 2 && top(name) == top(&self.names[0]);
        usize::from(matches!(self.place, Place::Archive(..)) && self.names.iter().all(wrapped))
    }

    /// What was left out.
    pub fn note(&self) -> Option<String> {
        let (count, first) = &self.left_out;
        (*count > 0).then(|| format!("{count} files that are no PNG or JPEG are left out, such as {}", first.display()))
    }
}

/// Whether a file or a folder around it is one of those that systems put beside a user's.
fn is_hidden(name: &Path) -> bool {
    name.iter().any(|part| part == "__MACOSX" || part.as_encoded_bytes().starts_with(b".") && part != "..")
}

fn is_image(name: &Path) -> bool {
    name.extension().is_some_and(|extension| ["png", "jpg", "jpeg"].iter().any(|kind| extension.eq_ignore_ascii_case(kind)))
}
