//! Running PostgreSQL's programs with limits on time and output.

mod error;
mod watch;

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8Path;

use self::error::tail;
pub use self::error::{ProgramError, ProgramErrorKind};
use self::watch::{End, Watch};

/// The default time limit of a program.
///
/// Programs take 1 to 10 ms. The limit allows for loaded machines and disks that have to spin up.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time limit, so that a deadline is within the range of the clock.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Runs programs with a given environment and time limit.
#[derive(Clone)]
pub(crate) struct Runner {
    /// `None` stands for the environment of this process at the time of the run.
    environment: Option<Environment>,
    timeout: Duration,
}

/// Environment variables that replace those of this process.
pub(crate) type Environment = Arc<[(OsString, OsString)]>;

impl Default for Runner {
    fn default() -> Self {
        Self::new(None, DEFAULT_TIMEOUT)
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
    /// Standard input is empty. The program leads its own process group, which is killed as a whole
    /// if the program does not exit in time.
    ///
    /// If this process ignores SIGCHLD, or if another thread waits for all children, the exit
    /// status is lost. The output is then returned without it; every caller checks the output.
    pub(crate) fn run(
        &self,
        program: &Utf8Path,
        arguments: &[&str],
    ) -> Result<Vec<u8>, ProgramError> {
        let error = |kind| ProgramError::new(program, arguments, kind);
        let child = self
            .command(program, arguments)
            .spawn()
            .map_err(|cause| error(ProgramErrorKind::Spawn(cause)))?;
        let deadline = Instant::now() + self.timeout.min(LONGEST_TIMEOUT);
        let mut watch = Watch::new(child);
        let end = watch.until(deadline);
        let (stdout, stderr) = watch.finish();
        match end {
            End::Exited(status) if status.success() => Ok(stdout),
            End::Lost if !stdout.is_empty() => Ok(stdout),
            End::Exited(status) => Err(error(ProgramErrorKind::Failed {
                status,
                stdout: tail(&stdout),
                stderr: tail(&stderr),
            })),
            End::Lost => Err(error(ProgramErrorKind::StatusLost {
                stderr: tail(&stderr),
            })),
            End::TimedOut => Err(error(ProgramErrorKind::TimedOut {
                timeout: self.timeout,
                stdout: tail(&stdout),
                stderr: tail(&stderr),
            })),
            End::Overflow => Err(error(ProgramErrorKind::TooMuchOutput {
                limit: watch::OUTPUT_LIMIT,
            })),
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

/// Returns whether programs must not inherit a variable. These are the variables of libpq and the
/// server, and `LANGUAGE`, which overrides the language of messages.
fn is_withheld(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(b"PG") || name == "LANGUAGE"
}
