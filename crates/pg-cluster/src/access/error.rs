//! The reason why access rules or user name maps could not be read or changed.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::FileErrorKind;
use pgconf_parse::hba::{EditError, ReadError};

use crate::ControlError;

/// An error in reading, changing or reloading `pg_hba.conf` or `pg_ident.conf`.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} {path}")]
pub struct AccessError {
    operation: &'static str,
    path: Utf8PathBuf,
    #[source]
    kind: AccessErrorKind,
}

/// The reason for an [`AccessError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessErrorKind {
    /// The file cannot be read, locked or replaced.
    #[error(transparent)]
    File(#[from] FileErrorKind),
    /// The rules cannot be read from their files.
    #[error("the rules cannot be read")]
    Load(#[source] ReadError),
    /// The closure that makes the change failed.
    #[error("the edit is impossible")]
    Edit(#[source] EditError),
    /// The server would reject the file as a whole, or has rejected it.
    #[error("the server rejects the file: {}", list(.0))]
    Rejected(Vec<AccessProblem>),
    /// The running server uses another file, because the setting has changed since its start.
    #[error("the running server uses {0}")]
    OtherFile(Utf8PathBuf),
    /// The caller's query failed.
    #[error("the query of the server's view failed")]
    Query(#[source] Box<dyn Error + Send + Sync>),
    /// The result of a query does not have the requested columns.
    #[error("the server's view has an unexpected answer: {0}")]
    Answer(String),
    /// The server accepts the file, but could not be made to reload it.
    #[error("the server accepts the file, but did not reload it")]
    Reload(#[source] ControlError),
    /// The server was not queried or rejected the file, and the old content could not be restored.
    #[error("the old content could not be restored once this had failed: {failure}")]
    NotRestored {
        /// The reason to restore the old content.
        failure: Box<AccessErrorKind>,
        /// The reason for the failure to do so.
        #[source]
        error: io::Error,
    },
    /// The addresses of this machine cannot be listed.
    #[error("the network interfaces of this machine cannot be listed")]
    Interfaces(#[source] io::Error),
}

/// A line that the server rejects, and for which it rejects the whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessProblem {
    file: Utf8PathBuf,
    line: Option<usize>,
    message: String,
    hint: Option<&'static str>,
}

impl AccessProblem {
    pub(crate) fn new(file: Utf8PathBuf, line: Option<usize>, message: String) -> Self {
        Self {
            file,
            line,
            message,
            hint: None,
        }
    }

    pub(super) fn with_hint(self, hint: Option<&'static str>) -> Self {
        Self { hint, ..self }
    }

    /// The file.
    pub fn file(&self) -> &Utf8Path {
        &self.file
    }

    /// The number of the line, counted from 1. None if the problem concerns the file as a whole.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The reason in the server's words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Advice in the words of the server's hint, where it has one.
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

/// `file:line: message`
impl fmt::Display for AccessProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.message)
    }
}

impl AccessError {
    pub(crate) fn new(operation: &'static str, path: Utf8PathBuf, kind: AccessErrorKind) -> Self {
        Self {
            operation,
            path,
            kind,
        }
    }

    /// The file, as configured.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The reason.
    pub fn kind(&self) -> &AccessErrorKind {
        &self.kind
    }

    /// Advice, where there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            AccessErrorKind::File(kind) => kind.hint(),
            AccessErrorKind::Edit(error) => error.hint(),
            AccessErrorKind::Rejected(problems) => {
                let kept = "a server that runs keeps the rules that it has";
                let hint = problems.iter().find_map(AccessProblem::hint);
                Some(match hint {
                    Some(hint) => format!("{hint}; {kept}").into(),
                    None => kept.into(),
                })
            }
            AccessErrorKind::OtherFile(_) => {
                Some("restart the server, which then uses the configured file".into())
            }
            AccessErrorKind::Reload(error) => error.hint(),
            AccessErrorKind::NotRestored { .. } => {
                Some("repair the file before the next reload or start of the server".into())
            }
            _ => None,
        }
    }
}

fn list(problems: &[AccessProblem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_names_each_line_and_says_that_the_rules_are_kept() {
        let problem = |line, message: &str| {
            AccessProblem::new("/d/pg_hba.conf".into(), line, message.to_owned())
        };
        let problems = vec![
            problem(Some(2), "end-of-line before authentication method"),
            problem(None, "the file contains no entries").with_hint(Some("add one")),
        ];
        let kind = AccessErrorKind::Rejected(problems);
        let error = AccessError::new("change", "/d/pg_hba.conf".into(), kind);
        assert_eq!(error.to_string(), "failed to change /d/pg_hba.conf");
        assert_eq!(
            error.kind().to_string(),
            "the server rejects the file: /d/pg_hba.conf:2: end-of-line before authentication \
             method; /d/pg_hba.conf: the file contains no entries"
        );
        let hint = "add one; a server that runs keeps the rules that it has";
        assert_eq!(error.hint().as_deref(), Some(hint));
    }
}
