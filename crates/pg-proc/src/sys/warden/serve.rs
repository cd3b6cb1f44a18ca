//! The warden's main loop: it waits, executes orders, and supervises its programs and guards.

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, IntoRawFd as _, RawFd};

use nix::libc::{self, c_int, pid_t};
use rustix::io::IoSliceMut;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use super::guarding::Guarding;
use super::payload::List;
use super::program::Watched;
use super::protocol::{ANSWER, MAX_DESCRIPTORS, ORDER_ERRAND, ORDER_PROGRAM, Report};
use crate::sys::fork;

/// The time after which an idle warden exits. Starting it takes less than a millisecond, but a
/// sequence of tests should not have to.
const IDLE_MS: i64 = 1000;

/// The warden's whole world.
struct Warden {
    control: RawFd,
    /// Becomes readable when a child has exited.
    wake: RawFd,
    programs: List<Watched>,
    guards: List<Guarding>,
    waiting: List<libc::pollfd>,
    /// Children that belong to no program: orphans of programs that crashed, or that exited before.
    strangers: List<Stranger>,
    /// The number of programs that were started.
    starts: u64,
    /// True if there may be any.
    has_strangers: bool,
    /// True if any child may have exited.
    may_have_ended: bool,
}

/// A process that lost its parent.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(all(target_os = "linux", not(pg_portable))),
    allow(
        dead_code,
        reason = "only Linux has the list of them, and makes this process their parent"
    )
)]
struct Stranger {
    pid: pid_t,
    /// The number of programs that had been started when the child was first seen: a program that
    /// was started later cannot have left it behind.
    starts: u64,
    /// Left behind by a detached server: it is not killed with other programs.
    is_spared: bool,
}

/// Serves until nothing is left to watch, and for a while after that. Async-signal-safe, and never
/// returns.
pub(super) fn run(control: RawFd, limit: RawFd) -> ! {
    // SAFETY: plain system calls on a constant.
    unsafe {
        libc::setsid();
        libc::chdir(c"/".as_ptr());
    }
    fork::name_this_process(c"pg-proc warden");
    fork::reset_signals();
    fork::close_all_but(&mut [control], limit);
    fork::let_go_of_streams();
    fork::raise_descriptor_limit();
    // Last: the owner may have as many descriptors as it is allowed to.
    let mut wake = [-1; 2];
    // SAFETY: plain system calls on numbers, and an array of two numbers.
    unsafe {
        if libc::pipe(wake.as_mut_ptr()) != 0 {
            libc::_exit(1);
        }
        for fd in wake {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK);
        }
    }
    let [wake, wake_write] = wake;
    fork::listen_for_children(wake_write);
    adopt_orphans();
    let mut warden = Warden {
        control,
        wake,
        programs: List::new(),
        guards: List::new(),
        waiting: List::new(),
        strangers: List::new(),
        starts: 0,
        has_strangers: false,
        may_have_ended: false,
    };
    warden.serve();
    // SAFETY: ends this process without running anything of the owner's.
    unsafe { libc::_exit(0) }
}

impl Warden {
    fn serve(&mut self) {
        loop {
            let is_quiet = self.sleep();
            if is_quiet && self.is_idle() {
                self.retire();
            }
            self.take_orders();
            self.hear_owners();
            self.collect_ended();
            self.look_after_programs();
            self.guards.retain(Guarding::goes_on);
            let is_needed = !self.guards.as_slice().is_empty()
                || self.programs.as_slice().iter().any(|p| !p.can_do_without());
            if self.control < 0 && !is_needed {
                // Init takes over what is detached.
                return;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.programs.as_slice().is_empty() && self.guards.as_slice().is_empty()
    }

    /// Takes no more orders from the owner, which starts another warden when it has one. Those that
    /// it has sent before this can still be read.
    fn retire(&self) {
        // SAFETY: a descriptor of this process, or none.
        unsafe { libc::shutdown(self.control, libc::SHUT_RDWR) };
    }

    fn hear_owners(&mut self) {
        for program in self.programs.as_mut_slice() {
            if program.is_ready {
                program.hear();
                // The program may have exited before it was allowed to be reaped.
                self.may_have_ended = true;
            }
        }
    }

    /// Reaps children that have exited. A program is not reaped yet if the owner may still have to
    /// open its process ID.
    fn collect_ended(&mut self) {
        let (mut has_detached_ended, mut has_bound_ended) = (false, false);
        if self.may_have_ended {
            for program in self.programs.as_mut_slice() {
                if program.collect() {
                    self.has_strangers = true;
                    has_detached_ended |= program.is_detached();
                    has_bound_ended |= !program.is_detached();
                }
            }
            for guard in self.guards.as_mut_slice() {
                guard.collect();
            }
        }
        // A process left behind by a running program may have exited, too.
        if self.has_strangers || self.may_have_ended {
            // The warden does not kill the processes left behind by a detached server that crashed.
            self.find_strangers(has_detached_ended && !has_bound_ended);
        }
    }

    fn look_after_programs(&mut self) {
        let now = fork::now_ms();
        // The remaining processes cannot be attributed to programs, except by time. They are killed
        // after the grace period of the last program that has exited and may have left them behind.
        let programs = self.programs.as_slice();
        for stranger in self.strangers.as_slice().iter().filter(|s| !s.is_spared) {
            let ended = programs
                .iter()
                .filter(|program| program.may_have_left(stranger.starts))
                .filter_map(Watched::left_until);
            if ended.max().is_some_and(|until| now >= until) {
                // SAFETY: a child that was not waited for.
                unsafe { libc::kill(stranger.pid, libc::SIGKILL) };
            }
        }
        let strangers = self.strangers.as_slice();
        self.programs.retain(|program| {
            let is_any_left = strangers
                .iter()
                .any(|s| !s.is_spared && program.may_have_left(s.starts));
            program.goes_on(is_any_left)
        });
    }

    /// Reads the list of children from `/proc`. Finds none on kernels without
    /// `CONFIG_PROC_CHILDREN`: backends notice by themselves that their postmaster has exited.
    #[cfg(all(target_os = "linux", not(pg_portable)))]
    fn find_strangers(&mut self, is_spared: bool) {
        let path = c"/proc/thread-self/children";
        // SAFETY: a constant path; the descriptor is closed below.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        if fd < 0 {
            self.strangers.clear();
            self.has_strangers = false;
            return self.collect_unknown();
        }
        // Those that are known come first in the list.
        self.strangers
            .retain(|stranger| !is_collected(stranger.pid));
        let known = self.strangers.as_slice().len();
        let mut bytes = [0; 512];
        let mut pid: pid_t = 0;
        loop {
            let n = fork::read(fd, &mut bytes);
            if n <= 0 {
                break;
            }
            for &byte in bytes.iter().take(n.unsigned_abs()) {
                if byte.is_ascii_digit() {
                    pid = pid.wrapping_mul(10).wrapping_add(pid_t::from(byte - b'0'));
                    continue;
                }
                let mut before = self.strangers.as_slice().iter().take(known);
                let is_new = !before.any(|stranger| stranger.pid == pid);
                if pid > 1 && is_new && !self.is_known(pid) && !is_collected(pid) {
                    let starts = self.starts;
                    self.strangers.push(Stranger {
                        pid,
                        starts,
                        is_spared,
                    });
                }
                pid = 0;
            }
        }
        // SAFETY: opened above.
        unsafe { libc::close(fd) };
        self.has_strangers = !self.strangers.as_slice().is_empty();
    }

    #[cfg(not(all(target_os = "linux", not(pg_portable))))]
    fn find_strangers(&mut self, _is_spared: bool) {
        self.has_strangers = false;
        self.collect_unknown();
    }

    /// Reaps all children that have exited, unless one of them must not be reaped yet.
    fn collect_unknown(&mut self) {
        if self.programs.as_slice().iter().any(Watched::is_new) {
            return;
        }
        loop {
            let mut status = 0;
            // SAFETY: `status` is valid.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            for program in self.programs.as_mut_slice() {
                program.has_ended(pid, status);
            }
            for guard in self.guards.as_mut_slice() {
                guard.has_ended(pid);
            }
        }
    }

    #[cfg(all(target_os = "linux", not(pg_portable)))]
    fn is_known(&self, pid: pid_t) -> bool {
        self.programs.as_slice().iter().any(|p| p.is(pid))
            || self.guards.as_slice().iter().any(|guard| guard.is(pid))
    }

    /// Waits until there is something to do; returns whether nothing has happened.
    fn sleep(&mut self) -> bool {
        let now = fork::now_ms();
        let mut until = match self.is_idle() {
            true => now.saturating_add(IDLE_MS),
            false => i64::MAX,
        };
        self.waiting.clear();
        let mut wait_for = |fd, events| {
            // A negative number is passed over.
            self.waiting.push(libc::pollfd {
                fd,
                events,
                revents: 0,
            });
        };
        wait_for(self.control, libc::POLLIN);
        wait_for(self.wake, libc::POLLIN);
        for program in self.programs.as_slice() {
            let (fd, events, due) = program.waits_for(now);
            wait_for(fd, events);
            until = until.min(due);
        }
        for guard in self.guards.as_slice() {
            wait_for(guard.waits_for(), libc::POLLIN);
        }
        let timeout = match until {
            i64::MAX => -1,
            until => (until - now).clamp(0, 60_000) as c_int,
        };
        let waiting = self.waiting.as_mut_slice();
        // SAFETY: the list is valid for its length.
        let ready =
            unsafe { libc::poll(waiting.as_mut_ptr(), waiting.len() as libc::nfds_t, timeout) };
        let is_quiet = ready == 0;
        let mut ready = self.waiting.as_slice().iter().map(|fd| fd.revents != 0);
        let (_, is_woken) = (ready.next(), ready.next());
        for (program, is_ready) in self.programs.as_mut_slice().iter_mut().zip(&mut ready) {
            program.is_ready = is_ready;
        }
        for (guard, is_ready) in self.guards.as_mut_slice().iter_mut().zip(&mut ready) {
            guard.is_ready = is_ready;
        }
        self.may_have_ended = is_woken == Some(true);
        let mut bytes = [0; 64];
        while self.may_have_ended && fork::read(self.wake, &mut bytes) > 0 {}
        is_quiet
    }

    fn take_orders(&mut self) {
        let most = usable_descriptors();
        while self.control >= 0 {
            let mut kind = [0];
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            // SAFETY: open for as long as it is not negative.
            let control = unsafe { BorrowedFd::borrow_raw(self.control) };
            let flags = RecvFlags::DONTWAIT;
            #[cfg(not(target_vendor = "apple"))]
            let flags = flags | RecvFlags::CMSG_CLOEXEC;
            let slices = &mut [IoSliceMut::new(&mut kind)];
            let is_whole = match recvmsg(control, slices, &mut ancillary, flags) {
                Ok(message) if message.bytes > 0 => !message.flags.contains(ReturnFlags::CTRUNC),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => continue,
                _ => {
                    // SAFETY: not used any more.
                    unsafe { libc::close(self.control) };
                    self.control = -1;
                    return;
                }
            };
            let mut descriptors = [-1; MAX_DESCRIPTORS];
            let received = ancillary.drain().flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(rights) => Some(rights),
                _ => None,
            });
            for (slot, fd) in descriptors.iter_mut().zip(received.flatten()) {
                *slot = fd.into_raw_fd();
                // Fallback for systems without the flag above. SAFETY: a number.
                unsafe { libc::fcntl(*slot, libc::F_SETFD, libc::FD_CLOEXEC) };
            }
            if !is_whole || descriptors.iter().any(|&fd| fd >= most) {
                refuse(&descriptors);
                continue;
            }
            match kind {
                [ORDER_PROGRAM] => {
                    // The processes that exist now were not left behind by this program.
                    self.may_have_ended = true;
                    self.collect_ended();
                    if let Some(program) = Watched::start(&descriptors, self.starts) {
                        self.starts += 1;
                        self.programs.push(program);
                    }
                }
                [ORDER_ERRAND] => {
                    if let Some(guard) = Guarding::begin(&descriptors) {
                        self.guards.push(guard);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Descriptors from this number on are kept for the warden's own work: it has to remove directories
/// however many servers there are.
fn usable_descriptors() -> RawFd {
    let limit = fork::descriptor_limit();
    limit - (limit / 4).min(80)
}

/// Reports that no more descriptors are available, if the descriptor for the report has arrived.
fn refuse(descriptors: &[RawFd; MAX_DESCRIPTORS]) {
    if let Some(&answer) = descriptors.get(ANSWER) {
        let report = Report::NotStarted(libc::EMFILE);
        fork::write_all(answer, &report.to_bytes());
    }
    for &fd in descriptors.iter().filter(|&&fd| fd >= 0) {
        // SAFETY: it came with the order.
        unsafe { libc::close(fd) };
    }
}

/// Reaps a child if it has exited, and returns whether it had.
#[cfg(all(target_os = "linux", not(pg_portable)))]
fn is_collected(pid: pid_t) -> bool {
    let mut status = 0;
    // SAFETY: `status` is valid.
    unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) == pid }
}

#[cfg(all(target_os = "linux", not(pg_portable)))]
fn adopt_orphans() {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

#[cfg(not(all(target_os = "linux", not(pg_portable))))]
fn adopt_orphans() {}
