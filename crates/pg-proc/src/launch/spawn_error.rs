//! The reason why a program could not be started.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use crate::fs::directory_lock::LockError;
use crate::pid::Pid;
use crate::postmaster::find::FindError;

/// A program could not be started.
#[derive(Debug, Error)]
#[error("failed to start {program}")]
pub struct SpawnError {
    program: Utf8PathBuf,
    #[source]
    kind: SpawnErrorKind,
}

/// The reason why a program could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnErrorKind {
    /// The program, its interpreter or its loader does not exist.
    #[error("the program, its interpreter or its loader does not exist")]
    NotFound(#[source] io::Error),
    /// The program exists but cannot be executed.
    #[error("the program cannot be executed")]
    Execute(#[source] io::Error),
    /// The process could not switch to the account.
    #[error("the process cannot switch to account {account}")]
    Account {
        /// The name or user ID of the account.
        account: String,
        /// The reason that the system gave.
        #[source]
        error: io::Error,
    },
    /// The account cannot enter the working directory.
    #[error("the account cannot enter the working directory {directory}")]
    Directory {
        /// The directory.
        directory: Utf8PathBuf,
        /// The reason that the system gave.
        #[source]
        error: io::Error,
    },
    /// The account cannot write the log file.
    #[error("the account cannot write the log file {path}")]
    Log {
        /// The file.
        path: Utf8PathBuf,
        /// The reason that the system gave.
        #[source]
        error: io::Error,
    },
    /// The system has too few processes, descriptors or too little memory.
    #[error("no process could be created")]
    Process(#[source] io::Error),
    /// A path, an argument or a variable contains a zero byte.
    #[error("{0:?} contains a zero byte")]
    Nul(OsString),
    /// The data directory already has a server.
    #[error("process {0} already serves the data directory")]
    Running(Pid),
    /// A single-user backend, or a process that may be a server, holds the data directory.
    #[error("process {0} holds the data directory")]
    Held(Pid),
    /// The data directory cannot be locked. Over the lock file of a crashed server, one server is
    /// started at a time; another process held the lock for a minute.
    #[error(transparent)]
    Lock(LockError),
    /// The server would outlive this process, which keeps its log in memory.
    #[error("the log of a detached server cannot be kept in the memory of this process")]
    DetachedTail,
    /// The server of the data directory could not be determined.
    #[error(transparent)]
    State(FindError),
}

impl SpawnError {
    pub(crate) fn new(program: &Utf8Path, kind: SpawnErrorKind) -> Self {
        Self {
            program: program.to_owned(),
            kind,
        }
    }

    /// The program.
    pub fn program(&self) -> &Utf8Path {
        &self.program
    }

    /// The reason.
    pub const fn kind(&self) -> &SpawnErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            SpawnErrorKind::Account { error, .. }
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                "only root can start programs as another account"
            }
            SpawnErrorKind::Execute(error) | SpawnErrorKind::Directory { error, .. }
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                "every directory on the path has to be open to the account that runs the program"
            }
            SpawnErrorKind::Log { error, .. }
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                "the log file is opened with the rights of the account that runs the server"
            }
            SpawnErrorKind::DetachedTail => "start the server with a log file",
            SpawnErrorKind::Lock(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.into())
    }
}
