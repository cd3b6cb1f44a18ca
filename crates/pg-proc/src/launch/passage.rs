//! Starting a server over the lock files that a crashed one has left.

use std::time::Duration;

use camino::Utf8Path;

use crate::deadline::Deadline;
use crate::files::socket::SocketPath;
use crate::fs::directory_lock::{DirectoryLock, LockErrorKind};
use crate::launch::spawn_error::SpawnErrorKind;
use crate::pid::Pid;
use crate::postmaster::find::{Found, Stale};
use crate::postmaster::handle::Postmaster;
use crate::postmaster::sockets;

/// How long a start makes others wait. A server replaces the file some milliseconds after it was
/// executed.
const TURN: Duration = Duration::from_secs(10);
/// How long it waits for others.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a new server of a data directory needs to get past the lock file that lies there.
#[derive(Debug)]
pub(crate) struct Passage {
    /// PostgreSQL takes the process that a lock file names for a server if it is alive, whatever it
    /// is, unless it is the parent or the grandparent of the new one, which `PG_GRANDPARENT_PID`
    /// names (`CreateLockFile`). One process only: that of the directory's lock file, else that of
    /// a socket's, if they are known not to be servers. Else it is the calling process, which is
    /// the grandparent, and in a container often had the same number before; `pg_ctl` does the
    /// same.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// DIFFERENCE: of two servers that find the same stale file, each removes what lies there under
    /// that name (`CreateLockFile` in src/backend/utils/init/miscinit.c), which may be the file
    /// that the other has just written. One of them then fails, and the other ends a minute later
    /// for want of its file. Here there is one at a time until the file is the new server's.
    turn: Option<DirectoryLock>,
}

impl Passage {
    /// # Errors
    ///
    /// The directory has a server, cannot be looked at, or is locked by somebody else for long.
    pub(crate) fn find(
        data_directory: &Utf8Path,
        sockets: &[SocketPath],
    ) -> Result<Self, SpawnErrorKind> {
        let bystander_of_socket = sockets.iter().find_map(sockets::bystander);
        let of = |bystander: Option<Pid>| {
            let pid = bystander
                .or(bystander_of_socket)
                .unwrap_or_else(Pid::current);
            vec![("PG_GRANDPARENT_PID", pid.to_string())]
        };
        if Self::stale(data_directory)?.is_none() {
            return Ok(Self {
                environment: of(None),
                turn: None,
            });
        }
        let turn = match DirectoryLock::acquire(data_directory, Deadline::after(PATIENCE)) {
            Ok(turn) => Some(turn),
            Err(e) if matches!(e.kind, LockErrorKind::Busy) => return Err(SpawnErrorKind::Lock(e)),
            // Where there are no locks it is as it is without this crate.
            Err(_) => None,
        };
        // Whoever had the turn before may have started a server.
        let stale = Self::stale(data_directory)?;
        Ok(Self {
            turn: turn.filter(|_| stale.is_some()),
            environment: of(stale.and_then(|stale| stale.bystander())),
        })
    }

    /// The lock file that lies there without its server.
    fn stale(data_directory: &Utf8Path) -> Result<Option<Stale>, SpawnErrorKind> {
        match Postmaster::find(data_directory) {
            Ok(Found::Running(postmaster)) => Err(SpawnErrorKind::Running(postmaster.pid())),
            Ok(Found::SingleUser(pid) | Found::OtherUsers { pid, .. }) => {
                Err(SpawnErrorKind::Held(pid))
            }
            Ok(Found::Stale(stale)) => Ok(Some(stale)),
            Ok(Found::Nothing) => Ok(None),
            Err(e) => Err(SpawnErrorKind::State(e)),
        }
    }

    /// Lets others have their turn once this server has passed, or has ended.
    pub(crate) fn pass(self, server: &Postmaster) {
        if self.turn.is_none() {
            return;
        }
        let has_passed = || server.pid_file().is_ok_and(|file| file.is_some());
        // A server that takes longer is no longer waited for.
        let _ = server.wait_until(has_passed, TURN);
    }
}
