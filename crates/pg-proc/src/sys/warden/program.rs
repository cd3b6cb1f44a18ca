//! A program that the warden has started and watches: its parent's side.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc::{self, c_int, pid_t};

use super::payload::Payload;
use super::protocol::{MAX_DESCRIPTORS, ProgramOrder, Report, Stage, Step, command};
use super::users::{HANG_UP, Watch};
use crate::sys::fork;

/// A postmaster that shuts down properly has waited for its children, except for the log collector.
/// The collector still writes the last messages, and exits when the pipe that they arrive on is
/// closed.
const LAST_WORDS_MS: i64 = 500;
/// The interval at which the remaining processes of a program are checked. New processes may appear
/// when their parents exit.
const LEFT_MS: i64 = 5;

/// A program that is watched. Everything here is async-signal-safe.
#[derive(Clone, Copy)]
pub(super) struct Watched {
    payload: Payload<ProgramOrder>,
    order: ProgramOrder,
    lifeline: RawFd,
    reports: RawFd,
    /// Held open for as long as anything of the program lives.
    hold: RawFd,
    users: RawFd,
    child: pid_t,
    /// The number of programs that the warden started before.
    number: u64,
    /// The owner has a handle, or has exited: the child may be reaped.
    may_reap: bool,
    child_ended: bool,
    /// The time at which the processes left behind by the child are to be killed.
    left_until: i64,
    bound: bool,
    owner_gone: bool,
    expect_signal: bool,
    next_step: usize,
    watch: Watch,
    /// The time of the next step; zero when no program is being stopped.
    step_due: i64,
    /// True if the lifeline may have a message or have ended.
    pub(super) is_ready: bool,
}

/// The data that a child needs to become the program.
struct Start {
    payload: Payload<ProgramOrder>,
    order: ProgramOrder,
    failure: RawFd,
    stdin: RawFd,
    stdout: RawFd,
    stderr: RawFd,
}

impl Watched {
    /// Starts a program by an order and its descriptors. None if the order cannot be read: then the
    /// stream of reports ends without a report.
    pub(super) fn start(descriptors: &[RawFd; MAX_DESCRIPTORS], number: u64) -> Option<Self> {
        let mut rest = descriptors.iter().copied();
        let mut next = || rest.next().unwrap_or(-1);
        let file = next();
        let [lifeline, reports, failure, stdin] = [next(), next(), next(), next()];
        let payload = Payload::<ProgramOrder>::map(file);
        close(file);
        let Some(payload) = payload else {
            for fd in descriptors.iter().skip(1) {
                close(*fd);
            }
            return None;
        };
        let order = payload.header();
        let mut next_if = |sent: bool| if sent { next() } else { -1 };
        let stdout = next_if(order.stdout == 0);
        let stderr = next_if(order.stderr == 0);
        let hold = next_if(order.holds != 0);
        let users = next_if(order.lock != 0);
        let start = Start {
            payload,
            order,
            failure,
            stdin,
            stdout,
            stderr,
        };
        // An owner that has stopped waiting, or has exited, would never learn of the program.
        let child = if has_reader(reports) {
            start.fork()
        } else {
            Errno::set_raw(libc::EPIPE);
            -1
        };
        let errno = Errno::last_raw();
        for fd in [failure, stdin, stdout, stderr] {
            close(fd);
        }
        let watched = Self {
            payload,
            order,
            lifeline,
            reports,
            hold,
            users,
            child,
            number,
            may_reap: false,
            child_ended: false,
            left_until: 0,
            bound: order.bound != 0,
            owner_gone: false,
            expect_signal: false,
            next_step: 0,
            watch: Watch::default(),
            step_due: 0,
            is_ready: false,
        };
        if child < 0 {
            watched.report(Report::NotStarted(errno));
            watched.close();
            return None;
        }
        watched.report(Report::Started(child));
        Some(watched)
    }
}

impl Start {
    fn fork(&self) -> pid_t {
        // SAFETY: getpid and fork are async-signal-safe, and this process has one thread.
        unsafe {
            let this = libc::getpid();
            match fork::fork_alone() {
                0 => {
                    self.execute(this);
                    libc::_exit(127)
                }
                child => child,
            }
        }
    }

    /// Becomes the program; returns if that fails, having reported it.
    fn execute(&self, parent: pid_t) {
        let path_of = |place| self.payload.string(place).unwrap_or_default().as_ptr();
        let (path, directory) = (path_of(self.order.path), path_of(self.order.directory));
        // SAFETY: system calls on numbers, on C strings and on arrays that end with a null pointer,
        // all of which are in the order.
        let failed: Result<(), (Stage, c_int)> = unsafe {
            libc::setsid();
            fork::reset_signals();
            fork::unblock_signals();
            fork::restore_descriptor_limit();
            libc::umask(0o077);
            self.become_account().and_then(|()| {
                self.die_with(parent);
                self.connect_streams()?;
                check(Stage::Directory, libc::chdir(directory))?;
                libc::execve(
                    path,
                    self.payload.pointers(self.order.arguments),
                    self.payload.pointers(self.order.environment),
                );
                Err((Stage::Execute, Errno::last_raw()))
            })
        };
        if let Err((stage, errno)) = failed {
            let [a, b, c, d] = (stage as u32).to_ne_bytes();
            let [e, f, g, h] = errno.to_ne_bytes();
            fork::write_all(self.failure, &[a, b, c, d, e, f, g, h]);
        }
    }

    unsafe fn become_account(&self) -> Result<(), (Stage, c_int)> {
        let order = &self.order;
        if order.changes_account == 0 {
            return Ok(());
        }
        let groups: &[libc::gid_t] = self.payload.values(order.groups, order.group_count);
        // SAFETY: the slice is valid for its length.
        unsafe {
            check(
                Stage::Groups,
                libc::setgroups(groups.len() as _, groups.as_ptr()),
            )?;
            check(Stage::Group, libc::setgid(order.gid as libc::gid_t))?;
            check(Stage::User, libc::setuid(order.uid as libc::uid_t))
        }
    }

    /// Asks the kernel for a signal when the warden ends. A change of credentials cancels that,
    /// so it comes after.
    #[cfg(all(target_os = "linux", not(pg_portable)))]
    fn die_with(&self, parent: pid_t) {
        if self.order.bound == 0 {
            return;
        }
        // SAFETY: numbers only.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, self.order.if_warden_dies);
            // The program may have exited before the line above.
            if libc::getppid() != parent {
                libc::_exit(127);
            }
        }
    }

    /// The same as on Linux: procctl(2) of FreeBSD. A process ID of zero means the calling process.
    #[cfg(target_os = "freebsd")]
    fn die_with(&self, parent: pid_t) {
        if self.order.bound == 0 {
            return;
        }
        let mut signal = self.order.if_warden_dies as c_int;
        let command = libc::PROC_PDEATHSIG_CTL;
        // SAFETY: numbers, and a valid place for one that is only read.
        unsafe {
            libc::procctl(libc::P_PID, 0, command, (&raw mut signal).cast());
            if libc::getppid() != parent {
                libc::_exit(127);
            }
        }
    }

    #[cfg(not(any(all(target_os = "linux", not(pg_portable)), target_os = "freebsd")))]
    fn die_with(&self, _parent: pid_t) {}

    unsafe fn connect_streams(&self) -> Result<(), (Stage, c_int)> {
        // SAFETY: numbers, and paths that end with a zero byte.
        unsafe {
            check(Stage::Streams, libc::dup2(self.stdin, 0))?;
            let streams = [
                (1, self.stdout, self.order.stdout),
                (2, self.stderr, self.order.stderr),
            ];
            for (stream, fd, path) in streams {
                let fd = match self.payload.string(path) {
                    None => fd,
                    Some(path) => {
                        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT;
                        let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY;
                        // With a FIFO without a reader, the flag causes an error instead of a wait.
                        let waitless = flags | libc::O_NONBLOCK;
                        let fd = libc::open(path.as_ptr(), waitless, 0o600 as libc::c_uint);
                        check(Stage::Output, fd)?;
                        check(Stage::Output, libc::fcntl(fd, libc::F_SETFL, flags))?;
                        fd
                    }
                };
                check(Stage::Streams, libc::dup2(fd, stream))?;
            }
        }
        Ok(())
    }
}

impl Watched {
    /// Reaps the program if it has exited; returns whether it had, and may have left processes
    /// behind.
    pub(super) fn collect(&mut self) -> bool {
        if !self.may_reap || self.child_ended {
            return false;
        }
        self.kill_group_of_ended();
        let mut status = 0;
        // SAFETY: `status` is valid.
        let pid = unsafe { libc::waitpid(self.child, &mut status, libc::WNOHANG) };
        self.has_ended(pid, status);
        self.child_ended
    }

    /// Takes note of a child that was waited for.
    pub(super) fn has_ended(&mut self, pid: pid_t, status: c_int) {
        if pid != self.child || self.child_ended {
            return;
        }
        self.child_ended = true;
        if libc::WIFEXITED(status) && self.order.whole_group == 0 {
            self.left_until = fork::now_ms().saturating_add(LAST_WORDS_MS);
        }
        self.report(Report::Exited(status));
    }

    #[cfg(all(target_os = "linux", not(pg_portable)))]
    pub(super) fn is(&self, pid: pid_t) -> bool {
        pid == self.child && !self.child_ended
    }

    /// Returns whether the child must not be reaped yet.
    pub(super) fn is_new(&self) -> bool {
        !self.may_reap
    }

    /// Returns whether it was detached from the beginning.
    pub(super) fn is_detached(&self) -> bool {
        self.order.bound == 0
    }

    /// The time at which its remaining processes are to be killed, if it has exited and was bound.
    pub(super) fn left_until(&self) -> Option<i64> {
        (self.child_ended && self.order.bound != 0).then_some(self.left_until)
    }

    /// Returns whether a process that became the warden's child after this number of starts may
    /// belong to this program.
    pub(super) fn may_have_left(&self, starts: u64) -> bool {
        self.number < starts
    }

    /// Does what is due; whether there is more to do.
    pub(super) fn goes_on(&mut self, is_any_left: bool) -> bool {
        if self.child_ended {
            if is_any_left && self.order.bound != 0 {
                return true;
            }
            self.report(Report::AllGone);
            self.close();
            return false;
        }
        self.look_for_users();
        self.escalate();
        true
    }

    /// Returns whether a running program needs no warden. A bound program gets a signal from the
    /// kernel when the warden exits, and a guarded one would lose its directory.
    pub(super) fn can_do_without(&self) -> bool {
        self.owner_gone && !self.bound && self.order.bound == 0 && self.hold < 0
    }

    /// The descriptor to wait for, for what, and until when.
    pub(super) fn waits_for(&self, now: i64) -> (RawFd, i16, i64) {
        if self.child_ended {
            // Those that are left are on their way out.
            return (-1, 0, now.saturating_add(LEFT_MS));
        }
        let mut until = if self.step_due > 0 {
            self.step_due
        } else {
            i64::MAX
        };
        if !self.owner_gone {
            return (self.lifeline, libc::POLLIN, until);
        }
        if self.order.lock == 0 {
            return (-1, 0, until);
        }
        // The users' FIFO only ever hangs up.
        let (fd, patience) = self.watch.waits_for(self.users);
        if patience >= 0 {
            until = until.min(now.saturating_add(patience));
        }
        (fd, HANG_UP, until)
    }

    /// Once it is waited for, the number of the group that the program led may be given to another.
    fn kill_group_of_ended(&self) {
        if self.order.whole_group == 0 || self.child_ended {
            return;
        }
        // SAFETY: all zeros is a value of the plain C struct that the call fills in; the rest are
        // numbers.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            let child = self.child;
            if libc::waitid(libc::P_PID, child as libc::id_t, &mut info, how) == 0
                && info.si_pid() == child
            {
                libc::kill(-child, libc::SIGKILL);
            }
        }
    }

    /// Reads the messages of the owner.
    pub(super) fn hear(&mut self) {
        let mut bytes = [0; 64];
        while !self.owner_gone {
            let n = fork::read(self.lifeline, &mut bytes);
            if n == 0 {
                self.owner_is_gone();
            } else if n > 0 {
                for &byte in bytes.iter().take(n.unsigned_abs()) {
                    self.obey(byte);
                }
            } else {
                return;
            }
        }
    }

    fn obey(&mut self, byte: u8) {
        if self.expect_signal {
            self.expect_signal = false;
            self.signal(c_int::from(byte));
            return;
        }
        match byte {
            command::SEEN => self.may_reap = true,
            command::DETACH => self.bound = false,
            command::BIND => self.bound = true,
            command::SIGNAL => self.expect_signal = true,
            _ => {}
        }
    }

    fn owner_is_gone(&mut self) {
        self.owner_gone = true;
        self.may_reap = true;
        if self.bound && self.order.lock == 0 {
            self.step_due = fork::now_ms();
        }
    }

    fn look_for_users(&mut self) {
        let Some(lock) = self.payload.string(self.order.lock) else {
            return;
        };
        if self.owner_gone
            && self
                .watch
                .ends(self.users, lock, self.order.linger_ms as i64)
        {
            self.users = -1;
            self.step_due = fork::now_ms();
        }
    }

    /// Takes the next step if the one before has had its time.
    fn escalate(&mut self) {
        if self.child_ended || self.step_due == 0 {
            return;
        }
        let now = fork::now_ms();
        if now < self.step_due {
            return;
        }
        let steps: &[Step] = self.payload.values(self.order.steps, self.order.step_count);
        let step = steps.get(self.next_step).copied();
        let step = step.unwrap_or(Step {
            signal: libc::SIGKILL.into(),
            patience_ms: 1000,
        });
        self.next_step += 1;
        self.step_due = now.saturating_add(step.patience_ms.max(1));
        self.signal(step.signal as c_int);
    }

    fn signal(&self, signal: c_int) {
        let child = self.child;
        if self.child_ended || child <= 0 {
            return;
        }
        // SAFETY: the child was not reaped, so its process ID, and that of the group it leads, are
        // not reused.
        unsafe {
            if self.order.whole_group != 0 {
                libc::kill(-child, signal);
            }
            libc::kill(child, signal);
        }
    }

    fn report(&self, report: Report) {
        fork::write_all(self.reports, &report.to_bytes());
    }

    fn close(&self) {
        for fd in [self.lifeline, self.reports, self.hold, self.users] {
            close(fd);
        }
        self.payload.unmap();
    }
}

fn check(stage: Stage, result: c_int) -> Result<(), (Stage, c_int)> {
    if result < 0 {
        Err((stage, Errno::last_raw()))
    } else {
        Ok(())
    }
}

/// Returns whether any process can still read from a pipe.
fn has_reader(pipe: RawFd) -> bool {
    let mut fd = libc::pollfd {
        fd: pipe,
        events: 0,
        revents: 0,
    };
    // SAFETY: `fd` is valid.
    unsafe { libc::poll(&mut fd, 1, 0) == 0 || fd.revents & libc::POLLERR == 0 }
}

fn close(fd: RawFd) {
    if fd >= 0 {
        // SAFETY: this process uses it no more.
        unsafe { libc::close(fd) };
    }
}
