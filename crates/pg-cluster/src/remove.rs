//! Removing a cluster with all its data.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Found, Pid};

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
    /// The server could not be stopped. Nothing was removed.
    #[error("its server does not stop")]
    Stop(#[source] StopError),
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
    /// The directory.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// What went wrong.
    pub fn kind(&self) -> &RemoveErrorKind {
        &self.kind
    }
}

impl Cluster {
    /// Stops the server, gently at first ([`Escalation::escalating`]), and removes everything that belongs to the
    /// cluster: the data directory, the directory of the write-ahead log if `pg_wal` is a link, and what the cluster has put into
    /// its tablespaces. A directory that does not exist is no error.
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
        let failed = |kind| RemoveError {
            data_directory: self.data_directory().to_owned(),
            kind,
        };
        let directory = self.data_directory();
        if fs::symlink_metadata(directory)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            return Ok(());
        }
        recognise(directory).map_err(failed)?;
        if let Ok(Found::SingleUser(pid) | Found::OtherUsers { pid, .. }) = self.find() {
            return Err(failed(RemoveErrorKind::Held(pid)));
        }
        self.stop_and_wait(escalation)
            .map_err(|error| failed(RemoveErrorKind::Stop(error)))?;
        self.set_server(None);
        remove_tree(directory).map_err(failed)
    }
}

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
    if let Ok(wal) = fs::read_link(real.join("pg_wal")) {
        if let Ok(wal) = Utf8PathBuf::from_path_buf(real.as_std_path().join(wal)) {
            remove_all(&wal).map_err(at(&wal))?;
        }
    }
    for entry in fs::read_dir(&real).map_err(at(&real))? {
        let entry = entry.map_err(at(&real))?;
        if entry.file_name() != "PG_VERSION" {
            remove_entry(&entry.path()).map_err(at(&real))?;
        }
    }
    remove_all(&real).map_err(at(&real))?;
    if real != directory {
        let _ = fs::remove_file(directory);
    }
    Ok(())
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

fn remove_entry(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}
