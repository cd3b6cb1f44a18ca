//! A postmaster whose identity was checked: its signals and its status.

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
/// On Linux it is held by a pidfd: a signal reaches this process or no process, even if its process
/// ID is reused.
///
/// ```no_run
/// use std::time::Duration;
///
/// use pg_proc::{Found, Postmaster, Signal};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// if let Found::Running(postmaster) = Postmaster::find("/srv/data")? {
///     postmaster.send(Signal::Fast)?;
///     postmaster.wait_gone(Duration::from_secs(60))?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Races
///
/// Without pidfd (Linux before 5.3, sandboxes that forbid it, other systems) the identity is
/// checked again immediately before each signal. Some microseconds remain between check and signal.
/// A wrong process is reached only if in that time the server exits, its parent reaps it, and its
/// process ID is reused.
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

/// The longest time from the execution of a server until it handles signals, which is one of its
/// first actions.
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

    /// Returns whether the process still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        !self.process.has_ended()
    }

    /// Returns whether the process is stopped by a signal (SIGSTOP) or a debugger, or frozen with
    /// its control group (`docker pause`). Such a process does nothing and does not respond. A
    /// stopped process obeys SIGCONT and SIGKILL, a frozen one no signal. Known on Linux only.
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
    ///
    /// ```no_run
    /// # fn example(postmaster: &pg_proc::Postmaster) -> Result<(), Box<dyn std::error::Error>> {
    /// for (pid, title) in postmaster.holders_of_shutdown() {
    ///     println!("a shutdown waits for process {pid} (`{title}`)");
    /// }
    /// # Ok(())
    /// # }
    /// ```
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

    /// The content of its lock file; none before the server has written one, and after it has
    /// removed it.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn pid_file(&self) -> Result<Option<PidFile>, PidFileError> {
        let path = self.data_directory.join(PidFile::NAME);
        if self.file_before.is_some() && FileVersion::of(&path) == self.file_before {
            return Ok(None);
        }
        Ok(PidFile::read_file(&path)?.filter(|file| file.pid == self.pid()))
    }

    /// The status in its lock file; none before the server has written one.
    ///
    /// DIFFERENCE: from PostgreSQL 15 on a primary with `hot_standby = off` writes `standby` while
    /// it recovers from a crash (`PerformWalRecovery`), and `pg_ctl` reports it as started. Here it
    /// is [`Status::Starting`] until it accepts connections, as in earlier versions.
    ///
    /// ```no_run
    /// # fn example(postmaster: &pg_proc::Postmaster) -> Result<(), Box<dyn std::error::Error>> {
    /// use pg_proc::Status;
    ///
    /// if postmaster.status()? == Some(Status::Ready) {
    ///     println!("process {} accepts connections", postmaster.pid());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn status(&self) -> Result<Option<Status>, PidFileError> {
        let status = self.pid_file()?.and_then(|file| file.status);
        Ok(match status {
            Some(Status::Standby) if !self.is_standby() => Some(Status::Starting),
            status => status,
        })
    }

    /// Checks for the file that makes a server a standby: its name up to PostgreSQL 11, and its
    /// name since. Up to 11 the same file also starts a recovery that ends by itself.
    pub(crate) fn is_standby(&self) -> bool {
        let has = |name: &str| self.data_directory.join(name).exists();
        has("recovery.conf") || has("standby.signal")
    }

    /// Sends a signal.
    ///
    /// [`Signal::Reload`] and [`Signal::CheckRequests`] would terminate a server that has only just
    /// been executed. So these wait until the server handles them, up to ten seconds.
    ///
    /// # Races
    ///
    /// None with a pidfd; without one, see [`Postmaster`].
    ///
    /// # Errors
    ///
    /// Fails if the server has [exited](SignalErrorKind::Gone), belongs to [another
    /// user](SignalErrorKind::NotPermitted), or does [not handle the
    /// signal](SignalErrorKind::NotHandled).
    pub fn send(&self, signal: Signal) -> Result<(), SignalError> {
        self.wait_for_handler(signal)?;
        self.process.send(signal).map_err(|errno| {
            SignalError::new(self.pid(), signal, SignalErrorKind::from_errno(errno))
        })
    }

    /// A postmaster installs its handlers first, and acquires the lock of its directory afterwards
    /// (`PostmasterMain`). Where the kernel does not show the handlers, the lock file proves them.
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

    /// Promotes a standby to a primary: writes the file `promote`, and sends
    /// [`Signal::CheckRequests`]. A server that is not a standby ignores the request, and the file
    /// stays.
    ///
    /// ```no_run
    /// # fn example(postmaster: &pg_proc::Postmaster) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use pg_proc::Status;
    ///
    /// postmaster.promote()?;
    /// postmaster.wait_status(&[Status::Ready], Duration::from_secs(60))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`send`](Self::send) does, or if the file cannot be written.
    pub fn promote(&self) -> Result<(), SignalError> {
        self.request("promote")
    }

    /// Makes the server's log collector begin a new file (PostgreSQL 12 and later): writes the file
    /// `logrotate`, and sends [`Signal::CheckRequests`].
    ///
    /// # Errors
    ///
    /// Fails as [`send`](Self::send) does, or if the file cannot be written.
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
            // Does not write through a link, and does not block on a pipe without a reader.
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&path)
            .map_err(|e| {
                let kind = SignalErrorKind::RequestFile(file, e);
                SignalError::new(self.pid(), signal, kind)
            })?;
        self.send(signal).inspect_err(|_| {
            // Without the signal the file would take effect with the next one, whichever process
            // sends it.
            let _ = std::fs::remove_file(&path);
        })
    }
}
