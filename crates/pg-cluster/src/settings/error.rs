//! The reason why settings could not be read or written.

use std::borrow::Cow;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::MissingProgramError;
use pg_proc::{ConfigurationProblem, FileErrorKind};

use crate::start::list;

/// The settings of a cluster could not be read, checked or changed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {} {path}", kind.verb())]
pub struct SettingsError {
    path: Utf8PathBuf,
    #[source]
    kind: SettingsErrorKind,
}

/// The reason of a [`SettingsError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsErrorKind {
    /// The file cannot be read, locked or replaced.
    #[error(transparent)]
    File(#[from] FileErrorKind),
    /// The configuration cannot be read from its files.
    #[error("the configuration cannot be read")]
    Resolve(#[source] pgconf_parse::ResolveError),
    /// The name or the value cannot be written into a configuration file.
    #[error("the edit is not possible")]
    Edit(#[source] pgconf_parse::EditError),
    /// The server would reject the configuration.
    #[error("the server rejects the configuration: {}", list(.0))]
    Rejected(Vec<ConfigurationProblem>),
    /// The server's program cannot check the configuration.
    #[error("the server's program cannot be run")]
    Program(#[source] pg_proc::RunError),
    /// The installation lacks a program, or cannot describe its parameters.
    #[error("the installation is incomplete")]
    Installation(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SettingsError {
    pub(crate) fn new(path: Utf8PathBuf, kind: SettingsErrorKind) -> Self {
        Self { path, kind }
    }

    /// The file.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The reason.
    pub fn kind(&self) -> &SettingsErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            SettingsErrorKind::File(kind) => kind.hint(),
            SettingsErrorKind::Installation(cause) => {
                cause.downcast_ref::<MissingProgramError>()?.hint()
            }
            SettingsErrorKind::Rejected(problems) => {
                Some(match ConfigurationProblem::hints(problems) {
                    Some(hint) => format!("nothing was changed; the server says: {hint}").into(),
                    None => "nothing was changed".into(),
                })
            }
            SettingsErrorKind::Program(error) => error.hint(),
            _ => None,
        }
    }
}

impl SettingsErrorKind {
    fn verb(&self) -> &'static str {
        match self {
            Self::File(FileErrorKind::Read(_)) | Self::Resolve(_) => "read",
            Self::Program(_) | Self::Installation(_) => "check",
            _ => "change",
        }
    }
}
