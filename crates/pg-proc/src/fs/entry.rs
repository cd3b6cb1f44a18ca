//! The object that a path names, together with an open descriptor of its parent directory.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use camino::Utf8Path;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::directory::Directory;
use super::walk::{self, Link, Walk};

/// An entry of a directory: the directory, held open, and a name in it.
///
/// Whatever is done with it is done in that directory, wherever the path leads by then. Links on
/// the way were followed only if root, the caller or the owner of their target made them:
/// see [`ForeignLink`](crate::ForeignLink).
#[derive(Debug)]
pub struct Entry {
    parent: OwnedFd,
    name: OsString,
    path: PathBuf,
    file_type: Option<FileType>,
    links: Vec<Link>,
}

impl Entry {
    /// Finds what this path names in the end: a link in the last place is followed too. There need
    /// not be anything of that name, but the directory has to exist.
    ///
    /// # Errors
    ///
    /// Fails if a directory on the path cannot be entered, if a link on the path is a
    /// [`ForeignLink`](crate::ForeignLink), or if the path ends with `..` or is `/`.
    pub fn find(path: impl AsRef<Utf8Path>) -> io::Result<Self> {
        let path = path.as_ref().as_std_path();
        Ok(Walk::from_current_directory().last(path, true)?.into())
    }

    /// Finds the entry of exactly this path: a link in the last place is the entry.
    ///
    /// # Errors
    ///
    /// Fails as [`find`](Self::find) does.
    pub fn named(path: impl AsRef<Utf8Path>) -> io::Result<Self> {
        let path = path.as_ref().as_std_path();
        Ok(Walk::from_current_directory().last(path, false)?.into())
    }

    pub(super) fn find_in(directory: &File, path: &OsStr) -> io::Result<Self> {
        let mut walk = Walk::from(directory.as_fd());
        Ok(walk.last(Path::new(path), true)?.into())
    }

    /// The name in its directory.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The path without links, for messages and for programs that are run. It gives root no
    /// protection: a component may be replaced before the path is used.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether a link of this name existed when the entry was found.
    pub fn is_link(&self) -> bool {
        self.file_type == Some(FileType::Symlink)
    }

    /// Returns whether any file of this name existed when the entry was found.
    pub const fn exists(&self) -> bool {
        self.file_type.is_some()
    }

    /// The directory that it is in.
    ///
    /// # Errors
    ///
    /// Fails if this process may not read the directory.
    pub fn parent(&self) -> io::Result<Directory> {
        Directory::again(&self.parent)
    }

    pub(crate) fn into_parent(self) -> (OwnedFd, OsString) {
        (self.parent, self.name)
    }

    /// Opens the directory of this name.
    ///
    /// # Errors
    ///
    /// Fails if the entry is not a directory, cannot be read, or belongs to a user to whose files
    /// the followed links may not lead.
    pub fn open_directory(&self) -> io::Result<Directory> {
        let directory = Directory::in_directory(self.parent.as_fd(), &self.name)?;
        walk::require_leave(&self.links, &self.path, directory.owner()?)?;
        Ok(directory)
    }

    /// Opens the regular file of this name for reading. The call does not wait for a pipe or a
    /// device, and does not knowingly open one.
    ///
    /// # Errors
    ///
    /// Fails if the entry is not a regular file ([`InvalidInput`](io::ErrorKind::InvalidInput)),
    /// cannot be read, or belongs to a user to whose files the followed links may not lead.
    pub fn open_file(&self) -> io::Result<File> {
        let not_regular = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        match self.file_type {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(FileType::RegularFile) => {}
            // Opening alone has an effect on some devices.
            Some(_) => return Err(not_regular()),
        }
        // A pipe may have taken its place: opening it would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = flags | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file: File = rustix::fs::openat(&self.parent, &self.name, flags, Mode::empty())
            .map(Into::into)
            .map_err(|errno| match errno {
                Errno::LOOP => not_regular(),
                errno => errno.into(),
            })?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(not_regular());
        }
        walk::require_leave(&self.links, &self.path, found.uid())?;
        Ok(file)
    }

    /// Removes the directory of this name if it is empty.
    ///
    /// # Errors
    ///
    /// Fails if the entry is not an empty directory or does not exist, or the system refuses.
    pub fn remove_empty_directory(&self) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.parent,
            &self.name,
            AtFlags::REMOVEDIR,
        )?)
    }

    /// Removes the link of this name, if it is still one.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses.
    pub fn remove_link(&self) -> io::Result<()> {
        let look = rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(look.st_mode) != FileType::Symlink {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(rustix::fs::unlinkat(
            &self.parent,
            &self.name,
            AtFlags::empty(),
        )?)
    }

    /// Makes a directory of this name that only its owner can enter. Returns none if there is
    /// something already.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses.
    pub(super) fn make_directory(&self) -> io::Result<Option<Directory>> {
        match rustix::fs::mkdirat(&self.parent, &self.name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        let made = Directory::in_directory(self.parent.as_fd(), &self.name)?;
        // A process that can change the parent may have replaced the entry since.
        if !made.names()?.is_empty() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Some(made))
    }
}

impl From<walk::Last> for Entry {
    fn from(last: walk::Last) -> Self {
        Self {
            parent: last.parent,
            name: last.name,
            path: last.path,
            file_type: last.file_type,
            links: last.links,
        }
    }
}
