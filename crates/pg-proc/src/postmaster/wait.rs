//! Waiting for what a server does: its status, its answer, its end.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::deadline::Deadline;
use crate::files::pid_file::Status;
use crate::postmaster::handle::Postmaster;
use crate::postmaster::orphans::Orphans;
use crate::postmaster::ping::{Endpoint, ping};
use crate::postmaster::progress::Progress;
use crate::postmaster::sockets;
use crate::postmaster::wait_error::{WaitError, WaitErrorKind};
use crate::postmaster::watcher::Watcher;
use crate::signal::Signal;

impl Postmaster {
    /// Waits until `done` returns true. It is called first at once, and then after each change in
    /// the data directory.
    ///
    /// # Errors
    ///
    /// Fails if the server exits or the wait times out.
    pub fn wait_until(
        &self,
        done: impl FnMut() -> bool,
        deadline: impl Into<Deadline>,
    ) -> Result<(), WaitError> {
        for_change(self, done, deadline.into())
    }

    /// Waits until the server has started: [`Status::Ready`], or [`Status::Standby`] for a standby
    /// that accepts no connections. Returns at once when the server exits.
    ///
    /// ```no_run
    /// # fn example(postmaster: &pg_proc::Postmaster) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let status = postmaster.wait_ready(Duration::from_secs(60))?;
    /// println!("{status:?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the server exits or the wait times out. Servers before PostgreSQL 10 never report
    /// that they are ready: [`wait_accepting`](Self::wait_accepting) connects to them instead.
    pub fn wait_ready(&self, deadline: impl Into<Deadline>) -> Result<Status, WaitError> {
        self.wait_status(&[Status::Ready, Status::Standby], deadline)
    }

    /// Waits until the status is one of these. Returns at once when the server exits.
    ///
    /// # Errors
    ///
    /// Fails if the server exits or the wait times out.
    pub fn wait_status(
        &self,
        wanted: &[Status],
        deadline: impl Into<Deadline>,
    ) -> Result<Status, WaitError> {
        for_status(self, wanted, deadline.into(), None)
    }

    /// Waits until the process has exited. After a crash, waits until its children have exited too:
    /// they outlive it and hold its shared memory. A new server can be started then.
    ///
    /// # Errors
    ///
    /// Fails if the wait times out.
    pub fn wait_gone(&self, deadline: impl Into<Deadline>) -> Result<(), WaitError> {
        for_end(self, deadline.into())
    }

    /// Sends SIGKILL to the postmaster and then to its children, and waits until all have exited. A
    /// new server, which recovers from the write-ahead log, can be started then.
    ///
    /// ```no_run
    /// # fn example(postmaster: &pg_proc::Postmaster) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// postmaster.kill(Duration::from_secs(10))?;
    /// pg_proc::release_shared_memory(postmaster.data_directory())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the server belongs to another user, or the wait times out. A server that has exited
    /// already is not an error.
    ///
    /// # Cleanup
    ///
    /// The socket that the lock file names is removed with its lock file, because both would block
    /// other servers. The lock file of the directory, the System V segment and POSIX shared memory
    /// stay. The next start releases them. If no start follows,
    /// [`release_shared_memory`](crate::release_shared_memory) does so.
    pub fn kill(&self, deadline: impl Into<Deadline>) -> Result<(), WaitError> {
        let deadline = deadline.into();
        let since = Instant::now();
        match self.send(Signal::Kill) {
            Err(e) if !e.is_gone() => {
                let kind = WaitErrorKind::NotSignalled(e.into_kind());
                return Err(WaitError::new(self.pid(), since, kind));
            }
            _ => {}
        }
        for_process(self, deadline)?;
        for_orphans(self, deadline, Some(Signal::Kill))?;
        // Files that stay affect other servers only.
        let _ = sockets::remove_dead_socket(self.data_directory());
        Ok(())
    }

    /// Waits until the server accepts connections on this endpoint, connecting repeatedly. For
    /// servers before PostgreSQL 10, and to be certain of a particular address. Fails at once when
    /// the server exits.
    ///
    /// # Errors
    ///
    /// Fails if the server exits or the wait times out.
    pub fn wait_accepting(
        &self,
        endpoint: &Endpoint,
        deadline: impl Into<Deadline>,
    ) -> Result<(), WaitError> {
        for_answer(self, endpoint, deadline.into())
    }
}

pub(crate) fn for_status(
    postmaster: &Postmaster,
    wanted: &[Status],
    deadline: Deadline,
    end: Option<BorrowedFd<'_>>,
) -> Result<Status, WaitError> {
    let since = Instant::now();
    let failed = |kind| WaitError::new(postmaster.pid(), since, kind);
    let watcher = Watcher::of_directory(postmaster.data_directory(), postmaster.means);
    let mut progress = deadline
        .patience()
        .map(|patience| (Progress::new(postmaster.pid(), patience), patience));
    let mut last = None;
    loop {
        // Checked first: a server that has exited meanwhile leaves `ready` in its file.
        let ended = postmaster.process.has_ended();
        // A file may be read while it is being written; it is read again when the write is
        // complete.
        let status = postmaster.status().ok().flatten();
        if ended {
            return Err(failed(WaitErrorKind::Exited(None)));
        }
        if let Some(status) = status {
            last = Some(status);
            if wanted.contains(&status) {
                return Ok(status);
            }
        }
        let recovering = progress.as_mut().is_some_and(|(progress, patience)| {
            // Nothing depends on the result before.
            deadline.remaining().is_some_and(|left| left <= *patience)
                && progress.goes_on(last, postmaster.is_standby())
        });
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
            WaitErrorKind::Exited(None)
        } else if deadline.is_over() {
            WaitErrorKind::TimedOut(postmaster.status().ok().flatten())
        } else {
            watcher.pause(postmaster.process.descriptor(), true, deadline.remaining());
            continue;
        };
        return Err(WaitError::new(postmaster.pid(), since, kind));
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
            WaitErrorKind::Exited(None)
        } else if deadline.is_over() {
            WaitErrorKind::TimedOut(None)
        } else {
            watcher.poll(postmaster.process.descriptor(), deadline.remaining());
            continue;
        };
        return Err(WaitError::new(postmaster.pid(), since, kind));
    }
}

/// Waits for the end of the process, its children included where it left any.
pub(crate) fn for_end(postmaster: &Postmaster, deadline: Deadline) -> Result<(), WaitError> {
    for_process(postmaster, deadline)?;
    // A postmaster that shuts down in order waits for its children first, and leaves neither a lock
    // file nor shared memory: then no process is searched for.
    for_orphans(postmaster, deadline, None)
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
            return Err(WaitError::new(postmaster.pid(), since, kind));
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
        // The directory has been removed, and nothing can be found by it.
        Err(_) => Ok(()),
    }
}
