//! Starting a server over the lock file that a crashed one has left.

use std::time::Duration;

use camino::Utf8Path;

use crate::deadline::Deadline;
use crate::fs::directory_lock::{DirectoryLock, LockErrorKind};
use crate::launch::spawn_error::SpawnErrorKind;
use crate::postmaster::find::Found;
use crate::postmaster::handle::Postmaster;
use crate::postmaster::sockets;

/// The longest time for which a start blocks other starts. A server replaces the file some
/// milliseconds after it was executed.
const TURN: Duration = Duration::from_secs(10);
/// The default of the longest wait for other starts.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Lets a new server of a data directory start despite a stale lock file.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    pub(crate) environment: Vec<(&'static str, String)>,
    /// DIFFERENCE: if two servers find the same stale file, each removes the file of that name
    /// (`CreateLockFile` in src/backend/utils/init/miscinit.c), which may be the file that the
    /// other server has just written. One of them then fails, and the other exits a minute later
    /// because its file is missing. Here only one server starts at a time until the file is that of
    /// the new server.
    turn: Option<DirectoryLock>,
}

impl Passage {
    /// # Errors
    ///
    /// Fails if the directory has a server, cannot be read, or is locked by another process for too
    /// long.
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
            // Without locks, servers start as they do without this crate.
            Err(_) => None,
        };
        // The process that held the lock before may have started a server.
        let environment = Self::environment(data_directory)?;
        if let (Some(_), Ok(Found::Stale(stale))) = (&turn, Postmaster::find(data_directory)) {
            // A file that stays makes the server fail, and the server reports it.
            let _ = sockets::remove_of(&stale, data_directory);
        }
        Ok(Self {
            turn: turn.filter(|_| environment.is_some()),
            environment: environment.unwrap_or_default(),
        })
    }

    /// If the process named by a stale lock file is alive, PostgreSQL takes it for a server, unless
    /// it is the grandparent of the new one (`CreateLockFile`). None if the file does not exist.
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

    /// Releases the lock for other starts once this server has written its file or has exited.
    pub(crate) fn pass(self, server: &Postmaster) {
        if self.turn.is_none() {
            return;
        }
        let has_passed = || server.pid_file().is_ok_and(|file| file.is_some());
        // A server that takes longer does not delay others any further.
        let _ = server.wait_until(has_passed, TURN);
    }
}
