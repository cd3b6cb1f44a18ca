//! A thread that alone has certain descriptors.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

use nix::libc;

/// Starts a thread that owns these descriptors. On Linux from 5.9 on they are in the thread's own
/// descriptor table. A process that is forked meanwhile does not inherit them, so they are closed
/// when this process exits. That thread has no other open descriptors, and runs no handler of
/// signals.
pub(crate) fn spawn_with<const N: usize>(
    name: &str,
    descriptors: [OwnedFd; N],
    work: impl FnOnce([OwnedFd; N]) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let numbers = descriptors.each_ref().map(|fd| fd.as_raw_fd());
    let (tell, told) = mpsc::channel();
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        block_signals();
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

/// Keeps the calling thread from running the handlers of the process. Most of them write into a
/// pipe, which does not exist in the table of this thread, or is something else there. Signals that
/// a fault of the thread itself raises stay as they are.
fn block_signals() {
    // SAFETY: the set is valid, zeroed and then filled in by the calls.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut set);
        for fault in [
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGSEGV,
            libc::SIGTRAP,
        ] {
            libc::sigdelset(&mut set, fault);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
    }
}

/// Gives the calling thread a table with only these descriptors. Returns whether the system could.
#[cfg(all(target_os = "linux", not(pg_portable)))]
fn keep_only<const N: usize>(mut kept: [RawFd; N]) -> bool {
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

#[cfg(all(test, target_os = "linux", not(pg_portable)))]
mod tests {
    use super::*;

    #[test]
    fn a_handler_of_the_process_does_not_run_where_its_descriptors_are_missing() {
        let (descriptor, _other) = super::super::pipe().unwrap();
        let (tell, told) = mpsc::channel();
        let thread = spawn_with("own table", [descriptor], move |_| {
            let _ = tell.send(std::fs::read_to_string("/proc/thread-self/status"));
        });
        let status = told.recv().unwrap().unwrap();
        thread.unwrap().join().unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        let blocked = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
        let is_blocked = |signal: libc::c_int| blocked >> (signal - 1) & 1 == 1;
        for signal in [
            libc::SIGHUP,
            libc::SIGINT,
            libc::SIGTERM,
            libc::SIGCHLD,
            libc::SIGUSR1,
        ] {
            assert!(is_blocked(signal), "{signal}: {status}");
        }
        assert!(!is_blocked(libc::SIGSEGV));
    }
}
