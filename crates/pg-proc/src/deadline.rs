//! The time limit of a wait, and its extension while recovery makes progress.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec};
use rustix::io::Errno;

/// Until when something is waited for.
///
/// A fixed limit is wrong for a server that recovers from a crash: that takes as long as there is
/// log to replay. [`while_recovering`](Self::while_recovering) lets a deadline move on as long as
/// recovery visibly goes on.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Option<Instant>,
    patience: Option<Duration>,
}

impl Deadline {
    /// Ends after this time, counted from now. A duration too large for the clock means never.
    pub fn after(duration: Duration) -> Self {
        Self {
            at: Instant::now().checked_add(duration),
            patience: None,
        }
    }

    /// Ends at this moment.
    pub const fn at(moment: Instant) -> Self {
        Self {
            at: Some(moment),
            patience: None,
        }
    }

    /// Waits as long as it takes.
    pub const fn never() -> Self {
        Self {
            at: None,
            patience: None,
        }
    }

    /// After the time limit, continues to wait as long as crash recovery makes progress: until
    /// `patience` passes without any.
    ///
    /// Progress is a change of something that a recovering server changes only by working: the log
    /// file that its startup process reports to replay, the processor time and the bytes read and
    /// written by that process, and the status line of `postmaster.pid`. A standby that has
    /// replayed all available WAL keeps looking for more, so only the log file and the status count
    /// for a standby. Only Linux shows the first three; elsewhere the wait times out `patience`
    /// after the last change of the file. This applies to waiting for a status, not to waiting for
    /// an exit.
    #[must_use]
    pub const fn while_recovering(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    /// The time left, zero after the deadline; none without a time limit.
    pub fn remaining(&self) -> Option<Duration> {
        self.at
            .map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Returns whether the deadline has passed.
    pub fn is_over(&self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    /// Waits until one of the descriptors is ready, and returns whether one is. A signal that is
    /// handled meanwhile does not end the wait.
    pub(crate) fn poll(&self, fds: &mut [PollFd<'_>]) -> bool {
        loop {
            let left = self.remaining();
            // A time that the kernel cannot represent is treated as no limit.
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match rustix::event::poll(fds, timeout.as_ref()) {
                Err(Errno::INTR) => {}
                // If the kernel measures time differently, a repeated wait must not become a busy
                // loop.
                Ok(0) if left.is_some_and(|left| !left.is_zero()) && !self.is_over() => {}
                outcome => return matches!(outcome, Ok(1..)),
            }
        }
    }

    pub(crate) const fn patience(&self) -> Option<Duration> {
        self.patience
    }
}

impl From<Duration> for Deadline {
    fn from(duration: Duration) -> Self {
        Self::after(duration)
    }
}
