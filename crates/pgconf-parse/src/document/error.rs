//! Edits that could not be made.

use std::borrow::Cow;
use std::fmt;

use crate::bytes::Bytes;
use crate::syntax::name::NameError;

/// A setting that could not be set.
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

    /// What to do about it, where that is known.
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
    /// No setting can have that name.
    Name(NameError),
    /// The value contains a NUL byte.
    Nul,
    /// The value was made of a floating-point NaN.
    NotANumber,
    /// The server abandons the file after too many errors and would not read an added line.
    Abandoned,
    /// The document has no section of that title, or no setting of that name.
    NoSuchPlace,
    /// Another assignment further down would win.
    Shadowed {
        /// Its line.
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
