//! The owner's side of starting a program: see [`program`](super::program) for the other.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::libc::{c_int, pid_t};
use rustix::event::{PollFd, PollFlags};

use super::payload::Writer;
use super::protocol::{ORDER_PROGRAM, ProgramOrder, Report, Stage, Step, command};
use super::sigpipe::BlockedSigpipe;
use super::start;
use super::users::Vigil;
use crate::account::Account;
use crate::deadline::Deadline;
use crate::pid::Pid;
use crate::sys::fork;
use crate::sys::process::Process;

/// The program to execute. Everything is in the form that system calls take.
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

/// The destination of a stream of the program.
pub(crate) enum Sink {
    Descriptor(OwnedFd),
    /// Opened for appending by the program's account, so that no link in a directory of that
    /// account can make root write elsewhere.
    File(CString),
}

/// The warden's action when the lifeline of a program ends.
pub(crate) struct Orders {
    /// Signals, and how long each may take; SIGKILL follows the last.
    pub(crate) steps: Vec<Step>,
    pub(crate) bound: bool,
    /// Sent by the kernel if the warden is killed.
    pub(crate) if_warden_dies: c_int,
    /// Everything in the program's process group is killed with it.
    pub(crate) whole_group: bool,
    /// Held open for as long as anything of the program lives.
    pub(crate) hold: Option<OwnedFd>,
    /// Once the owner has exited, the program runs as long as it has users.
    pub(crate) vigil: Option<Vigil>,
}

/// A program that was executed.
pub(crate) struct Launched {
    /// The binding of the program: see [`command`].
    pub(crate) lifeline: OwnedFd,
    /// The source of each [`Report`]. It ends when the warden has sent the last report, or has
    /// exited.
    pub(crate) reports: OwnedFd,
    pub(crate) process: Process,
}

#[derive(Debug)]
pub(crate) struct LaunchError {
    pub(crate) stage: Stage,
    pub(crate) cause: io::Error,
}

impl Sink {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Descriptor(fd) => Some(fd.as_fd()),
            Self::File(_) => None,
        }
    }
}

/// Has the warden start the program; returns when it was executed.
pub(crate) fn launch(program: &Program, orders: &Orders) -> Result<Launched, LaunchError> {
    let at = |stage| move |cause: io::Error| LaunchError { stage, cause };
    let (lifeline_read, lifeline) = fork::pipe().map_err(at(Stage::Prepare))?;
    let (reports, reports_write) = fork::pipe().map_err(at(Stage::Prepare))?;
    let (failure, failure_write) = fork::pipe().map_err(at(Stage::Prepare))?;
    fork::set_nonblocking(&lifeline_read).map_err(at(Stage::Prepare))?;
    let payload = write_order(program, orders).map_err(at(Stage::Prepare))?;
    let mut descriptors = vec![
        payload.as_fd(),
        lifeline_read.as_fd(),
        reports_write.as_fd(),
        failure_write.as_fd(),
        program.stdin.as_fd(),
    ];
    descriptors.extend(program.stdout.descriptor());
    descriptors.extend(program.stderr.descriptor());
    descriptors.extend(orders.hold.as_ref().map(AsFd::as_fd));
    descriptors.extend(orders.vigil.as_ref().map(|vigil| vigil.users.as_fd()));
    start::send(ORDER_PROGRAM, &descriptors).map_err(at(Stage::Fork))?;
    drop((lifeline_read, reports_write, failure_write));

    let child = answer(&reports)?;
    let unknown = || at(Stage::Report)(io::ErrorKind::InvalidData.into());
    let child = Pid::new(child).ok_or_else(unknown)?;
    let process = Process::open_child(child);
    send(&lifeline, &[command::SEEN]);
    outcome_of_exec(&failure)?;
    Ok(Launched {
        lifeline,
        reports,
        process,
    })
}

fn write_order(program: &Program, orders: &Orders) -> io::Result<OwnedFd> {
    let mut writer = Writer::new();
    let account = program.account.as_ref();
    let groups = account.map_or(&[][..], Account::groups);
    let mut path_of = |sink: &Sink| match sink {
        Sink::Descriptor(_) => 0,
        Sink::File(path) => writer.string(path),
    };
    let (stdout, stderr) = (path_of(&program.stdout), path_of(&program.stderr));
    let vigil = orders.vigil.as_ref();
    let header = ProgramOrder {
        path: writer.string(&program.path),
        directory: writer.string(&program.directory),
        arguments: writer.strings(&program.arguments),
        environment: writer.strings(&program.environment),
        stdout,
        stderr,
        changes_account: account.is_some().into(),
        uid: account.map_or(0, |account| account.uid() as usize),
        gid: account.map_or(0, |account| account.gid() as usize),
        groups: writer.values(groups),
        group_count: groups.len(),
        steps: writer.values(&orders.steps),
        step_count: orders.steps.len(),
        bound: orders.bound.into(),
        whole_group: orders.whole_group.into(),
        if_warden_dies: orders.if_warden_dies as usize,
        holds: orders.hold.is_some().into(),
        lock: vigil.map_or(0, |vigil| writer.string(&vigil.lock)),
        linger_ms: vigil.map_or(0, |vigil| vigil.linger_ms as usize),
    };
    writer.finish(header)
}

/// Sends bytes to the warden, which may have exited.
pub(crate) fn send(lifeline: &OwnedFd, bytes: &[u8]) {
    let _no_signal = BlockedSigpipe::new();
    fork::write_all(lifeline.as_raw_fd(), bytes);
}

/// Writes into a pipe whose reader may have exited.
pub(crate) fn write(pipe: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    let _no_signal = BlockedSigpipe::new();
    Ok(rustix::io::write(pipe, bytes)?)
}

/// The longest time for the warden's reply. The warden is never busy for longer than a system call
/// takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The warden's reply to an order: the process ID of the program, or zero if there is none.
pub(super) fn answer(reports: &OwnedFd) -> Result<pid_t, LaunchError> {
    let failed = |stage, cause| LaunchError { stage, cause };
    let silent = |kind: io::ErrorKind| failed(Stage::Report, kind.into());
    let deadline = Deadline::after(PATIENCE);
    if !deadline.poll(&mut [PollFd::new(reports, PollFlags::IN)]) {
        return Err(silent(io::ErrorKind::TimedOut));
    }
    let mut bytes = [0; Report::SIZE];
    let n = fork::read(reports.as_raw_fd(), &mut bytes);
    if n != Report::SIZE as isize {
        return Err(silent(io::ErrorKind::UnexpectedEof));
    }
    match Report::from_bytes(bytes) {
        Some(Report::Started(pid)) => Ok(pid),
        Some(Report::NotStarted(errno)) => {
            Err(failed(Stage::Fork, io::Error::from_raw_os_error(errno)))
        }
        _ => Err(silent(io::ErrorKind::InvalidData)),
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
