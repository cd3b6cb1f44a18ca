//! Waiting for a program and reading its output at the same time, in one thread.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

/// More than ten times what `postgres --describe-config`, the longest of them, prints.
pub(super) const OUTPUT_LIMIT: usize = 1 << 20;

/// How long a killed program is waited for. It exits at once, unless it sleeps in the kernel or has
/// more rights than the caller.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// How a program ended.
pub(super) enum End {
    Exited(ExitStatus),
    /// It exited, and its exit status was collected elsewhere: by the kernel, because SIGCHLD is
    /// ignored, or by another thread that waits for all children.
    Lost,
    TimedOut,
    Overflow,
}

/// A running program with its outputs.
pub(super) struct Watch {
    child: Child,
    /// Becomes readable when the program exits. None where the system has no such descriptor.
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

    /// Waits until the program has exited. If it does not, or prints too much, it is killed
    /// together with its children that have stayed in its process group.
    pub(super) fn until(&mut self, deadline: Instant) -> End {
        let end = self.read_until(deadline);
        let is_alive = matches!(end, End::TimedOut | End::Overflow);
        // Once the program has been waited for, its PID may be another process's.
        if is_alive && self.try_wait().is_none() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            self.stdout.pipe = None;
            self.stderr.pipe = None;
            self.read_until(Instant::now() + KILL_TIMEOUT);
        }
        end
    }

    /// Waits as long as the program lives. Its background processes may keep the pipes open, and
    /// all that it wrote itself can be read as soon as it has exited.
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

    /// Waits for output or the exit, up to `left`.
    fn poll(&self, left: Duration, pause: &mut Duration) {
        let exit = self.exit.as_ref().map(AsFd::as_fd);
        let pipes = [&self.stdout, &self.stderr].map(|tap| tap.pipe.as_ref().map(AsFd::as_fd));
        let mut events: Vec<_> = [exit]
            .into_iter()
            .chain(pipes)
            .flatten()
            .map(readable)
            .collect();
        // Where the exit itself cannot be awaited, closed pipes announce it, and it is looked for
        // now and then in case they stay open.
        let limit = match self.exit {
            Some(_) => left,
            None => left.min(*pause),
        };
        *pause = (*pause * 2).min(Duration::from_millis(50));
        // An interrupted wait is as good as one that has ended.
        let _ = poll(&mut events, Timespec::try_from(limit).ok().as_ref());
    }

    /// Standard output and standard error, as far as they were read.
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

/// The pipe from one of the program's outputs, and what came out of it.
struct Tap {
    /// None once it has been read to its end.
    pipe: Option<File>,
    bytes: Vec<u8>,
}

impl Tap {
    fn new(pipe: Option<impl Into<OwnedFd>>) -> Self {
        // A pipe that cannot be read without blocking is closed, and the program fails to write.
        let pipe = pipe.map(|pipe| File::from(pipe.into()));
        let pipe = pipe.filter(|pipe| rustix::io::ioctl_fionbio(pipe, true).is_ok());
        Self {
            pipe,
            bytes: Vec::new(),
        }
    }

    /// Reads what is there, without waiting for more. Returns whether it is within the limit.
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
