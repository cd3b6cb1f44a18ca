//! Removing a cluster with all its data.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Deadline, DirectoryLock, Found, LockError, Orphans, Pid};

use crate::{Cluster, Escalation, StopError};

/// A cluster could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("failed to remove the cluster {data_directory}")]
pub struct RemoveError {
    data_directory: Utf8PathBuf,
    #[source]
    kind: RemoveErrorKind,
}

/// Why a cluster could not be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveErrorKind {
    /// The directory lacks what every data directory has. Nothing was removed.
    #[error("it is no data directory: it has no {0}")]
    NoDataDirectory(&'static str),
    /// Another process is initialising or changing it, or it cannot be locked. Nothing was removed.
    #[error("it cannot be locked")]
    Lock(#[source] LockError),
    /// The server could not be stopped. Nothing was removed.
    #[error("its server does not stop")]
    Stop(#[source] StopError),
    /// Children of a server that was killed are left, and cannot be ended. Nothing was removed.
    #[error("children of its killed server cannot be ended")]
    Orphans,
    /// A single-user process, or a process of another user, holds the directory. Nothing was removed.
    #[error("process {0} holds it")]
    Held(Pid),
    /// A file or directory could not be removed. What stood before it in the order may be gone.
    #[error("{path} cannot be removed")]
    Tree {
        /// The path.
        path: Utf8PathBuf,
        /// What the system says.
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

    /// What went wrong.
    pub fn kind(&self) -> &RemoveErrorKind {
        &self.kind
    }

    /// What may help, where something is known.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            RemoveErrorKind::Stop(error) => error.hint(),
            RemoveErrorKind::NoDataDirectory(_) => {
                Some("what is no data directory has to be removed by other means, with care".into())
            }
            _ => None,
        }
    }
}

impl Cluster {
    /// Stops the server, gently at first ([`Escalation::escalating`]), and removes everything that belongs to the
    /// cluster: the data directory, the directory of the write-ahead log if `pg_wal` is a link, and what the cluster has put into
    /// its tablespaces. A directory that does not exist is no error, nor is an empty one, which is removed.
    ///
    /// `pg_wal` is followed only to a directory that belongs to the owner of the data directory and holds nothing but what a server
    /// writes there. If it holds anything else, it is left as it is, and the link alone goes.
    ///
    /// What an interrupted removal leaves is still recognised: a second one completes it.
    ///
    /// Other links are removed and not followed. A tablespace's own directory remains, empty, since somebody made it
    /// for the cluster; so does the directory of configuration files kept elsewhere.
    ///
    /// # Errors
    ///
    /// If the directory is not a data directory, the server does not stop, or something cannot be removed.
    ///
    /// # Races
    ///
    /// A server that somebody else starts meanwhile finds its files gone.
    pub fn remove(&self) -> Result<(), RemoveError> {
        self.remove_with(&Escalation::escalating())
    }

    /// As [`remove`](Self::remove), stopping the server as the escalation says.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove).
    pub fn remove_with(&self, escalation: &Escalation) -> Result<(), RemoveError> {
        let failed = |kind| RemoveError::new(self.data_directory(), kind);
        let directory = self.data_directory();
        if fs::symlink_metadata(directory)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            return Ok(());
        }
        let not_removed = |cause| {
            let path = directory.to_owned();
            failed(RemoveErrorKind::Tree { path, cause })
        };
        match directory
            .read_dir_utf8()
            .map(|mut entries| entries.next().is_none())
        {
            Ok(true) => return remove_all(directory).map_err(not_removed),
            // What it holds cannot be told.
            Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                return Err(not_removed(cause));
            }
            _ => {}
        }
        recognise(directory).map_err(failed)?;
        if let Ok(Found::SingleUser(pid) | Found::OtherUsers { pid, .. }) = self.find() {
            return Err(failed(RemoveErrorKind::Held(pid)));
        }
        self.stop_and_wait(escalation)
            .map_err(|error| failed(RemoveErrorKind::Stop(error)))?;
        self.set_server(None);
        let _lock = DirectoryLock::acquire(directory, Deadline::after(LOCK_PATIENCE))
            .map_err(|error| failed(RemoveErrorKind::Lock(error)))?;
        let orphans = Orphans::find(directory)
            .map(|orphans| orphans.kill(Deadline::after(LOCK_PATIENCE)).is_ok());
        if !orphans.unwrap_or(true) {
            return Err(failed(RemoveErrorKind::Orphans));
        }
        // Of a server that was killed by whomever, for which there will be no next start.
        let _ = pg_proc::release_shared_memory(directory);
        remove_tree(directory).map_err(failed)
    }
}

/// How long somebody who changes a setting may keep us waiting.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Half a cluster, as an interrupted removal leaves it, is still recognised: `PG_VERSION` goes last.
fn recognise(directory: &Utf8Path) -> Result<(), RemoveErrorKind> {
    match directory.join("PG_VERSION").is_file() {
        true => Ok(()),
        false => Err(RemoveErrorKind::NoDataDirectory("PG_VERSION")),
    }
}

fn remove_tree(directory: &Utf8Path) -> Result<(), RemoveErrorKind> {
    let at = |path: &Utf8Path| {
        let path = path.to_owned();
        move |cause| RemoveErrorKind::Tree { path, cause }
    };
    // A link to a data directory is as good as the directory; both go.
    let real = directory.canonicalize_utf8().map_err(at(directory))?;
    let tablespaces = real.join("pg_tblspc");
    for tablespace in links_in(&tablespaces) {
        for part in own_parts_of(&tablespace, &real) {
            remove_all(&part).map_err(at(&part))?;
        }
    }
    if let Some(wal) = wal_elsewhere(&real) {
        remove_all(&wal).map_err(at(&wal))?;
    }
    for entry in fs::read_dir(&real).map_err(at(&real))? {
        let entry = entry.map_err(at(&real))?;
        if entry.file_name() != "PG_VERSION" {
            remove_entry(&entry.path()).map_err(|cause| RemoveErrorKind::Tree {
                path: real.join(entry.file_name().to_string_lossy().as_ref()),
                cause,
            })?;
        }
    }
    remove_all(&real).map_err(at(&real))?;
    if real != directory {
        let _ = fs::remove_file(directory);
    }
    Ok(())
}

/// What `pg_wal` links to, if it can only be this cluster's.
fn wal_elsewhere(data_directory: &Utf8Path) -> Option<Utf8PathBuf> {
    let link = data_directory.join("pg_wal");
    if !link.is_symlink() {
        return None;
    }
    let target = link.canonicalize_utf8().ok()?;
    let owner = fs::metadata(data_directory).ok()?.uid();
    let ours = fs::metadata(&target).is_ok_and(|found| found.is_dir() && found.uid() == owner);
    let entries = fs::read_dir(&target).ok()?;
    let mut names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let only_wal =
        names.all(|name| name.is_ok_and(|name| name.to_str().is_some_and(is_written_into_pg_wal)));
    (ours && only_wal).then_some(target)
}

/// `IsXLogFileName` and its kin in src/include/access/xlog_internal.h, and what else servers and archiving tools put there.
fn is_written_into_pg_wal(name: &str) -> bool {
    let (stem, rest) = name.split_at_checked(24).unwrap_or((name, ""));
    let is_segment = stem.len() == 24 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_history = name.strip_suffix(".history").is_some_and(|timeline| {
        timeline.len() == 8 && timeline.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    is_segment && (rest.is_empty() || rest == ".partial" || rest.ends_with(".backup"))
        || is_history
        || name.starts_with("xlogtemp.")
        || matches!(
            name,
            "archive_status" | "summaries" | "RECOVERYXLOG" | "RECOVERYHISTORY"
        )
}

fn links_in(directory: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = directory.read_dir_utf8().into_iter().flatten().flatten();
    entries
        .map(|entry| entry.into_path())
        .filter(|path| path.is_symlink())
        .collect()
}

/// The subdirectories of a tablespace that this cluster has made: `PG_` with its major version and catalog version, owned by the
/// owner of the data directory.
fn own_parts_of(tablespace: &Utf8Path, data_directory: &Utf8Path) -> Vec<Utf8PathBuf> {
    let Ok(control) = crate::ControlData::read(data_directory) else {
        return Vec::new();
    };
    let owner = fs::metadata(data_directory).map(|found| found.uid()).ok();
    let suffix = format!("_{}", control.catalog_version);
    let entries = tablespace.read_dir_utf8().into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            entry.file_name().starts_with("PG_") && entry.file_name().ends_with(&suffix)
        })
        .map(|entry| entry.into_path())
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|found| Some(found.uid()) == owner))
        .collect()
}

fn remove_all(directory: &Utf8Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A mount point can be emptied, not removed.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
        other => other,
    }
}

/// Somebody else may be removing the same.
fn remove_entry(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
