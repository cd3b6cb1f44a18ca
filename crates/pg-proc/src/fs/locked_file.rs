//! A configuration file that no other program edits meanwhile, and that is replaced as a whole.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use super::directory::Directory;
use super::directory_lock::{DirectoryLock, LockError, LockErrorKind};
use super::entry::Entry;
use super::regular_file::read_all;
use super::replacement::Replacement;
use super::walk::ForeignLink;
use crate::account::Account;
use crate::deadline::Deadline;

/// The longest wait for other editors of the same file.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// Ends the name of the new content while it stands beside the old one.
const SUFFIX: &str = ".pg-cluster-new";

/// An open file and the lock of its directory.
///
/// Everything is done in this directory, with this file: in a directory of another account, a path
/// may lead elsewhere each time it is used.
#[derive(Debug)]
pub struct LockedFile {
    entry: Entry,
    file: File,
    _lock: DirectoryLock,
}

impl LockedFile {
    /// Opens the file of this path and locks the directory that it is in.
    ///
    /// `named_by` is the data directory whose server names the path, in a setting or on its command
    /// line. That server can name any file. As with a link in the data directory, it must not make
    /// root change a file of another user. So the owner of the data directory has to be root, the
    /// caller or the owner of the file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is not a regular file, belongs to a user to whose files
    /// the path may not lead, or its directory cannot be locked within half a minute.
    pub fn acquire(
        path: impl AsRef<Utf8Path>,
        named_by: Option<&Utf8Path>,
    ) -> Result<Self, FileError> {
        let path = path.as_ref();
        Self::open(path, named_by).map_err(|kind| FileError::new(path, kind))
    }

    fn open(path: &Utf8Path, named_by: Option<&Utf8Path>) -> Result<Self, FileErrorKind> {
        let entry = Entry::find(path).map_err(FileErrorKind::of_reading)?;
        let directory = entry.parent().map_err(FileErrorKind::of_reading)?;
        let place = lossy(entry.path().parent().unwrap_or(Path::new("/")));
        let deadline = Deadline::after(LOCK_PATIENCE);
        let lock = DirectoryLock::acquire_held(&directory, place, deadline)
            .map_err(FileErrorKind::Lock)?;
        let file = entry.open_file().map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => FileErrorKind::Write(error),
            _ => FileErrorKind::of_reading(error),
        })?;
        if let Some(data_directory) = named_by {
            let look = || {
                let server = Directory::open(data_directory)?.owner()?;
                Ok((server, file.metadata()?.uid()))
            };
            let (server, owner) = look().map_err(FileErrorKind::Read)?;
            if ![0, owner, Account::current_uid()].contains(&server) {
                return Err(FileErrorKind::ForeignLink(lossy(entry.path())));
            }
        }
        Ok(Self {
            entry,
            file,
            _lock: lock,
        })
    }

    /// The content that the file had when it was opened.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or is longer than `limit`.
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, FileErrorKind> {
        read_all(&self.file, limit).map_err(FileErrorKind::Read)
    }

    /// Writes other content beside the file, with the file's owner and mode.
    ///
    /// # Errors
    ///
    /// Fails as [`Replacement::stage`] does.
    pub fn stage(&self, content: &[u8]) -> io::Result<Replacement> {
        Replacement::stage(&self.entry, &self.file, SUFFIX, content)
    }
}

/// A file could not be locked for a change.
#[derive(Debug, Error)]
#[error("failed to lock {path}")]
pub struct FileError {
    path: Utf8PathBuf,
    #[source]
    kind: FileErrorKind,
}

/// The reason why a configuration file could not be read, locked or replaced.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileErrorKind {
    /// The file or its directory cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// A symbolic link, or a setting of the server, leads to this file. The link or the data
    /// directory belongs neither to root, nor to the caller, nor to the owner of the file.
    #[error("the path leads to {0}, whose owner did not make it lead there")]
    ForeignLink(Utf8PathBuf),
    /// Another program has been changing the file for half a minute, or its directory cannot be
    /// locked.
    #[error("the directory of the file cannot be locked")]
    Lock(#[source] LockError),
    /// The path leads to something else than a regular file, or the new content cannot be written,
    /// given the owner and mode of the old one, or replace it.
    #[error("the new content cannot be written")]
    Write(#[source] io::Error),
}

impl FileError {
    pub(crate) fn new(path: &Utf8Path, kind: FileErrorKind) -> Self {
        Self {
            path: path.to_owned(),
            kind,
        }
    }

    /// The file, as it was given.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The reason.
    pub fn kind(&self) -> &FileErrorKind {
        &self.kind
    }

    /// The reason, for an error that names the file itself.
    pub fn into_kind(self) -> FileErrorKind {
        self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        self.kind.hint()
    }
}

impl FileErrorKind {
    fn of_reading(error: io::Error) -> Self {
        match ForeignLink::of(&error) {
            Some(link) => Self::ForeignLink(link.leads_to().to_owned()),
            None => Self::Read(error),
        }
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Lock(error) => match error.kind() {
                LockErrorKind::Busy { holder: None } => {
                    "another program is changing the file: try again"
                }
                _ => return error.hint(),
            },
            Self::ForeignLink(_) => {
                "if the path is meant to lead there, give the link to the owner of the file"
            }
            Self::Read(error) | Self::Write(error) => match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "run as root or as the account of the server, which owns the file and its \
                     directory"
                }
                io::ErrorKind::ResourceBusy => {
                    "the file is a mount point and cannot be replaced: mount its directory \
                     instead, or let it include a file in a directory that can be changed"
                }
                _ => return None,
            },
        };
        Some(hint.into())
    }
}

fn lossy(path: &Path) -> Utf8PathBuf {
    path.to_string_lossy().into_owned().into()
}
