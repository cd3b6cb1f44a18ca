//! What may go wrong with a program.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::Program;

/// How much of an output an error keeps.
const TAIL: usize = 2048;

/// The end of an output, for an error.
pub(super) fn tail(bytes: &[u8]) -> Box<str> {
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
    #[error("the program cannot be started")]
    Spawn(#[source] io::Error),
    /// Its name is that of another program of PostgreSQL's, so it was not run.
    #[error("{program} is another program of PostgreSQL, not pg_config")]
    #[non_exhaustive]
    OtherProgram {
        /// The program.
        program: Program,
    },
    /// It exited without output, and its exit status was collected elsewhere: by another thread
    /// that waits for all children, or by the kernel because the process ignores SIGCHLD.
    #[error("the program printed nothing, and its exit status is lost{}", outputs("", .stderr))]
    #[non_exhaustive]
    StatusLost {
        /// The last 2 KiB of its standard error.
        stderr: Box<str>,
    },
    /// It did not exit in time and was killed, together with its process group.
    #[error("the program did not exit within {timeout:?}{}", outputs(.stdout, .stderr))]
    #[non_exhaustive]
    TimedOut {
        /// The time that it was given.
        timeout: Duration,
        /// The last 2 KiB of its standard output.
        stdout: Box<str>,
        /// The last 2 KiB of its standard error.
        stderr: Box<str>,
    },
    /// It exited with a status other than 0, or was terminated by a signal.
    #[error("the program failed with {status}{}", outputs(.stdout, .stderr))]
    #[non_exhaustive]
    Failed {
        /// The exit status, or the signal.
        status: ExitStatus,
        /// The last 2 KiB of its standard output.
        stdout: Box<str>,
        /// The last 2 KiB of its standard error.
        stderr: Box<str>,
    },
    /// It printed more than such a program can have to say, and was killed.
    #[error("the program printed more than {limit} bytes")]
    #[non_exhaustive]
    TooMuchOutput {
        /// The number of bytes that would have been accepted.
        limit: usize,
    },
    /// It printed something other than expected.
    #[error("the program printed unexpected output: {reason}")]
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
    pub(crate) fn new(program: &Utf8Path, arguments: &[&str], kind: ProgramErrorKind) -> Self {
        let arguments = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        Self {
            program: program.to_owned(),
            arguments,
            kind,
        }
    }

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
