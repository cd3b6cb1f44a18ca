//! Running a program to its end.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use nix::libc;
use rustix::event::{PollFd, PollFlags};
use thiserror::Error;

use crate::deadline::Deadline;
use crate::files::server_message::ServerMessage;
use crate::launch::command::Command;
use crate::launch::command::Streams;
use crate::launch::spawn_error::{SpawnError, SpawnErrorKind};
use crate::launch::supervised::Supervised;
use crate::launch::tail::BoundedTail;
use crate::sys::{self, Orders, Sink};

/// The output of a program that has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// Its standard output: the last [`capture_limit`](Command::capture_limit) bytes.
    pub stdout: Vec<u8>,
    /// Its standard error, as much.
    pub stderr: Vec<u8>,
}

impl Command {
    /// Runs a program that exits by itself, and returns its output.
    ///
    /// The program is bound to the caller: if the caller exits, even by SIGKILL, the program and
    /// all processes that it has started are killed. Processes that the program leaves running when
    /// it exits are killed too, and all of them are killed at the deadline.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let output = pg_proc::Command::new("/bin/echo").arg("hello").run(Duration::from_secs(10))?;
    /// assert_eq!(output.stdout, b"hello\n");
    /// # Ok::<(), pg_proc::RunError>(())
    /// ```
    ///
    /// # Cleanup
    ///
    /// Files that it has written stay, also when it was killed.
    ///
    /// # Errors
    ///
    /// Fails if the program cannot be started, exits with a status other than 0, or still runs at
    /// the deadline.
    pub fn run(&self, deadline: impl Into<Deadline>) -> Result<Output, RunError> {
        self.exchange(deadline.into(), &mut |_| {})
    }

    /// Like [`run`](Self::run), and passes each line of the standard error to `watch` as soon as it
    /// is complete, for programs that report their progress there.
    ///
    /// # Errors
    ///
    /// Fails as [`run`](Self::run) does.
    pub fn run_watched(
        &self,
        deadline: impl Into<Deadline>,
        mut watch: impl FnMut(&str),
    ) -> Result<Output, RunError> {
        let mut line = Vec::new();
        self.exchange(deadline.into(), &mut |bytes| {
            for &byte in bytes {
                match byte {
                    b'\n' | b'\r' => {
                        watch(&String::from_utf8_lossy(&line));
                        line.clear();
                    }
                    _ if line.len() < LONGEST_LINE => line.push(byte),
                    _ => {}
                }
            }
        })
    }

    fn exchange(
        &self,
        deadline: Deadline,
        watch: &mut dyn FnMut(&[u8]),
    ) -> Result<Output, RunError> {
        let failed = |kind| RunError {
            program: self.program().to_owned(),
            arguments: self.arguments().to_vec(),
            kind,
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        let spawn = |e: io::Error| {
            failed(RunErrorKind::Start(Box::new(
                self.failed(SpawnErrorKind::Process(e)),
            )))
        };

        let (stdin, input) = sys::pipe().map_err(spawn)?;
        let (output, stdout) = sys::pipe().map_err(spawn)?;
        let (errors, stderr) = sys::pipe().map_err(spawn)?;
        for end in [&input, &output, &errors] {
            sys::set_nonblocking(end).map_err(spawn)?;
        }
        // Linux lets a pipe be opened again by `/dev/stdin`, with the rights of its owner;
        // elsewhere this cannot be, and need not.
        if let Some(account) = self.other_account() {
            let _ = std::os::unix::fs::fchown(&stdin, Some(account.uid()), None);
        }
        let orders = Orders {
            steps: Vec::new(),
            bound: true,
            if_warden_dies: libc::SIGKILL,
            whole_group: true,
            hold: self
                .held_guard()
                .map_err(|e| failed(RunErrorKind::Start(Box::new(e))))?,
            vigil: None,
        };
        let streams = Streams {
            stdin,
            stdout: Sink::Descriptor(stdout),
            stderr: Sink::Descriptor(stderr),
        };
        let launched = self
            .launch(&[], streams, &orders)
            .map_err(|e| failed(RunErrorKind::Start(Box::new(e))))?;
        drop(orders);
        let (mut supervised, _process) = Supervised::new(launched);

        let mut exchange = Exchange {
            input: Some(input).filter(|_| !self.input.is_empty()),
            rest: &self.input,
            outputs: [output, errors].map(|stream| Capture {
                stream: Some(stream),
                kept: BoundedTail::new(self.capture_limit),
            }),
            watch,
        };
        let status = exchange.until_end(&supervised, deadline);
        supervised.let_go();
        // Killed by then, and everything it had started: a moment.
        supervised.wait_all_gone(Deadline::after(Duration::from_secs(5)));
        exchange.take_what_is_there();
        let [stdout, stderr] = exchange.outputs.map(|capture| capture.kept.into_bytes());
        let reason = || ServerMessage::reason(&String::from_utf8_lossy(&stderr)).map(Box::new);
        let kind = match status {
            Some(status) if status.success() => return Ok(Output { stdout, stderr }),
            Some(status) => RunErrorKind::Failed {
                status,
                reason: reason(),
            },
            None if deadline.is_over() => RunErrorKind::TimedOut { reason: reason() },
            None => RunErrorKind::Lost,
        };
        Err(RunError {
            stdout,
            stderr,
            ..failed(kind)
        })
    }
}

/// The longest part of a line that is passed to the watcher of the standard error, in bytes.
const LONGEST_LINE: usize = 4096;

/// Feeds and drains a program's streams.
struct Exchange<'a> {
    input: Option<OwnedFd>,
    rest: &'a [u8],
    outputs: [Capture; 2],
    /// Is shown what comes on the second output.
    watch: &'a mut dyn FnMut(&[u8]),
}

struct Capture {
    stream: Option<OwnedFd>,
    kept: BoundedTail,
}

impl Exchange<'_> {
    /// The exit status, unless the deadline passes before. Does not wait for the end of the
    /// streams, which a process left running by the program may hold open.
    fn until_end(&mut self, supervised: &Supervised, deadline: Deadline) -> Option<ExitStatus> {
        loop {
            self.feed();
            self.take_what_is_there();
            match supervised.exit_status_or_silence() {
                (None, false) if !deadline.is_over() => {}
                (status, _) => return status,
            }
            let mut fds = vec![PollFd::from_borrowed_fd(
                supervised.descriptor(),
                PollFlags::IN,
            )];
            fds.extend(
                self.input
                    .as_ref()
                    .map(|fd| PollFd::new(fd, PollFlags::OUT)),
            );
            for capture in &self.outputs {
                fds.extend(
                    capture
                        .stream
                        .as_ref()
                        .map(|fd| PollFd::new(fd, PollFlags::IN)),
                );
            }
            deadline.poll(&mut fds);
        }
    }

    fn feed(&mut self) {
        while let Some(input) = &self.input {
            match sys::write(input, self.rest) {
                Ok(n) => self.rest = self.rest.get(n..).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.rest = &[],
            }
            if self.rest.is_empty() {
                self.input = None;
            }
        }
    }

    fn take_what_is_there(&mut self) {
        for (number, capture) in self.outputs.iter_mut().enumerate() {
            if let Some(stream) = &capture.stream {
                let watch = &mut self.watch;
                let show = |bytes: &[u8]| {
                    if number == 1 {
                        watch(bytes);
                    }
                };
                if !capture.kept.take_from(stream, show) {
                    capture.stream = None;
                }
            }
        }
    }
}

/// A program could not be run, or failed.
#[derive(thiserror::Error)]
#[error("failed to run {program}")]
pub struct RunError {
    pub(crate) program: Utf8PathBuf,
    pub(crate) arguments: Vec<OsString>,
    #[source]
    pub(crate) kind: RunErrorKind,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// The reason why a program could not be run, or failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunErrorKind {
    /// The program could not be started.
    #[error(transparent)]
    Start(Box<SpawnError>),
    /// The program exited with another status than 0.
    #[error("the program failed with {status}")]
    #[non_exhaustive]
    Failed {
        /// The exit status.
        status: ExitStatus,
        /// The reason that the program printed: see [`ServerMessage::reason`].
        #[source]
        reason: Option<Box<ServerMessage>>,
    },
    /// The program was still running at the deadline, and was killed.
    #[error("the program timed out and was killed")]
    #[non_exhaustive]
    TimedOut {
        /// The reason that the program printed: see [`ServerMessage::reason`].
        #[source]
        reason: Option<Box<ServerMessage>>,
    },
    /// The warden, the process between the caller and the program, was killed, and the program with
    /// it.
    #[error("the warden and the program were killed")]
    Lost,
}

impl RunError {
    /// The program.
    pub fn program(&self) -> &Utf8Path {
        &self.program
    }

    /// The arguments of the program.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The reason.
    pub const fn kind(&self) -> &RunErrorKind {
        &self.kind
    }

    /// The end of the program's standard output.
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// The end of the program's standard error.
    pub fn stderr(&self) -> &[u8] {
        &self.stderr
    }

    /// The reason that the program printed to its standard error: see [`ServerMessage::reason`].
    pub fn reason(&self) -> Option<&ServerMessage> {
        match &self.kind {
            RunErrorKind::Failed { reason, .. } | RunErrorKind::TimedOut { reason } => {
                reason.as_deref()
            }
            _ => None,
        }
    }

    /// The exit status of the program, if the program exited by itself.
    pub const fn status(&self) -> Option<ExitStatus> {
        match &self.kind {
            RunErrorKind::Failed { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Advice: the program's own `HINT`, or how to start the program.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            RunErrorKind::Start(error) => error.hint(),
            _ => self.reason()?.hint.as_deref().map(Cow::Borrowed),
        }
    }
}

impl fmt::Debug for RunError {
    /// Shows the outputs as text: they are messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunError")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("kind", &self.kind)
            .field("stdout", &String::from_utf8_lossy(&self.stdout))
            .field("stderr", &String::from_utf8_lossy(&self.stderr))
            .finish()
    }
}
