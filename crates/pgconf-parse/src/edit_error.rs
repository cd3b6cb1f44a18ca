//! Edits that could not be made.

use std::fmt;

use crate::bytes::Bytes;
use crate::name::NameError;

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

    /// Why it could not be set.
    #[must_use]
    pub fn kind(&self) -> &EditErrorKind {
        &self.kind
    }
}

/// Why a setting could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditErrorKind {
    /// There can be no setting of that name.
    Name(NameError),
    /// The value holds a NUL byte.
    Nul,
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

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_ascii();
        match &self.kind {
            EditErrorKind::Name(_) => write!(f, "cannot set `{name}`"),
            EditErrorKind::Nul => write!(f, "cannot set `{name}`: the value holds a NUL byte"),
            EditErrorKind::Abandoned => write!(
                f,
                "cannot add `{name}`: the server stops reading before, for there are too many errors"
            ),
            EditErrorKind::NoSuchPlace => {
                write!(
                    f,
                    "cannot add `{name}`: there is no such section or setting in the file"
                )
            }
            EditErrorKind::Shadowed { line } => {
                write!(
                    f,
                    "cannot add `{name}`: the assignment in line {line} would override it"
                )
            }
        }
    }
}

impl std::error::Error for EditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            EditErrorKind::Name(error) => Some(error),
            _ => None,
        }
    }
}
