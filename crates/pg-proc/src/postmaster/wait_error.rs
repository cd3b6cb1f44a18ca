//! The reason why a wait for a server ended without success.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::files::pid_file::Status;
use crate::pid::Pid;
use crate::signal::SignalErrorKind;

/// A wait for a server ended without success.
#[derive(Debug, Error)]
#[error("failed to wait for server process {pid} after {waited:.1?}")]
pub struct WaitError {
    pub(crate) pid: Pid,
    pub(crate) waited: Duration,
    #[source]
    pub(crate) kind: WaitErrorKind,
}

impl WaitError {
    pub(crate) fn new(pid: Pid, since: Instant, kind: WaitErrorKind) -> Self {
        Self {
            pid,
            waited: since.elapsed(),
            kind,
        }
    }

    pub(crate) fn with_exit_status(self, status: Option<ExitStatus>) -> Self {
        Self {
            kind: WaitErrorKind::Exited(status),
            ..self
        }
    }

    /// The process ID of the postmaster, or of the child process that could not be signalled.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// The time spent waiting.
    pub const fn waited(&self) -> Duration {
        self.waited
    }

    /// The reason.
    pub const fn kind(&self) -> &WaitErrorKind {
        &self.kind
    }
}

/// The reason why a wait ended without success.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WaitErrorKind {
    /// The server exited. Its exit status is known if this process started it.
    #[error("the server exited{}", .0.map(|s| format!(" with {s}")).unwrap_or_default())]
    Exited(Option<ExitStatus>),
    /// A process could not be signalled.
    #[error("the process cannot be signalled")]
    NotSignalled(#[source] SignalErrorKind),
    /// The deadline passed. The value is the status at that moment.
    #[error(
        "the wait timed out while the server was {}",
        .0.map_or("without a status", Status::as_str)
    )]
    TimedOut(Option<Status>),
}
