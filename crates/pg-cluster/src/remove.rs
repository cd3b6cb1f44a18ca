//! Removing a cluster with all its data.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{
    ControlData, Deadline, Directory, DirectoryLock, Entry, ForeignLink, LockError, Orphans, Pid,
    StopPlan, layout,
};

use crate::Cluster;
use crate::control_error::ControlError;
use crate::state::Occupant;

/// A cluster could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("failed to remove the cluster {data_directory}")]
pub struct RemoveError {
    data_directory: Utf8PathBuf,
    #[source]
    kind: RemoveErrorKind,
}

/// The reason of a [`RemoveError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveErrorKind {
    /// The directory lacks a file that every data directory has. Nothing was removed.
    #[error("the directory is not a data directory: it has no {0}")]
    NoDataDirectory(&'static str),
    /// Another process is initializing or changing the directory, or it cannot be locked. Nothing
    /// was removed.
    #[error("the directory cannot be locked")]
    Lock(#[source] LockError),
    /// The server could not be stopped. Nothing was removed.
    #[error("the server did not stop")]
    Stop(#[source] ControlError),
    /// Child processes left behind by a crashed postmaster cannot be killed. Nothing was removed.
    #[error("the child processes of a crashed postmaster cannot be killed")]
    Orphans,
    /// A single-user process, or a process of another user, holds the directory. Nothing was
    /// removed.
    #[error("process {0} holds the directory")]
    Held(Pid),
    /// A file or directory could not be removed. Others may have been removed before it.
    #[error("{path} cannot be removed")]
    Tree {
        /// The path.
        path: Utf8PathBuf,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
}

impl RemoveError {
    pub(crate) fn new(data_directory: &Utf8Path, kind: RemoveErrorKind) -> Self {
        Self {
            data_directory: data_directory.to_owned(),
            kind,
        }
    }

    /// The directory.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// The reason.
    pub fn kind(&self) -> &RemoveErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            RemoveErrorKind::Stop(error) => error.hint(),
            RemoveErrorKind::Lock(error) => error.hint(),
            RemoveErrorKind::Tree { cause, .. } => Some(ForeignLink::of(cause)?.hint().into()),
            RemoveErrorKind::NoDataDirectory(_) => {
                Some("remove a directory that is not a data directory by other means".into())
            }
            _ => None,
        }
    }
}

impl Cluster {
    /// Stops the server by [`StopPlan::escalating`], and removes everything that belongs to the
    /// cluster: the data directory, the directory of the write-ahead log if `pg_wal` is a link, and
    /// the files of the cluster in its tablespaces. Removing a directory that does not exist
    /// succeeds; an empty directory is removed.
    ///
    /// The link `pg_wal` is followed only to a directory that belongs to the owner of the data
    /// directory and contains only files of a server. Any other directory stays as it is, and only
    /// the link is removed.
    ///
    /// A second call completes a removal that was interrupted.
    ///
    /// Other links are removed and not followed. The directories of tablespaces stay, empty, and so
    /// does a directory of configuration files outside of the data directory.
    ///
    /// # Errors
    ///
    /// If the directory is not a data directory, the server does not stop, or something cannot be
    /// removed.
    ///
    /// # Races
    ///
    /// A server that another process starts meanwhile loses its files.
    pub fn remove(&self) -> Result<(), RemoveError> {
        self.remove_with(&StopPlan::escalating())
    }

    /// As [`remove`](Self::remove), stopping the server by this plan.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove).
    pub fn remove_with(&self, plan: &StopPlan) -> Result<(), RemoveError> {
        let failed = |kind| RemoveError::new(self.data_directory(), kind);
        let directory = self.data_directory();
        let not_removed = |cause| {
            let path = directory.to_owned();
            failed(RemoveErrorKind::Tree { path, cause })
        };
        let place = match Place::find(directory) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found.map_err(not_removed)?,
        };
        let held = match place.real.open_directory() {
            // A link that leads nowhere.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                return place.remove().map_err(not_removed);
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotADirectory => {
                return Err(failed(RemoveErrorKind::NoDataDirectory("PG_VERSION")));
            }
            opened => opened.map_err(not_removed)?,
        };
        let names = held.names().map_err(not_removed)?;
        if names.is_empty() {
            return place.remove().map_err(not_removed);
        }
        recognize(&names).map_err(failed)?;
        if let Ok(Occupant::SingleUser(pid) | Occupant::Unknown(pid)) = self.occupant() {
            return Err(failed(RemoveErrorKind::Held(pid)));
        }
        self.stop(plan)
            .map_err(|error| failed(RemoveErrorKind::Stop(error)))?;
        self.set_server(None);
        let deadline = Deadline::after(LOCK_PATIENCE);
        let _lock = DirectoryLock::acquire_held(&held, directory, deadline)
            .map_err(|error| failed(RemoveErrorKind::Lock(error)))?;
        // Another process may have removed it meanwhile.
        let names = held.names().map_err(not_removed)?;
        recognize(&names).map_err(failed)?;
        let orphans = Orphans::find(directory)
            .map(|orphans| orphans.kill(Deadline::after(LOCK_PATIENCE)).is_ok());
        if !orphans.unwrap_or(true) {
            return Err(failed(RemoveErrorKind::Orphans));
        }
        // Of a server that was killed; no next start will release it.
        let _ = pg_proc::release_shared_memory(directory);
        remove_tree(&place, &held).map_err(failed)
    }
}

/// How long another process that changes a setting is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// An interrupted removal leaves `PG_VERSION`, which is removed last.
fn recognize(names: &[OsString]) -> Result<(), RemoveErrorKind> {
    match names.iter().any(|name| name == "PG_VERSION") {
        true => Ok(()),
        false => Err(RemoveErrorKind::NoDataDirectory("PG_VERSION")),
    }
}

/// A directory that is to be removed, and the link to it if its path names one: both are removed.
struct Place {
    named: Entry,
    real: Entry,
}

impl Place {
    fn find(path: &Utf8Path) -> io::Result<Self> {
        Ok(Self {
            named: Entry::named(path)?,
            real: Entry::find(path)?,
        })
    }

    fn path(&self) -> Utf8PathBuf {
        self.real.path().to_string_lossy().into_owned().into()
    }

    /// Removes the directory, which is empty.
    fn remove(&self) -> io::Result<()> {
        let removed = remove_empty(&self.real);
        if self.named.is_link() {
            let _ = self.named.remove_link();
        }
        removed
    }
}

/// Removes everything through directories that are held open: a process that may write to a parent
/// directory could make a path lead elsewhere meanwhile.
fn remove_tree(place: &Place, held: &Directory) -> Result<(), RemoveErrorKind> {
    let at = |path: Utf8PathBuf| move |cause| RemoveErrorKind::Tree { path, cause };
    let real = place.path();
    let owner = held.owner().map_err(at(real.clone()))?;
    let remove_all = |held: &Directory, path: &Utf8Path, names: Vec<OsString>| {
        names.iter().try_for_each(|name| {
            let path = path.join(name.to_string_lossy().as_ref());
            held.remove(name).map_err(at(path))
        })
    };
    if let Ok(tablespaces) = held.subdirectory("pg_tblspc") {
        for link in tablespaces.names().unwrap_or_default() {
            let path = real.join("pg_tblspc").join(link.to_string_lossy().as_ref());
            if let Ok(tablespace) = tablespaces.follow(&link) {
                let parts = own_parts_of(&tablespace, held, owner);
                remove_all(&tablespace, &path, parts)?;
            }
        }
    }
    if let Some((wal, entry)) = wal_elsewhere(held, owner) {
        let path = Utf8PathBuf::from(entry.path().to_string_lossy().into_owned());
        let names = wal.names().map_err(at(path.clone()))?;
        remove_all(&wal, &path, names)?;
        remove_empty(&entry).map_err(at(path))?;
    }
    let mut names = held.names().map_err(at(real.clone()))?;
    names.sort_by_key(|name| name == "PG_VERSION");
    remove_all(held, &real, names)?;
    place.remove().map_err(at(real))
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
