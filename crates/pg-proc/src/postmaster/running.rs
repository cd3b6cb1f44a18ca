//! The postmasters of this machine.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};

use crate::pid::Pid;

/// A postmaster that runs on this machine, as its process shows it: for a list.
///
/// It holds no descriptor, so the process may have exited since. To act on the server, use
/// [`Postmaster::find`](crate::Postmaster::find) with the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningServer {
    pid: Pid,
    uid: Option<u32>,
    data_directory: Option<Utf8PathBuf>,
    is_reachable: bool,
    started_at: Option<SystemTime>,
}

impl RunningServer {
    /// The postmasters of all users that the caller can see, by process ID. Looks at every process
    /// of the machine, by `/proc`.
    ///
    /// A process counts if its program is a PostgreSQL server by its content. A process whose
    /// program the caller may not read counts by its name and its command line.
    ///
    /// # Errors
    ///
    /// Fails if there is no `/proc`, and on other systems than Linux.
    pub fn all() -> io::Result<Vec<Self>> {
        #[cfg(all(target_os = "linux", not(pg_portable)))]
        return Ok(crate::sys::servers()?
            .into_iter()
            .map(|server| Self {
                pid: server.pid,
                uid: server.user,
                data_directory: server
                    .directory
                    .map(|path| path.to_string_lossy().into_owned().into()),
                is_reachable: server.is_reachable,
                started_at: server.started_at.and_then(at),
            })
            .collect());
        #[cfg(not(all(target_os = "linux", not(pg_portable))))]
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The process ID.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// The user ID of the process, if known.
    pub const fn uid(&self) -> Option<u32> {
        self.uid
    }

    /// The data directory: the working directory of the process or, if the caller may not examine
    /// the process, the one on its command line. None if neither is known.
    pub fn data_directory(&self) -> Option<&Utf8Path> {
        self.data_directory.as_deref()
    }

    /// Returns whether the path of the data directory is known to lead the caller to that
    /// directory. A server in a container may have the same path for another directory.
    pub const fn is_reachable(&self) -> bool {
        self.is_reachable
    }

    /// When the process began, to the second.
    pub const fn started_at(&self) -> Option<SystemTime> {
        self.started_at
    }
}

#[cfg_attr(not(all(target_os = "linux", not(pg_portable))), expect(dead_code))]
fn at(seconds: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}
