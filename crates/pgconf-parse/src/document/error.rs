//! Errors of edits.

use std::borrow::Cow;
use std::fmt;

use crate::bytes::Bytes;
use crate::syntax::name::NameError;

/// The error of [`Document::set`](crate::Document::set) and the other edits.
///
/// ```
/// use std::error::Error as _;
/// use pgconf_parse::{Document, EditErrorKind, Place};
///
/// let mut doc = Document::parse("port = 1\nport = 2\n");
/// let error = doc.append("PORT", 3, Place::Section("SSL")).unwrap_err();
/// assert_eq!(error.name(), b"PORT");
/// assert_eq!(*error.kind(), EditErrorKind::NoSuchPlace);
/// assert_eq!(error.to_string(), "failed to set `PORT`");
/// assert_eq!(error.source().unwrap().to_string(), "the file has no such section or setting");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditError {
    name: Bytes,
    kind: EditErrorKind,
}

impl EditError {
    pub(crate) fn new(name: &[u8], kind: EditErrorKind) -> Self {
        Self {
            name: name.into(),
            kind,
        }
    }

    /// The name of the setting, as it was given.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The reason why the setting could not be set.
    #[must_use]
    pub fn kind(&self) -> &EditErrorKind {
        &self.kind
    }

    /// Advice on how to avoid the error, if there is any.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            EditErrorKind::Abandoned => "correct the syntax errors that `Document::check` reports",
            EditErrorKind::Shadowed { .. } => "use `Document::set`, which edits that assignment",
            _ => return None,
        };
        Some(hint.into())
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to set `{}`", self.name.escape_ascii())
    }
}

impl std::error::Error for EditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}

/// The reason why a setting could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditErrorKind {
    /// The name is not a valid setting name.
    Name(NameError),
    /// The value contains a NUL byte.
    Nul,
    /// The value was converted from a floating-point NaN.
    NotANumber,
    /// The server abandons the file after too many errors and would not read the added line.
    Abandoned,
    /// The document has no section with that title, or no setting of that name.
    NoSuchPlace,
    /// An assignment below the new one would override it.
    Shadowed {
        /// The line number of that assignment, counted from 1.
        line: usize,
    },
}

impl fmt::Display for EditErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(_) => f.write_str("the name is not valid"),
            Self::Nul => f.write_str("the value contains a NUL byte"),
            Self::NotANumber => f.write_str("the value is not a number"),
            Self::Abandoned => {
                f.write_str("the server stops reading above the new line, after too many errors")
            }
            Self::NoSuchPlace => f.write_str("the file has no such section or setting"),
            Self::Shadowed { line } => {
                write!(
                    f,
                    "the assignment on line {line} would override the new one"
                )
            }
        }
    }
}

impl std::error::Error for EditErrorKind {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Name(error) => Some(error),
            _ => None,
        }
    }
}
