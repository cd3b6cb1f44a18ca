//! The error of operations on standbys.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_install::MissingProgramError;
use pg_proc::{
    ControlDataError, FindError, Lsn, ReplicationProblem, ReplicationProblemKind, RunError,
    ServerMessage,
};

use crate::control_error::ControlError;

/// A standby could not be rewound, verified or waited for.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {data_directory}")]
pub struct ReplicationError {
    action: &'static str,
    data_directory: Utf8PathBuf,
    #[source]
    kind: ReplicationErrorKind,
}

/// The reason of a [`ReplicationError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicationErrorKind {
    /// The installation has no `pg_rewind`, or no `pg_verifybackup`.
    #[error("the installation is incomplete")]
    MissingProgram(#[source] MissingProgramError),
    /// An option has an invalid value.
    #[error("{0}")]
    Option(&'static str),
    /// It cannot be determined whether a server is running.
    #[error("the state of the data directory cannot be determined")]
    Find(#[source] FindError),
    /// The control file, which shows how the cluster was shut down, cannot be read.
    #[error("the state of the cluster cannot be read")]
    ControlData(#[source] ControlDataError),
    /// The running server did not stop.
    #[error("the running server did not stop")]
    Stop(#[source] ControlError),
    /// `pg_rewind` needs one of the two to find the changed pages.
    #[error("neither data checksums nor wal_log_hints is on")]
    NotRewindable,
    /// The program could not be started, failed, or took too long. The error has its exit status
    /// and its output.
    #[error("the program did not succeed")]
    Program(#[source] RunError),
    /// A file of the data directory cannot be read or written.
    #[error("{0} cannot be used")]
    File(Utf8PathBuf, #[source] io::Error),
    /// The caller's query failed.
    #[error("a query failed")]
    Query(#[source] Box<dyn Error + Send + Sync>),
    /// The server is not a standby, and was none, or was promoted before it replayed the position.
    #[error("the server is a primary{}", replayed(.0.as_ref()))]
    Primary(Option<Lsn>),
    /// The standby receives nothing, for this reason.
    #[error("the standby receives no WAL")]
    NotFollowing(#[source] ReplicationProblem),
    /// The standby has not replayed the position in time.
    #[error(
        "the standby has not replayed {target} within {waited:.1?}: it has replayed up to \
         {replayed}{}",
        received_up_to(.received.as_ref(), *.paused)
    )]
    NotReplayed {
        /// The position that was waited for.
        target: Lsn,
        /// The position up to which the standby has replayed.
        replayed: Lsn,
        /// The position up to which the standby has received; none if it has received nothing.
        received: Option<Lsn>,
        /// True if replay is paused.
        paused: bool,
        /// The time that was waited.
        waited: Duration,
    },
}

impl ReplicationError {
    pub(crate) fn new(
        action: &'static str,
        data_directory: &Utf8Path,
        kind: ReplicationErrorKind,
    ) -> Self {
        Self {
            action,
            data_directory: data_directory.to_owned(),
            kind,
        }
    }

    /// The cluster's data directory.
    pub fn data_directory(&self) -> &Utf8Path {
        &self.data_directory
    }

    /// The reason.
    pub fn kind(&self) -> &ReplicationErrorKind {
        &self.kind
    }

    /// Returns whether the standby has not replayed the position in time.
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind, ReplicationErrorKind::NotReplayed { .. })
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            ReplicationErrorKind::MissingProgram(error) => return error.hint(),
            ReplicationErrorKind::Stop(error) => return error.hint(),
            ReplicationErrorKind::NotRewindable => {
                "make the standby anew with `Cluster::init_standby_of`; for the next time set \
                 wal_log_hints, or run pg_checksums while the server is stopped"
            }
            ReplicationErrorKind::Program(error) => return Some(of_program(error)),
            ReplicationErrorKind::NotFollowing(problem) => problem.hint(),
            ReplicationErrorKind::NotReplayed { paused: true, .. } => {
                "`SELECT pg_wal_replay_resume()` on the standby resumes the replay"
            }
            _ => return None,
        };
        Some(hint.into())
    }
}

/// A rewind that was interrupted cannot be undone.
fn of_program(error: &RunError) -> Cow<'_, str> {
    let said = String::from_utf8_lossy(error.stderr());
    match ReplicationProblem::find(&ServerMessage::read_all(&said)).map(|problem| problem.kind()) {
        // If a rewind has failed, only a new copy helps.
        Some(kind) if kind != ReplicationProblemKind::Timeline => kind.hint().into(),
        _ => error.hint().unwrap_or_else(|| {
            "the files may be changed in part: run it again, or make the standby anew with \
             `Cluster::init_standby_of`"
                .into()
        }),
    }
}

fn replayed(position: Option<&Lsn>) -> String {
    let words = |lsn| format!(" that had replayed up to {lsn} before its promotion");
    position.map(words).unwrap_or_default()
}

fn received_up_to(position: Option<&Lsn>, paused: bool) -> String {
    let received = match position {
        Some(lsn) => format!(" and received up to {lsn}"),
        None => " and received nothing".to_owned(),
    };
    received + if paused { "; its replay is paused" } else { "" }
}
