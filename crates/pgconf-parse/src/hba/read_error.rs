//! Errors in reading a file of rules or mappings.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The first file of a set of rules or mappings could not be read. If another file cannot be read,
/// the line that names it has an error.
#[derive(Debug)]
pub struct ReadError {
    file: PathBuf,
    kind: io::Error,
}

impl ReadError {
    pub(crate) fn new(file: &Path, kind: impl Into<io::Error>) -> Self {
        Self {
            file: file.into(),
            kind: kind.into(),
        }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The reason.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.kind.kind()
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to read {}", self.file.display())
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}
