//! The process between an owner and what it started.
//!
//! ```text
//! owner ──fork──> supervisor ──fork, exec──> postgres (or initdb, ...)
//!       ─lifeline─>          ──reports──────> owner
//! ```
//!
//! As the parent of the program the supervisor can signal it without a doubt about whom it hits:
//! the number is taken until the supervisor itself has waited for it. It sees the owner end by the
//! end of its lifeline, however the owner ends, and stops the program then. On Linux it also adopts
//! what the program leaves behind (the backends of a killed postmaster), so that "all gone" is a
//! fact and not a guess.
//!
//! Should the supervisor itself be killed, the kernel sends the program a signal (Linux; that this
//! is tied to a thread does not matter for a process with one thread). Elsewhere such a server
//! would be left behind.

use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::libc::{self, c_char, c_int, pid_t};

use super::fork::{self, MAX_KEPT};
use super::launch::{Orders, Program, Report, Sink, Stage, Step, command};
use super::tenancy::Watch;

/// The supervisor's whole world. All of `run` is async-signal-safe.
pub(super) struct Supervisor<'a> {
    pub(super) program: &'a Program,
    pub(super) orders: &'a Orders,
    pub(super) arguments: &'a [*const c_char],
    pub(super) environment: &'a [*const c_char],
    pub(super) lifeline: RawFd,
    pub(super) reports: RawFd,
    pub(super) failure: RawFd,
    pub(super) wake: RawFd,
    pub(super) wake_write: RawFd,
    pub(super) descriptor_limit: RawFd,
    pub(super) state: State,
}

/// A postmaster that ends in order has waited for its children, except for the log collector, which
/// has its last words to write and ends with the pipe that they come from.
const LAST_WORDS_MS: i64 = 500;

#[derive(Default)]
pub(super) struct State {
    child: pid_t,
    /// The owner holds a handle, or is gone: the child may be waited for.
    may_reap: bool,
    child_ended: bool,
    /// When what the child has left behind is to be killed.
    left_until: i64,
    bound: bool,
    owner_gone: bool,
    expect_signal: bool,
    next_step: usize,
    watch: Watch,
    /// When the next step is due; zero when nothing is being ended.
    step_due: i64,
}

impl Supervisor<'_> {
    pub(super) fn run(mut self) {
        // SAFETY: plain system calls on numbers.
        unsafe { libc::setsid() };
        fork::reset_signals();
        fork::listen_for_children(self.wake_write);
        self.close_foreign_descriptors();
        self.state.bound = self.orders.bound;
        if self.state.bound {
            adopt_orphans();
        }
        self.state.child = self.start();
        if self.state.child < 0 {
            self.report(Report::NotStarted(Errno::last_raw()));
            return;
        }
        // SAFETY: only the child reports failures; while this end is open the owner would wait for
        // its end.
        unsafe { libc::close(self.failure) };
        self.report(Report::Started(self.state.child));
        fork::name_this_process(c"pg-proc watch");
        fork::let_go_of_streams();
        self.close_streams_of_child();
        // SAFETY: a constant path. No file system is kept busy by this process.
        unsafe { libc::chdir(c"/".as_ptr()) };
        self.watch();
        // SAFETY: ends this process without running anything of the owner's.
        unsafe { libc::_exit(0) }
    }

    fn close_foreign_descriptors(&self) {
        let mut keep = [-1; MAX_KEPT];
        let own = [
            0,
            1,
            2,
            self.lifeline,
            self.reports,
            self.failure,
            self.wake,
            self.wake_write,
        ];
        let streams = [
            self.program.stdin.as_raw_fd(),
            self.program.stdout.descriptor(),
            self.program.stderr.descriptor(),
            self.orders.hold.as_ref().map_or(-1, AsRawFd::as_raw_fd),
            self.orders
                .vigil
                .as_ref()
                .map_or(-1, |vigil| vigil.users.as_raw_fd()),
        ];
        for (slot, fd) in keep.iter_mut().zip(own.into_iter().chain(streams)) {
            *slot = fd;
        }
        fork::close_all_but(&mut keep, self.descriptor_limit);
    }

    fn close_streams_of_child(&self) {
        for fd in [
            self.program.stdin.as_raw_fd(),
            self.program.stdout.descriptor(),
            self.program.stderr.descriptor(),
        ] {
            if fd > 2 {
                // SAFETY: this process uses them no more; a number that is closed already is
                // refused.
                unsafe { libc::close(fd) };
            }
        }
    }

    fn start(&self) -> pid_t {
        // SAFETY: getpid and fork are async-signal-safe, and this process has one thread.
        unsafe {
            let this = libc::getpid();
            match libc::fork() {
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
        // SAFETY: system calls on numbers, on C strings and on arrays that end with a null pointer,
        // all of which were built before the fork and are alive in this copy of the owner's memory.
        let failed: Result<(), (Stage, c_int)> = unsafe {
            libc::setsid();
            fork::reset_signals();
            fork::unblock_signals();
            libc::umask(0o077);
            self.become_account().and_then(|()| {
                self.die_with(parent);
                self.connect_streams()?;
                check(
                    Stage::Directory,
                    libc::chdir(self.program.directory.as_ptr()),
                )?;
                libc::execve(
                    self.program.path.as_ptr(),
                    self.arguments.as_ptr(),
                    self.environment.as_ptr(),
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
        let Some(account) = &self.program.account else {
            return Ok(());
        };
        // SAFETY: the slice is valid for its length.
        unsafe {
            let groups = account.groups();
            check(
                Stage::Groups,
                libc::setgroups(groups.len() as _, groups.as_ptr().cast()),
            )?;
            check(Stage::Group, libc::setgid(account.gid()))?;
            check(Stage::User, libc::setuid(account.uid()))
        }
    }

    /// Asks the kernel for a signal when the supervisor ends. A change of credentials cancels that,
    /// so it comes after.
    #[cfg(target_os = "linux")]
    fn die_with(&self, parent: pid_t) {
        if !self.orders.bound {
            return;
        }
        // SAFETY: numbers only.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, self.orders.if_supervisor_dies);
            // It may have ended before the line above.
            if libc::getppid() != parent {
                libc::_exit(127);
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn die_with(&self, _parent: pid_t) {}

    unsafe fn connect_streams(&self) -> Result<(), (Stage, c_int)> {
        // SAFETY: numbers, and paths that end with a zero byte.
        unsafe {
            check(
                Stage::Streams,
                libc::dup2(self.program.stdin.as_raw_fd(), 0),
            )?;
            for (stream, sink) in [(1, &self.program.stdout), (2, &self.program.stderr)] {
                let fd = match sink {
                    Sink::Descriptor(fd) => fd.as_raw_fd(),
                    Sink::File(path) => {
                        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT;
                        let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY;
                        // Of a FIFO without a reader it makes an error, not a wait.
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

    fn watch(&mut self) {
        loop {
            let any_left = self.collect_ended();
            if self.state.child_ended {
                if !any_left {
                    self.report(Report::AllGone);
                    return;
                }
                if fork::now_ms() >= self.state.left_until {
                    kill_own_children();
                }
            } else if self.state.owner_gone && self.may_leave() {
                // Init takes over.
                return;
            }
            self.sleep();
            self.hear();
            self.look_for_users();
            self.escalate();
        }
    }

    /// Whether a living program can do without this process. One that was bound gets a signal from
    /// the kernel when this process ends, and one that is guarded would lose its directory.
    fn may_leave(&self) -> bool {
        !self.state.bound && !self.orders.bound && self.orders.hold.is_none()
    }

    /// Waits for what has ended; says whether there are children left.
    fn collect_ended(&mut self) -> bool {
        while self.state.may_reap {
            self.kill_group_of_ended();
            let mut status = 0;
            // SAFETY: `status` is valid.
            match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
                0 => return true,
                pid if pid > 0 => {
                    if pid == self.state.child {
                        self.state.child_ended = true;
                        if libc::WIFEXITED(status) && !self.orders.whole_group {
                            self.state.left_until = fork::now_ms().saturating_add(LAST_WORDS_MS);
                        }
                        self.report(Report::Exited(status));
                    }
                }
                _ => return Errno::last_raw() != libc::ECHILD,
            }
        }
        true
    }

    /// Once it is waited for, the number of the group that the program led may be given to another.
    fn kill_group_of_ended(&self) {
        if !self.orders.whole_group || self.state.child_ended {
            return;
        }
        // SAFETY: all zeros is a value of the plain C struct that the call fills in; the rest are
        // numbers.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            let child = self.state.child;
            if libc::waitid(libc::P_PID, child as libc::id_t, &mut info, how) == 0
                && info.si_pid() == child
            {
                libc::kill(-child, libc::SIGKILL);
            }
        }
    }

    fn sleep(&self) {
        let mut fds = [
            libc::pollfd {
                fd: self.lifeline,
                events: libc::POLLIN,
                revents: 0,
            },
            libc::pollfd {
                fd: self.wake,
                events: libc::POLLIN,
                revents: 0,
            },
        ];
        let mut patience = -1;
        if self.state.owner_gone {
            // The place of the lifeline is free for the users' FIFO, which only ever hangs up.
            fds[0].events = 0;
            (fds[0].fd, patience) = match &self.orders.vigil {
                Some(vigil) => self.state.watch.waits_for(vigil),
                None => (-1, -1),
            };
        }
        let timeout = if self.state.child_ended {
            // Those that are left are on their way out, and new ones may appear when their parents
            // go.
            5
        } else if self.state.step_due > 0 {
            (self.state.step_due - fork::now_ms()).clamp(0, 60_000) as c_int
        } else {
            patience.min(60_000) as c_int
        };
        // SAFETY: `fds` is valid for its length.
        unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
        let mut bytes = [0; 64];
        while fork::read(self.wake, &mut bytes) > 0 {}
    }

    fn hear(&mut self) {
        let mut bytes = [0; 64];
        while !self.state.owner_gone {
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
        if self.state.expect_signal {
            self.state.expect_signal = false;
            self.signal(c_int::from(byte));
            return;
        }
        match byte {
            command::SEEN => self.state.may_reap = true,
            command::DETACH => self.state.bound = false,
            command::BIND => self.state.bound = true,
            command::SIGNAL => self.state.expect_signal = true,
            _ => {}
        }
    }

    fn owner_is_gone(&mut self) {
        self.state.owner_gone = true;
        self.state.may_reap = true;
        if self.state.bound && self.orders.vigil.is_none() {
            self.state.step_due = fork::now_ms();
        }
    }

    fn look_for_users(&mut self) {
        if let (true, Some(vigil)) = (self.state.owner_gone, &self.orders.vigil) {
            if self.state.watch.ends(vigil) {
                self.state.step_due = fork::now_ms();
            }
        }
    }

    /// Takes the next step if the one before has had its time.
    fn escalate(&mut self) {
        if self.state.child_ended || self.state.step_due == 0 {
            return;
        }
        let now = fork::now_ms();
        if now < self.state.step_due {
            return;
        }
        let step = self.orders.steps.get(self.state.next_step).copied();
        let step = step.unwrap_or(Step {
            signal: libc::SIGKILL,
            patience_ms: 1000,
        });
        self.state.next_step += 1;
        self.state.step_due = now.saturating_add(step.patience_ms.max(1));
        self.signal(step.signal);
    }

    fn signal(&self, signal: c_int) {
        let child = self.state.child;
        if self.state.child_ended || child <= 0 {
            return;
        }
        // SAFETY: the child was not waited for, so its number, and that of the group it leads, are
        // its own.
        unsafe {
            if self.orders.whole_group {
                libc::kill(-child, signal);
            }
            libc::kill(child, signal);
        }
    }

    fn report(&self, report: Report) {
        fork::write_all(self.reports, &report.to_bytes());
    }
}

impl Sink {
    fn descriptor(&self) -> RawFd {
        match self {
            Self::Descriptor(fd) => fd.as_raw_fd(),
            Self::File(_) => -1,
        }
    }
}

fn check(stage: Stage, result: c_int) -> Result<(), (Stage, c_int)> {
    if result < 0 {
        Err((stage, Errno::last_raw()))
    } else {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn adopt_orphans() {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

#[cfg(not(target_os = "linux"))]
fn adopt_orphans() {}

/// Kills what the program left behind and this process inherited. They are children of this process
/// that were not waited for, so nobody else can be hit. Does nothing on kernels without
/// `CONFIG_PROC_CHILDREN`: backends notice by themselves that their postmaster is gone.
#[cfg(target_os = "linux")]
fn kill_own_children() {
    // SAFETY: a constant path; the descriptor is closed below.
    let fd = unsafe {
        libc::open(
            c"/proc/thread-self/children".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        return;
    }
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
            if pid > 1 {
                // SAFETY: numbers only.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            pid = 0;
        }
    }
    // SAFETY: opened above.
    unsafe { libc::close(fd) };
}

#[cfg(not(target_os = "linux"))]
fn kill_own_children() {}
