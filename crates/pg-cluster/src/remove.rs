//! Removing a cluster with all its data.

use std::borrow::Cow;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::data_directory::{Removable, Removal, RemovalError};
use pg_proc::{Deadline, DirectoryLock, LockError, Orphans, Pid, StopPlan};

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
    #[error(transparent)]
    Tree(RemovalError),
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
            RemoveErrorKind::Tree(error) => error.hint(),
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
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// if cluster.is_initialized() {
    ///     cluster.remove()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the directory is not a data directory, the server does not stop, or a file cannot
    /// be removed.
    ///
    /// # Races
    ///
    /// A server that another process starts meanwhile loses its files.
    pub fn remove(&self) -> Result<(), RemoveError> {
        self.remove_with(&StopPlan::escalating())
    }

    /// Like [`remove`](Self::remove), but stops the server by this plan.
    ///
    /// # Errors
    ///
    /// Fails as [`remove`](Self::remove) does.
    pub fn remove_with(&self, plan: &StopPlan) -> Result<(), RemoveError> {
        let failed = |kind| RemoveError::new(self.data_directory(), kind);
        let not_removed = |error| failed(RemoveErrorKind::Tree(error));
        let directory = self.data_directory();
        let found = match Removal::find(directory).map_err(not_removed)? {
            Removable::Nothing => return Ok(()),
            Removable::DataDirectory(found) => found,
            _ => return Err(failed(RemoveErrorKind::NoDataDirectory("PG_VERSION"))),
        };
        if let Ok(Occupant::SingleUser(pid) | Occupant::Unknown(pid)) = self.occupant() {
            return Err(failed(RemoveErrorKind::Held(pid)));
        }
        self.stop(plan)
            .map_err(|error| failed(RemoveErrorKind::Stop(error)))?;
        self.set_server(None);
        let deadline = Deadline::after(LOCK_PATIENCE);
        let _lock = DirectoryLock::acquire_held(found.directory(), directory, deadline)
            .map_err(|error| failed(RemoveErrorKind::Lock(error)))?;
        // Another process may have removed it meanwhile.
        if !found.is_data_directory().map_err(not_removed)? {
            return Err(failed(RemoveErrorKind::NoDataDirectory("PG_VERSION")));
        }
        let orphans = Orphans::find(directory)
            .map(|orphans| orphans.kill(Deadline::after(LOCK_PATIENCE)).is_ok());
        if !orphans.unwrap_or(true) {
            return Err(failed(RemoveErrorKind::Orphans));
        }
        // The memory of a killed server; no later start will release it.
        let _ = pg_proc::release_shared_memory(directory);
        found.remove().map_err(not_removed)
    }
}

/// The longest wait for another process that changes a setting.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
