//! Starting a server over the lock file that a crashed one has left.

use std::time::Duration;

use camino::Utf8Path;

use crate::deadline::Deadline;
use crate::fs::directory_lock::{DirectoryLock, LockErrorKind};
use crate::launch::spawn_error::SpawnErrorKind;
use crate::postmaster::find::Found;
use crate::postmaster::handle::Postmaster;
use crate::postmaster::sockets;

/// How long a start makes others wait. A server replaces the file some milliseconds after it was
/// executed.
const TURN: Duration = Duration::from_secs(10);
/// How long it waits for others, if nothing is said.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a new server of a data directory needs to get past the lock file that lies there.
#[derive(Debug, Default)]
pub(crate) struct Passage {
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
        patience: Duration,
    ) -> Result<Self, SpawnErrorKind> {
        if Self::environment(data_directory)?.is_none() {
            return Ok(Self::default());
        }
        let turn = match DirectoryLock::acquire(data_directory, Deadline::after(patience)) {
            Ok(turn) => Some(turn),
            Err(e) if matches!(e.kind(), LockErrorKind::Busy { .. }) => {
                return Err(SpawnErrorKind::Lock(e));
            }
            // Where there are no locks it is as it is without this crate.
            Err(_) => None,
        };
        // Whoever had the turn before may have started a server.
        let environment = Self::environment(data_directory)?;
        if let (Some(_), Ok(Found::Stale(stale))) = (&turn, Postmaster::find(data_directory)) {
            // What stays is a reason for the server to fail, and it will say so.
            let _ = sockets::remove_of(&stale, data_directory);
        }
        Ok(Self {
            turn: turn.filter(|_| environment.is_some()),
            environment: environment.unwrap_or_default(),
        })
    }

    /// PostgreSQL takes the process that a stale lock file names for a server if it is alive,
    /// whatever it is, unless it is the grandparent of the new one (`CreateLockFile`). None if
    /// there is no such file.
    fn environment(
        data_directory: &Utf8Path,
    ) -> Result<Option<Vec<(&'static str, String)>>, SpawnErrorKind> {
        match Postmaster::find(data_directory) {
            Ok(Found::Running(postmaster)) => Err(SpawnErrorKind::Running(postmaster.pid())),
            Ok(Found::SingleUser(pid) | Found::Unknown { pid, .. }) => {
                Err(SpawnErrorKind::Held(pid))
            }
            Ok(Found::Stale(stale)) => Ok(Some(
                stale
                    .bystander()
                    .map(|pid| ("PG_GRANDPARENT_PID", pid.to_string()))
                    .into_iter()
                    .collect(),
            )),
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
