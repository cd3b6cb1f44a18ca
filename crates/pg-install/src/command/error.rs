//! Errors of running programs.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::program::Program;

/// The number of bytes of an output that an error contains.
const TAIL: usize = 2048;

/// Returns the end of an output, for an error.
pub(super) fn tail(bytes: &[u8]) -> Box<str> {
    let start = bytes.len().saturating_sub(TAIL);
    String::from_utf8_lossy(&bytes[start..]).trim().into()
}

/// The error of running one of PostgreSQL's programs.
///
/// ```
/// use std::error::Error as _;
/// use pg_install::{PgConfig, ProgramErrorKind};
///
/// let error = PgConfig::query("/missing/pg_config").unwrap_err();
/// assert_eq!(error.program(), "/missing/pg_config");
/// assert!(matches!(error.kind(), ProgramErrorKind::Spawn(_)));
/// assert_eq!(error.to_string(), "failed to run /missing/pg_config");
/// assert_eq!(error.source().unwrap().to_string(), "the program cannot be started");
/// ```
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

/// The reason why running a program failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramErrorKind {
    /// The program could not be started: the file is missing, not executable, or not a program.
    #[error("the program cannot be started")]
    Spawn(#[source] io::Error),
    /// The path names another program of PostgreSQL, which was not run.
    #[error("{program} is another program of PostgreSQL, not pg_config")]
    #[non_exhaustive]
    OtherProgram {
        /// The program.
        program: Program,
    },
    /// The program exited without output, and its exit status was lost: another thread waits for
    /// all children, or the process ignores SIGCHLD.
    #[error("the program printed nothing, and its exit status is lost{}", outputs("", .stderr))]
    #[non_exhaustive]
    StatusLost {
        /// The last 2 KiB of its standard error.
        stderr: Box<str>,
    },
    /// The program did not exit in time and was killed, together with its process group.
    #[error("the program did not exit within {timeout:?}{}", outputs(.stdout, .stderr))]
    #[non_exhaustive]
    TimedOut {
        /// The time limit.
        timeout: Duration,
        /// The last 2 KiB of its standard output.
        stdout: Box<str>,
        /// The last 2 KiB of its standard error.
        stderr: Box<str>,
    },
    /// The program exited with a status other than 0, or was terminated by a signal.
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
    /// The program printed too much and was killed.
    #[error("the program printed more than {limit} bytes")]
    #[non_exhaustive]
    TooMuchOutput {
        /// The maximum number of bytes.
        limit: usize,
    },
    /// The output does not have the expected form.
    #[error("the program printed unexpected output: {reason}")]
    #[non_exhaustive]
    Unexpected {
        /// The difference from the expected form.
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

    /// The arguments of the program.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The reason.
    pub fn kind(&self) -> &ProgramErrorKind {
        &self.kind
    }
}
