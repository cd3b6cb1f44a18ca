//! The warden's side of a server that several processes use.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc::{self, c_int};

use crate::sys::fork;

/// The warden's record of a server's users.
pub(crate) struct Vigil {
    pub(crate) users: Arc<OwnedFd>,
    /// The directory that users lock to enter.
    pub(crate) lock: CString,
    pub(crate) linger_ms: i64,
}

/// The pause before looking for users again if the lock is held. Its holder may be about to enter.
const RETRY_MS: i64 = 10;

/// A hang-up is always reported, but macOS does not watch a descriptor without any event
/// (`poll_nocancel` in bsd/kern/sys_generic.c).
pub(super) const HANG_UP: i16 = libc::POLLHUP;

/// The state of the wait for users. Everything here is async-signal-safe.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// When to decide; zero as long as there are users.
    due: i64,
    over: bool,
}

impl Watch {
    /// The descriptor whose hang-up is to be waited for, and for how many milliseconds; below zero:
    /// none, and for ever.
    pub(super) fn waits_for(self, users: RawFd) -> (RawFd, i64) {
        if self.over {
            (-1, -1)
        } else if self.due > 0 {
            (-1, (self.due - fork::now_ms()).max(0))
        } else {
            (users, -1)
        }
    }

    /// Returns whether the last user has left for good. Returns true only once, and closes the FIFO
    /// then. `lock` is the directory that users lock to enter.
    pub(super) fn ends(&mut self, users: RawFd, lock: &CStr, linger_ms: i64) -> bool {
        if self.over {
            return false;
        }
        let now = fork::now_ms();
        if !is_deserted(users) {
            self.due = 0;
        } else if self.due == 0 {
            self.due = now.saturating_add(linger_ms).max(1);
        } else if now >= self.due {
            self.over = close_if_deserted(users, lock);
            self.due = if self.over {
                0
            } else {
                now.saturating_add(RETRY_MS)
            };
        }
        self.over
    }
}

/// Returns whether no process has the FIFO open for writing.
fn is_deserted(users: RawFd) -> bool {
    let mut fd = libc::pollfd {
        fd: users,
        events: HANG_UP,
        revents: 0,
    };
    // SAFETY: `fd` is valid.
    unsafe { libc::poll(&mut fd, 1, 0) > 0 && fd.revents & libc::POLLHUP != 0 }
}

/// Under the lock no user can enter, so the FIFO is closed if it still has no users. False if the
/// lock is held or there are users. If the directory to lock does not exist any more, no user can
/// enter either.
fn close_if_deserted(users: RawFd, lock: &CStr) -> bool {
    // SAFETY: the path ends with a zero byte; the descriptors belong to this process.
    unsafe {
        let fd: c_int = libc::open(lock.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let is_busy = fd >= 0
            && libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB) != 0
            && Errno::last_raw() == libc::EWOULDBLOCK;
        let ends = !is_busy && is_deserted(users);
        if ends {
            libc::close(users);
        }
        if fd >= 0 {
            libc::close(fd);
        }
        ends
    }
}

/// A FIFO for this user only.
pub(crate) fn make_fifo(path: &CStr) -> io::Result<()> {
    // SAFETY: the path ends with a zero byte.
    Errno::result(unsafe { libc::mkfifo(path.as_ptr(), 0o600) })?;
    Ok(())
}
