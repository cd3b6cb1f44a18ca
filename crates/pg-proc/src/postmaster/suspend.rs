//! Stopping a server with all its child processes by SIGSTOP, and letting it go on.

use std::time::Instant;

use thiserror::Error;

use crate::deadline::Deadline;
use crate::maker::Maker;
use crate::pid::Pid;
use crate::postmaster::handle::Postmaster;
use crate::postmaster::watcher::Watcher;
use crate::sys::{self, Process};

/// A server that is stopped by SIGSTOP, with all its child processes, until this is dropped.
///
/// # Cleanup
///
/// Dropping this resumes the server, but only in the process that made it. If that process is
/// killed, a [bound](crate::Ownership) server is still shut down by its
/// [`StopPlan`](crate::StopPlan). A stopped server obeys none of the signals before SIGKILL, which
/// comes last, and the warden kills its children then.
#[derive(Debug)]
#[must_use = "the server is resumed when this is dropped"]
pub struct Suspended {
    /// The postmaster comes first.
    processes: Vec<Process>,
    maker: Maker,
}

impl Postmaster {
    /// Stops the server and all its child processes by SIGSTOP, and waits until all of them have
    /// stopped. Clients stay connected and get no answer.
    ///
    /// The postmaster is stopped first, so that it starts no more processes, and then its children
    /// until no running one is left. Programs that those have started, such as an
    /// `archive_command`, go on. Works on Linux only, where the children can be listed.
    ///
    /// # Errors
    ///
    /// Fails if the server has exited, belongs to another user, or has not stopped before the
    /// deadline, and if its child processes cannot be listed. It is resumed then.
    ///
    /// # Races
    ///
    /// A child process is opened before its parent is examined, so a signal reaches only processes
    /// of the server; without pidfd, see [`Postmaster`].
    pub fn suspend(self, deadline: impl Into<Deadline>) -> Result<Suspended, SuspendError> {
        let (deadline, since, pid) = (deadline.into(), Instant::now(), self.pid());
        let failed = |kind| SuspendError::new(pid, kind);
        let watcher = Watcher::of_end();
        let mut suspended = Suspended {
            processes: Vec::new(),
            maker: Maker::this_process(),
        };
        suspended.add(self.process).map_err(failed)?;
        loop {
            let is_stopped = sys::is_suspended(pid);
            let mut running = Vec::new();
            for child in sys::open_children(pid) {
                let child_pid = child.pid();
                if !suspended.processes.iter().any(|p| p.pid() == child_pid) {
                    match suspended.add(child) {
                        // It has exited since it was listed.
                        Err(SuspendErrorKind::Exited) => continue,
                        outcome => outcome.map_err(failed)?,
                    }
                }
                if !sys::is_suspended(child_pid) {
                    running.push(child_pid);
                }
            }
            let ended = |process: &&Process| process.pid() == pid && process.has_ended();
            if suspended.processes.iter().any(|process| ended(&process)) {
                return Err(failed(SuspendErrorKind::Exited));
            }
            // A stopped postmaster has no new children: these were all.
            if is_stopped && running.is_empty() {
                // A server that is ready has some children at any time.
                return match suspended.processes.len() {
                    1 => Err(failed(SuspendErrorKind::NoChildren)),
                    _ => Ok(suspended),
                };
            }
            if deadline.is_over() {
                let kind = SuspendErrorKind::TimedOut {
                    running: running.first().copied().unwrap_or(pid),
                    waited: since.elapsed(),
                };
                return Err(failed(kind));
            }
            watcher.poll(None, deadline.remaining());
        }
    }
}

impl Suspended {
    /// The postmaster and its child processes.
    pub fn pids(&self) -> Vec<Pid> {
        self.processes.iter().map(Process::pid).collect()
    }

    fn add(&mut self, process: Process) -> Result<(), SuspendErrorKind> {
        process.suspend().map_err(|errno| match errno {
            rustix::io::Errno::SRCH => SuspendErrorKind::Exited,
            rustix::io::Errno::PERM => SuspendErrorKind::NotPermitted,
            other => SuspendErrorKind::System(other.into()),
        })?;
        self.processes.push(process);
        Ok(())
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        if !self.maker.is_this_process() {
            return;
        }
        // The postmaster last: its children are as it left them.
        for process in self.processes.iter().rev() {
            let _ = process.resume();
        }
    }
}

/// A server was not suspended.
#[derive(Debug, Error)]
#[error("failed to suspend the server of process {pid}")]
pub struct SuspendError {
    pid: Pid,
    #[source]
    kind: SuspendErrorKind,
}

/// The reason of a [`SuspendError`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SuspendErrorKind {
    /// The postmaster has exited.
    #[error("the server has exited")]
    Exited,
    /// The processes belong to another user.
    #[error("the server belongs to another user")]
    NotPermitted,
    /// The child processes cannot be listed: on other systems than Linux, and without `/proc`.
    #[error("the child processes of the server cannot be listed")]
    NoChildren,
    /// A process has not stopped, for example because it waits for a disk.
    #[error("process {running} has not stopped within {waited:.1?}")]
    TimedOut {
        /// The first process that has not stopped.
        running: Pid,
        /// The time that was waited.
        waited: std::time::Duration,
    },
    /// The system refused for another reason.
    #[error("the system refused to send SIGSTOP")]
    System(#[source] std::io::Error),
}

impl SuspendError {
    pub(crate) const fn new(pid: Pid, kind: SuspendErrorKind) -> Self {
        Self { pid, kind }
    }

    /// The postmaster.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// The reason.
    pub const fn kind(&self) -> &SuspendErrorKind {
        &self.kind
    }
}
