//! The image files below a folder or in a zip archive.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use crate::data::source::{Archive, Source};
use crate::error::{Error, Result};

/// Image files in the order of their paths, compared folder by folder.
pub(super) struct Files {
    place: Place,
    /// The path of each below the folder or within the archive, and its place among the archive's entries.
    files: Vec<(PathBuf, usize)>,
    /// How many files are no images, and the first of them.
    left_out: (usize, PathBuf),
}

enum Place {
    Folder(PathBuf),
    Archive(Archive),
}

const CURE: &str = "name a folder of PNG and JPEG files, or a zip archive of them without a password: zip -r -0 images.zip folder";

/// The labels of EDM's data sets, beside the images.
pub(super) const DATASET_JSON: &str = "dataset.json";

impl Files {
    /// Error: there is no such folder or archive, or no image in it.
    pub fn list(path: &Path) -> Result<Files> {
        let (place, mut found) = if path.is_dir() { Files::below(path)? } else { Files::within(path)? };
        found.retain(|(name, _)| !is_hidden(name) && name != Path::new(DATASET_JSON));
        let (mut files, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(name, _)| is_image(name));
        let left_out = (others.len(), others.into_iter().map(|(name, _)| name).min().unwrap_or_default());
        if files.is_empty() {
            let others = if left_out.0 > 0 { format!(", but others, such as {}", left_out.1.display()) } else { String::new() };
            return Err(Error::data(path, format!("holds no PNG or JPEG files{others}"), CURE));
        }
        files.par_sort_unstable();
        Ok(Files { place, files, left_out })
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
        Ok((Place::Archive(archive), found))
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// The path of each below the folder or within the archive.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(name, _)| name.as_path())
    }

    pub fn source(&self, i: usize) -> Result<Source> {
        let (name, entry) = &self.files[i];
        match &self.place {
            Place::Folder(folder) => Source::open(&folder.join(name), "it was there before: bring it back"),
            Place::Archive(archive) => Ok(archive.source(&archive.entries[*entry])),
        }
    }

    /// The folder or archive itself.
    pub fn root(&self) -> &Path {
        match &self.place {
            Place::Folder(folder) => folder,
            Place::Archive(archive) => &archive.path,
        }
    }

    /// Another file at the root.
    pub fn beside(&self, name: &str) -> Result<Source> {
        let cure = "EDM's dataset_tool.py writes it; for classes by folders give data.images.labels = \"folders\"";
        match &self.place {
            Place::Folder(folder) => Source::open(&folder.join(name), cure),
            Place::Archive(archive) => match archive.entry(name) {
                Some(entry) => Ok(archive.source(entry)),
                None => Err(Error::data(&archive.path, format!("holds no {name}"), cure)),
            },
        }
    }

    /// How many folders are around those of the classes: one in an archive that is one folder.
    pub fn depth_of_classes(&self) -> usize {
        let top = self.files[0].0.iter().next();
        let wrapped = |name: &Path| name.iter().next() == top && name.iter().count() > 2;
        usize::from(matches!(self.place, Place::Archive(_)) && self.names().all(wrapped))
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
