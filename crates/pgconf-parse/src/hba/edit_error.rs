//! Errors in changing a file.

use std::borrow::Cow;
use std::fmt;

/// A change failed. The document is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditError {
    operation: &'static str,
    kind: EditErrorKind,
}

/// The reason for an [`EditError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditErrorKind {
    /// The line is empty or a comment, or does not exist.
    NoSuchLine {
        /// The line, counted from 1.
        line: usize,
    },
    /// No file can express a text with a newline or a NUL byte, a name that is longer than the
    /// server reads, or, for PostgreSQL 16 and later, a name that begins with a slash.
    Unwritable,
    /// The text is not one line with one rule or mapping.
    NotOneRule,
    /// The server would reject the line, for this reason in its words.
    Rejected(Vec<u8>),
}

impl EditError {
    pub(crate) fn new(operation: &'static str, kind: EditErrorKind) -> Self {
        Self { operation, kind }
    }

    /// The reason.
    #[must_use]
    pub fn kind(&self) -> &EditErrorKind {
        &self.kind
    }

    /// Advice, where there is any.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self.kind {
            EditErrorKind::NoSuchLine { .. } => {
                Some("name the first line of a rule, as the server's views do".into())
            }
            _ => None,
        }
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.operation)
    }
}

impl std::error::Error for EditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}

impl fmt::Display for EditErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchLine { line } => write!(f, "line {line} is not a rule"),
            Self::Unwritable => f.write_str("the text cannot be expressed in the file"),
            Self::NotOneRule => f.write_str("the text is not exactly one rule"),
            Self::Rejected(message) => f.write_str(&String::from_utf8_lossy(message)),
        }
    }
}

impl std::error::Error for EditErrorKind {}
