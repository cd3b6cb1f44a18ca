//! Errors of overlays.

use std::borrow::Cow;
use std::fmt;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::installation::InstallationDirectory;
use crate::installation::error::{InstallationError, MissingProgramError};

/// The error of creating an overlay, or of adding a file to it.
#[derive(Debug, thiserror::Error)]
#[error("failed to {attempt}")]
pub struct OverlayError {
    attempt: Attempt,
    #[source]
    kind: OverlayErrorKind,
}

/// The attempted operation, with the directory of the overlay or the directory for overlays.
#[derive(Clone, Debug)]
pub(super) enum Attempt {
    Make(Utf8PathBuf),
    Add(Utf8PathBuf, Utf8PathBuf),
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(room) => write!(f, "create an overlay of an installation in {room}"),
            Self::Add(directory, file) => write!(f, "add {file} to the overlay {directory}"),
        }
    }
}

/// The reason for an [`OverlayError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverlayErrorKind {
    /// The installation has no server.
    #[error(transparent)]
    MissingProgram(MissingProgramError),
    /// A directory of the installation is not known.
    #[error("{0} of the installation is not known")]
    NoDirectory(InstallationDirectory),
    /// The program is a script that starts a server in another place.
    #[error("{0} is a script")]
    Script(Utf8PathBuf),
    /// Another user owns the directory, or all users can write to it. The server could then run a
    /// program of another user.
    #[error("{path} is not private: its owner is user {owner} and its mode {mode:04o}")]
    #[non_exhaustive]
    NotPrivate {
        /// The directory.
        path: Utf8PathBuf,
        /// The user ID of its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// A file or directory cannot be used.
    #[error("{0} cannot be used")]
    File(Utf8PathBuf, #[source] io::Error),
    /// The copy cannot be examined.
    #[error("the copy is not an installation")]
    Installation(#[source] InstallationError),
    /// The copied programs search for files outside the overlay.
    #[error("{directory} of the copy is {found} instead of {wanted}")]
    #[non_exhaustive]
    NotRelocatable {
        /// The directory.
        directory: InstallationDirectory,
        /// The directory in the overlay.
        wanted: Utf8PathBuf,
        /// The directory that the copy uses.
        found: Utf8PathBuf,
    },
    /// The name of a file to add does not have a known suffix.
    #[error("the name does not end in .control, .sql, .so or .dylib")]
    UnknownKind,
}

impl OverlayError {
    pub(super) fn new(attempt: Attempt, kind: OverlayErrorKind) -> Self {
        Self { attempt, kind }
    }

    /// The directory of the overlay. If the overlay could not be created, the directory for
    /// overlays.
    pub fn path(&self) -> &Utf8Path {
        match &self.attempt {
            Attempt::Make(path) | Attempt::Add(path, _) => path,
        }
    }

    /// The file that could not be added.
    pub fn file(&self) -> Option<&Utf8Path> {
        match &self.attempt {
            Attempt::Make(_) => None,
            Attempt::Add(_, file) => Some(file),
        }
    }

    /// The reason.
    pub fn kind(&self) -> &OverlayErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            OverlayErrorKind::MissingProgram(missing) => missing.hint(),
            OverlayErrorKind::Installation(error) => error.hint(),
            OverlayErrorKind::NotPrivate { .. } => {
                Some("name a directory that only this user can change".into())
            }
            OverlayErrorKind::Script(_) => {
                Some("use the installation whose server the script starts".into())
            }
            OverlayErrorKind::NotRelocatable { .. } => Some(
                "from PostgreSQL 18 on, set extension_control_path and dynamic_library_path instead"
                    .into(),
            ),
            _ => None,
        }
    }
}
