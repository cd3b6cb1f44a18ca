//! Why settings could not be read or written.

use std::borrow::Cow;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::MissingProgramError;
use pg_proc::{ConfigurationProblem, LockErrorKind};

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
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// The configuration cannot be read from its files.
    #[error("the configuration cannot be read")]
    Resolve(#[source] pgconf_parse::ResolveError),
    /// A symbolic link, or the command line of the running server, leads to this file, and neither
    /// this user nor root nor the owner of the file made it.
    #[error("the file is a link to {0}, and the owner of that file did not make the link")]
    ForeignLink(Utf8PathBuf),
    /// The directory of the file cannot be locked, or another process has held the lock for half a
    /// minute.
    #[error("the directory of the file cannot be locked")]
    Lock(#[source] pg_proc::LockError),
    /// The name or the value cannot be written into a configuration file.
    #[error("the edit is not possible")]
    Edit(#[source] pgconf_parse::EditError),
    /// The new file cannot be written, given the owner and mode of the old one, or cannot replace
    /// it.
    #[error("the new content cannot be written")]
    Write(#[source] io::Error),
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
            SettingsErrorKind::Read(cause) | SettingsErrorKind::Write(cause)
                if cause.kind() == io::ErrorKind::PermissionDenied =>
            {
                let hint = "this process needs access to the file and its directory, which belong \
                            to the account of the server";
                Some(hint.into())
            }
            SettingsErrorKind::Lock(error) => match error.kind() {
                LockErrorKind::Busy { holder: None } => {
                    Some("another program is changing the file: try again".into())
                }
                _ => error.hint(),
            },
            SettingsErrorKind::Installation(cause) => {
                cause.downcast_ref::<MissingProgramError>()?.hint()
            }
            SettingsErrorKind::ForeignLink(_) => {
                Some("if the link is intended, let the owner of the file own it".into())
            }
            SettingsErrorKind::Rejected(problems) => {
                Some(match ConfigurationProblem::hints(problems) {
                    Some(hint) => format!("nothing was changed; the server says: {hint}").into(),
                    None => "nothing was changed".into(),
                })
            }
            SettingsErrorKind::Write(cause) if cause.kind() == io::ErrorKind::ResourceBusy => {
                let hint = "the file is a mount point and cannot be replaced: mount its directory \
                            instead, or let it `include` a file in a directory that can be changed";
                Some(hint.into())
            }
            SettingsErrorKind::Program(error) => error.hint(),
            _ => None,
        }
    }
}

impl SettingsErrorKind {
    fn verb(&self) -> &'static str {
        match self {
            Self::Read(_) | Self::Resolve(_) => "read",
            Self::Program(_) | Self::Installation(_) => "check",
            _ => "change",
        }
    }
}
