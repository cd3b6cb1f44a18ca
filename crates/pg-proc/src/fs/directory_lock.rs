//! An advisory lock on a directory.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

use crate::deadline::Deadline;
use crate::fs::directory::Directory;
use crate::fs::walk::ForeignLink;
use crate::maker::Maker;
use crate::pid::Pid;
use crate::sys::DirectoryEvents;

/// First pause between two attempts.
const SHORTEST: Duration = Duration::from_micros(200);
/// Longest pause between two attempts, where nothing reports that the lock is released.
const LONGEST: Duration = Duration::from_millis(5);
/// Longest pause where that is reported: a file system in user space may not.
const ANYWAY: Duration = Duration::from_millis(50);

/// An advisory lock between processes (and threads) on a directory: `flock` on the directory
/// itself.
///
/// The lock leaves no file, and the kernel releases it when its holder exits for any reason. It is
/// advisory: it excludes only processes that acquire it.
///
/// ```
/// use pg_proc::{Deadline, DirectoryLock, TryLock};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = camino::Utf8Path::from_path(directory.path()).unwrap();
/// let lock = DirectoryLock::acquire(path, Deadline::never())?;
/// assert!(matches!(DirectoryLock::try_acquire(path)?, TryLock::Busy));
/// drop(lock);
/// assert!(matches!(DirectoryLock::try_acquire(path)?, TryLock::Acquired(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DirectoryLock {
    directory: Directory,
    /// A process that was forked has the lock too, and must not release it.
    maker: Maker,
}

/// The outcome of an attempt that does not wait.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a lock is acquired or not")]
pub enum TryLock {
    /// It is held now.
    Acquired(DirectoryLock),
    /// Another process, or another value of this one, holds it.
    Busy,
}

impl DirectoryLock {
    /// Waits up to the deadline for the lock.
    ///
    /// The path is walked as by [`Directory::open`].
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be opened, if its file system has no locks, or if the lock is
    /// still held by another process at the deadline.
    pub fn acquire(
        directory: impl AsRef<Utf8Path>,
        deadline: impl Into<Deadline>,
    ) -> Result<Self, LockError> {
        let path = directory.as_ref();
        let open = LockError::at(path, LockErrorKind::Open);
        Self::wait(path, Directory::open(path).map_err(open)?, deadline.into())
    }

    /// Waits up to the deadline for the lock of a directory that is held open. `path` is its path,
    /// for the error only.
    ///
    /// # Errors
    ///
    /// Fails as [`acquire`](Self::acquire) does.
    pub fn acquire_held(
        directory: &Directory,
        path: impl AsRef<Utf8Path>,
        deadline: impl Into<Deadline>,
    ) -> Result<Self, LockError> {
        let path = path.as_ref();
        let open = LockError::at(path, LockErrorKind::Open);
        // A lock belongs to a descriptor and its copies: this one is the lock's own.
        let own = Directory::again(directory.as_file()).map_err(open)?;
        Self::wait(path, own, deadline.into())
    }

    /// Acquires the lock if it is free.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be opened, or its file system has no locks.
    pub fn try_acquire(directory: impl AsRef<Utf8Path>) -> Result<TryLock, LockError> {
        let path = directory.as_ref();
        let open = LockError::at(path, LockErrorKind::Open);
        match Self::attempt(path, Directory::open(path).map_err(open)?)? {
            Ok(lock) => Ok(TryLock::Acquired(lock)),
            Err(_) => Ok(TryLock::Busy),
        }
    }

    /// The directory that is locked.
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// No system offers to wait for a lock with a deadline. A thread that waits without one would
    /// outlive the deadline, and a process forked to wait would be named as the holder. So this
    /// tries again: whenever a process closes the directory, as a holder does that releases the
    /// lock or exits, and after pauses in case that is not reported.
    fn wait(
        path: &Utf8Path,
        mut directory: Directory,
        deadline: Deadline,
    ) -> Result<Self, LockError> {
        let mut closing = None;
        let mut pause = SHORTEST;
        loop {
            directory = match Self::attempt(path, directory)? {
                Ok(lock) => return Ok(lock),
                Err(directory) => directory,
            };
            if deadline.is_over() {
                let holder = holder(&directory);
                return Err(LockError::at(path, |()| LockErrorKind::Busy { holder })(()));
            }
            let events = closing.get_or_insert_with(|| DirectoryEvents::of_closing(path));
            let events = events
                .as_ref()
                .and_then(|events| Some((events, events.descriptor()?)));
            let longest = events.map_or(LONGEST, |_| ANYWAY);
            let left = deadline.remaining().unwrap_or(pause).min(pause);
            let mut fds: Vec<PollFd<'_>> = events
                .iter()
                .map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
                .collect();
            let told = Deadline::after(left).poll(&mut fds);
            // The lock itself is released a moment after that is reported.
            pause = if told {
                SHORTEST
            } else {
                longest.min(pause * 2)
            };
            if let Some((events, _)) = events {
                events.forget();
            }
        }
    }

    /// Gives the directory back if another process holds the lock.
    fn attempt(
        path: &Utf8Path,
        directory: Directory,
    ) -> Result<Result<Self, Directory>, LockError> {
        loop {
            return match flock(
                directory.as_file(),
                FlockOperation::NonBlockingLockExclusive,
            ) {
                Ok(()) => Ok(Ok(Self {
                    directory,
                    maker: Maker::this_process(),
                })),
                Err(Errno::WOULDBLOCK) => Ok(Err(directory)),
                Err(Errno::INTR) => continue,
                Err(errno) => Err(LockError::at(path, LockErrorKind::System)(errno.into())),
            };
        }
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        if !self.maker.is_this_process() {
            return;
        }
        // Before it is closed: closing is reported to those who wait before the lock goes.
        let _ = flock(self.directory.as_file(), FlockOperation::Unlock);
        // A process that acquires it again at once would be faster than those who are being woken.
        std::thread::yield_now();
    }
}

/// The process that holds the lock: a line of `/proc/locks` (proc_locks(5)) is
/// `1: FLOCK  ADVISORY  WRITE 4711 fe:01:131077 0 EOF`.
#[cfg(all(target_os = "linux", not(pg_portable)))]
fn holder(directory: &Directory) -> Option<Pid> {
    use std::os::unix::fs::MetadataExt as _;
    let found = directory.as_file().metadata().ok()?;
    let (major, minor) = (
        rustix::fs::major(found.dev()),
        rustix::fs::minor(found.dev()),
    );
    let file = format!("{major:02x}:{minor:02x}:{}", found.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.get(1..6)? {
            ["FLOCK", _, _, pid, found] if *found == file => pid.parse().ok(),
            _ => None,
        }
    })
}

/// Other systems do not name it.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
fn holder(_directory: &Directory) -> Option<Pid> {
    None
}

/// The number of bytes that an unprivileged process can still write to the file system of this
/// path.
///
/// # Errors
///
/// Fails if the path does not exist or cannot be reached.
pub fn available_space(path: impl AsRef<Utf8Path>) -> io::Result<u64> {
    let path = path.as_ref();
    let found = rustix::fs::statvfs(path.as_std_path())?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A directory could not be locked.
#[derive(Debug, Error)]
#[error("failed to lock {directory}")]
pub struct LockError {
    directory: Utf8PathBuf,
    #[source]
    kind: LockErrorKind,
}

/// The reason why a directory could not be locked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockErrorKind {
    /// The directory cannot be opened.
    #[error("the directory cannot be opened")]
    Open(#[source] io::Error),
    /// Another process held the lock until the deadline.
    #[error("{} holds the lock", named(.holder))]
    Busy {
        /// The process, where the system names it.
        holder: Option<Pid>,
    },
    /// The system refused, as for a file system without locks.
    #[error("the system refused")]
    System(#[source] io::Error),
}

fn named(holder: &Option<Pid>) -> String {
    holder.map_or("another process".to_owned(), |pid| format!("process {pid}"))
}

impl LockError {
    pub(crate) fn at<T>(
        directory: &Utf8Path,
        kind: impl FnOnce(T) -> LockErrorKind,
    ) -> impl FnOnce(T) -> Self {
        let directory = directory.to_owned();
        move |cause| Self {
            kind: kind(cause),
            directory,
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// The reason.
    pub const fn kind(&self) -> &LockErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            LockErrorKind::Open(cause) => Some(ForeignLink::of(cause)?.hint().into()),
            LockErrorKind::Busy { holder: Some(pid) } => {
                Some(format!("wait for process {pid}, or end it if it is stopped or stuck").into())
            }
            _ => None,
        }
    }
}
