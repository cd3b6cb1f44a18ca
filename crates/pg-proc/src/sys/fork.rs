//! Forking without exec, in a process that may have many threads.
//!
//! The child of such a fork has one thread, and copies of locks that threads which do not exist may
//! hold. Until it execs or ends it may call async-signal-safe functions only: no allocation, no
//! panic, nothing of std that locks. Whatever it needs is built before the fork and only read
//! afterwards.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::libc::{self, c_int, pid_t};

/// A pipe whose ends are closed by exec, and neither of which has the number of a standard stream.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = cloexec_pipe()?;
    Ok((above_standard(read)?, above_standard(write)?))
}

#[cfg(not(target_vendor = "apple"))]
fn cloexec_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

#[cfg(target_vendor = "apple")]
fn cloexec_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe()?;
    for end in [&read, &write] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok((read, write))
}

/// In a process whose own standard streams are closed, new descriptors start at 0: `dup2` would
/// overwrite them.
pub(crate) fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        Ok(fd)
    } else {
        Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
    }
}

pub(crate) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(
        fd,
        flags | rustix::fs::OFlags::NONBLOCK,
    )?)
}

/// Forks; `child` runs in the child and never returns.
///
/// # Safety
///
/// `child` must keep to the rule of this module.
pub(super) unsafe fn fork(child: impl FnOnce()) -> io::Result<pid_t> {
    // The child must not run a signal handler of this process: they are blocked until it has reset
    // them.
    let (mut all, mut before) = (empty_set(), empty_set());
    // SAFETY: both sets are valid; the mask is restored below in the parent.
    unsafe {
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
    }
    // SAFETY: the caller promises that `child` is fit for this.
    match unsafe { libc::fork() } {
        0 => {
            child();
            // SAFETY: ends the process at once, running nothing that belongs to the parent.
            unsafe { libc::_exit(127) }
        }
        result => {
            let outcome = Errno::result(result);
            // SAFETY: `before` was filled in above.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
            Ok(outcome?)
        }
    }
}

/// Forks the warden or a child of a fork. The C library's `fork` would run the handlers that the
/// owner has registered by pthread_atfork(3), and glibc's also writes to the stacks of threads that
/// do not exist any more (`reclaim_stacks` in `sysdeps/nptl/fork.h`): a forked warden has unmapped
/// both.
///
/// Async-signal-safe.
///
/// # Safety
///
/// This process has one thread, and the child must keep to the rule of this module.
#[cfg(all(target_os = "linux", not(pg_portable)))]
pub(super) unsafe fn fork_alone() -> pid_t {
    // On s390x the flags come second (clone(2)), and the stack, which stays, first.
    let [first, second] = if cfg!(target_arch = "s390x") {
        [0, libc::c_long::from(libc::SIGCHLD)]
    } else {
        [libc::c_long::from(libc::SIGCHLD), 0]
    };
    // SAFETY: all arguments are numbers. The child has its own memory and the same stack, as by
    // fork(2).
    unsafe { libc::syscall(libc::SYS_clone, first, second, 0_usize, 0_usize, 0_usize) as pid_t }
}

/// # Safety
///
/// The child must keep to the rule of this module.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(super) unsafe fn fork_alone() -> pid_t {
    // SAFETY: the caller promises that the child is fit for this.
    unsafe { libc::fork() }
}

fn empty_set() -> libc::sigset_t {
    // SAFETY: all zeros is a value of this plain C struct on every platform; `sigemptyset` makes it
    // the right one.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        set
    }
}

/// Gives every signal its default meaning. Ignored signals stay ignored over exec otherwise: a
/// caller that ignores SIGINT would start a server that ignores a request to shut down.
///
/// Async-signal-safe.
pub(super) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: `signal` is async-signal-safe; numbers that do not exist or cannot be set are
        // refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Async-signal-safe.
pub(super) fn unblock_signals() {
    let none = empty_set();
    // SAFETY: `none` is a valid set; sigprocmask is async-signal-safe.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()) };
}

static WAKE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_child(_: c_int) {
    let errno = Errno::last_raw();
    write_all(WAKE.load(Ordering::Relaxed), b"!");
    Errno::set_raw(errno);
}

/// Lets only SIGCHLD through, and turns it into a byte on `wake`, which must not block. The rest
/// stays blocked: it is for the owner's end, not for a signal, that this process has to wait. (A
/// `kill -TERM -1` at shutdown must not take it away before the server.)
///
/// Async-signal-safe.
pub(super) fn listen_for_children(wake: RawFd) {
    WAKE.store(wake, Ordering::Relaxed);
    let mut others = empty_set();
    // SAFETY: `others` and `action` are valid for the calls, all of which are async-signal-safe;
    // the handler is too, and keeps errno.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_child as extern "C" fn(c_int) as usize;
        action.sa_flags = libc::SA_NOCLDSTOP;
        libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut());
        libc::sigfillset(&mut others);
        libc::sigdelset(&mut others, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_SETMASK, &others, std::ptr::null_mut());
    }
}

/// Closes every descriptor except those in `keep`. Close-on-exec does not help in a process that
/// never execs: without this it would keep open the lifelines of other servers of the same owner,
/// and the owner's files and locks.
///
/// Async-signal-safe.
pub(super) fn close_all_but(keep: &mut [RawFd], limit: RawFd) {
    keep.sort_unstable();
    let mut from = 0;
    for &fd in keep.iter() {
        if fd > from {
            close_between(from, fd - 1, limit);
        }
        from = from.max(fd.saturating_add(1));
    }
    close_between(from, RawFd::MAX, limit);
}

fn close_between(first: RawFd, last: RawFd, limit: RawFd) {
    #[cfg(all(target_os = "linux", not(pg_portable)))]
    {
        // SAFETY: closes descriptors of this process to which nothing refers any more.
        let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if done == 0 {
            return;
        }
    }
    for fd in first..=last.min(limit) {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}

/// The number above any open descriptor; read before a fork, for kernels without `close_range`. A
/// sandbox may refuse to report it.
pub(super) fn descriptor_limit() -> RawFd {
    let mut limit = 65_536;
    // SAFETY: the structure is valid; a sandbox may refuse the call.
    unsafe {
        let mut limits: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits) == 0 {
            limit = RawFd::try_from(limits.rlim_cur).map_or(limit, |n| n.min(1 << 20));
        }
    }
    limit
}

/// The limit that [`raise_descriptor_limit`] found.
static SOFT_LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Allows this process as many descriptors as the system does. Async-signal-safe.
pub(super) fn raise_descriptor_limit() {
    change_descriptor_limit(|limits| {
        SOFT_LIMIT.store(limits.rlim_cur as u64, Ordering::Relaxed);
        limits.rlim_cur = limits.rlim_max;
    });
}

/// Undoes [`raise_descriptor_limit`] for a program to be executed. Async-signal-safe.
pub(super) fn restore_descriptor_limit() {
    change_descriptor_limit(|limits| {
        limits.rlim_cur = SOFT_LIMIT.load(Ordering::Relaxed) as libc::rlim_t;
    });
}

fn change_descriptor_limit(change: impl FnOnce(&mut libc::rlimit)) {
    // SAFETY: the structure is valid for both calls, which some sandboxes refuse.
    unsafe {
        let mut limits: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits) == 0 {
            change(&mut limits);
            libc::setrlimit(libc::RLIMIT_NOFILE, &limits);
        }
    }
}

/// Async-signal-safe. If this fails, the reader has exited, and there is no other process to
/// notify.
pub(super) fn write_all(fd: RawFd, bytes: &[u8]) {
    // SAFETY: the buffer is valid for its length.
    while unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } < 0
        && Errno::last_raw() == libc::EINTR
    {}
}

/// One read, repeated when a signal interrupts it; zero at the end, below zero on errors.
/// Async-signal-safe.
pub(super) fn read(fd: RawFd, buffer: &mut [u8]) -> isize {
    loop {
        // SAFETY: the buffer is valid for its length.
        let n = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
        if n >= 0 || Errno::last_raw() != libc::EINTR {
            return n;
        }
    }
}

/// Replaces the standard streams by `/dev/null`, so that a reader of the owner's output sees its
/// end when the owner exits. Async-signal-safe.
pub(super) fn let_go_of_streams() {
    // SAFETY: plain system calls on numbers.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for stream in 0..=2 {
            libc::dup2(null, stream);
        }
        if null > 2 {
            libc::close(null);
        }
    }
}

/// Waits for a child that is about to exit by itself. A caller that ignores SIGCHLD, or waits for
/// children that it did not start, may have reaped it already: then there is no status.
pub(crate) fn reap(pid: pid_t) -> Option<c_int> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid. The number is ours until waited for; if another thread waited
        // for it, this fails.
        match unsafe { libc::waitpid(pid, &mut status, 0) } {
            -1 if Errno::last_raw() == libc::EINTR => {}
            -1 => return None,
            _ => return Some(status),
        }
    }
}

/// Kills a child, unless another thread has reaped it.
#[cfg(all(target_os = "linux", not(pg_portable)))]
pub(super) fn kill_child(pid: pid_t) {
    // SAFETY: all zeros is a value of the plain C struct that the call fills in; the rest are
    // numbers.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, how) == 0 {
            libc::kill(pid, libc::SIGKILL);
        }
    }
}

/// Sets the name that `ps -o comm` shows: at most 15 bytes. Async-signal-safe.
#[cfg(all(target_os = "linux", not(pg_portable)))]
pub(super) fn name_this_process(name: &CStr) {
    // SAFETY: the name ends with a zero byte.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

#[cfg(not(all(target_os = "linux", not(pg_portable))))]
pub(super) fn name_this_process(_name: &CStr) {}

/// Async-signal-safe.
pub(super) fn pause(milliseconds: c_int) {
    // SAFETY: no descriptors.
    unsafe { libc::poll(std::ptr::null_mut(), 0, milliseconds) };
}

/// Milliseconds of a clock that is never set. Async-signal-safe.
pub(super) fn now_ms() -> i64 {
    // SAFETY: all zeros is a timespec, and the clock exists on every Unix.
    unsafe {
        let mut now: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now);
        (now.tv_sec as i64)
            .saturating_mul(1000)
            .saturating_add(now.tv_nsec as i64 / 1_000_000)
    }
}

/// Runs a function in a process forked from this one, and returns whether it ran to its end there,
/// within ten seconds. Unlike a child that is about to exec it may allocate: the C library sees to
/// that, and no other thread holds a lock that it takes.
#[cfg(test)]
pub(crate) fn succeeds_in_forked_process(function: impl FnOnce()) -> bool {
    outcome_in_forked_process(function) == Some(0)
}

/// Like [`succeeds_in_forked_process`], but returns the status of `waitpid`, unless the time limit
/// has passed.
#[cfg(test)]
pub(super) fn outcome_in_forked_process(function: impl FnOnce()) -> Option<c_int> {
    let run = || {
        // A panic must not unwind into the frames of the parent.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(function));
        // SAFETY: ends the process at once, running nothing that belongs to the parent.
        unsafe { libc::_exit(c_int::from(outcome.is_err())) };
    };
    // SAFETY: `function` does only what is safe in a forked process, as required above.
    let child = unsafe { fork(run) }.expect("a process");
    let mut status = 0;
    for _ in 0..1000 {
        // SAFETY: `status` is valid; the child is this function's own.
        if unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == child {
            return Some(status);
        }
        pause(10);
    }
    // SAFETY: the child was not waited for.
    unsafe { libc::kill(child, libc::SIGKILL) };
    reap(child);
    None
}

/// Has a system call of this process fail with `EPERM` from now on.
#[cfg(test)]
#[cfg(target_os = "linux")]
pub(super) fn refuse(call: libc::c_long) {
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    let mut steps = [
        // The number of the call, and the action for this call and for the others.
        step((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0),
        step(
            (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            1,
            call as u32,
        ),
        step(
            (libc::BPF_RET | libc::BPF_K) as u16,
            0,
            libc::SECCOMP_RET_ALLOW,
        ),
        step(
            (libc::BPF_RET | libc::BPF_K) as u16,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
    ];
    let filter = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: numbers, and a filter that is valid for the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &filter), 0);
    }
}

#[cfg(test)]
#[cfg(all(target_os = "linux", not(pg_portable)))]
mod tests {
    use std::os::unix::thread::JoinHandleExt as _;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags};

    use super::*;
    use crate::deadline::Deadline;

    /// Like sandboxes that allow only the calls that were known when they were written.
    #[test]
    fn a_refused_limit_does_not_panic() {
        assert!(succeeds_in_forked_process(|| {
            refuse(libc::SYS_prlimit64);
            assert_eq!(descriptor_limit(), 65_536);
        }));
    }

    static HANDLED: AtomicU32 = AtomicU32::new(0);

    extern "C" fn count(_: c_int) {
        HANDLED.fetch_add(1, Ordering::SeqCst);
    }

    /// A program with a profiler, or a timer, gets signals all the time.
    #[test]
    fn a_signal_does_not_end_a_wait() {
        // SAFETY: the handler is async-signal-safe, and all zeros is a value of this structure.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = count as extern "C" fn(c_int) as usize;
            libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut());
        }
        let (read, write) = pipe().expect("a pipe");
        let waiter = std::thread::spawn(move || {
            let mut fds = [PollFd::new(&read, PollFlags::IN)];
            Deadline::after(Duration::from_secs(60)).poll(&mut fds)
        });
        for number in 1..=20 {
            // SAFETY: the thread was not joined, so this is its number.
            unsafe { libc::pthread_kill(waiter.as_pthread_t() as libc::pthread_t, libc::SIGUSR2) };
            while HANDLED.load(Ordering::SeqCst) < number {
                assert!(!waiter.is_finished(), "after {number} signals");
                std::thread::yield_now();
            }
        }
        write_all(write.as_raw_fd(), b"!");
        assert!(waiter.join().expect("no panic"));
    }
}
