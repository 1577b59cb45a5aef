//! A folder by its handle: what is read and written lies in this very folder, whatever becomes of its path meanwhile.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RawMode, Stat, fstat, fstatvfs, mkdirat, open, openat, renameat, statat, unlinkat};

use crate::error::{Error, Result};
use crate::file;

/// Files of this prefix and the number of their process are being written; one that outlives its process is rubbish.
const PARTIAL: &str = ".partial-";

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    handle: OwnedFd,
}

impl Folder {
    /// Opens the folder at `path`; creates it and those above it where missing.
    pub fn create(path: &Path) -> Result<Folder> {
        fs::create_dir_all(named(path)).map_err(|e| Error::io("create the folder", path, e))?;
        Folder::open(path)
    }

    pub fn open(path: &Path) -> Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = open(named(path), flags, Mode::empty()).map_err(|e| Error::io("open the folder", path, e.into()))?;
        Ok(Folder { path: path.to_owned(), handle })
    }

    /// A handle of its own on the same folder.
    pub fn again(&self) -> Result<Folder> {
        let handle = self.handle.try_clone().map_err(|e| Error::io("open the folder", &self.path, e))?;
        Ok(Folder { path: self.path.clone(), handle })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file of this folder is.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn openat(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let handle = openat(&self.handle, name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o666 as RawMode))?;
        let file = File::from(handle);
        file::check(&file).map(|()| file)
    }

    /// The file `name` for reading; none if there is no such file.
    pub fn file(&self, name: &str) -> Result<Option<File>> {
        // A pipe in a file's place must not make this wait.
        match self.openat(name, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("open", self.at(name), e)),
        }
    }

    /// The content of the file `name`; none if there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(mut file) = self.file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| Error::io("read", self.at(name), e))?;
        Ok(Some(bytes))
    }

    /// The file `name` for reading and writing, a new one where there is none; no link is followed.
    pub fn grow(&self, name: &str) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        self.folder_of(name).and_then(|()| self.openat(name, flags)).map_err(|e| Error::io("open", self.at(name), e))
    }

    /// Whether there is a file of this name.
    pub fn has(&self, name: &str) -> bool {
        statat(&self.handle, name, AtFlags::empty()).is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode).is_file())
    }

    /// The names in a folder of this one, `""` for itself; none where it is missing, or is none.
    pub fn names(&self, folder: &str) -> Result<Vec<String>> {
        let place = if folder.is_empty() { "." } else { folder };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let found = openat(&self.handle, place, flags, Mode::empty()).and_then(Dir::new);
        let names = match found {
            Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>(),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(Vec::new()),
            Err(e) => Err(e.into()),
        };
        let mut names = names.map_err(|e| Error::io("read the folder", self.at(folder), e))?;
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    }

    pub fn remove(&self, name: &str) -> Result<()> {
        unlinkat(&self.handle, name, AtFlags::empty()).map_err(|e| Error::io("remove", self.at(name), e.into()))
    }

    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        renameat(&self.handle, from, &self.handle, to).map_err(|e| Error::io("rename", self.at(from), e.into()))
    }

    /// Puts a file at `name` that holds what `fill` writes. Whatever happens meanwhile, even a power cut, the file is afterwards either the
    /// old one or the new one, whole. `commit` has the last word before it takes the old one's place.
    pub fn replace(
        &self,
        name: &str,
        commit: impl FnOnce() -> Result<()>,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<PathBuf> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let partial = format!("{PARTIAL}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let (folder, partial) = match name.rsplit_once('/') {
            Some((folder, _)) => (folder, format!("{folder}/{partial}")),
            None => (".", partial),
        };
        let write = || -> io::Result<()> {
            self.folder_of(name)?;
            let mut file = self.openat(&partial, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW)?;
            fill(&mut file)?;
            file.sync_all()
        };
        let put = || -> io::Result<()> {
            renameat(&self.handle, &*partial, &self.handle, name)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(rustix::fs::fsync(openat(&self.handle, folder, flags, Mode::empty())?)?)
        };
        let error = |e| Error::io("write", self.at(name), e);
        let done = write().map_err(error).and_then(|()| commit()).and_then(|()| put().map_err(error));
        if done.is_err() {
            // What can't be removed is swept by the next process.
            let _ = unlinkat(&self.handle, &*partial, AtFlags::empty());
        }
        done.map(|()| self.at(name))
    }

    /// Creates the folders in which `name` is to be.
    fn folder_of(&self, name: &str) -> io::Result<()> {
        let folders = name.match_indices('/').map(|(end, _)| &name[..end]);
        folders.map(|folder| mkdirat(&self.handle, folder, Mode::from_raw_mode(0o777 as RawMode))).try_for_each(|made| match made {
            Err(e) if e != rustix::io::Errno::EXIST => Err(e.into()),
            _ => Ok(()),
        })
    }

    /// Error: the disk has no room for so many bytes more.
    pub fn check_room(&self, bytes: u64) -> Result<()> {
        let disk = fstatvfs(&self.handle).map_err(|e| Error::io("look at", &self.path, e.into()))?;
        match disk.f_bavail.saturating_mul(disk.f_frsize) >= bytes {
            true => Ok(()),
            false => Err(Error::io("write", &self.path, rustix::io::Errno::NOSPC.into())),
        }
    }

    /// Error: the path leads to another folder now, or to none.
    pub fn check_in_place(&self) -> Result<()> {
        let here = fstat(&self.handle).map_err(|e| Error::io("look at", &self.path, e.into()))?;
        match fs::metadata(named(&self.path)) {
            Ok(there) if same(&here, &there) => Ok(()),
            _ => Err(self.gone()),
        }
    }

    /// Error: `name` is another file than this open one by now.
    pub fn check_is(&self, name: &str, file: &File) -> Result<()> {
        let open = file.metadata().map_err(|e| Error::io("look at", self.at(name), e))?;
        match statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if same(&found, &open) => Ok(()),
            _ => Err(self.gone()),
        }
    }

    fn gone(&self) -> Error {
        let message = "was removed, moved or replaced while this process worked in it; what it would have written now is lost";
        Error::run(&self.path, message, "run the same command again; and let one process at a time have the folder")
    }

    /// Removes what processes that are gone left half written in these folders of this one (`""` is itself).
    pub fn sweep(&self, folders: &[&str]) -> Result<()> {
        for folder in folders {
            for name in self.names(folder)?.iter().filter(|name| is_orphan(name)) {
                self.remove(&if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") })?;
            }
        }
        Ok(())
    }
}

/// The path as the system takes it: an empty one is the current folder.
fn named(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn same(a: &Stat, b: &fs::Metadata) -> bool {
    (a.st_dev, a.st_ino) == (b.dev(), b.ino())
}

/// Whether a name is that of a half-written file of a process that is gone.
fn is_orphan(name: &str) -> bool {
    let owner = name.strip_prefix(PARTIAL).and_then(|rest| rest.split_once('-'));
    let owner = owner.and_then(|(id, number)| number.parse::<u64>().ok().and(id.parse::<u32>().ok()));
    owner.is_some_and(|id| id != std::process::id() && !Path::new("/proc").join(id.to_string()).exists())
}
