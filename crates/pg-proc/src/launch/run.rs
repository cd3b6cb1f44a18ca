//! Running a program to its end.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use camino::Utf8PathBuf;
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

/// What a program that has succeeded wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// Its standard output: the last [`capture_limit`](Command::capture_limit) bytes.
    pub stdout: Vec<u8>,
    /// Its standard error, as much.
    pub stderr: Vec<u8>,
}

impl Command {
    /// Runs a program that ends by itself, and returns what it wrote.
    ///
    /// The program is bound to the caller: if the caller ends, by SIGKILL too, the program and
    /// everything that it has started are killed. The same happens to what it leaves behind when it
    /// ends, and when the deadline is over.
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
    /// It could not be started, exited with another status than 0, or ran beyond the deadline.
    pub fn run(&self, deadline: impl Into<Deadline>) -> Result<Output, RunError> {
        let deadline = deadline.into();
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
        };
        let status = exchange.until_end(&supervised, deadline);
        supervised.let_go();
        // Killed by then, and everything it had started: a moment.
        supervised.wait_all_gone(Deadline::after(Duration::from_secs(5)));
        exchange.take_what_is_there();
        let [stdout, stderr] = exchange.outputs.map(|capture| capture.kept.into_bytes());
        let kind = match status {
            Some(status) if status.success() => return Ok(Output { stdout, stderr }),
            Some(status) => RunErrorKind::Failed(status),
            None if deadline.is_over() => RunErrorKind::TimedOut,
            None => RunErrorKind::Lost,
        };
        Err(RunError {
            stdout,
            stderr,
            ..failed(kind)
        })
    }
}

/// Feeds and drains a program's streams.
struct Exchange<'a> {
    input: Option<OwnedFd>,
    rest: &'a [u8],
    outputs: [Capture; 2],
}

struct Capture {
    stream: Option<OwnedFd>,
    kept: BoundedTail,
}

impl Exchange<'_> {
    /// Exit status, unless the deadline is over before. Does not wait for the streams to end:
    /// something that the program left behind may hold them.
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
        for capture in &mut self.outputs {
            if let Some(stream) = &capture.stream {
                if !capture.kept.take_from(stream) {
                    capture.stream = None;
                }
            }
        }
    }
}

/// A program that was run without success.
#[non_exhaustive]
pub struct RunError {
    /// The program.
    pub program: Utf8PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What went wrong.
    pub kind: RunErrorKind,
    /// The end of what it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// The end of what it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl RunError {
    /// What it says of its failure on its standard error: see [`ServerMessage::reason`].
    pub fn reason(&self) -> Option<ServerMessage> {
        ServerMessage::reason(&String::from_utf8_lossy(&self.stderr))
    }

    /// What may help: the program's own `HINT`, or what is known of a program that did not start.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            RunErrorKind::Start(error) => error.hint(),
            _ => self.reason()?.hint.map(Cow::Owned),
        }
    }

    /// Its exit status, if it ended by itself.
    pub const fn status(&self) -> Option<ExitStatus> {
        match &self.kind {
            RunErrorKind::Failed(status) => Some(*status),
            _ => None,
        }
    }
}

impl std::fmt::Debug for RunError {
    /// The outputs as text: they are messages.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunError")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("kind", &self.kind)
            .field("stdout", &String::from_utf8_lossy(&self.stdout))
            .field("stderr", &String::from_utf8_lossy(&self.stderr))
            .finish()
    }
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            RunErrorKind::Start(e) => return e.fmt(f),
            kind => write!(f, "{} {kind}", self.program)?,
        }
        match self.reason() {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            RunErrorKind::Start(e) => e.source(),
            _ => None,
        }
    }
}

/// Why a program was run without success.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunErrorKind {
    /// It could not be started.
    #[error(transparent)]
    Start(Box<SpawnError>),
    /// It ended with another status than 0.
    #[error("failed with {0}")]
    Failed(ExitStatus),
    /// It was still running at the deadline, and was killed.
    #[error("did not end in time")]
    TimedOut,
    /// The process between the caller and the program was killed, and the program with it.
    #[error("was lost with the warden")]
    Lost,
}
