//! Waiting for a program and reading its output in one thread.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

/// More than ten times the output of `postgres --describe-config`, which is the longest.
pub(super) const OUTPUT_LIMIT: usize = 1 << 20;

/// The time limit for the exit of a killed program. It exits immediately unless it sleeps in the
/// kernel or has more privileges than the caller.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of waiting for a program.
pub(super) enum End {
    Exited(ExitStatus),
    /// The program exited, and its exit status was lost: SIGCHLD is ignored, or another thread
    /// waits for all children.
    Lost,
    TimedOut,
    Overflow,
}

/// A running program with its outputs.
pub(super) struct Watch {
    child: Child,
    /// A descriptor that becomes readable when the program exits. `None` if the system does not
    /// have such descriptors.
    exit: Option<OwnedFd>,
    stdout: Tap,
    stderr: Tap,
}

impl Watch {
    pub(super) fn new(mut child: Child) -> Self {
        let stdout = Tap::new(child.stdout.take());
        let stderr = Tap::new(child.stderr.take());
        Self {
            exit: exit_descriptor(&child),
            child,
            stdout,
            stderr,
        }
    }

    /// Waits until the program has exited. If it does not exit in time or prints too much, its
    /// process group is killed.
    pub(super) fn until(&mut self, deadline: Instant) -> End {
        let end = self.read_until(deadline);
        let is_alive = matches!(end, End::TimedOut | End::Overflow);
        // After the program has been reaped, its PID may belong to another process.
        if is_alive && self.try_wait().is_none() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            self.stdout.pipe = None;
            self.stderr.pipe = None;
            self.read_until(Instant::now() + KILL_TIMEOUT);
        }
        end
    }

    /// Reads the output until the program exits. Its background processes may keep the pipes open
    /// after that, but everything that the program wrote can be read when it has exited.
    fn read_until(&mut self, deadline: Instant) -> End {
        let mut pause = Duration::from_millis(1);
        loop {
            let exited = self.try_wait();
            if !(self.stdout.read() && self.stderr.read()) {
                return End::Overflow;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match exited {
                Some(end) => return end,
                None if left.is_zero() => return End::TimedOut,
                None => self.poll(left, &mut pause),
            }
        }
    }

    fn try_wait(&mut self) -> Option<End> {
        match self.child.try_wait() {
            Ok(status) => status.map(End::Exited),
            Err(_) => Some(End::Lost),
        }
    }

    /// Waits up to `left` for output or the exit of the program.
    fn poll(&self, left: Duration, pause: &mut Duration) {
        let exit = self.exit.as_ref().map(AsFd::as_fd);
        let pipes = [&self.stdout, &self.stderr].map(|tap| tap.pipe.as_ref().map(AsFd::as_fd));
        let mut events: Vec<_> = [exit]
            .into_iter()
            .chain(pipes)
            .flatten()
            .map(readable)
            .collect();
        // Without an exit descriptor, closed pipes indicate the exit. In case they stay open, the
        // wait is limited, and the exit is checked again.
        let limit = match self.exit {
            Some(_) => left,
            None => left.min(*pause),
        };
        *pause = (*pause * 2).min(Duration::from_millis(50));
        // The caller checks the state again, so an interrupted wait is not an error.
        let _ = poll(&mut events, Timespec::try_from(limit).ok().as_ref());
    }

    /// Returns the parts of standard output and standard error that were read.
    pub(super) fn finish(self) -> (Vec<u8>, Vec<u8>) {
        (self.stdout.bytes, self.stderr.bytes)
    }
}

fn readable(descriptor: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(descriptor, PollFlags::IN)
}

#[cfg(target_os = "linux")]
fn exit_descriptor(child: &Child) -> Option<OwnedFd> {
    use rustix::process::{PidfdFlags, pidfd_open};
    pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn exit_descriptor(_: &Child) -> Option<OwnedFd> {
    None
}

/// The pipe of one output of the program, and the bytes read from it.
struct Tap {
    /// `None` after the end was reached.
    pipe: Option<File>,
    bytes: Vec<u8>,
}

impl Tap {
    fn new(pipe: Option<impl Into<OwnedFd>>) -> Self {
        // If the pipe cannot be made non-blocking, it is closed, and the program fails to write.
        let pipe = pipe.map(|pipe| File::from(pipe.into()));
        let pipe = pipe.filter(|pipe| rustix::io::ioctl_fionbio(pipe, true).is_ok());
        Self {
            pipe,
            bytes: Vec::new(),
        }
    }

    /// Reads the available bytes without blocking. Returns false if they exceed the limit.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(length) => self.bytes.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.pipe = None,
            }
            if self.bytes.len() > OUTPUT_LIMIT {
                return false;
            }
        }
        true
    }
}
