//! An advisory lock on a directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::deadline::Deadline;
use crate::fs::directory::Directory;

/// An advisory lock between processes (and threads) on a directory: `flock` on the directory
/// itself.
///
/// It leaves no file behind, and the kernel releases it however its holder ends. It keeps out those
/// who ask for it, and nobody else.
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
    directory: Option<File>,
}

/// What became of an attempt that does not wait.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a lock is had or not")]
pub enum TryLock {
    /// It is held now.
    Acquired(DirectoryLock),
    /// Somebody else holds it.
    Busy,
}

impl DirectoryLock {
    /// Waits for the lock, in the kernel's queue: of many who want it again and again, each has its
    /// turn. When the deadline is over, a thread of this process goes on waiting, to give the lock
    /// back as soon as it is had.
    ///
    /// # Errors
    ///
    /// The directory cannot be opened, its file system has no locks, or the deadline is over.
    pub fn acquire(
        directory: impl AsRef<Utf8Path>,
        deadline: impl Into<Deadline>,
    ) -> Result<Self, LockError> {
        let (directory, deadline) = (directory.as_ref(), deadline.into());
        if let TryLock::Acquired(lock) = Self::try_acquire(directory)? {
            return Ok(lock);
        }
        let failed = |kind| LockError {
            directory: directory.to_owned(),
            kind,
        };
        let file = open(directory).map_err(|error| failed(LockErrorKind::Open(error)))?;
        // The kernel offers no wait with a deadline, so another thread waits. If it gets the lock
        // too late, it gives it back.
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("directory lock".to_owned())
            .spawn(move || {
                let outcome = lock_blocking(&file).map(|()| file);
                let _ = sender.send(outcome);
            })
            .map_err(|error| failed(LockErrorKind::System(error)))?;
        let outcome = match deadline.remaining() {
            Some(left) => receiver.recv_timeout(left).ok(),
            None => receiver.recv().ok(),
        };
        match outcome {
            Some(Ok(file)) => Ok(Self {
                directory: Some(file),
            }),
            Some(Err(error)) => Err(failed(LockErrorKind::System(error))),
            None => Err(failed(LockErrorKind::Busy)),
        }
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    ///
    /// The directory cannot be opened, or its file system has no locks.
    pub fn try_acquire(directory: impl AsRef<Utf8Path>) -> Result<TryLock, LockError> {
        let directory = directory.as_ref();
        let failed = |kind| LockError {
            directory: directory.to_owned(),
            kind,
        };
        let file = open(directory).map_err(|error| failed(LockErrorKind::Open(error)))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(TryLock::Acquired(Self {
                directory: Some(file),
            })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(TryLock::Busy),
            Err(errno) => Err(failed(LockErrorKind::System(errno.into()))),
        }
    }

    /// The directory that is locked.
    ///
    /// # Errors
    ///
    /// The system is out of descriptors.
    pub fn directory(&self) -> io::Result<Directory> {
        match &self.directory {
            Some(file) => Directory::again(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Fails at once for a pipe, which would otherwise wait for one who writes.
fn open(directory: &Utf8Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_DIRECTORY)
        .open(directory)
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        drop(self.directory.take());
        // Whoever takes it again at once would be faster than those who are being woken.
        std::thread::yield_now();
    }
}

fn lock_blocking(file: &File) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}

/// How many bytes an unprivileged process can still write to the file system of this path.
///
/// # Errors
///
/// The path does not exist or cannot be reached.
pub fn available_space(path: impl AsRef<Utf8Path>) -> io::Result<u64> {
    let path = path.as_ref();
    let found = rustix::fs::statvfs(path.as_std_path())?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A lock that was not had.
#[derive(Debug)]
#[non_exhaustive]
pub struct LockError {
    /// The directory.
    pub directory: Utf8PathBuf,
    /// Why not.
    pub kind: LockErrorKind,
}

error_with_kind!(LockError, |e, f| write!(
    f,
    "failed to lock {}: {}",
    e.directory, e.kind
));

/// Why a lock was not had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockErrorKind {
    /// The directory cannot be opened.
    #[error("cannot be opened")]
    Open(#[source] io::Error),
    /// Somebody else has held it until the deadline was over.
    #[error("somebody else holds it")]
    Busy,
    /// The system refused, as for a file system without locks.
    #[error("the system refused")]
    System(#[source] io::Error),
}
