//! The standard output of a command, and its exit status.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use serde_json::Value;

use crate::failure::Failure;

/// The format of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The exit status of a command whose server is not running, as of `pg_ctl status`.
pub(crate) const NOT_RUNNING: u8 = 3;

/// The result of a command in both forms.
#[derive(Debug)]
pub(crate) struct Answer {
    /// May be styled.
    text: String,
    json: Value,
    code: u8,
}

impl Answer {
    /// A success.
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self {
            text: text.into(),
            json,
            code: 0,
        }
    }

    /// An exit status without output.
    pub(crate) fn silent(code: u8) -> Self {
        Self::new("", Value::Null).with_code(code)
    }

    /// Text that is the same in both forms, such as a script.
    pub(crate) fn verbatim(text: impl Into<String>) -> Self {
        Self::new(text, Value::Null)
    }

    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Prints the result. A reader that has closed its end of a pipe has seen all it wants: that is
    /// not an error.
    pub(crate) fn print(&self, form: Form) -> ExitCode {
        match self.write(form) {
            Ok(()) => ExitCode::from(self.code),
            Err(error) => Failure::new(Unwritten(error)).print(form),
        }
    }

    /// Prints the result of a command that goes on.
    pub(crate) fn write(&self, form: Form) -> io::Result<()> {
        let text = match (form, &self.json) {
            (Form::Json, json) if !json.is_null() => self.json_text(),
            _ => self.text.clone(),
        };
        if text.is_empty() {
            return Ok(());
        }
        let mut out = anstream::stdout().lock();
        let written = out
            .write_all(text.as_bytes())
            .and_then(|()| match text.ends_with('\n') {
                true => Ok(()),
                false => out.write_all(b"\n"),
            });
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            outcome => outcome,
        }
    }

    /// On one line for programs, on many for a person who looks at it.
    fn json_text(&self) -> String {
        match io::stdout().is_terminal() {
            true => format!("{:#}", self.json),
            false => self.json.to_string(),
        }
    }
}

/// Standard output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write to standard output")]
struct Unwritten(#[source] io::Error);
