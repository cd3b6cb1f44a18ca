//! The owner's side of starting a program: see [`supervisor`](super::supervisor) for the other.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use nix::libc::{self, c_char, c_int, pid_t};

use super::fork;
use super::supervisor::{State, Supervisor};
use super::tenancy::Vigil;
use crate::account::Account;
use crate::pid::Pid;

/// What to execute. Everything is in the form that system calls take.
pub(crate) struct Program {
    pub(crate) path: CString,
    pub(crate) arguments: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    pub(crate) directory: CString,
    pub(crate) account: Option<Account>,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: Sink,
    pub(crate) stderr: Sink,
}

/// Where a stream of the program goes.
pub(crate) enum Sink {
    Descriptor(OwnedFd),
    /// Opened for appending by the program's account, so that no link in a directory of that
    /// account can make root write elsewhere.
    File(CString),
}

/// What the supervisor does when its lifeline ends.
pub(crate) struct Orders {
    /// Signals, and how long each may take; SIGKILL follows the last.
    pub(crate) steps: Vec<Step>,
    pub(crate) bound: bool,
    /// Sent by the kernel if the supervisor is killed.
    pub(crate) if_supervisor_dies: c_int,
    /// Everything in the program's process group is killed with it.
    pub(crate) whole_group: bool,
    /// Held open for as long as anything of the program lives.
    pub(crate) hold: Option<OwnedFd>,
    /// Once the owner is gone, the program lives as long as it has users.
    pub(crate) vigil: Option<Vigil>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) signal: c_int,
    pub(crate) patience_ms: i64,
}

/// A program that was executed, and its supervisor.
pub(crate) struct Launched {
    pub(crate) lifeline: OwnedFd,
    pub(crate) reports: OwnedFd,
    pub(crate) supervisor: pid_t,
    pub(crate) process: super::Process,
}

#[derive(Debug)]
pub(crate) struct LaunchError {
    pub(crate) stage: Stage,
    pub(crate) cause: io::Error,
}

/// What was being done between fork and exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Prepare,
    Fork,
    Report,
    Groups,
    Group,
    User,
    Output,
    Streams,
    Directory,
    Execute,
}

impl Stage {
    /// Those that the program itself can report.
    const OF_PROGRAM: [Self; 7] = [
        Self::Groups,
        Self::Group,
        Self::User,
        Self::Output,
        Self::Streams,
        Self::Directory,
        Self::Execute,
    ];
}

/// Sent by the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Started(pid_t),
    NotStarted(c_int),
    /// The program ended, with this status of `waitpid`.
    Exited(c_int),
    /// Nothing of it is left.
    AllGone,
}

impl Report {
    pub(crate) const SIZE: usize = 8;

    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let (kind, value) = match self {
            Self::Started(pid) => (1u32, pid),
            Self::NotStarted(errno) => (2, errno),
            Self::Exited(status) => (3, status),
            Self::AllGone => (4, 0),
        };
        let [a, b, c, d] = kind.to_ne_bytes();
        let [e, f, g, h] = value.to_ne_bytes();
        [a, b, c, d, e, f, g, h]
    }

    pub(crate) fn from_bytes([a, b, c, d, e, f, g, h]: [u8; Self::SIZE]) -> Option<Self> {
        let value = c_int::from_ne_bytes([e, f, g, h]);
        match u32::from_ne_bytes([a, b, c, d]) {
            1 => Some(Self::Started(value)),
            2 => Some(Self::NotStarted(value)),
            3 => Some(Self::Exited(value)),
            4 => Some(Self::AllGone),
            _ => None,
        }
    }
}

/// What the owner writes into the lifeline.
pub(crate) mod command {
    /// The owner holds a handle of the program: its number may be given back.
    pub(crate) const SEEN: u8 = b'A';
    /// Let the program live when the lifeline ends.
    pub(crate) const DETACH: u8 = b'D';
    /// End the program when the lifeline ends.
    pub(crate) const BIND: u8 = b'B';
    /// Send the signal whose number is the next byte.
    pub(crate) const SIGNAL: u8 = b'S';
}

/// Starts the program under a supervisor, and returns when it was executed.
pub(crate) fn launch(program: &Program, orders: &Orders) -> Result<Launched, LaunchError> {
    let at = |stage| move |cause: io::Error| LaunchError { stage, cause };
    let (lifeline_read, lifeline) = fork::pipe().map_err(at(Stage::Prepare))?;
    let (reports, reports_write) = fork::pipe().map_err(at(Stage::Prepare))?;
    let (failure, failure_write) = fork::pipe().map_err(at(Stage::Prepare))?;
    let (wake, wake_write) = fork::pipe().map_err(at(Stage::Prepare))?;
    for end in [&wake, &wake_write, &lifeline_read] {
        fork::set_nonblocking(end).map_err(at(Stage::Prepare))?;
    }
    let arguments = pointers(&program.arguments);
    let environment = pointers(&program.environment);
    let supervisor = Supervisor {
        program,
        orders,
        arguments: &arguments,
        environment: &environment,
        lifeline: lifeline_read.as_raw_fd(),
        reports: reports_write.as_raw_fd(),
        failure: failure_write.as_raw_fd(),
        wake: wake.as_raw_fd(),
        wake_write: wake_write.as_raw_fd(),
        descriptor_limit: fork::descriptor_limit(),
        state: State::default(),
    };
    // SAFETY: `run` keeps to the rule: it calls system calls only, on what was built above.
    let pid = unsafe { fork::fork(move || supervisor.run()) }.map_err(at(Stage::Fork))?;
    drop((
        lifeline_read,
        reports_write,
        failure_write,
        wake,
        wake_write,
    ));

    let launched = first_report(&reports).and_then(|child| {
        let process = super::Process::open_child(child);
        send(&lifeline, &[command::SEEN]);
        outcome_of_exec(&failure)?;
        Ok(process)
    });
    match launched {
        Ok(process) => Ok(Launched {
            lifeline,
            reports,
            supervisor: pid,
            process,
        }),
        Err(e) => {
            drop(lifeline);
            fork::reap(pid);
            Err(e)
        }
    }
}

/// Tells the supervisor something; it may be gone.
pub(crate) fn send(lifeline: &OwnedFd, bytes: &[u8]) {
    let _no_signal = BlockedSigpipe::new();
    fork::write_all(lifeline.as_raw_fd(), bytes);
}

/// Writes into a pipe whose reader may be gone.
pub(crate) fn write(pipe: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    let _no_signal = BlockedSigpipe::new();
    Ok(rustix::io::write(pipe, bytes)?)
}

fn first_report(reports: &OwnedFd) -> Result<Pid, LaunchError> {
    let mut bytes = [0; Report::SIZE];
    let n = fork::read(reports.as_raw_fd(), &mut bytes);
    let silent = || LaunchError {
        stage: Stage::Report,
        cause: io::ErrorKind::UnexpectedEof.into(),
    };
    if n != Report::SIZE as isize {
        return Err(silent());
    }
    match Report::from_bytes(bytes) {
        Some(Report::Started(pid)) => Pid::new(pid).ok_or_else(silent),
        Some(Report::NotStarted(errno)) => Err(LaunchError {
            stage: Stage::Fork,
            cause: io::Error::from_raw_os_error(errno),
        }),
        _ => Err(silent()),
    }
}

/// The pipe ends without a word when exec closes it.
fn outcome_of_exec(failure: &OwnedFd) -> Result<(), LaunchError> {
    let mut bytes = [0; 8];
    if fork::read(failure.as_raw_fd(), &mut bytes) < 8 {
        return Ok(());
    }
    let [a, b, c, d, e, f, g, h] = bytes;
    let stage = u32::from_ne_bytes([a, b, c, d]);
    let stage = Stage::OF_PROGRAM
        .into_iter()
        .find(|&known| known as u32 == stage);
    Err(LaunchError {
        stage: stage.unwrap_or(Stage::Execute),
        cause: io::Error::from_raw_os_error(c_int::from_ne_bytes([e, f, g, h])),
    })
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// A write into a pipe without readers must fail, not end a caller that gave SIGPIPE back its
/// default meaning.
struct BlockedSigpipe {
    was_pending: bool,
    before: libc::sigset_t,
}

impl BlockedSigpipe {
    fn new() -> Self {
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
