//! Removing a data directory with everything that its cluster has made elsewhere.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use crate::files::control_data::ControlData;
use crate::files::layout;
use crate::fs::directory::Directory;
use crate::fs::entry::Entry;
use crate::fs::walk::ForeignLink;

/// A data directory that is to be removed, and the link to it if its path names one: both are
/// removed.
///
/// Everything is removed through directories that are held open: a process that may write to a
/// parent directory could make a path lead elsewhere meanwhile.
///
/// # Races
///
/// The caller stops the server and [locks](crate::DirectoryLock) the directory first.
#[derive(Debug)]
pub struct Removal {
    named: Entry,
    real: Entry,
    held: Directory,
}

/// The object at the path of a directory that is to be removed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Removable {
    /// Nothing exists at the path. An empty directory or a dangling link was removed.
    Nothing,
    /// A data directory: it has `PG_VERSION`, which an interrupted removal leaves.
    DataDirectory(Removal),
    /// A directory or a file that is not a data directory.
    Other,
}

impl Removal {
    /// Finds the data directory of this path, and removes an empty directory.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be read, an empty one cannot be removed, or the path has a
    /// link that may not be followed: see [`ForeignLink`].
    pub fn find(path: impl AsRef<Utf8Path>) -> Result<Removable, RemovalError> {
        let path = path.as_ref();
        Self::look(path).map_err(RemovalError::at(path.as_std_path()))
    }

    fn look(path: &Utf8Path) -> io::Result<Removable> {
        let entries = Entry::named(path).and_then(|named| Ok((named, Entry::find(path)?)));
        let (named, real) = match entries {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Removable::Nothing);
            }
            found => found?,
        };
        let held = match real.open_directory() {
            // A link that leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return remove_empty_place(&named, &real).map(|()| Removable::Nothing);
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Ok(Removable::Other);
            }
            opened => opened?,
        };
        if held.names()?.is_empty() {
            return remove_empty_place(&named, &real).map(|()| Removable::Nothing);
        }
        let found = Self { named, real, held };
        Ok(match found.has_version()? {
            true => Removable::DataDirectory(found),
            false => Removable::Other,
        })
    }

    /// The directory, held open.
    pub fn directory(&self) -> &Directory {
        &self.held
    }

    /// Returns whether the directory still has `PG_VERSION`.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be read.
    pub fn is_data_directory(&self) -> Result<bool, RemovalError> {
        self.has_version()
            .map_err(RemovalError::at(self.real.path()))
    }

    fn has_version(&self) -> io::Result<bool> {
        Ok(self.held.names()?.iter().any(|name| name == "PG_VERSION"))
    }

    /// Removes the files of the cluster in its tablespaces, its write-ahead log if `pg_wal` leads
    /// to a directory that can only belong to it, and the data directory: `PG_VERSION` last.
    ///
    /// # Errors
    ///
    /// Fails if a file or directory cannot be removed. Others may have been removed before it.
    pub fn remove(self) -> Result<(), RemovalError> {
        let (held, real) = (&self.held, self.real.path());
        let owner = held.owner().map_err(RemovalError::at(real))?;
        if let Ok(tablespaces) = held.subdirectory("pg_tblspc") {
            for link in tablespaces.names().unwrap_or_default() {
                if let Ok(tablespace) = tablespaces.follow(&link) {
                    let parts = own_parts_of(&tablespace, held, owner);
                    remove_all(&tablespace, &real.join("pg_tblspc").join(&link), parts)?;
                }
            }
        }
        if let Some((wal, entry)) = wal_elsewhere(held, owner) {
            let names = wal.names().map_err(RemovalError::at(entry.path()))?;
            remove_all(&wal, entry.path(), names)?;
            remove_empty(&entry).map_err(RemovalError::at(entry.path()))?;
        }
        let mut names = held.names().map_err(RemovalError::at(real))?;
        names.sort_by_key(|name| name == "PG_VERSION");
        remove_all(held, real, names)?;
        remove_empty_place(&self.named, &self.real).map_err(RemovalError::at(real))
    }
}

/// Removes an empty directory, and the link to it.
fn remove_empty_place(named: &Entry, real: &Entry) -> io::Result<()> {
    let removed = remove_empty(real);
    if named.is_link() {
        let _ = named.remove_link();
    }
    removed
}

fn remove_all(held: &Directory, path: &Path, names: Vec<OsString>) -> Result<(), RemovalError> {
    let mut names = names.iter();
    names.try_for_each(|name| {
        held.remove(name)
            .map_err(RemovalError::at(&path.join(name)))
    })
}

/// The target of the link `pg_wal`, if it can only belong to this cluster.
fn wal_elsewhere(held: &Directory, owner: u32) -> Option<(Directory, Entry)> {
    if held.subdirectory("pg_wal").is_ok() {
        return None;
    }
    let entry = held.entry("pg_wal").ok()?;
    let wal = entry.open_directory().ok()?;
    let is_written_there = |name: &OsString| name.to_str().is_some_and(layout::is_made_in_pg_wal);
    let is_ours = wal.owner().ok()? == owner && wal.names().ok()?.iter().all(is_written_there);
    Some((wal, entry)).filter(|_| is_ours)
}

/// The directories that this cluster has made in a tablespace: by their names, and owned by the
/// owner of the data directory.
fn own_parts_of(tablespace: &Directory, held: &Directory, owner: u32) -> Vec<OsString> {
    let Ok(control) = ControlData::read_in(held) else {
        return Vec::new();
    };
    let mut names = tablespace.names().unwrap_or_default();
    names.retain(|name| {
        let is_made = |name: &str| layout::is_made_in_tablespace(name, control.catalog_version);
        let is_named_so = name.to_str().is_some_and(is_made);
        let part = is_named_so.then(|| tablespace.subdirectory(name));
        part.is_some_and(|part| {
            part.and_then(|part| part.owner())
                .is_ok_and(|uid| uid == owner)
        })
    });
    names
}

fn remove_empty(directory: &Entry) -> io::Result<()> {
    match directory.remove_empty_directory() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A mount point can be emptied, not removed.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
        other => other,
    }
}

/// A file or directory of a cluster could not be removed.
#[derive(Debug, Error)]
#[error("failed to remove {path}")]
pub struct RemovalError {
    path: Utf8PathBuf,
    #[source]
    error: io::Error,
}

impl RemovalError {
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = Utf8PathBuf::from(path.to_string_lossy().into_owned());
        |error| Self { path, error }
    }

    /// The path.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The error of the system.
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        Some(ForeignLink::of(&self.error)?.hint().into())
    }
}
