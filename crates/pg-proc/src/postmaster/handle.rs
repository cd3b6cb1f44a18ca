//! A postmaster whose identity was checked: signals, and what it says of itself.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::deadline::Deadline;
use crate::files::pid_file::{PidFile, PidFileError, Status};
use crate::pid::Pid;
use crate::postmaster::watcher::Watcher;
use crate::signal::{Signal, SignalError, SignalErrorKind};
use crate::sys::{self, Means, Process};

/// A postmaster whose identity was checked.
///
/// On Linux it is held by a pidfd: a signal reaches this process or nobody, however often its
/// number is given out again.
///
/// # Races
///
/// Without pidfd (Linux before 5.3, sandboxes that forbid it, other systems) the identity is
/// checked again immediately before each signal. Between check and signal remain some microseconds
/// in which the server would have to end, be waited for by its parent, and its number be given out
/// again.
#[derive(Debug)]
pub struct Postmaster {
    pub(crate) process: Process,
    pub(crate) data_directory: Utf8PathBuf,
    pub(crate) means: Means,
    /// The lock file that lay there before this server was started, by inode and time of change: it
    /// is not this server's.
    pub(crate) file_before: Option<FileVersion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileVersion {
    inode: u64,
    changed: (i64, i64),
}

impl FileVersion {
    pub(crate) fn of(path: &Utf8Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: meta.ino(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// How long a server may take from its execution until it handles signals: it is among the first
/// things that it does.
const HANDLER_PATIENCE: Duration = Duration::from_secs(10);

impl Postmaster {
    /// Its process ID.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// The data directory, as it was given.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// Whether it still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        !self.process.has_ended()
    }

    /// Whether the process is stopped by a signal (SIGSTOP) or a debugger, or frozen with its
    /// control group (`docker pause`): it does nothing, and answers nobody. A stopped process obeys
    /// SIGCONT and SIGKILL, a frozen one no signal. Known on Linux only.
    pub fn is_suspended(&self) -> bool {
        sys::is_suspended(self.pid())
    }

    /// Its child processes with their titles, such as `postgres: checkpointer` and `postgres: alice
    /// shop [local] idle` (`init_ps_display` in src/backend/utils/misc/ps_status.c). Known on Linux
    /// only.
    pub fn child_titles(&self) -> Vec<(Pid, String)> {
        sys::titles_of_children(self.pid())
    }

    /// The child processes that a shutdown waits for, with their titles: clients, WAL senders, the
    /// archiver. Known on Linux only.
    pub fn holders_of_shutdown(&self) -> Vec<(Pid, String)> {
        // These exit as soon as the postmaster signals them (`PostmasterStateMachine` in
        // src/backend/postmaster/postmaster.c).
        const OBEDIENT: [&str; 9] = [
            "background writer",
            "bgwriter",
            "writer process",
            "walwriter",
            "wal writer",
            "autovacuum launcher",
            "stats collector",
            "logger",
            "launcher",
        ];
        let mut holders = self.child_titles();
        holders.retain(|(_, title)| !OBEDIENT.iter().any(|name| title.contains(name)));
        holders
    }

    /// What its lock file says; none as long as it has not written one, or after it has removed it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn pid_file(&self) -> Result<Option<PidFile>, PidFileError> {
        let path = self.data_directory.join(PidFile::NAME);
        if self.file_before.is_some() && FileVersion::of(&path) == self.file_before {
            return Ok(None);
        }
        Ok(PidFile::read_file(&path)?.filter(|file| file.pid == self.pid()))
    }

    /// What it says of itself in its lock file; none as long as it has not said anything.
    ///
    /// DIFFERENCE: from PostgreSQL 15 on a primary with `hot_standby = off` writes `standby` while
    /// it recovers from a crash (`PerformWalRecovery`), and `pg_ctl` takes it for started. Here it
    /// is [`Status::Starting`] until it accepts connections, as it was before.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn status(&self) -> Result<Option<Status>, PidFileError> {
        let status = self.pid_file()?.and_then(|file| file.status);
        Ok(match status {
            Some(Status::Standby) if !self.is_standby() => Some(Status::Starting),
            status => status,
        })
    }

    /// Whether there is the file that makes a standby: up to PostgreSQL 11, and since. Up to 11 the
    /// same file makes a recovery that ends.
    pub(crate) fn is_standby(&self) -> bool {
        let has = |name: &str| self.data_directory.join(name).exists();
        has("recovery.conf") || has("standby.signal")
    }

    /// Sends a signal.
    ///
    /// A server that has only just been executed would be ended by [`Signal::Reload`] and
    /// [`Signal::CheckRequests`]: these wait until it handles them, up to ten seconds.
    ///
    /// # Races
    ///
    /// None with a pidfd; without, see [`Postmaster`].
    ///
    /// # Errors
    ///
    /// It has [exited](SignalErrorKind::Gone), belongs to [another
    /// user](SignalErrorKind::NotPermitted), or does [not handle the
    /// signal](SignalErrorKind::NotHandled).
    pub fn send(&self, signal: Signal) -> Result<(), SignalError> {
        self.wait_for_handler(signal)?;
        self.process.send(signal).map_err(|errno| {
            SignalError::new(self.pid(), signal, SignalErrorKind::from_errno(errno))
        })
    }

    /// A postmaster installs its handlers first, and takes the lock of its directory afterwards
    /// (`PostmasterMain`). Where the kernel does not show the handlers the lock file proves them.
    pub(crate) fn wait_for_handler(&self, signal: Signal) -> Result<(), SignalError> {
        if !matches!(signal, Signal::Reload | Signal::CheckRequests) {
            return Ok(());
        }
        let deadline = Deadline::after(HANDLER_PATIENCE);
        let watcher = Watcher::of_end();
        loop {
            let has_lock = || self.pid_file().is_ok_and(|file| file.is_some());
            if self.process.handles(signal).unwrap_or_else(has_lock) {
                return Ok(());
            }
            let kind = if self.process.has_ended() {
                SignalErrorKind::Gone
            } else if deadline.is_over() {
                SignalErrorKind::NotHandled
            } else {
                watcher.poll(self.process.descriptor(), deadline.remaining());
                continue;
            };
            return Err(SignalError::new(self.pid(), signal, kind));
        }
    }

    /// Makes a standby the primary: writes the file `promote`, and sends [`Signal::CheckRequests`].
    /// A server that is no standby takes no notice, and leaves the file.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), or the file cannot be written.
    pub fn promote(&self) -> Result<(), SignalError> {
        self.request("promote")
    }

    /// Makes the server's log collector begin a new file (PostgreSQL 12 and later): writes the file
    /// `logrotate`, and sends [`Signal::CheckRequests`].
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), or the file cannot be written.
    pub fn rotate_log(&self) -> Result<(), SignalError> {
        self.request("logrotate")
    }

    fn request(&self, file: &'static str) -> Result<(), SignalError> {
        let signal = Signal::CheckRequests;
        let path = self.data_directory.join(file);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // Neither through a link nor, for want of a reader, into a pipe without end.
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&path)
            .map_err(|e| {
                let kind = SignalErrorKind::RequestFile(file, e);
                SignalError::new(self.pid(), signal, kind)
            })?;
        self.send(signal).inspect_err(|_| {
            // Without the signal the file would take effect with the next one, whoever sends it.
            let _ = std::fs::remove_file(&path);
        })
    }
}
