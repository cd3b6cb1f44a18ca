//! The end of a process and changes in a data directory, reported by kqueue(2) of macOS and the
//! BSDs.
//!
//! An event queue is a descriptor that poll(2) reports as readable when it has events. Events only
//! shorten waits here: a waiting caller checks the process and the directory after each wait, and
//! at least every quarter of a second. This module was compiled for these systems and never run.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use camino::Utf8Path;
use rustix::event::kqueue::{
    Event, EventFilter, EventFlags, ProcessEvents, VnodeEvents, kevent, kqueue,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};

use crate::pid::Pid;

/// `PidFile::NAME`, which is not of this layer.
const LOCK_FILE: &str = "postmaster.pid";

/// A queue that becomes readable when the process exits: `EVFILT_PROC` with `NOTE_EXIT`, kqueue(2).
/// None if the system refuses, as for a process of another account or one that has exited.
pub(super) fn end_of(pid: Pid) -> Option<OwnedFd> {
    let exit = EventFilter::Proc {
        pid: pid.rustix(),
        flags: ProcessEvents::EXIT,
    };
    let queue = kqueue().ok()?;
    add(&queue, exit)?;
    can_be_polled(&queue).then_some(queue)
}

/// Becomes readable when an entry of a data directory or its lock file changes: `EVFILT_VNODE`,
/// kqueue(2).
#[derive(Debug)]
pub(crate) struct DirectoryEvents {
    queue: OwnedFd,
    directory: OwnedFd,
    /// An event is removed when its descriptor is closed.
    lock_file: Mutex<Option<OwnedFd>>,
}

impl DirectoryEvents {
    /// None if the system has no more queues or the directory cannot be read.
    pub(crate) fn of(path: &Utf8Path) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let events = Self {
            directory: rustix::fs::open(path.as_std_path(), flags, Mode::empty()).ok()?,
            queue: kqueue().ok()?,
            lock_file: Mutex::new(None),
        };
        add(&events.queue, changes(&events.directory))?;
        events.watch_lock_file();
        can_be_polled(&events.queue).then_some(events)
    }

    /// The closing of a directory is not reported.
    pub(crate) fn of_closing(_path: &Utf8Path) -> Option<Self> {
        None
    }

    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.queue.as_fd())
    }

    /// Discards the events reported so far, and watches the lock file that there is now. A write
    /// before this call is not reported: the caller looks at the file afterwards.
    pub(crate) fn forget(&self) {
        let mut space = [const { std::mem::MaybeUninit::uninit() }; 4];
        // SAFETY: no change is made to the queue.
        while let Ok((events, _)) = unsafe {
            kevent(
                &self.queue,
                &[],
                &mut space,
                Some(std::time::Duration::ZERO),
            )
        } {
            if events.is_empty() {
                break;
            }
        }
        self.watch_lock_file();
    }

    /// A directory reports entries that come and go, not what is written into its files.
    fn watch_lock_file(&self) {
        // Opening must not wait for the other end of a FIFO.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.directory, LOCK_FILE, flags, Mode::empty()).ok();
        let mut watched = self
            .lock_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *watched = file.filter(|file| add(&self.queue, changes(file)).is_some());
    }
}

fn changes(file: &OwnedFd) -> EventFilter {
    EventFilter::Vnode {
        vnode: file.as_raw_fd(),
        flags: VnodeEvents::WRITE
            | VnodeEvents::EXTEND
            | VnodeEvents::DELETE
            | VnodeEvents::RENAME
            | VnodeEvents::LINK,
    }
}

fn add(queue: &OwnedFd, filter: EventFilter) -> Option<()> {
    let event = Event::new(
        filter,
        EventFlags::ADD | EventFlags::CLEAR,
        std::ptr::null_mut(),
    );
    let mut none: [std::mem::MaybeUninit<Event>; 0] = [];
    // SAFETY: descriptors that are open, or a process ID; without room for events, an error in the
    // change is the error of the call.
    unsafe { kevent(queue, &[event], &mut none, None) }.ok()?;
    Some(())
}

/// A queue that poll(2) does not take would turn each wait into a busy loop.
fn can_be_polled(queue: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(queue, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec::default())).is_ok()
        && PollFlags::IN.contains(fds[0].revents())
}
