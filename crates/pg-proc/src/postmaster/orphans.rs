//! The child processes left behind by a crashed postmaster.

use std::time::Instant;

use camino::Utf8Path;

use crate::deadline::Deadline;
use crate::pid::Pid;
use crate::postmaster::find::{FindError, FindErrorKind, Found, StaleReason, find, memory_of};
use crate::postmaster::wait_error::{WaitError, WaitErrorKind};
use crate::postmaster::watcher::Watcher;
use crate::signal::{Signal, SignalErrorKind};
use crate::sys::{self, DirectoryId, Means, Process, Segment};

/// Child processes left behind by a postmaster that crashed or was killed.
///
/// After SIGKILL of a postmaster its children live on: idle ones for some milliseconds, busy ones
/// until they next check for their parent. They hold its shared memory, and a new server does not
/// start before they have exited.
///
/// The shared memory of the directory and the lock file show that there may be such processes:
/// without both, none are searched for. On Linux they are found in `/proc`: their title is
/// `postgres: ...`, their working directory is the data directory, and their parent is not a
/// postmaster. Elsewhere they cannot be found. A wait for them is possible there: it counts the
/// processes attached to the shared memory.
///
/// ```no_run
/// use std::time::Duration;
///
/// use pg_proc::Orphans;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let orphans = Orphans::find("/srv/data")?;
/// if !orphans.is_empty() {
///     println!("killing {:?}", orphans.pids());
///     orphans.kill(Duration::from_secs(10))?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Orphans {
    directory: DirectoryId,
    /// The memory of the last server: its creator and its ID.
    segment: Option<(Pid, i32)>,
    /// True if the server has left a sign that it was not shut down properly.
    crashed: bool,
    means: Means,
    processes: Vec<Process>,
}

impl Orphans {
    /// Looks for orphans of the last server of a data directory. While a server runs there, its
    /// children are none.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be read.
    pub fn find(data_directory: impl AsRef<Utf8Path>) -> Result<Self, FindError> {
        let data_directory = data_directory.as_ref();
        Self::find_by(data_directory, Means::Native)
    }

    pub(crate) fn find_by(data_directory: &Utf8Path, means: Means) -> Result<Self, FindError> {
        let found = find(data_directory, means)?;
        let directory = DirectoryId::of(data_directory)
            .map_err(|e| FindError::new(data_directory, FindErrorKind::Directory(e)))?;
        let crashed = matches!(found, Found::Stale(_));
        let segment = match found {
            Found::Nothing => memory_of(data_directory, directory, means),
            // A copy of another server's file names that server's memory.
            Found::Stale(stale) => stale
                .pid_file
                .filter(|_| !matches!(stale.reason, StaleReason::OtherDirectory))
                .and_then(|file| Some((file.pid, file.shared_memory?.id)))
                .or_else(|| memory_of(data_directory, directory, means)),
            // A process attached to a running server's memory is not an orphan.
            _ => None,
        };
        let mut orphans = Self {
            directory,
            segment,
            crashed,
            means,
            processes: Vec::new(),
        };
        orphans.look_again();
        Ok(orphans)
    }

    /// Their process IDs.
    pub fn pids(&self) -> Vec<Pid> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// Returns whether there are no such processes, and no process is attached to the shared
    /// memory.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && !self.memory_is_attached()
    }

    /// Waits until they have exited by themselves.
    ///
    /// # Errors
    ///
    /// Fails if the wait times out.
    pub fn wait_gone(self, deadline: impl Into<Deadline>) -> Result<(), WaitError> {
        self.end(deadline.into(), None)
    }

    /// Sends SIGKILL to the processes, which is harmless without a postmaster, and waits until they
    /// have exited.
    ///
    /// # Errors
    ///
    /// Fails if one of the processes belongs to another user, or the wait times out.
    pub fn kill(self, deadline: impl Into<Deadline>) -> Result<(), WaitError> {
        self.end(deadline.into(), Some(Signal::Kill))
    }

    pub(crate) fn end(
        mut self,
        deadline: Deadline,
        signal: Option<Signal>,
    ) -> Result<(), WaitError> {
        let since = Instant::now();
        let watcher = Watcher::of_end();
        loop {
            for process in &self.processes {
                if let Some(signal) = signal {
                    self.signal(process, signal, since)?;
                }
                while !process.has_ended() {
                    self.check(deadline, process.pid(), since)?;
                    watcher.pause(process.descriptor(), false, deadline.remaining());
                }
            }
            self.look_again();
            if self.is_empty() {
                return Ok(());
            }
            if self.processes.is_empty() {
                if let Some((creator, _)) = self.segment {
                    self.check(deadline, creator, since)?;
                }
                watcher.pause(None, false, deadline.remaining());
            }
        }
    }

    fn look_again(&mut self) {
        self.processes = match self.means {
            Means::Native if self.crashed || self.memory_is_attached() => {
                sys::orphans(self.directory)
            }
            _ => Vec::new(),
        };
    }

    fn memory_is_attached(&self) -> bool {
        self.segment.is_some_and(|(creator, id)| {
            Segment::by_id(id)
                .is_some_and(|found| found.creator == creator.as_raw() && found.attached > 0)
        })
    }

    fn signal(&self, process: &Process, signal: Signal, since: Instant) -> Result<(), WaitError> {
        match process.send(signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => {
                let kind = WaitErrorKind::NotSignalled(SignalErrorKind::from_errno(errno));
                Err(WaitError::new(process.pid(), since, kind))
            }
        }
    }

    fn check(&self, deadline: Deadline, pid: Pid, since: Instant) -> Result<(), WaitError> {
        if !deadline.is_over() {
            return Ok(());
        }
        Err(WaitError::new(pid, since, WaitErrorKind::TimedOut(None)))
    }
}
