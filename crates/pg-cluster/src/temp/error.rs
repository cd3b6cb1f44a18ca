//! Why there is no temporary cluster.

use std::borrow::Cow;
use std::error::Error;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::DiscoveryError;
use pg_proc::{GuardError, LockError};

use crate::{ClusterError, InitError, StartError, StopError};

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
    /// There is no account to run the server as, or no current directory.
    #[error("there is no account to run it as")]
    Cluster(#[source] ClusterError),
    /// A file or directory cannot be used: of the cluster itself, or of the template cache.
    #[error("{path} cannot be used")]
    File {
        /// The file or directory.
        path: Utf8PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The directory of the template cache belongs to somebody else or can be written by others:
    /// what is in it cannot be trusted.
    #[error(
        "the template cache {path} is not private: its owner is user {owner} and its mode {mode:04o}"
    )]
    NotPrivate {
        /// The directory.
        path: Utf8PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The template cache cannot be locked.
    #[error("the template cache cannot be locked")]
    Lock(#[source] LockError),
    /// No process could be started that cleans up.
    #[error("it cannot be guarded")]
    Guard(#[source] GuardError),
    /// The template could not be initialised.
    #[error("the template could not be initialised")]
    Init(#[source] InitError),
    /// The template's database could not be created.
    #[error("the database {database} could not be created in the template")]
    Database {
        /// Its name.
        database: String,
        /// What `postgres --single` said.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A setup step failed.
    #[error("the setup step {key:?} failed")]
    Setup {
        /// Its key.
        key: String,
        /// What it returned.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The template holds something that cannot be cloned, such as a tablespace outside of it.
    #[error("the template holds {0}, which cannot be cloned")]
    NotClonable(Utf8PathBuf),
    /// The server did not start.
    #[error("the server did not start")]
    Start(#[source] StartError),
    /// The server of the template did not stop after the setup.
    #[error("the template's server did not stop")]
    Stop(#[source] StopError),
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
            TempErrorKind::Init(error) => error.hint(),
            TempErrorKind::Start(error) => error.hint(),
            TempErrorKind::Stop(error) => error.hint(),
            TempErrorKind::NotPrivate { .. } => Some(
                format!(
                    "remove it, or name another directory in {}",
                    super::template::CACHE_VARIABLE
                )
                .into(),
            ),
            TempErrorKind::NotClonable(_) => {
                Some("create tablespaces in the test, not in the setup step".into())
            }
            _ => None,
        }
    }
}

impl From<TempErrorKind> for TempError {
    fn from(kind: TempErrorKind) -> Self {
        Self { kind }
    }
}

/// Names the path in an error of the system.
pub(super) fn at(path: impl AsRef<Utf8Path>) -> impl FnOnce(io::Error) -> TempErrorKind {
    move |cause| TempErrorKind::File {
        path: path.as_ref().to_owned(),
        cause,
    }
}
