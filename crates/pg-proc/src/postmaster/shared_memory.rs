//! Releasing the shared memory of a killed server.

use std::borrow::Cow;
use std::io;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use crate::files::pid_file;
use crate::files::pid_file::{PidFile, PidFileErrorKind};
use crate::pid::Pid;
use crate::postmaster::find::{FindError, Found};
use crate::postmaster::handle::Postmaster;
use crate::sys::{DirectoryOf, Refusal, release};

/// The shared memory that was released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Released {
    /// The outcome for a System V segment.
    pub system_v: bool,
    /// The number of POSIX segments.
    pub posix: u32,
}

/// Releases the shared memory of a killed server, for a data directory that is about to be removed.
/// A server that is started in the directory again releases it itself.
///
/// The lock file names the System V segment, which is released only if it has the key of the file,
/// was created by the process of the file, belongs to the owner of the directory, carries the
/// directory's device and inode in its header, and has no process attached. The segment names the
/// POSIX segments.
///
/// A directory without a lock file has no shared memory: its server shut down in order.
///
/// Not covered: `dynamic_shared_memory_type = sysv`; semaphores on systems where PostgreSQL uses
/// System V ones (FreeBSD before PostgreSQL 12, macOS); POSIX segments on macOS, which cannot be
/// read there.
///
/// # Errors
///
/// Fails if the directory has a server, if processes are attached to the segment, or if the segment
/// was made for another data directory.
pub fn release_shared_memory(
    data_directory: impl AsRef<Utf8Path>,
) -> Result<Released, SharedMemoryError> {
    let data_directory = data_directory.as_ref();
    let failed = |kind| SharedMemoryError {
        data_directory: data_directory.to_owned(),
        kind,
    };
    match Postmaster::find(data_directory) {
        Ok(Found::Stale(stale)) if stale.pid_file.is_some() => {}
        // A damaged file names no memory.
        Ok(Found::Stale(_)) => return Ok(Released::default()),
        Ok(Found::Nothing) => return Ok(Released::default()),
        Ok(Found::Running(postmaster)) => {
            return Err(failed(SharedMemoryErrorKind::Running(postmaster.pid())));
        }
        Ok(Found::SingleUser(pid) | Found::Unknown { pid, .. }) => {
            return Err(failed(SharedMemoryErrorKind::Running(pid)));
        }
        Err(e) => return Err(failed(SharedMemoryErrorKind::Find(e))),
    }
    let system = |e| failed(SharedMemoryErrorKind::System(e));
    let meta = std::fs::metadata(data_directory).map_err(system)?;
    let lock_file = match pid_file::read_bytes(&data_directory.join(PidFile::NAME)) {
        Ok(Some(content)) => content,
        Ok(None) => return Ok(Released::default()),
        Err(kind) => return Err(failed(SharedMemoryErrorKind::LockFile(kind))),
    };
    let directory = DirectoryOf {
        device: meta.dev(),
        inode: meta.ino(),
        uid: meta.uid(),
        lock_file: &lock_file,
    };
    match release(&directory) {
        Ok(freed) => Ok(Released {
            system_v: freed.system_v,
            posix: freed.posix,
        }),
        Err(Refusal::InUse(attached)) => Err(failed(SharedMemoryErrorKind::InUse { attached })),
        Err(Refusal::NotOurs) => Err(failed(SharedMemoryErrorKind::NotOurs)),
        Err(Refusal::Errno(errno)) => Err(system(io::Error::from_raw_os_error(errno))),
    }
}

/// The shared memory of a data directory was not released.
#[derive(Debug, Error)]
#[error("failed to release the shared memory of {data_directory}")]
pub struct SharedMemoryError {
    pub(crate) data_directory: Utf8PathBuf,
    #[source]
    pub(crate) kind: SharedMemoryErrorKind,
}

impl SharedMemoryError {
    /// The data directory.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// The reason.
    pub const fn kind(&self) -> &SharedMemoryErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            SharedMemoryErrorKind::Running(_) => "stop the server first",
            SharedMemoryErrorKind::InUse { .. } => {
                "end the child processes that the server left behind first"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}

/// The reason why shared memory was not released.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SharedMemoryErrorKind {
    /// The server is running, or may be.
    #[error("process {0} holds the data directory")]
    Running(Pid),
    /// Processes use the segment, most likely [`Orphans`](crate::Orphans).
    #[error("{attached} processes are attached to the segment")]
    InUse {
        /// The number of processes.
        attached: u64,
    },
    /// The segment that the lock file names was not made for this data directory.
    #[error("the segment was made for another data directory")]
    NotOurs,
    /// The server of the data directory could not be determined.
    #[error(transparent)]
    Find(FindError),
    /// The lock file could not be read, or is damaged.
    #[error("the lock file cannot be used")]
    LockFile(#[source] PidFileErrorKind),
    /// The directory or a segment could not be read or removed.
    #[error("the directory or a segment cannot be accessed")]
    System(#[source] io::Error),
}
