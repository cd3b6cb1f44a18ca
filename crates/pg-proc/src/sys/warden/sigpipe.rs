//! Writes into a pipe whose reader may have exited, without a signal.

use std::ptr;

use nix::libc;

/// A write into a pipe without readers must fail, not end a caller that gave SIGPIPE back its
/// default meaning.
pub(super) struct BlockedSigpipe {
    was_pending: bool,
    before: libc::sigset_t,
}

impl BlockedSigpipe {
    pub(super) fn new() -> Self {
        // SAFETY: all sets are valid, zeroed and then filled in by the calls.
        unsafe {
            let mut pending: libc::sigset_t = std::mem::zeroed();
            let mut pipe: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigpending(&mut pending);
            libc::sigemptyset(&mut pipe);
            libc::sigaddset(&mut pipe, libc::SIGPIPE);
            libc::pthread_sigmask(libc::SIG_BLOCK, &pipe, &mut before);
            Self {
                was_pending: libc::sigismember(&pending, libc::SIGPIPE) == 1,
                before,
            }
        }
    }
}

impl Drop for BlockedSigpipe {
    fn drop(&mut self) {
        // SAFETY: as above. A SIGPIPE of ours is taken off before the mask is restored; one that
        // was pending before is not ours to take.
        unsafe {
            let mut pending: libc::sigset_t = std::mem::zeroed();
            libc::sigpending(&mut pending);
            if !self.was_pending && libc::sigismember(&pending, libc::SIGPIPE) == 1 {
                let mut pipe: libc::sigset_t = std::mem::zeroed();
                let mut taken = 0;
                libc::sigemptyset(&mut pipe);
                libc::sigaddset(&mut pipe, libc::SIGPIPE);
                libc::sigwait(&pipe, &mut taken);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut());
        }
    }
}
