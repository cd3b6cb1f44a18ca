//! The errors of operations on a member of a replica set.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

use camino::Utf8PathBuf;
use pg_cluster::{
    ControlError, ReplicationError, ReplicationProblemKind, SettingsError, StartError,
};
use pg_proc::ControlDataError;

/// Something could not be done with a member of a replica set.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {name}")]
pub struct ReplicaError {
    action: &'static str,
    name: String,
    #[source]
    kind: ReplicaErrorKind,
}

/// The reason of a [`ReplicaError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaErrorKind {
    /// The standby has been [disconnected](crate::Replica::disconnect) from the server that it
    /// follows.
    #[error("the standby is disconnected")]
    Disconnected,
    /// The server that it follows does not run, or does not listen.
    #[error("the server that the standby follows cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The server that it follows refuses to stream to it.
    #[error("the server that the standby follows refuses: {message} (SQLSTATE {code})")]
    Refused {
        /// Five characters (PostgreSQL manual, "PostgreSQL Error Codes").
        code: String,
        /// The message of the server.
        message: String,
    },
    /// The server that it follows belongs to another family.
    #[error(
        "the standby has the system identifier {own}, and the server that it follows has {other}"
    )]
    SystemIdentifier {
        /// The identifier of the standby.
        own: u64,
        /// The identifier of the other server.
        other: u64,
    },
    /// The standby was not streaming within this time.
    #[error("the standby does not stream after {0:.1?}")]
    NotStreaming(Duration),
    /// The standby has not replayed the position, or cannot be rewound.
    #[error("replication failed")]
    Replication(#[source] ReplicationError),
    /// The server did not start.
    #[error("the server of the replica did not start")]
    Start(#[source] StartError),
    /// The server could not be stopped, reloaded or promoted.
    #[error("the server of the replica cannot be controlled")]
    Control(#[source] ControlError),
    /// A statement failed.
    #[error("a statement failed")]
    Sql(#[source] Box<dyn Error + Send + Sync>),
    /// A setting could not be changed.
    #[error("a setting cannot be changed")]
    Settings(#[source] SettingsError),
    /// The control file cannot be read.
    #[error("the state of the cluster cannot be read")]
    ControlData(#[source] ControlDataError),
    /// A file or a socket of the replica cannot be made.
    #[error("{0} cannot be made")]
    File(Utf8PathBuf, #[source] io::Error),
    /// The server is the primary, or is not a member of the set.
    #[error("the server is not a standby of this set")]
    NotAStandby,
    /// The server is the primary, which cannot follow one of its standbys.
    #[error("the server is the primary of this set")]
    Primary,
}

impl ReplicaError {
    pub(crate) fn new(action: &'static str, name: &str, kind: ReplicaErrorKind) -> Self {
        Self {
            action,
            name: name.to_owned(),
            kind,
        }
    }

    /// The name of the member: `primary`, `standby1`...
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The reason.
    pub fn kind(&self) -> &ReplicaErrorKind {
        &self.kind
    }

    /// Returns whether the wait for a position timed out, without any other known fault.
    pub fn is_timeout(&self) -> bool {
        match &self.kind {
            ReplicaErrorKind::Replication(error) => error.is_timeout(),
            ReplicaErrorKind::NotStreaming(_) => true,
            _ => false,
        }
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match &self.kind {
            ReplicaErrorKind::Disconnected => "`Replica::reconnect` connects it again",
            ReplicaErrorKind::Unreachable(_) => {
                "start that server again with `Replica::start`, or let the standby follow another \
                 one with `Replica::follow`"
            }
            ReplicaErrorKind::SystemIdentifier { .. } => {
                ReplicationProblemKind::SystemIdentifier.hint()
            }
            ReplicaErrorKind::Refused { code, .. } => of_state(code)?.hint(),
            ReplicaErrorKind::Replication(error) => return error.hint(),
            ReplicaErrorKind::Start(error) => return error.hint(),
            ReplicaErrorKind::Control(error) => return error.hint(),
            ReplicaErrorKind::Settings(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.into())
    }
}

/// Explains the error codes of a WAL sender (`XLogSendPhysical` and `StartReplication` in
/// src/backend/replication/walsender.c, `ReplicationSlotAcquire` in slot.c).
fn of_state(code: &str) -> Option<ReplicationProblemKind> {
    Some(match code {
        "58P01" => ReplicationProblemKind::WalRemoved,
        "42704" | "55006" => ReplicationProblemKind::Slot,
        "53300" => ReplicationProblemKind::Unreachable,
        code if code.starts_with("28") => ReplicationProblemKind::Authentication,
        _ => return None,
    })
}
