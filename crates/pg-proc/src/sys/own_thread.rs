//! A thread that alone has certain descriptors.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that owns these descriptors. On Linux from 5.9 on they are in the thread's own
/// descriptor table. A process that is forked meanwhile does not inherit them, so they are closed
/// when this process exits. That thread has no other open descriptors.
pub(crate) fn spawn_with<const N: usize>(
    name: &str,
    descriptors: [OwnedFd; N],
    work: impl FnOnce([OwnedFd; N]) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let numbers = descriptors.each_ref().map(|fd| fd.as_raw_fd());
    let (tell, told) = mpsc::channel();
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        let is_alone = keep_only(numbers);
        // SAFETY: in a table of this thread's own these numbers belong to nothing else; otherwise
        // the caller forgets them.
        let own = numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) });
        let _ = tell.send(is_alone);
        work(own);
    })?;
    match told.recv() {
        Ok(true) => drop(descriptors),
        _ => std::mem::forget(descriptors),
    }
    Ok(thread)
}

/// Gives the calling thread a table with only these descriptors. Returns whether the system could.
#[cfg(all(target_os = "linux", not(pg_portable)))]
fn keep_only<const N: usize>(mut kept: [RawFd; N]) -> bool {
    use nix::libc;

    kept.sort_unstable();
    let close = |first: RawFd, last: RawFd, flags: libc::c_uint| {
        // SAFETY: all arguments are numbers. With its own table the thread uses only these
        // descriptors.
        first > last || unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) == 0 }
    };
    let Some(&highest) = kept.last() else {
        return false;
    };
    // The descriptors above are not even copied.
    if !close(highest + 1, RawFd::MAX, libc::CLOSE_RANGE_UNSHARE) {
        return false;
    }
    let mut next = 0;
    for number in kept {
        close(next, number - 1, 0);
        next = number + 1;
    }
    true
}

#[cfg(not(all(target_os = "linux", not(pg_portable))))]
fn keep_only<const N: usize>(_: [RawFd; N]) -> bool {
    false
}
