//! Why a program could not be started.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;

use camino::Utf8PathBuf;
use thiserror::Error;

use crate::fs::directory_lock::LockError;
use crate::pid::Pid;
use crate::postmaster::find::FindError;

/// A program that could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub struct SpawnError {
    /// The program.
    pub program: Utf8PathBuf,
    /// What went wrong.
    pub kind: SpawnErrorKind,
}

error_with_kind!(SpawnError, |e, f| write!(
    f,
    "failed to start {}: {}",
    e.program, e.kind
));

/// What kept a program from being started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnErrorKind {
    /// There is no such program, or no interpreter or loader for it.
    #[error("no such program")]
    NotFound(#[source] io::Error),
    /// It is there, but cannot be executed.
    #[error("cannot be executed")]
    Execute(#[source] io::Error),
    /// The account could not be taken on.
    #[error("cannot become account {account}")]
    Account {
        /// Name or number of the account.
        account: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The account cannot enter the directory to start in.
    #[error("cannot enter {directory}")]
    Directory {
        /// The directory.
        directory: Utf8PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The account cannot write the log file.
    #[error("cannot write the log file {path}")]
    Log {
        /// The file.
        path: Utf8PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The system is out of processes, memory or descriptors.
    #[error("no process could be created")]
    Process(#[source] io::Error),
    /// A path, an argument or a variable contains a zero byte.
    #[error("{0:?} contains a zero byte")]
    Nul(OsString),
    /// The data directory has a server already.
    #[error("process {0} already serves this data directory")]
    Running(Pid),
    /// A single-user backend, or a process of another user that may be a server, holds the data
    /// directory.
    #[error("process {0} holds this data directory")]
    Held(Pid),
    /// Over the lock file of a crashed server, one server is started at a time, and for a minute it
    /// was somebody else's turn.
    #[error("the data directory cannot be locked")]
    Lock(#[source] LockError),
    /// A server that outlives this process is to write its log into this process's memory.
    #[error("the log of a detached server cannot be kept in this process's memory")]
    DetachedTail,
    /// What holds the data directory could not be found out.
    #[error(transparent)]
    State(FindError),
}

impl SpawnError {
    /// What the caller may do about it.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            SpawnErrorKind::Account { cause, .. }
                if cause.kind() == io::ErrorKind::PermissionDenied =>
            {
                "only root can start programs as another account"
            }
            SpawnErrorKind::Execute(cause) | SpawnErrorKind::Directory { cause, .. }
                if cause.kind() == io::ErrorKind::PermissionDenied =>
            {
                "every directory on the way has to be open to the account that runs it"
            }
            SpawnErrorKind::Log { cause, .. }
                if cause.kind() == io::ErrorKind::PermissionDenied =>
            {
                "the log file is opened with the rights of the account that runs the server"
            }
            SpawnErrorKind::DetachedTail => "give the log a file",
            _ => return None,
        };
        Some(hint.into())
    }
}
