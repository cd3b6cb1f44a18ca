//! Waiting without polling where the system tells what happens, and with short, growing pauses
//! where it does not.

use std::os::fd::BorrowedFd;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use rustix::event::{PollFd, PollFlags};
use thiserror::Error;

use crate::deadline::Deadline;
use crate::files::pid_file::Status;
use crate::pid::Pid;
use crate::postmaster::handle::Postmaster;
use crate::postmaster::orphans::Orphans;
use crate::postmaster::ping::{Endpoint, ping};
use crate::postmaster::progress::Progress;
use crate::signal::{Signal, SignalErrorKind};
use crate::sys::{DirectoryEvents, Means};

/// First pause of a wait that has to poll.
const SHORTEST: Duration = Duration::from_micros(200);
/// Longest pause of a wait that has to poll.
const LONGEST: Duration = Duration::from_millis(5);
/// How often to look even where events are expected: a file system in user space may not report
/// any.
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

    /// `end` becomes readable when the process has ended.
    pub(crate) fn pause(
        &self,
        end: Option<BorrowedFd<'_>>,
        files_too: bool,
        left: Option<Duration>,
    ) {
        let told = end.is_some() && (self.events.is_some() || !files_too);
        self.sleep(end, if told { ANYWAY } else { self.polling_pause() }, left);
    }

    /// Pauses as if nothing told of what is waited for, except for the end of the process.
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

pub(crate) fn for_status(
    postmaster: &Postmaster,
    wanted: &[Status],
    deadline: Deadline,
    end: Option<BorrowedFd<'_>>,
) -> Result<Status, WaitError> {
    let since = Instant::now();
    let failed = |kind| WaitError {
        pid: postmaster.pid(),
        waited: since.elapsed(),
        kind,
    };
    let watcher = Watcher::of_directory(postmaster.data_directory(), postmaster.means);
    let mut progress = deadline
        .patience()
        .map(|patience| Progress::new(postmaster, patience));
    let mut last = None;
    loop {
        // Asked first: a server that has ended meanwhile leaves `ready` in its file.
        let ended = postmaster.process.has_ended();
        // A file that is being written can be read by halves; it is looked at again when that is
        // done.
        let status = postmaster.status().ok().flatten();
        if ended {
            return Err(failed(WaitErrorKind::Ended(None)));
        }
        if let Some(status) = status {
            last = Some(status);
            if wanted.contains(&status) {
                return Ok(status);
            }
        }
        let recovering = progress
            .as_mut()
            .is_some_and(|progress| progress.goes_on(last, postmaster.is_standby()));
        if deadline.is_over() && !recovering {
            return Err(failed(WaitErrorKind::TimedOut(last)));
        }
        let left = if recovering {
            None
        } else {
            deadline.remaining()
        };
        watcher.pause(postmaster.process.descriptor().or(end), true, left);
    }
}

/// Asks again whenever something in the data directory has changed.
pub(crate) fn for_change(
    postmaster: &Postmaster,
    mut done: impl FnMut() -> bool,
    deadline: Deadline,
) -> Result<(), WaitError> {
    let since = Instant::now();
    let watcher = Watcher::of_directory(postmaster.data_directory(), postmaster.means);
    while !done() {
        let kind = if postmaster.process.has_ended() {
            WaitErrorKind::Ended(None)
        } else if deadline.is_over() {
            WaitErrorKind::TimedOut(postmaster.status().ok().flatten())
        } else {
            watcher.pause(postmaster.process.descriptor(), true, deadline.remaining());
            continue;
        };
        return Err(WaitError {
            pid: postmaster.pid(),
            waited: since.elapsed(),
            kind,
        });
    }
    Ok(())
}

/// Asks every now and then whether the server accepts connections.
pub(crate) fn for_answer(
    postmaster: &Postmaster,
    endpoint: &Endpoint,
    deadline: Deadline,
) -> Result<(), WaitError> {
    let since = Instant::now();
    let watcher = Watcher::of_end();
    loop {
        if ping(endpoint, deadline).is_accepting() && !postmaster.process.has_ended() {
            return Ok(());
        }
        let kind = if postmaster.process.has_ended() {
            WaitErrorKind::Ended(None)
        } else if deadline.is_over() {
            WaitErrorKind::TimedOut(None)
        } else {
            watcher.poll(postmaster.process.descriptor(), deadline.remaining());
            continue;
        };
        return Err(WaitError {
            pid: postmaster.pid(),
            waited: since.elapsed(),
            kind,
        });
    }
}

/// Waits for the end of the process, its children included where it left any.
pub(crate) fn for_end(postmaster: &Postmaster, deadline: Deadline) -> Result<(), WaitError> {
    for_process(postmaster, deadline)?;
    // A postmaster that ends in order waits for its children first, and removes its file last.
    match postmaster.pid_file() {
        Ok(None) => Ok(()),
        _ => for_orphans(postmaster, deadline, None),
    }
}

pub(crate) fn for_process(postmaster: &Postmaster, deadline: Deadline) -> Result<(), WaitError> {
    let since = Instant::now();
    let watcher = Watcher::of_end();
    while !postmaster.process.has_ended() {
        if deadline.is_over() {
            let last = postmaster
                .pid_file()
                .ok()
                .flatten()
                .and_then(|file| file.status);
            let kind = WaitErrorKind::TimedOut(last);
            return Err(WaitError {
                pid: postmaster.pid(),
                waited: since.elapsed(),
                kind,
            });
        }
        watcher.pause(postmaster.process.descriptor(), false, deadline.remaining());
    }
    Ok(())
}

pub(crate) fn for_orphans(
    postmaster: &Postmaster,
    deadline: Deadline,
    signal: Option<Signal>,
) -> Result<(), WaitError> {
    match Orphans::find_by(postmaster.data_directory(), postmaster.means) {
        Ok(orphans) => orphans.end(deadline, signal),
        // The directory is gone, and nothing can be found by it.
        Err(_) => Ok(()),
    }
}

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
