//! The reports of servers and programs about replication: progress, and the reason of a failure.

use std::fmt;

use crate::files::server_message::{ServerMessage, Severity};

/// The progress of a base backup, from a line that `pg_basebackup --progress` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupProgress {
    /// The bytes copied, without WAL, in whole kilobytes.
    pub copied: u64,
    /// The estimated bytes in total. Less than [`copied`](Self::copied) if the cluster has grown.
    pub total: u64,
    /// The tablespaces that are complete.
    pub tablespaces: u32,
}

impl BackupProgress {
    /// Reads a line such as `12345/23456 kB (52%), 0/1 tablespace` (`progress_report` in
    /// src/bin/pg_basebackup/pg_basebackup.c); none if it is another line.
    ///
    /// ```
    /// use pg_proc::BackupProgress;
    ///
    /// let line = "  1024/2048 kB (50%), 0/1 tablespace";
    /// assert_eq!(BackupProgress::parse(line).unwrap().copied, 1 << 20);
    /// assert_eq!(BackupProgress::parse("pg_basebackup: error: no server"), None);
    /// ```
    pub fn parse(line: &str) -> Option<Self> {
        let (bytes, rest) = line.trim().split_once(" kB (")?;
        let (_, tablespaces) = rest.split_once("%), ")?;
        let (copied, total) = bytes.split_once('/')?;
        let (complete, _) = tablespaces.split_once('/')?;
        let kilobytes = |text: &str| text.parse::<u64>().ok()?.checked_mul(1024);
        Some(Self {
            copied: kilobytes(copied)?,
            total: kilobytes(total)?,
            tablespaces: complete.parse().ok()?,
        })
    }
}

/// The reason why another server does not provide what a standby, a base backup or a rewind needs,
/// from a message of a server or a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationProblem {
    kind: ReplicationProblemKind,
    message: ServerMessage,
}

/// The kinds of a [`ReplicationProblem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplicationProblemKind {
    /// The two servers have different system identifiers.
    SystemIdentifier,
    /// The two servers have different major versions.
    MajorVersion,
    /// The standby has replayed what is not part of the history of the other server.
    Timeline,
    /// The other server has removed WAL that the standby needs.
    WalRemoved,
    /// The replication slot does not exist, or another standby uses it.
    Slot,
    /// The other server rejects the user, or requires a password.
    Authentication,
    /// A setting of the standby, such as `max_connections`, is lower than on the primary.
    Settings,
    /// No server listens at the address, or the server does not accept connections.
    Unreachable,
}

/// English words of messages, the most specific first.
const SIGNS: [(&str, ReplicationProblemKind); 26] = {
    use ReplicationProblemKind::*;
    [
        // src/backend/replication/walreceiver.c, src/bin/pg_rewind/pg_rewind.c
        ("system identifier differs", SystemIdentifier),
        ("are from different systems", SystemIdentifier),
        ("incompatible server version", MajorVersion),
        (
            "not compatible with this version of pg_rewind",
            MajorVersion,
        ),
        // src/backend/access/transam/xlogrecovery.c, src/backend/replication/walsender.c
        ("forked off current database system timeline", Timeline),
        ("is not a child of this server's history", Timeline),
        ("does not contain minimum recovery point", Timeline),
        ("is not in this server's history", Timeline),
        ("is behind recovery timeline", Timeline),
        ("is ahead of the WAL flush position", Timeline),
        ("could not find common ancestor", Timeline),
        ("has already been removed", WalRemoved),
        ("replication slot", Slot),
        ("no password supplied", Authentication),
        ("authentication failed", Authentication),
        ("no pg_hba.conf entry", Authentication),
        ("pg_hba.conf rejects", Authentication),
        ("must be superuser", Authentication),
        ("permission denied to start WAL sender", Authentication),
        ("permission denied for", Authentication),
        ("role \"", Authentication),
        ("insufficient parameter settings", Settings),
        (
            "number of requested standby connections exceeds",
            Unreachable,
        ),
        ("could not connect to", Unreachable),
        ("connection to server", Unreachable),
        ("could not translate host name", Unreachable),
    ]
};

impl ReplicationProblem {
    /// The last of these messages that reports such a problem, if there is one: an error, or the
    /// end of a timeline. Only English messages are recognized.
    ///
    /// ```
    /// use pg_proc::{ReplicationProblem, ReplicationProblemKind, ServerMessage};
    ///
    /// let log = "FATAL:  could not start WAL streaming: ERROR:  replication slot \"a\" does not \
    ///            exist\n";
    /// let problem = ReplicationProblem::find(&ServerMessage::read_all(log)).unwrap();
    /// assert_eq!(problem.kind(), ReplicationProblemKind::Slot);
    /// ```
    pub fn find(messages: &[ServerMessage]) -> Option<Self> {
        messages.iter().rev().find_map(|message| {
            let &(_, kind) = SIGNS.iter().find(|(sign, _)| message.contains(sign))?;
            let is_grave = message
                .severity
                .is_none_or(|found| found >= Severity::Error);
            (is_grave || kind == ReplicationProblemKind::Timeline).then(|| Self {
                kind,
                message: message.clone(),
            })
        })
    }

    /// The kind.
    pub fn kind(&self) -> ReplicationProblemKind {
        self.kind
    }

    /// The message that reports the problem.
    pub fn message(&self) -> &ServerMessage {
        &self.message
    }

    /// Advice.
    pub fn hint(&self) -> &'static str {
        self.kind.hint()
    }
}

impl ReplicationProblemKind {
    /// Advice.
    pub fn hint(self) -> &'static str {
        match self {
            Self::SystemIdentifier => {
                "a standby follows only the cluster that it was copied from: check the address, or \
                 make the standby anew from this server"
            }
            Self::MajorVersion => {
                "physical replication needs the same major version; logical replication does not"
            }
            Self::Timeline => {
                "the two servers have diverged: `Cluster::rewind_to` makes the standby part of the \
                 history of the other server again, if its WAL suffices"
            }
            Self::WalRemoved => {
                "make the standby anew, with a replication slot or a larger wal_keep_size \
                 (wal_keep_segments before PostgreSQL 13)"
            }
            Self::Slot => {
                "`SELECT * FROM pg_replication_slots` lists the slots of the other server"
            }
            Self::Authentication => {
                "the user needs the attribute REPLICATION, a rule for the database `replication` \
                 in pg_hba.conf, and the password if that rule asks for one"
            }
            Self::Settings => {
                "max_connections, max_worker_processes, max_wal_senders, \
                 max_prepared_transactions and max_locks_per_transaction of a standby must not be \
                 lower than on the primary"
            }
            Self::Unreachable => {
                "check that the other server runs, its address, and its max_wal_senders"
            }
        }
    }
}

impl fmt::Display for ReplicationProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SystemIdentifier => "the other server has another system identifier",
            Self::MajorVersion => "the other server has another major version",
            Self::Timeline => "the histories of the two servers have diverged",
            Self::WalRemoved => "the other server has removed WAL that is needed",
            Self::Slot => "the replication slot cannot be used",
            Self::Authentication => "the other server rejects the connection",
            Self::Settings => "a setting is lower than on the primary",
            Self::Unreachable => "the other server cannot be reached",
        })
    }
}

impl fmt::Display for ReplicationProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

/// It can be the cause of an error.
impl std::error::Error for ReplicationProblem {}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(log: &str) -> Option<ReplicationProblemKind> {
        ReplicationProblem::find(&ServerMessage::read_all(log)).map(|problem| problem.kind())
    }

    #[test]
    fn messages_of_servers_and_programs() {
        use ReplicationProblemKind as K;
        for (message, expected) in [
            (
                "FATAL:  database system identifier differs between the primary and standby\n\
                 DETAIL:  The primary's identifier is 1, the standby's identifier is 2.\n",
                K::SystemIdentifier,
            ),
            (
                "FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment \
                 000000010000000000000001 has already been removed\n",
                K::WalRemoved,
            ),
            (
                "LOG:  new timeline 2 forked off current database system timeline 1 before \
                 current recovery point 0/3000148\n",
                K::Timeline,
            ),
            (
                "FATAL:  streaming replication receiver \"a\" could not connect to the primary \
                 server: connection to server on socket \"/x/.s.PGSQL.5432\" failed: fe_sendauth: \
                 no password supplied\n",
                K::Authentication,
            ),
            (
                "FATAL:  could not connect to the primary server: could not connect to server: \
                 No such file or directory\n",
                K::Unreachable,
            ),
            (
                "pg_basebackup: error: could not send replication command \"START_REPLICATION\": \
                 ERROR:  replication slot \"none\" does not exist\n",
                K::Slot,
            ),
            (
                "pg_rewind: error: source and target clusters are from different systems\n",
                K::SystemIdentifier,
            ),
        ] {
            assert_eq!(kind(message), Some(expected), "{message}");
        }
        assert_eq!(kind("LOG:  database system is ready\n"), None);
    }

    #[test]
    fn the_last_problem_counts() {
        let log = "FATAL:  could not connect to the primary server: no\n\
                   FATAL:  requested WAL segment 1 has already been removed\n";
        assert_eq!(kind(log), Some(ReplicationProblemKind::WalRemoved));
    }

    #[test]
    fn lines_of_progress() {
        let parse = BackupProgress::parse;
        let progress = parse("23456/23456 kB (100%), 2/2 tablespaces").unwrap();
        assert_eq!((progress.copied, progress.tablespaces), (23456 << 10, 2));
        let named = "  12/34 kB (35%), 0/1 tablespace (/data/base/1/2)";
        assert_eq!(parse(named).unwrap().total, 34 << 10);
        for other in [
            "",
            "1/2 kB",
            "x/2 kB (1%), 0/1 tablespace",
            "waiting for checkpoint",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
