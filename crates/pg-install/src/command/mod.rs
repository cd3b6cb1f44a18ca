//! Running one of PostgreSQL's programs for its output, within bounds.

mod error;

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use camino::Utf8Path;

use self::error::tail;
pub use self::error::{ProgramError, ProgramErrorKind};

/// How long a program may take unless the caller says otherwise.
///
/// They need 1 to 10 ms; the rest is for machines under load and disks that have to spin up.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is longer is no limit, and may be more than the clock can count.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// More than ten times what `postgres --describe-config`, the longest of them, prints.
const OUTPUT_LIMIT: usize = 1 << 20;

/// How long its output is waited for after the program itself has ended, or its end after it was
/// killed.
///
/// It is there already then, so this is for threads of ours that are late on a machine under load.
/// Only where a child has inherited the pipes and goes on, the time is waited for in full.
const GRACE: Duration = Duration::from_secs(2);

/// How programs are run: with which environment, and how long.
#[derive(Clone)]
pub(crate) struct Runner {
    /// None means that of this process, at the time of the run.
    environment: Option<Environment>,
    timeout: Duration,
}

/// Variables in place of those of the process.
pub(crate) type Environment = Arc<[(OsString, OsString)]>;

impl Default for Runner {
    fn default() -> Self {
        Self {
            environment: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

impl Runner {
    pub(crate) fn new(environment: Option<Environment>, timeout: Duration) -> Self {
        Self {
            environment,
            timeout,
        }
    }

    /// Runs a program and returns what it wrote to its standard output.
    ///
    /// Standard input is empty. The program is the leader of its own process group, which is killed
    /// as a whole if it does not end in time.
    pub(crate) fn run(
        &self,
        program: &Utf8Path,
        arguments: &[&str],
    ) -> Result<Vec<u8>, ProgramError> {
        let error = |kind| ProgramError::new(program, arguments, kind);
        let mut child = self
            .command(program, arguments)
            .spawn()
            .map_err(|cause| error(ProgramErrorKind::Spawn(cause)))?;
        let (events, received) = mpsc::channel();
        let stdout = child
            .stdout
            .take()
            .map(|pipe| Tap::open(pipe, events.clone()));
        let stderr = child.stderr.take().map(|pipe| Tap::open(pipe, events));
        let timeout = self.timeout.min(LONGEST_TIMEOUT);
        let outcome = watch(&mut child, &received, Instant::now() + timeout);
        if !matches!(outcome, Outcome::Exited(_)) {
            kill_group(child);
        }
        let stdout = stdout.map(Tap::contents).unwrap_or_default();
        let stderr = stderr.map(Tap::contents).unwrap_or_default();
        match outcome {
            Outcome::Exited(status) if status.success() => Ok(stdout),
            Outcome::Exited(status) => Err(error(ProgramErrorKind::Failed {
                status,
                stdout: tail(&stdout),
                stderr: tail(&stderr),
            })),
            Outcome::TimedOut => Err(error(ProgramErrorKind::TimedOut {
                timeout: self.timeout,
                stdout: tail(&stdout),
                stderr: tail(&stderr),
            })),
            Outcome::Overflow => Err(error(ProgramErrorKind::TooMuchOutput {
                limit: OUTPUT_LIMIT,
            })),
            Outcome::Lost(cause) => Err(error(ProgramErrorKind::Wait(cause))),
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    fn command(&self, program: &Utf8Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        match &self.environment {
            None => {
                for (name, _) in std::env::vars_os().filter(|(name, _)| is_withheld(name)) {
                    command.env_remove(name);
                }
            }
            Some(variables) => {
                let passed = variables.iter().filter(|(name, _)| !is_withheld(name));
                command.env_clear().envs(passed.cloned());
            }
        }
        command
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }
}

/// Whether a variable is kept from the programs: libpq's and the server's own, and the one that
/// chooses the language of messages before the locale does.
fn is_withheld(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(b"PG") || name == "LANGUAGE"
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
    let mut deadline = deadline;
    let mut open_pipes = 2;
    let mut exited = None;
    // std cannot wait for a process with a bound. What can be awaited is that the pipes close,
    // which they do as the program ends; it is looked for in between only in case they stay open.
    let mut pause = Duration::from_millis(1);
    loop {
        if exited.is_none() {
            exited = match child.try_wait() {
                Ok(status) => status,
                Err(error) => return Outcome::Lost(error),
            };
            if exited.is_some() {
                deadline = deadline.min(Instant::now() + GRACE);
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match exited {
            Some(status) if open_pipes == 0 || left.is_zero() => return Outcome::Exited(status),
            None if left.is_zero() => return Outcome::TimedOut,
            _ => {}
        }
        if open_pipes == 0 {
            // Between closing its files and becoming a zombie a process needs some microseconds.
            thread::sleep(Duration::from_micros(50).max(pause / 20).min(left));
        } else {
            match events.recv_timeout(pause.min(left)) {
                Ok(Event::Closed) => {
                    open_pipes -= 1;
                    continue;
                }
                Ok(Event::Overflow) => return Outcome::Overflow,
                Err(RecvTimeoutError::Timeout) => {}
                // The threads that read are gone, for want of threads.
                Err(RecvTimeoutError::Disconnected) => open_pipes = 0,
            }
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Kills the program and everything that it started and that stayed in its process group.
fn kill_group(mut child: Child) {
    // After it has been waited for, its number may be another's.
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    // Signalling a group takes a system call that std does not offer, and this crate makes none of
    // its own; a shell has it built in.
    let kill = format!("kill -s KILL -- -{}", child.id());
    let _ = Command::new("/bin/sh")
        .args(["-c", &kill])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    // A program with more rights than ours may not be killed, one that sleeps in the kernel cannot.
    let (done, is_done) = mpsc::channel();
    let reap = move || done.send(child.wait());
    let reaper = thread::Builder::new().name("pg-install-reaper".into());
    if reaper.spawn(reap).is_ok() {
        let _ = is_done.recv_timeout(GRACE);
    }
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
