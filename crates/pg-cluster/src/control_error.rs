//! The error of operations on a running server.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{ControlDataError, ControlState, FindError, Pid, SignalError, WaitError};

/// A server could not be stopped, signalled, reloaded or promoted.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} the server of {data_directory}")]
pub struct ControlError {
    action: &'static str,
    data_directory: Utf8PathBuf,
    #[source]
    kind: ControlErrorKind,
}

/// The reason of a [`ControlError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlErrorKind {
    /// No server is running.
    #[error("no server is running")]
    NotRunning,
    /// It cannot be determined whether a server is running.
    #[error("the state of the data directory cannot be determined")]
    Find(#[source] FindError),
    /// A single-user process, or a process of another user, holds the directory. It was not
    /// signalled.
    #[error("process {0} holds the data directory and is not a postmaster")]
    Held(Pid),
    /// The signal, or the file that goes with it, could not be delivered.
    #[error("the server cannot be signalled")]
    Signal(#[source] SignalError),
    /// The server or its child processes could not be killed.
    #[error("the server cannot be killed")]
    Kill(#[source] WaitError),
    /// The server still runs.
    #[error("process {pid} still runs after {waited:.1?}{}", held_by(.holders))]
    Timeout {
        /// The postmaster, or a child process of one that has crashed.
        pid: Pid,
        /// The time that was waited.
        waited: Duration,
        /// The processes that a shutdown waits for, with their titles: clients, WAL senders, the
        /// archiver. Known on Linux only.
        holders: Vec<(Pid, String)>,
    },
    /// The server is stopped by a signal (SIGSTOP) or a debugger, or frozen (`docker pause`), and
    /// does not act on a shutdown signal.
    #[error("process {0} is stopped by a signal or frozen")]
    Suspended(Pid),
    /// The caller's query failed.
    #[error("a query failed")]
    Query(#[source] Box<dyn Error + Send + Sync>),
    /// The server has not read its configuration files within this time.
    #[error("the server has not read its configuration files within {0:.1?}")]
    NotReloaded(Duration),
    /// The server is not a standby, by the state in its control file.
    #[error("the server is not a standby: the state of the cluster is `{0}`")]
    NotStandby(ControlState),
    /// The control file, which shows whether the server is a standby, cannot be read.
    #[error("it cannot be determined whether the server is a standby")]
    ControlData(#[source] ControlDataError),
    /// The server has no log collector that writes files, or is older than PostgreSQL 12.
    #[error("the server has no log file that can be rotated on request")]
    NoLogCollector,
    /// The server has exited, or the wait timed out.
    #[error("the server did not become a primary")]
    Wait(#[source] WaitError),
}

impl ControlError {
    pub(crate) fn new(
        action: &'static str,
        data_directory: &Utf8Path,
        kind: ControlErrorKind,
    ) -> Self {
        Self {
            action,
            data_directory: data_directory.to_owned(),
            kind,
        }
    }

    /// The cluster's data directory.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// The reason.
    pub fn kind(&self) -> &ControlErrorKind {
        &self.kind
    }

    /// Returns whether the server did not exit in time.
    pub fn is_timeout(&self) -> bool {
        matches!(
            self.kind,
            ControlErrorKind::Timeout { .. } | ControlErrorKind::Suspended(_)
        )
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            ControlErrorKind::NotRunning => "`Cluster::start` starts one",
            ControlErrorKind::Held(_) => {
                "stop that process as its own user, or end it if it is `postgres --single`"
            }
            ControlErrorKind::Signal(error) => return error.hint(),
            ControlErrorKind::Suspended(_) => {
                "SIGCONT resumes the process (`kill -CONT`, `docker unpause`), which then acts on \
                 signals; `Cluster::kill` kills it"
            }
            ControlErrorKind::Timeout { .. } => {
                "`StopPlan::escalating` ends in a step that no client can delay"
            }
            ControlErrorKind::NoLogCollector => {
                "the setting `logging_collector` enables the collector at the next start; before \
                 PostgreSQL 12 the function `pg_rotate_logfile` rotates the log"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}

fn held_by(holders: &[(Pid, String)]) -> String {
    let names: Vec<String> = holders
        .iter()
        .map(|(pid, title)| format!("process {pid} (`{title}`)"))
        .collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(", waiting for {}", names.join(", ")),
    }
}
