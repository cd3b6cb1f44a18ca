//! The holder of a data directory: `postmaster.pid`, and the process that it names.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use crate::files::pid_file::{PidFile, PidFileError, ServerKind};
use crate::fs::regular_file::{open_regular_file, read_all};
use crate::pid::Pid;
use crate::postmaster::handle::Postmaster;
use crate::sys::{
    DirectoryId, Evidence, Identity, MadeFor, Means, Process, Segment, identify, is_single_user,
    postmaster_in, segments_by_key, segments_for,
};

/// The process that holds a data directory.
#[derive(Debug)]
#[non_exhaustive]
pub enum Found {
    /// No process: the directory does not exist, or has neither a lock file nor a server.
    ///
    /// A server needs some milliseconds from its start until it has written the file.
    Nothing,
    /// A postmaster, identified.
    Running(Postmaster),
    /// A lock file without its server: the server crashed or was killed.
    Stale(Stale),
    /// A single-user or bootstrap process. It does not handle the signals of a postmaster.
    SingleUser(Pid),
    /// A process that may be the server. The caller does not have the rights, or the system does
    /// not have the means, to decide. Most often the process belongs to another user. Nothing is
    /// signalled, deleted or started in this case.
    Unknown {
        /// The process that the lock file names, or that made the server's shared memory.
        pid: Pid,
        /// The ID of its user, if known.
        uid: Option<u32>,
    },
}

/// A lock file whose server has exited.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stale {
    /// The content of the file, if it can be read.
    pub pid_file: Option<PidFile>,
    /// The reason why the file is stale.
    pub reason: StaleReason,
}

/// The reason why a lock file is stale.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StaleReason {
    /// The process that the file names does not exist.
    #[error("the process has exited")]
    Gone,
    /// The process has exited, and its parent has not yet waited for it.
    #[error("the process is a zombie")]
    Zombie,
    /// The process ID now belongs to a process that runs another program.
    #[error("the process runs another program, {0}")]
    OtherProgram(String),
    /// The process ID now belongs to a PostgreSQL process of another data directory.
    #[error("the process belongs to another data directory")]
    OtherDirectory,
    /// The process ID now belongs to a process that started after the file was written.
    #[error("the process started after the file was written")]
    BeganLater,
    /// The file cannot be read, or was not written by a server, and no server was found without it.
    #[error(transparent)]
    Unreadable(PidFileError),
}

impl Stale {
    /// The process (or zombie) that has the process ID in the file but is not the server.
    ///
    /// PostgreSQL takes it for the server and refuses to start, unless the environment variable
    /// `PG_GRANDPARENT_PID` names that process. [`spawn_server`](crate::Command::spawn_server) sets
    /// it.
    pub fn bystander(&self) -> Option<Pid> {
        use StaleReason::{BeganLater, OtherDirectory, OtherProgram, Zombie};
        let taken = matches!(
            self.reason,
            OtherProgram(_) | OtherDirectory | BeganLater | Zombie
        );
        self.pid_file
            .as_ref()
            .filter(|_| taken)
            .map(|file| file.pid)
    }
}

impl Postmaster {
    /// Determines what holds a data directory, from its `postmaster.pid`, from the process that
    /// this names, and from the shared memory that was made for the directory.
    ///
    /// On Linux the process has to work in that directory, and to have made the shared memory that
    /// the file names, or to run a program that is a PostgreSQL server by its content. A name
    /// proves nothing. Root without CAP_SYS_PTRACE looks as the account of the process. A pid file
    /// that came from another machine or another container with a shared volume is stale for want
    /// of such a process, as it is for PostgreSQL itself. The calling process is never the server.
    ///
    /// If the file is absent, damaged, or names another process, the server is found by the shared
    /// memory that it made for the directory, in time that does not depend on the number of
    /// processes. A server of another IPC namespace is not found that way.
    ///
    /// Elsewhere, and on Linux without `/proc`, `kill(pid, 0)`, the kernel's record of that shared
    /// memory, and `ps` have to do.
    ///
    /// ```
    /// use pg_proc::{Found, Postmaster};
    ///
    /// if let Found::Stale(stale) = Postmaster::find("/srv/data")? {
    ///     println!("the lock file is stale: {}", stale.reason);
    /// }
    /// # Ok::<(), pg_proc::FindError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the directory or the file cannot be read.
    pub fn find(data_directory: impl AsRef<Utf8Path>) -> Result<Found, FindError> {
        let data_directory = data_directory.as_ref();
        find(data_directory, Means::Native)
    }

    /// Like [`find`](Self::find), but uses only means that every Unix has, also for all later
    /// operations on the postmaster: no pidfd, `/proc` or inotify. For tests of these means.
    ///
    /// # Errors
    ///
    /// Fails as [`find`](Self::find) does.
    pub fn find_portably(data_directory: impl AsRef<Utf8Path>) -> Result<Found, FindError> {
        let data_directory = data_directory.as_ref();
        find(data_directory, Means::Portable)
    }

    /// Returns whether the server serves its directory although the lock file is absent or names
    /// another process: the file was removed or replaced. Such a server notices within a minute and
    /// shuts down (`RecheckDataDirLockFile`).
    pub fn has_lost_lock_file(&self) -> bool {
        // A server that exits in order removes its memory before its lock file.
        let has_memory = || {
            let directory = DirectoryId::of(&self.data_directory).ok();
            directory
                .and_then(|directory| memory_of(&self.data_directory, directory, self.means))
                .is_some_and(|(creator, _)| creator == self.pid())
        };
        matches!(self.pid_file(), Ok(None)) && has_memory() && self.is_alive()
    }
}

/// A server that starts or stops meanwhile replaces the file; the result for the old file is void
/// then.
const ATTEMPTS: usize = 5;

pub(crate) fn find(data_directory: &Utf8Path, means: Means) -> Result<Found, FindError> {
    let failed = |kind| FindError::new(data_directory, kind);
    let directory = match DirectoryId::of(data_directory) {
        Ok(id) => id,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(failed(FindErrorKind::Directory(e))),
    };
    let mut read = read(data_directory).map_err(failed)?;
    for _ in 1..ATTEMPTS {
        let found = judge(data_directory, directory, &read, means);
        // If several servers start at once, any of them is returned while the file is still empty.
        if !matches!((&found, &read), (Found::Stale(_), _) | (_, Read::Bad(_))) {
            return Ok(found);
        }
        let again = self::read(data_directory).map_err(failed)?;
        if again == read {
            return Ok(found);
        }
        read = again;
    }
    Ok(judge(data_directory, directory, &read, means))
}

#[derive(PartialEq)]
enum Read {
    Absent,
    File(PidFile),
    /// Includes the message, for comparison.
    Bad(String),
}

fn read(data_directory: &Utf8Path) -> Result<Read, FindErrorKind> {
    use crate::files::pid_file::PidFileErrorKind;
    match PidFile::read(data_directory) {
        Ok(None) => Ok(Read::Absent),
        Ok(Some(file)) => Ok(Read::File(file)),
        Err(e) if matches!(e.kind(), PidFileErrorKind::Read(_)) => Err(FindErrorKind::PidFile(e)),
        Err(e) => Ok(Read::Bad(e.to_string())),
    }
}

fn judge(path: &Utf8Path, directory: DirectoryId, read: &Read, means: Means) -> Found {
    let file = match read {
        Read::Absent => return by_directory(path, directory, means).unwrap_or(Found::Nothing),
        Read::Bad(_) => return without_file(path, directory, means),
        Read::File(file) => file,
    };
    let evidence = Evidence {
        pid: file.pid,
        directory,
        start_time: file.start_time,
        shared_memory: file.shared_memory,
    };
    let reason = match identify(&evidence, means) {
        Identity::Verified(_) if file.kind == ServerKind::SingleUser => {
            return Found::SingleUser(file.pid);
        }
        Identity::Verified(process) => return running(process, path, means),
        Identity::Unknown(uid) => return Found::Unknown { pid: file.pid, uid },
        Identity::Gone => StaleReason::Gone,
        Identity::Zombie => StaleReason::Zombie,
        Identity::OtherProgram(name) => StaleReason::OtherProgram(name),
        Identity::OtherDirectory => StaleReason::OtherDirectory,
        Identity::BeganLater => StaleReason::BeganLater,
    };
    by_directory(path, directory, means).unwrap_or_else(|| {
        Found::Stale(Stale {
            pid_file: Some(file.clone()),
            reason,
        })
    })
}

/// The server that made shared memory for the directory, and lives. It has its memory as long as it
/// has its lock file: it takes the lock before, and removes the memory before the lock
/// (`PostmasterMain`, `proc_exit`).
fn by_directory(path: &Utf8Path, directory: DirectoryId, means: Means) -> Option<Found> {
    let segments = segments(path, directory, means);
    segments.into_iter().find_map(|segment| {
        let made_for = segment.made_for(directory);
        let pid = Pid::new(segment.creator).filter(|_| made_for != MadeFor::Another)?;
        let evidence = Evidence {
            pid,
            directory,
            start_time: None,
            shared_memory: Some(segment.name()),
        };
        match identify(&evidence, means) {
            Identity::Verified(_) if is_single_user(pid) => Some(Found::SingleUser(pid)),
            Identity::Verified(process) => Some(running(process, path, means)),
            // Many segments may be another directory's; of this one that is certain.
            Identity::Unknown(uid) if made_for == MadeFor::This => {
                Some(Found::Unknown { pid, uid })
            }
            _ => None,
        }
    })
}

/// The creator and the ID of shared memory that was made for the directory, and to which a process
/// is attached.
pub(crate) fn memory_of(
    path: &Utf8Path,
    directory: DirectoryId,
    means: Means,
) -> Option<(Pid, i32)> {
    segments(path, directory, means)
        .into_iter()
        .find(|segment| segment.made_for(directory) == MadeFor::This)
        .and_then(|segment| Some((Pid::new(segment.creator)?, segment.id)))
}

fn segments(path: &Utf8Path, directory: DirectoryId, means: Means) -> Vec<Segment> {
    match means {
        Means::Native => segments_for(directory, is_keyed_by_inode(path)),
        Means::Portable => segments_by_key(directory),
    }
}

/// Since PostgreSQL 13 the key of the shared memory is the inode of the data directory
/// (`PGSharedMemoryCreate`).
fn is_keyed_by_inode(path: &Utf8Path) -> bool {
    let text = open_regular_file(path.join("PG_VERSION")).and_then(|file| read_all(&file, 64));
    text.ok()
        .and_then(|text| String::from_utf8(text).ok()?.trim().parse::<u32>().ok())
        .is_some_and(|major| major >= 13)
}

/// The file cannot be used: it is empty for a moment when a server starts, and may have been
/// damaged since.
fn without_file(path: &Utf8Path, directory: DirectoryId, means: Means) -> Found {
    if let Some(found) = by_directory(path, directory, means) {
        return found;
    }
    let process = match means {
        Means::Native => postmaster_in(directory),
        Means::Portable => None,
    };
    if let Some(process) = process {
        return running(process, path, means);
    }
    let reason = match PidFile::read(path) {
        Err(e) => StaleReason::Unreadable(e),
        // The file has appeared or disappeared meanwhile; the caller tries again.
        Ok(_) => StaleReason::Gone,
    };
    Found::Stale(Stale {
        pid_file: None,
        reason,
    })
}

fn running(process: Process, path: &Utf8Path, means: Means) -> Found {
    Found::Running(Postmaster {
        process,
        data_directory: path.to_owned(),
        means,
        file_before: None,
    })
}

/// The server of a data directory could not be determined.
#[derive(Debug, Error)]
#[error("failed to find the server of {data_directory}")]
pub struct FindError {
    data_directory: Utf8PathBuf,
    #[source]
    kind: FindErrorKind,
}

impl FindError {
    pub(crate) fn new(data_directory: &Utf8Path, kind: FindErrorKind) -> Self {
        Self {
            data_directory: data_directory.to_owned(),
            kind,
        }
    }

    /// The data directory.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// The reason.
    pub const fn kind(&self) -> &FindErrorKind {
        &self.kind
    }
}

/// The reason why the server of a data directory could not be determined.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FindErrorKind {
    /// The path cannot be read or is not a directory.
    #[error("the directory cannot be read")]
    Directory(#[source] io::Error),
    /// The lock file cannot be read.
    #[error(transparent)]
    PidFile(PidFileError),
}
