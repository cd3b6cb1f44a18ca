//! Why settings could not be read or written.

use std::borrow::Cow;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::MissingProgramError;
use pg_proc::{ConfigurationProblem, LockErrorKind};

use crate::start::list;

/// An error in reading or writing a cluster's settings.
#[derive(Debug, thiserror::Error)]
#[error("failed to {} {path}", kind.verb())]
pub struct SettingsError {
    path: Utf8PathBuf,
    #[source]
    kind: SettingsErrorKind,
}

/// What kept settings from being read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsErrorKind {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// The configuration cannot be put together from its files.
    #[error("the configuration cannot be read")]
    Resolve(#[source] pgconf_parse::ResolveError),
    /// A symbolic link, or the command line of the running server, leads to this file, and belongs
    /// neither to this user, nor to root, nor to the file's owner.
    #[error("it is a link that leads to {0}, whose owner did not make it")]
    ForeignLink(Utf8PathBuf),
    /// Another program has been changing the file for half a minute, or its directory cannot be
    /// locked.
    #[error("the directory of the file cannot be locked")]
    Lock(#[source] pg_proc::LockError),
    /// The name or the value cannot be written into a configuration file.
    #[error("the edit is impossible")]
    Edit(#[source] pgconf_parse::EditError),
    /// The new content cannot be written beside the file, given the file's owner and mode, or put
    /// into its place.
    #[error("the new content cannot be written")]
    Write(#[source] io::Error),
    /// The server would not accept the configuration.
    #[error("the server rejects it: {}", list(.0))]
    Rejected(Vec<ConfigurationProblem>),
    /// The server's program cannot be asked.
    #[error("the server's program cannot be asked")]
    Program(#[source] pg_proc::RunError),
    /// The installation lacks a program, or cannot describe its parameters.
    #[error("the installation cannot be asked")]
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

    /// What went wrong.
    pub fn kind(&self) -> &SettingsErrorKind {
        &self.kind
    }

    /// What may help, where something is known.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            SettingsErrorKind::Read(cause) | SettingsErrorKind::Write(cause)
                if cause.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some("the file and its directory have to be open to this process: it belongs to the server's account".into())
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
                Some("if it is meant to lead there, have it belong to the owner of the file".into())
            }
            SettingsErrorKind::Rejected(problems) => Some(match ConfigurationProblem::hints(problems) {
                Some(hint) => format!("nothing was changed; the server says: {hint}").into(),
                None => "nothing was changed".into(),
            }),
            SettingsErrorKind::Write(cause)
                if cause.kind() == io::ErrorKind::ResourceBusy =>
            {
                Some(
                    "the file is a mount point of its own, and cannot be replaced: mount its directory instead, or have it `include` a file \
                     in a directory that can be changed"
                        .into(),
                )
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
