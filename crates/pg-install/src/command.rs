//! Running one of PostgreSQL's programs for its output, within bounds.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

/// How long a program may take unless the caller says otherwise.
///
/// They need 1 to 10 ms; the rest is for machines under load and disks that have to spin up.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// More than ten times what `postgres --describe-config`, the longest of them, prints.
const OUTPUT_LIMIT: usize = 1 << 20;

/// How long output may still come after the program itself has ended, from children that
/// inherited its pipes.
const GRACE: Duration = Duration::from_millis(200);

/// How much of an output an error keeps.
const TAIL: usize = 2048;

/// A program, its arguments and the bounds of its run.
pub(crate) struct ProgramRun<'a> {
    program: &'a Utf8Path,
    arguments: &'a [&'a str],
    environment: &'a [(OsString, OsString)],
    timeout: Duration,
}

impl<'a> ProgramRun<'a> {
    pub(crate) fn new(
        program: &'a Utf8Path,
        arguments: &'a [&'a str],
        environment: &'a [(OsString, OsString)],
        timeout: Duration,
    ) -> Self {
        Self {
            program,
            arguments,
            environment,
            timeout,
        }
    }

    /// Runs the program and returns what it wrote to its standard output.
    ///
    /// Standard input is empty. The program is the leader of its own process group, which is killed
    /// as a whole if it does not end in time.
    pub(crate) fn stdout(&self) -> Result<Vec<u8>, ProgramError> {
        let mut child = Command::new(self.program)
            .args(self.arguments)
            .env_clear()
            .envs(
                self.environment
                    .iter()
                    .filter(|(name, _)| !is_withheld(name))
                    .cloned(),
            )
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| self.error(ProgramErrorKind::Spawn(error)))?;
        let (events, received) = mpsc::channel();
        let stdout = child
            .stdout
            .take()
            .map(|pipe| Tap::open(pipe, events.clone()));
        let stderr = child.stderr.take().map(|pipe| Tap::open(pipe, events));
        let outcome = watch(&mut child, &received, Instant::now() + self.timeout);
        if !matches!(outcome, Outcome::Exited(_)) {
            kill_group(&mut child);
        }
        let stdout = stdout.map(Tap::contents).unwrap_or_default();
        let stderr = stderr.map(Tap::contents).unwrap_or_default();
        match outcome {
            Outcome::Exited(status) if status.success() => Ok(stdout),
            Outcome::Exited(status) => Err(self.error(ProgramErrorKind::Failed {
                status,
                stdout: tail(&stdout),
                stderr: tail(&stderr),
            })),
            Outcome::TimedOut => Err(self.error(ProgramErrorKind::TimedOut {
                timeout: self.timeout,
                stdout: tail(&stdout),
                stderr: tail(&stderr),
            })),
            Outcome::Overflow => Err(self.error(ProgramErrorKind::TooMuchOutput {
                limit: OUTPUT_LIMIT,
            })),
            Outcome::Lost(error) => Err(self.error(ProgramErrorKind::Wait(error))),
        }
    }

    pub(crate) fn error(&self, kind: ProgramErrorKind) -> ProgramError {
        ProgramError {
            program: self.program.to_owned(),
            arguments: self.arguments.iter().map(|&a| a.to_owned()).collect(),
            kind,
        }
    }
}

/// Whether a variable is kept from the programs: libpq's and the server's own, and those that
/// choose the language of messages. `LC_ALL=C` overrides the other locale variables.
fn is_withheld(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(b"PG") || name == "LANGUAGE"
}

/// The environment of this process, as [`ProgramRun`] takes it.
pub(crate) fn process_environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

enum Event {
    Closed,
    Overflow,
}

enum Outcome {
    Exited(ExitStatus),
    TimedOut,
    Overflow,
    Lost(io::Error),
}

/// Waits until the program has ended and its pipes are closed, or until `deadline`.
fn watch(child: &mut Child, events: &Receiver<Event>, deadline: Instant) -> Outcome {
    let mut exited: Option<ExitStatus> = None;
    let mut deadline = deadline;
    let mut open = 2;
    // std cannot wait for a process with a bound. The pipes close when it ends, which is the event
    // that is awaited; the intervals matter only where something else holds them open.
    let mut interval = Duration::from_micros(100);
    loop {
        if exited.is_none() {
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    exited = Some(status);
                    deadline = deadline.min(Instant::now() + GRACE);
                }
                Err(error) => return Outcome::Lost(error),
            }
        }
        if let (Some(status), 0) = (exited, open) {
            return Outcome::Exited(status);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return exited.map_or(Outcome::TimedOut, Outcome::Exited);
        }
        if open == 0 {
            thread::sleep(interval.min(left));
        } else {
            let pause = if interval < Duration::from_millis(5) {
                left.min(interval * 20)
            } else {
                left.min(Duration::from_millis(50))
            };
            match events.recv_timeout(pause) {
                Ok(Event::Closed) => {
                    open -= 1;
                    continue;
                }
                Ok(Event::Overflow) => return Outcome::Overflow,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => open = 0,
            }
        }
        interval = (interval * 2).min(Duration::from_millis(5));
    }
}

/// Kills the program and everything that it started and that stayed in its process group.
fn kill_group(child: &mut Child) {
    // Signalling a group takes a system call that std does not offer, and this crate makes none of
    // its own; a shell has it built in. The number is still the program's: it has not been waited for.
    let kill = format!("kill -s KILL -- -{}", child.id());
    let _ = Command::new("/bin/sh")
        .args(["-c", &kill])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    let _ = child.wait();
}

/// A pipe that is read by a thread of its own, so that neither of two can fill up unread.
///
/// The thread ends when the pipe is closed. Where a background process keeps the pipe open, the
/// thread is left behind, asleep, for as long as that process lives.
struct Tap(Arc<Mutex<Vec<u8>>>);

impl Tap {
    fn open(mut pipe: impl Read + Send + 'static, events: Sender<Event>) -> Self {
        let read = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&read);
        let run = move || {
            let mut chunk = [0; 16 * 1024];
            let event = loop {
                match pipe.read(&mut chunk) {
                    Ok(0) => break Event::Closed,
                    Ok(length) => {
                        let mut read = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        read.extend_from_slice(&chunk[..length]);
                        if read.len() > OUTPUT_LIMIT {
                            break Event::Overflow;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break Event::Closed,
                }
            };
            // Nobody listens any more after a timeout.
            let _ = events.send(event);
        };
        // If no thread can be had, the sender is dropped and the pipe with it: the program then
        // ends with a broken pipe, which is reported.
        let _ = thread::Builder::new()
            .name("pg-install-tap".into())
            .spawn(run);
        Self(read)
    }

    fn contents(self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The end of an output, for an error.
fn tail(bytes: &[u8]) -> Box<str> {
    let start = bytes.len().saturating_sub(TAIL);
    String::from_utf8_lossy(&bytes[start..]).trim().into()
}

/// A program of PostgreSQL's that could not be run, or did not do what it should.
///
/// Says which program was run with which arguments.
#[derive(Debug, thiserror::Error)]
#[error("failed to run {}", command_line(.program, .arguments))]
pub struct ProgramError {
    program: Utf8PathBuf,
    arguments: Vec<String>,
    #[source]
    kind: ProgramErrorKind,
}

fn command_line(program: &Utf8Path, arguments: &[String]) -> String {
    let mut line = program.to_string();
    for argument in arguments {
        line.push(' ');
        line.push_str(argument);
    }
    line
}

/// What went wrong with a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramErrorKind {
    /// It could not be started: it is not there, not executable, or not a program.
    #[error("it cannot be started")]
    Spawn(#[source] io::Error),
    /// Its end could not be observed.
    #[error("its exit status cannot be obtained")]
    Wait(#[source] io::Error),
    /// It did not end in time and was killed, together with its process group.
    #[error("it did not end within {timeout:?}{}", outputs(.stdout, .stderr))]
    #[non_exhaustive]
    TimedOut {
        /// The time that it was given.
        timeout: Duration,
        /// The last 2 KiB of its standard output.
        stdout: Box<str>,
        /// The last 2 KiB of its standard error.
        stderr: Box<str>,
    },
    /// It ended with an exit status other than 0, or by a signal.
    #[error("it failed with {status}{}", outputs(.stdout, .stderr))]
    #[non_exhaustive]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// The last 2 KiB of its standard output.
        stdout: Box<str>,
        /// The last 2 KiB of its standard error.
        stderr: Box<str>,
    },
    /// It printed more than such a program can have to say, and was killed.
    #[error("it printed more than {limit} bytes")]
    #[non_exhaustive]
    TooMuchOutput {
        /// The number of bytes that would have been accepted.
        limit: usize,
    },
    /// It printed something other than expected.
    #[error("it printed something unexpected: {reason}")]
    #[non_exhaustive]
    Unexpected {
        /// What was unexpected.
        reason: Box<str>,
        /// The last 2 KiB of its standard output.
        stdout: Box<str>,
    },
}

impl ProgramErrorKind {
    pub(crate) fn unexpected(reason: impl Into<Box<str>>, stdout: &[u8]) -> Self {
        Self::Unexpected {
            reason: reason.into(),
            stdout: tail(stdout),
        }
    }
}

fn outputs(stdout: &str, stderr: &str) -> String {
    let mut text = String::new();
    for (name, output) in [("stderr", stderr), ("stdout", stdout)] {
        if !output.is_empty() {
            text.push_str(&format!("; {name}: {output}"));
        }
    }
    text
}

impl ProgramError {
    /// The program that was run.
    pub fn program(&self) -> &Utf8Path {
        &self.program
    }

    /// The arguments that it was given.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// What went wrong.
    pub fn kind(&self) -> &ProgramErrorKind {
        &self.kind
    }
}
