//! The signals that a postmaster handles, and why one could not be sent.

use std::borrow::Cow;
use std::fmt;
use std::io;

use nix::libc;
use thiserror::Error;

use crate::pid::Pid;

/// A signal that a postmaster handles, by PostgreSQL's name for its effect.
///
/// (`src/backend/postmaster/postmaster.c`: `handle_pm_pmsignal_signal`,
/// `handle_pm_shutdown_request_signal`, `handle_pm_reload_request_signal`;
/// `src/bin/pg_ctl/pg_ctl.c`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a postmaster knows no other signal from outside"
)]
pub enum Signal {
    /// Smart shutdown, SIGTERM: no new connections; exits when the last client has disconnected.
    Smart,
    /// Fast shutdown, SIGINT: rolls back, disconnects all clients, writes a checkpoint.
    Fast,
    /// Immediate shutdown, SIGQUIT: drops everything; the next start recovers from the write-ahead
    /// log.
    Immediate,
    /// Rereads the configuration, SIGHUP.
    Reload,
    /// Looks for the files `promote` and `logrotate`, SIGUSR1.
    ///
    /// [`Postmaster::promote`](crate::Postmaster::promote) and
    /// [`rotate_log`](crate::Postmaster::rotate_log) create the file first; without one the signal
    /// changes nothing.
    CheckRequests,
    /// SIGKILL. The children live on for a while: [`Postmaster::kill`](crate::Postmaster::kill)
    /// sees to them too.
    Kill,
}

impl Signal {
    /// The number of the signal.
    pub const fn as_raw(self) -> i32 {
        match self {
            Self::Smart => libc::SIGTERM,
            Self::Fast => libc::SIGINT,
            Self::Immediate => libc::SIGQUIT,
            Self::Reload => libc::SIGHUP,
            Self::CheckRequests => libc::SIGUSR1,
            Self::Kill => libc::SIGKILL,
        }
    }

    pub(crate) const fn rustix(self) -> rustix::process::Signal {
        match self {
            Self::Smart => rustix::process::Signal::TERM,
            Self::Fast => rustix::process::Signal::INT,
            Self::Immediate => rustix::process::Signal::QUIT,
            Self::Reload => rustix::process::Signal::HUP,
            Self::CheckRequests => rustix::process::Signal::USR1,
            Self::Kill => rustix::process::Signal::KILL,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Smart => "SIGTERM (smart shutdown)",
            Self::Fast => "SIGINT (fast shutdown)",
            Self::Immediate => "SIGQUIT (immediate shutdown)",
            Self::Reload => "SIGHUP (reload)",
            Self::CheckRequests => "SIGUSR1 (check for requests)",
            Self::Kill => "SIGKILL",
        })
    }
}

/// A signal was not sent.
#[derive(Debug, Error)]
#[error("failed to send {signal} to process {pid}")]
pub struct SignalError {
    pid: Pid,
    signal: Signal,
    #[source]
    kind: SignalErrorKind,
}

/// The reason why a signal was not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignalErrorKind {
    /// The process has exited. Nothing was signalled, even if another process has its PID now.
    #[error("the process has exited")]
    Gone,
    /// The process belongs to another user.
    #[error("the process belongs to another user")]
    NotPermitted,
    /// The process has not installed a handler for the signal, which would terminate it. Nothing
    /// was signalled.
    #[error("the process does not handle the signal yet")]
    NotHandled,
    /// The request file that gives the signal its meaning could not be written.
    #[error("the request file `{0}` cannot be written")]
    RequestFile(&'static str, #[source] io::Error),
    /// The system refused for another reason.
    #[error("the system refused to send the signal")]
    System(#[source] io::Error),
}

impl SignalError {
    /// Returns whether the process has exited.
    pub const fn is_gone(&self) -> bool {
        matches!(self.kind, SignalErrorKind::Gone)
    }

    pub(crate) const fn new(pid: Pid, signal: Signal, kind: SignalErrorKind) -> Self {
        Self { pid, signal, kind }
    }

    /// The process that the signal was for.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// The signal.
    pub const fn signal(&self) -> Signal {
        self.signal
    }

    /// The reason.
    pub const fn kind(&self) -> &SignalErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        matches!(self.kind, SignalErrorKind::NotPermitted)
            .then_some("only root and the account that the server runs as may signal it".into())
    }

    /// Returns the reason alone, for an error that names the process itself.
    pub(crate) fn into_kind(self) -> SignalErrorKind {
        self.kind
    }
}

impl SignalErrorKind {
    pub(crate) fn from_errno(errno: rustix::io::Errno) -> Self {
        match errno {
            rustix::io::Errno::SRCH => Self::Gone,
            rustix::io::Errno::PERM => Self::NotPermitted,
            other => Self::System(other.into()),
        }
    }
}
