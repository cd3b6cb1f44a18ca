//! Why a data directory could not be made.

use std::borrow::Cow;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{MajorVersion, MissingProgramError, Version};
use pg_proc::{AccountError, GuardError, LockError, RunError};

use crate::parts;

/// A data directory could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to initialise {data_directory}")]
pub struct InitError {
    data_directory: Utf8PathBuf,
    #[source]
    kind: InitErrorKind,
}

/// Why a data directory could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitErrorKind {
    /// It is a data directory already.
    #[error("it is a data directory already")]
    AlreadyInitialized,
    /// It is a data directory, of which parts are missing.
    #[error("it is a data directory that lacks {}", .0.join(", "))]
    Incomplete(Vec<String>),
    /// The account that is to own it cannot be taken on.
    #[error("initdb cannot be run as another account")]
    Account(#[source] AccountError),
    /// It holds something, of which one entry is named. Nothing was touched.
    #[error("it is not empty: it holds `{0}`")]
    NotEmpty(String),
    /// Another process is initialising it.
    #[error("another process is initialising it")]
    Busy,
    /// It cannot be locked against others.
    #[error("it cannot be locked")]
    Lock(#[source] LockError),
    /// It cannot be created, read or changed.
    #[error("the directory cannot be used")]
    Directory(#[source] io::Error),
    /// An option cannot be what it is.
    #[error("{0}")]
    Option(&'static str),
    /// `initdb` of this version does not have an option that is needed.
    #[error("initdb of PostgreSQL {version} has no {option}, which came with {since}")]
    Unsupported {
        /// The option, as `initdb` spells it.
        option: &'static str,
        /// The first major version that has it.
        since: MajorVersion,
        /// The installation's version.
        version: Version,
    },
    /// The installation has no `initdb`.
    #[error("the installation is incomplete")]
    MissingProgram(#[source] MissingProgramError),
    /// `initdb` could not be started, failed, or took too long; with its exit status and what it
    /// printed.
    #[error("initdb did not succeed")]
    Program(#[source] RunError),
    /// No process could be started that cleans up if this one is killed.
    #[error("it cannot be guarded")]
    Guard(#[source] GuardError),
}

impl InitError {
    pub(crate) fn new(data_directory: &Utf8Path, kind: InitErrorKind) -> Self {
        Self {
            data_directory: data_directory.to_owned(),
            kind,
        }
    }

    /// The directory.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// What went wrong.
    pub fn kind(&self) -> &InitErrorKind {
        &self.kind
    }

    /// What may help, where something is known.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            InitErrorKind::NotEmpty(name) if name == "lost+found" => {
                "it is a mount point: use a subdirectory of it"
            }
            InitErrorKind::Incomplete(missing) => parts::advice(missing),
            InitErrorKind::Account(error) => return error.hint(),
            InitErrorKind::Directory(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                "the directory and its parent have to be open to this process; under root it is given to the account of the server, which \
                 takes CAP_CHOWN and a file system with owners and modes (not vfat, drvfs or CIFS without `uid=` and `umask=077`)"
            }
            InitErrorKind::MissingProgram(error) => return error.hint(),
            InitErrorKind::Program(error) => {
                let said = |words: &str| String::from_utf8_lossy(error.stderr()).contains(words);
                if said("invalid locale name") {
                    "`locale -a` lists the locales of this machine; `Locale::C` is there always"
                } else if said("could not look up effective user ID") {
                    "the user ID has no name: add an entry to /etc/passwd, preload nss_wrapper, or, under root, name an account by \
                     `Cluster::with_account`"
                } else if said("could not change permissions") || said("could not change owner") {
                    "the file system has no owners and modes (vfat, drvfs, CIFS, some mounts of containers): mount it with `uid=` and \
                     `umask=077`, or use another one"
                } else if said("Permission denied") {
                    "under root `initdb` runs as another account, which has to be able to enter every directory on the way: see \
                     `Cluster::account`"
                } else {
                    return error.hint();
                }
            }
            _ => return None,
        };
        Some(hint.into())
    }
}
