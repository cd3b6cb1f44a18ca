//! Removing a cluster with all its data.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Deadline, Directory, DirectoryLock, Entry, ForeignLink, LockError, Orphans, Pid};

use crate::state::Occupant;
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
    /// A single-user process, or a process of another user, holds the directory. Nothing was
    /// removed.
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
            RemoveErrorKind::Lock(error) => error.hint(),
            RemoveErrorKind::Tree { cause, .. } => Some(ForeignLink::of(cause)?.hint().into()),
            RemoveErrorKind::NoDataDirectory(_) => {
                Some("what is no data directory has to be removed by other means, with care".into())
            }
            _ => None,
        }
    }
}

impl Cluster {
    /// Stops the server, gently at first ([`Escalation::escalating`]), and removes everything that
    /// belongs to the cluster: the data directory, the directory of the write-ahead log if `pg_wal`
    /// is a link, and what the cluster has put into its tablespaces. A directory that does not
    /// exist is no error, nor is an empty one, which is removed.
    ///
    /// `pg_wal` is followed only to a directory that belongs to the owner of the data directory and
    /// holds nothing but what a server writes there. If it holds anything else, it is left as it
    /// is, and the link alone goes.
    ///
    /// What an interrupted removal leaves is still recognised: a second one completes it.
    ///
    /// Other links are removed and not followed. A tablespace's own directory remains, empty, since
    /// somebody made it for the cluster; so does the directory of configuration files kept
    /// elsewhere.
    ///
    /// # Errors
    ///
    /// If the directory is not a data directory, the server does not stop, or something cannot be
    /// removed.
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
        self.stop_and_wait(escalation)
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
        // Of a server that was killed by whomever, for which there will be no next start.
        let _ = pg_proc::release_shared_memory(directory);
        remove_tree(&place, &held).map_err(failed)
    }
}

/// How long somebody who changes a setting may keep us waiting.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Half a cluster, as an interrupted removal leaves it, is still recognized: `PG_VERSION` goes
/// last.
fn recognize(names: &[OsString]) -> Result<(), RemoveErrorKind> {
    match names.iter().any(|name| name == "PG_VERSION") {
        true => Ok(()),
        false => Err(RemoveErrorKind::NoDataDirectory("PG_VERSION")),
    }
}

/// A directory that is to go, and the link to it if that is what its path names: both go.
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

/// All of it in directories that are held open: whoever may write into a parent could have a path
/// lead elsewhere meanwhile.
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

/// What `pg_wal` links to, if it can only be this cluster's.
fn wal_elsewhere(held: &Directory, owner: u32) -> Option<(Directory, Entry)> {
    if held.subdirectory("pg_wal").is_ok() {
        return None;
    }
    let entry = held.entry("pg_wal").ok()?;
    let wal = entry.open_directory().ok()?;
    let is_written_there = |name: &OsString| name.to_str().is_some_and(is_written_into_pg_wal);
    let is_ours = wal.owner().ok()? == owner && wal.names().ok()?.iter().all(is_written_there);
    Some((wal, entry)).filter(|_| is_ours)
}

/// `IsXLogFileName` and its kin in src/include/access/xlog_internal.h, and what else servers and
/// archiving tools put there.
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

/// The subdirectories of a tablespace that this cluster has made: `PG_` with its major version and
/// catalog version, owned by the owner of the data directory.
fn own_parts_of(tablespace: &Directory, held: &Directory, owner: u32) -> Vec<OsString> {
    let Ok(control) = crate::ControlData::read_in(held) else {
        return Vec::new();
    };
    let suffix = format!("_{}", control.catalog_version);
    let mut names = tablespace.names().unwrap_or_default();
    names.retain(|name| {
        let is_named_so = name
            .to_str()
            .is_some_and(|name| name.starts_with("PG_") && name.ends_with(&suffix));
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
