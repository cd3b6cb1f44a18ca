//! Why a wait for a server ended without success.

use std::process::ExitStatus;
use std::time::Duration;

use thiserror::Error;

use crate::files::pid_file::Status;
use crate::pid::Pid;
use crate::signal::SignalErrorKind;

/// Something waited for has not happened.
#[derive(Debug)]
#[non_exhaustive]
pub struct WaitError {
    /// The postmaster.
    pub pid: Pid,
    /// How long it was waited for.
    pub waited: Duration,
    /// Why no longer.
    pub kind: WaitErrorKind,
}

error_with_kind!(WaitError, |e, f| write!(
    f,
    "server process {} {} after {:.1?}",
    e.pid, e.kind, e.waited
));

/// Why something waited for will not, or has not yet happened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WaitErrorKind {
    /// The server has ended instead; with its exit status if it was started by this process.
    #[error("ended{}", .0.map(|s| format!(" with {s}")).unwrap_or_default())]
    Ended(Option<ExitStatus>),
    /// A process could not be told to end.
    #[error("cannot be signalled: {0}")]
    NotSignalled(SignalErrorKind),
    /// The deadline is over; with the status at that moment.
    #[error("was still {}", .0.map_or("without a status", Status::as_str))]
    TimedOut(Option<Status>),
}
