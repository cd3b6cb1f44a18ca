//! Errors of commands, printed to standard error.

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use pg_cluster::{ControlError, ControlErrorKind, Report, StartError};
use pg_fixture::TempError;
use serde_json::json;

use crate::answer::{Form, NOT_RUNNING};
use crate::words::{BOLD, DIM, RED, harmless, paint};

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Box<dyn Error + 'static>,
    hint: Option<String>,
    code: u8,
}

/// The result of a command or of a part of one.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Any error: exit status 1.
    pub(crate) fn new(error: impl Into<Box<dyn Error + 'static>>) -> Self {
        let error = error.into();
        let code = match is_of_absent_server(&*error) {
            true => NOT_RUNNING,
            false => 1,
        };
        Self {
            error,
            hint: None,
            code,
        }
    }

    /// Arguments that make no sense: exit status 2, as for those that clap rejects.
    pub(crate) fn usage(problem: impl fmt::Display) -> Self {
        Self {
            code: 2,
            ..Self::new(problem.to_string())
        }
    }

    /// Exit status 3.
    pub(crate) fn not_running(directory: impl fmt::Display) -> Self {
        let failure = Self::new(format!("no server is running in {directory}"));
        Self {
            code: NOT_RUNNING,
            ..failure.with_hint("`pgcluster start` starts one")
        }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The error or the first of its causes of this type.
    pub(crate) fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.causes().find_map(|error| error.downcast_ref())
    }

    /// The error with its causes.
    pub(crate) fn message(&self) -> String {
        let messages: Vec<String> = self.causes().map(ToString::to_string).collect();
        messages.join(": ")
    }

    pub(crate) fn hint(&self) -> Option<String> {
        let known = || {
            let of_temporary = self.causes().find_map(|error| {
                let hint = error.downcast_ref::<TempError>()?.hint()?;
                Some(hint.into_owned())
            });
            let hint =
                of_temporary.or_else(|| Some(Report::new(&*self.error).hint()?.into_owned()));
            Some(in_our_words(&hint?))
        };
        self.hint.clone().or_else(known)
    }

    fn causes(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        std::iter::successors(Some(&*self.error), |&error| error.source())
    }

    /// The end of the log of a server that did not start.
    fn log(&self) -> Option<String> {
        let error = self.downcast_ref::<StartError>()?;
        let log = error.log().to_string();
        (!log.trim().is_empty()).then_some(log)
    }

    /// Prints the error with its causes, the hint and the log. A failure to print is ignored.
    pub(crate) fn print(&self, form: Form) -> ExitCode {
        let text = match form {
            Form::Json => {
                let object = json!({
                    "error": self.message(),
                    "hint": self.hint(),
                    "log": self.log(),
                    "exit_status": self.code,
                });
                format!("{object}\n")
            }
            Form::Text => {
                // What a program has written may have several lines.
                let message: Vec<String> = self.message().lines().map(harmless).collect();
                let mut text = format!("{} {}\n", paint(RED, "error:"), message.join("\n"));
                if let Some(hint) = self.hint() {
                    let hint = harmless(&hint);
                    text.push_str(&format!("{} {hint}\n", paint(BOLD, "hint:")));
                }
                for line in self.log().iter().flat_map(|log| log.lines()) {
                    text.push_str(&format!(
                        "{}\n",
                        paint(DIM, &format!("  {}", harmless(line)))
                    ));
                }
                text
            }
        };
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
        ExitCode::from(self.code)
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

fn is_of_absent_server(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<ControlError>();
    error.is_some_and(|error| matches!(error.kind(), ControlErrorKind::NotRunning))
}

/// The hints of the libraries name functions. These are the commands and options that call them.
fn in_our_words(hint: &str) -> String {
    const WORDS: [(&str, &str); 12] = [
        (
            "`Cluster::from_config_file`",
            "`pgcluster`, as in `pgcluster status /etc/postgresql/16/main`",
        ),
        ("`Cluster::init`", "`pgcluster init`"),
        ("`Cluster::start`", "`pgcluster start`"),
        ("`Cluster::stop`", "`pgcluster stop`"),
        ("`Cluster::kill`", "`pgcluster stop --mode kill`"),
        ("`Cluster::with_account`", "the owner of the data directory"),
        (": see `Cluster::account`", ""),
        ("`StartOptions::timeout`", "`--timeout`"),
        ("`StartOptions::socket_directory`", "`--socket-dir`"),
        ("`StartOptions::socket_only`", "`--set listen_addresses=`"),
        ("`StartOptions::port`", "`--port`"),
        (
            "`StartOptions::listen_addresses`",
            "`--set listen_addresses=ADDRESS`: ",
        ),
    ];
    let replace = |text: String, (from, to): (&str, &str)| text.replace(from, to);
    WORDS.into_iter().fold(hint.to_owned(), replace)
}
