//! Why there is no temporary cluster.

use std::borrow::Cow;
use std::error::Error;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{DiscoveryError, MissingProgramError};
use pg_proc::{AccountError, GuardError, LockError, RunError};

use crate::replicas::ReplicaError;
use crate::sql::SqlError;
use pg_cluster::{AccessError, ClusterError, ControlError, InitError, StartError};

/// A temporary cluster could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to make a temporary cluster")]
pub struct TempError {
    #[source]
    kind: TempErrorKind,
}

/// Why a temporary cluster could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TempErrorKind {
    /// There is no PostgreSQL installation that will do.
    #[error("no installation was found")]
    Installation(#[source] DiscoveryError),
    /// An option cannot be what it is.
    #[error("{0}")]
    Option(String),
    /// There is no account to run the server as.
    #[error("no account is known to run the server as")]
    Account(#[source] AccountError),
    /// The directory cannot be a cluster.
    #[error("the directory cannot be a cluster")]
    Cluster(#[source] ClusterError),
    /// A file or directory cannot be used: of the cluster itself, or of the template cache.
    #[error("{0} cannot be used")]
    File(Utf8PathBuf, #[source] io::Error),
    /// The directory of the template cache belongs to somebody else or can be written by others:
    /// what is in it cannot be trusted.
    #[error(
        "the template cache {path} is not private: its owner is user {owner} and its mode \
         {mode:04o}"
    )]
    NotPrivate {
        /// The directory.
        path: Utf8PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The template cache cannot be locked, or another process has held the lock for too long: it
    /// makes the same template, or starts the same shared server.
    #[error("the template cache cannot be locked")]
    Lock(#[source] LockError),
    /// No process could be started that cleans up.
    #[error("the directories cannot be guarded")]
    Guard(#[source] GuardError),
    /// The installation lacks a program that makes or serves clusters.
    #[error("the installation is incomplete")]
    MissingProgram(#[source] MissingProgramError),
    /// The template could not be initialized.
    #[error("the template could not be initialized")]
    Init(#[source] InitError),
    /// The database of this name could not be created.
    #[error("the database {0} could not be created")]
    Database(String, #[source] Box<dyn Error + Send + Sync>),
    /// A database that was to be copied or reset has sessions, which did not end within the limit.
    #[error("the database {database} is in use by {by}")]
    InUse {
        /// The database.
        database: String,
        /// The processes that are connected to it.
        by: String,
        /// What the server said.
        #[source]
        refusal: Box<dyn Error + Send + Sync>,
    },
    /// The superuser of a clone could not be given its password.
    #[error("the password could not be set")]
    Password(#[source] Box<dyn Error + Send + Sync>),
    /// The server of this installation was built without TLS.
    #[error("the server in {0} was built without TLS")]
    NoTls(Utf8PathBuf),
    /// The certificates for TLS could not be made.
    #[error("the certificates could not be made")]
    Certificate(#[source] Box<dyn Error + Send + Sync>),
    /// The installation does not have the extension.
    #[error("the extension {name} is not in {directory}")]
    NoExtension {
        /// The name.
        name: String,
        /// Where the server looks for it.
        directory: Utf8PathBuf,
    },
    /// The installation does not have the library that is to be preloaded.
    #[error("the library {name} is not in {directory}")]
    NoLibrary {
        /// The name.
        name: String,
        /// Where the server looks for it.
        directory: Utf8PathBuf,
    },
    /// The extension of this name could not be created, with what the server said.
    #[error("the extension {0} could not be created")]
    Extension(String, #[source] Box<dyn Error + Send + Sync>),
    /// The setup step of this key failed, with what it returned.
    #[error("the setup step {0:?} failed")]
    Setup(String, #[source] Box<dyn Error + Send + Sync>),
    /// The template holds something that cannot be cloned, such as a tablespace outside of it.
    #[error("the template holds {0}, which cannot be cloned")]
    NotClonable(Utf8PathBuf),
    /// The access rules or the user name maps would be rejected by the server, or cannot be
    /// written.
    #[error("the access rules cannot be used")]
    Access(#[source] Box<AccessError>),
    /// The server did not start.
    #[error("the server did not start")]
    Start(#[source] StartError),
    /// A standby did not become one, or does not follow.
    #[error("the standbys cannot be used")]
    Replica(#[source] Box<ReplicaError>),
    /// The server of the template did not stop after the setup.
    #[error("the template's server did not stop")]
    Stop(#[source] ControlError),
}

impl TempError {
    /// What went wrong.
    pub fn kind(&self) -> &TempErrorKind {
        &self.kind
    }

    /// What may help, where something is known.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            TempErrorKind::Installation(error) => error.hint(),
            TempErrorKind::Account(error) => error.hint(),
            TempErrorKind::Cluster(error) => error.hint(),
            TempErrorKind::MissingProgram(error) => error.hint(),
            TempErrorKind::Init(error) => error.hint(),
            TempErrorKind::Access(error) => error.hint(),
            TempErrorKind::Start(error) => error.hint(),
            TempErrorKind::Stop(error) => error.hint(),
            TempErrorKind::Replica(error) => error.hint(),
            TempErrorKind::NotPrivate { .. } => Some(
                format!(
                    "remove it, or name another directory in {}",
                    crate::template::CACHE_VARIABLE
                )
                .into(),
            ),
            TempErrorKind::NoTls(_) => {
                Some("use another installation: `TempClusterBuilder::installation`".into())
            }
            TempErrorKind::NoExtension { .. } | TempErrorKind::NoLibrary { .. } => {
                Some("install its package, or add its files by `Installation::overlay`".into())
            }
            TempErrorKind::InUse { .. } => Some("close the connections to the database".into()),
            TempErrorKind::Database(_, error) => {
                let error = error.downcast_ref::<SqlError>()?;
                advice(error.code()?).map(Cow::Borrowed)
            }
            TempErrorKind::Setup(_, error) => error.downcast_ref::<RunError>()?.hint(),
            TempErrorKind::NotClonable(_) => {
                Some("create tablespaces in the test, not in the setup step".into())
            }
            _ => None,
        }
    }
}

/// What may help against a refusal of the server with this SQLSTATE.
fn advice(code: &str) -> Option<&'static str> {
    match code {
        // ERRCODE_TOO_MANY_CONNECTIONS
        "53300" => Some(
            "close connections that are not needed, or set max_connections with \
             `TempClusterBuilder::setting`",
        ),
        // ERRCODE_DISK_FULL
        "53100" => Some("make room, or name another place with `TempClusterBuilder::storage`"),
        _ => None,
    }
}

impl From<TempErrorKind> for TempError {
    fn from(kind: TempErrorKind) -> Self {
        Self { kind }
    }
}

/// Names the path in an error of the system.
pub(crate) fn at(path: impl AsRef<Utf8Path>) -> impl FnOnce(io::Error) -> TempErrorKind {
    move |error| TempErrorKind::File(path.as_ref().to_owned(), error)
}
