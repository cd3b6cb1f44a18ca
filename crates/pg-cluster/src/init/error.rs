//! The error of making a data directory.

use std::borrow::Cow;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{MajorVersion, MissingProgramError, Version};
use pg_proc::data_directory::NewDataDirectoryErrorKind;
use pg_proc::{
    AccountError, GuardError, LockError, ReplicationProblem, ReplicationProblemKind, RunError,
    ServerMessage,
};

use crate::parts;

/// A data directory could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to initialize {data_directory}")]
pub struct InitError {
    data_directory: Utf8PathBuf,
    #[source]
    kind: InitErrorKind,
}

/// The reason of an [`InitError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitErrorKind {
    /// The directory is a data directory already.
    #[error("the directory is a data directory already")]
    AlreadyInitialized,
    /// The directory is a data directory with missing parts.
    #[error("the directory is a data directory that lacks {}", .0.join(", "))]
    Incomplete(Vec<String>),
    /// The programs cannot be run as the account of the cluster.
    #[error("the programs cannot be run as another account")]
    Account(#[source] AccountError),
    /// The directory is not empty. The field is the name of one entry. Nothing was changed.
    #[error("the directory is not empty: it contains `{0}`")]
    NotEmpty(String),
    /// Another process is initializing the directory.
    #[error("another process is initializing the directory")]
    Busy,
    /// The directory cannot be locked.
    #[error("the directory cannot be locked")]
    Lock(#[source] LockError),
    /// The directory cannot be created, read or changed.
    #[error("the directory cannot be used")]
    Directory(#[source] io::Error),
    /// An option has an invalid value.
    #[error("{0}")]
    Option(&'static str),
    /// `initdb` or `pg_basebackup` of this version does not have an option that is needed.
    #[error("PostgreSQL {version} has no option {option}, which is available since {since}")]
    Unsupported {
        /// The option, as the program spells it.
        option: &'static str,
        /// The first major version that has it.
        since: MajorVersion,
        /// The installation's version.
        version: Version,
    },
    /// The installation has no `initdb` or no `pg_basebackup`.
    #[error("the installation is incomplete")]
    MissingProgram(#[source] MissingProgramError),
    /// `initdb` could not be started, failed, or took too long. The error has its exit status and
    /// its output.
    #[error("initdb did not succeed")]
    Program(#[source] RunError),
    /// `pg_basebackup` could not be started, failed, or took too long. The error has its exit
    /// status and its output.
    #[error("pg_basebackup did not succeed")]
    BaseBackup(#[source] RunError),
    /// The other server has another major version than the installation.
    #[error("the other server has version {server} of PostgreSQL, and the installation has {own}")]
    MajorVersion {
        /// The version of the other server, by the `PG_VERSION` of the base backup.
        server: MajorVersion,
        /// The installation's version.
        own: Version,
    },
    /// The process that removes unfinished work if this process is killed could not be started.
    #[error("the directory cannot be guarded")]
    Guard(#[source] GuardError),
}

impl From<NewDataDirectoryErrorKind> for InitErrorKind {
    fn from(kind: NewDataDirectoryErrorKind) -> Self {
        use NewDataDirectoryErrorKind as New;
        match kind {
            New::AlreadyInitialized => Self::AlreadyInitialized,
            New::NotEmpty(name) => Self::NotEmpty(name),
            New::Busy => Self::Busy,
            New::Lock(error) => Self::Lock(error),
            New::Directory(error) => Self::Directory(error),
        }
    }
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

    /// The reason.
    pub fn kind(&self) -> &InitErrorKind {
        &self.kind
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            InitErrorKind::NotEmpty(name) if name == "lost+found" => {
                "the directory is a mount point: use a subdirectory"
            }
            InitErrorKind::Incomplete(missing) => parts::advice(missing),
            InitErrorKind::Account(error) => return error.hint(),
            InitErrorKind::Directory(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                "this process needs access to the directory and its parent; under root the \
                 directory is given to the account of the server, which requires CAP_CHOWN and a \
                 file system with owners and modes (not vfat, drvfs or CIFS without `uid=` and \
                 `umask=077`)"
            }
            InitErrorKind::MissingProgram(error) => return error.hint(),
            InitErrorKind::BaseBackup(error) => {
                let said = String::from_utf8_lossy(error.stderr());
                match ReplicationProblem::find(&ServerMessage::read_all(&said)) {
                    Some(problem) => problem.hint(),
                    None => return error.hint(),
                }
            }
            InitErrorKind::MajorVersion { .. } => ReplicationProblemKind::MajorVersion.hint(),
            InitErrorKind::Program(error) => {
                let said = |words: &str| String::from_utf8_lossy(error.stderr()).contains(words);
                if said("invalid locale name") {
                    "`locale -a` lists the locales of this machine; `Locale::C` always exists"
                } else if said("could not look up effective user ID") {
                    "the user ID has no name: add an entry to /etc/passwd, preload nss_wrapper, \
                     or, under root, choose an account with `Cluster::with_account`"
                } else if said("could not change permissions") || said("could not change owner") {
                    "the file system has no owners and modes (vfat, drvfs, CIFS, some mounts of \
                     containers): mount it with `uid=` and `umask=077`, or use another one"
                } else if said("Permission denied") {
                    "under root `initdb` runs as another account, which needs access to every \
                     directory of the path: see `Cluster::account`"
                } else {
                    return error.hint();
                }
            }
            _ => return None,
        };
        Some(hint.into())
    }
}
