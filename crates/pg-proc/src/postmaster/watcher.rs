//! Sleeping until something may have happened: without polling where the system reports what
//! happens, and with short, growing pauses where it does not.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use rustix::event::{PollFd, PollFlags};

use crate::deadline::Deadline;
use crate::sys::{DirectoryEvents, Means};

/// First pause of a wait that has to poll.
const SHORTEST: Duration = Duration::from_micros(200);
/// Longest pause of a wait that has to poll.
const LONGEST: Duration = Duration::from_millis(5);
/// The interval between checks where events are expected: a file system in user space may not
/// report any.
const ANYWAY: Duration = Duration::from_millis(250);

/// Sleeps until something may have happened.
#[derive(Debug)]
pub(crate) struct Watcher {
    events: Option<DirectoryEvents>,
    since: Instant,
}

impl Watcher {
    /// Wakes when anything in this directory changes, and when the process ends.
    pub(crate) fn of_directory(path: &Utf8Path, means: Means) -> Self {
        let events = match means {
            Means::Native => DirectoryEvents::of(path),
            Means::Portable => None,
        };
        Self {
            events,
            since: Instant::now(),
        }
    }

    /// Wakes when the process ends.
    pub(crate) fn of_end() -> Self {
        Self {
            events: None,
            since: Instant::now(),
        }
    }

    /// `end` becomes readable when the process has exited.
    pub(crate) fn pause(
        &self,
        end: Option<BorrowedFd<'_>>,
        files_too: bool,
        left: Option<Duration>,
    ) {
        let told = end.is_some() && (self.events.is_some() || !files_too);
        self.sleep(end, if told { ANYWAY } else { self.polling_pause() }, left);
    }

    /// Pauses without events, except for the exit of the process.
    pub(crate) fn poll(&self, end: Option<BorrowedFd<'_>>, left: Option<Duration>) {
        self.sleep(end, self.polling_pause(), left);
    }

    fn sleep(&self, end: Option<BorrowedFd<'_>>, longest: Duration, left: Option<Duration>) {
        let pause = left.map_or(longest, |left| left.min(longest));
        let mut fds = Vec::with_capacity(3);
        for fd in [
            end,
            self.events.as_ref().and_then(DirectoryEvents::descriptor),
        ]
        .into_iter()
        .flatten()
        {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        Deadline::after(pause).poll(&mut fds);
        if let Some(events) = &self.events {
            events.forget();
        }
    }

    /// A sixteenth of the time waited so far: late by at most six per cent, and cheap when it takes
    /// long.
    fn polling_pause(&self) -> Duration {
        (self.since.elapsed() / 16).clamp(SHORTEST, LONGEST)
    }
}
