//! The errors of temporary clusters.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::{DiscoveryError, MajorVersion, MissingProgramError};
use pg_proc::{
    AccountError, ControlDataError, FindError, GuardError, LockError, RunError, SuspendError,
};

use crate::replicas::ReplicaError;
use crate::sql::SqlError;
use pg_cluster::{AccessError, ClusterError, ControlError, InitError, StartError};

/// A temporary cluster could not be made, or something could not be done with it.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} a temporary cluster")]
pub struct TempError {
    operation: &'static str,
    #[source]
    kind: TempErrorKind,
}

/// The reason of a [`TempError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TempErrorKind {
    /// No suitable PostgreSQL installation was found.
    #[error("no installation was found")]
    Installation(#[source] DiscoveryError),
    /// The value of an option is not allowed.
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
    /// The directory of the template cache belongs to another user or can be written by other
    /// users, so its contents cannot be trusted.
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
        /// The message of the server.
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
    /// The cluster of a template or a snapshot has something that cannot be cloned, such as a
    /// tablespace outside of its data directory.
    #[error("{0} cannot be cloned")]
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
    /// The server did not stop: that of a template after the setup, or one that was to be stopped,
    /// killed or copied.
    #[error("the server did not stop")]
    Stop(#[source] ControlError),
    /// It cannot be determined whether a server is running.
    #[error("the state of the cluster cannot be determined")]
    Find(#[source] FindError),
    /// No server is running that could be frozen.
    #[error("no server of the cluster is running")]
    NotRunning,
    /// The server could not be frozen.
    #[error(transparent)]
    Suspend(SuspendError),
    /// The control file, which says whether the files are whole, cannot be read.
    #[error("it cannot be determined whether the files are whole")]
    ControlData(#[source] ControlDataError),
    /// The server was not shut down properly, twice: its files are not whole.
    #[error("the server did not shut down properly")]
    NotShutDown,
    /// The snapshot is of another major version.
    #[error("the snapshot is of PostgreSQL {snapshot}, the cluster is of PostgreSQL {cluster}")]
    OtherMajor {
        /// The version of the snapshot.
        snapshot: MajorVersion,
        /// The version of the cluster.
        cluster: MajorVersion,
    },
    /// The snapshot is of a cluster that is neither this one, nor one that it is a branch of, nor
    /// a branch of it.
    #[error("the snapshot is of the cluster {snapshot}, not of {cluster}")]
    OtherCluster {
        /// The directory of the cluster that the snapshot was taken of.
        snapshot: Utf8PathBuf,
        /// The directory of this cluster.
        cluster: Utf8PathBuf,
    },
    /// No server of the pool was ready within this time.
    #[error("no server of the pool was ready within {0:.1?}")]
    PoolIsEmpty(Duration),
    /// A step panicked while a server of the pool was started.
    #[error("the start of a server of the pool panicked")]
    PoolPanicked,
    /// The pool was made by the process that this one was forked from.
    #[error("the pool belongs to another process")]
    ForkedPool,
    /// The thread of a pool could not be started.
    #[error("the thread of the pool cannot be started")]
    Thread(#[source] io::Error),
}

impl TempError {
    /// The kind of the error.
    pub fn kind(&self) -> &TempErrorKind {
        &self.kind
    }

    /// Returns advice, if there is any.
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
            TempErrorKind::NotClonable(_) => Some(
                "create tablespaces in the test, not in a setup step or before a snapshot".into(),
            ),
            TempErrorKind::OtherCluster { .. } => {
                Some("`Snapshot::branch` starts another server from the snapshot".into())
            }
            TempErrorKind::NotRunning => Some("`TempCluster::start_again` starts it".into()),
            TempErrorKind::PoolIsEmpty(_) => {
                Some("make the pool larger, or wait longer by `TempPool::acquire_within`".into())
            }
            TempErrorKind::ForkedPool => Some("make a pool in each process".into()),
            _ => None,
        }
    }
}

/// Returns advice for an error of the server with this SQLSTATE.
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
        Self {
            operation: "make",
            kind,
        }
    }
}

/// Says what failed, if it is not the making of a cluster.
pub(crate) fn during(operation: &'static str) -> impl FnOnce(TempErrorKind) -> TempError {
    move |kind| TempError { operation, kind }
}

/// Names the path in an error of the system.
pub(crate) fn at(path: impl AsRef<Utf8Path>) -> impl FnOnce(io::Error) -> TempErrorKind {
    move |error| TempErrorKind::File(path.as_ref().to_owned(), error)
}
