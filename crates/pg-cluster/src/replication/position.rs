//! The role of a server in replication, and its position.

use std::error::Error;
use std::time::{Duration, Instant};

use pg_proc::{
    ControlData, ControlDataError, ControlState, Directory, Lsn, ReplicationProblem, ServerMessage,
};
use pgconf_parse::Document;

use super::follow::{RECOVERY_CONF, RECOVERY_SIGNAL, STANDBY_SIGNAL, read};
use super::{ReplicationError, ReplicationErrorKind};
use crate::Cluster;

/// The part of a server in replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplicationRole {
    /// It accepts writes.
    Primary,
    /// It replays the WAL of another server until it is promoted.
    Standby,
    /// It replays an archive up to a target, and becomes a primary then.
    Recovery,
}

/// The time for which a standby may receive nothing before the reason is determined.
const SILENCE: Duration = Duration::from_millis(400);
/// The pause between two looks at the position: see [`Cluster::wait_for_replay`].
const PAUSE: Duration = Duration::from_millis(1);

const REPLAYED: &str = "SELECT pg_catalog.pg_last_wal_replay_lsn()";
const SITUATION: &str = "SELECT pg_catalog.pg_is_in_recovery(), \
     pg_catalog.pg_last_wal_receive_lsn(), \
     CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() END, \
     (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_wal_receiver WHERE status = 'streaming')";

impl Cluster {
    /// The part that the server has in replication, or will have at its next start. No client is
    /// needed.
    ///
    /// A running server, and one that was killed, is a primary if its control file says `in
    /// production`. Otherwise the files `standby.signal` and `recovery.signal` decide, or
    /// `recovery.conf` before PostgreSQL 12. A promotion removes or renames these files.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use pg_cluster::ReplicationRole;
    ///
    /// if cluster.replication_role()? == ReplicationRole::Primary {
    ///     println!("accepts writes");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the control file or one of these files cannot be read.
    pub fn replication_role(&self) -> Result<ReplicationRole, ReplicationError> {
        let failed = |kind| {
            let action = "determine the replication role of";
            ReplicationError::new(action, self.data_directory(), kind)
        };
        let control = ControlData::read(self.data_directory())
            .map_err(|error| failed(ReplicationErrorKind::ControlData(error)))?;
        let signal = || {
            let held = Directory::open(self.data_directory())?;
            if self.installation().version().major() >= 12 {
                return Ok(if held.contains(STANDBY_SIGNAL)? {
                    ReplicationRole::Standby
                } else if held.contains(RECOVERY_SIGNAL)? {
                    ReplicationRole::Recovery
                } else {
                    ReplicationRole::Primary
                });
            }
            let Some(text) = read(&held, RECOVERY_CONF)? else {
                return Ok(ReplicationRole::Primary);
            };
            let recovery = Document::parse(text);
            let mode = recovery.get("standby_mode");
            let is_standby = mode.is_some_and(|mode| mode.to_bool().unwrap_or(false));
            Ok(match is_standby {
                true => ReplicationRole::Standby,
                false => ReplicationRole::Recovery,
            })
        };
        let by_files = || {
            signal().map_err(|error| {
                failed(ReplicationErrorKind::File(
                    self.data_directory().to_owned(),
                    error,
                ))
            })
        };
        match control.state {
            // A stopped cluster that was made a standby since has this state too.
            ControlState::InProduction if self.is_running().unwrap_or(true) => {
                Ok(ReplicationRole::Primary)
            }
            _ => by_files(),
        }
    }

    /// A position up to which the cluster certainly has replayed or written its WAL, from its
    /// control file. No client is needed. None if the format of the file is not supported.
    ///
    /// After a proper shutdown of a primary this is the exact end of its WAL. After that of a
    /// standby it is at least the last restart point. For a running cluster it lags by up to a
    /// checkpoint: five minutes, unless `checkpoint_timeout` says otherwise. No file contains the
    /// position up to which a standby has received WAL: `pg_last_wal_receive_lsn()` reports it to a
    /// client.
    ///
    /// # Errors
    ///
    /// Fails if the control file cannot be read.
    pub fn replay_lsn(&self) -> Result<Option<Lsn>, ControlDataError> {
        let control = ControlData::read(self.data_directory())?;
        Ok(control.checkpoint.max(control.minimum_recovery))
    }

    /// Waits until this standby has replayed the position, and returns how far it is.
    ///
    /// `query` has to run a statement on the standby, with any client, and return the rows as text,
    /// as for [`reload_and_verify`](Self::reload_and_verify). PostgreSQL up to 18 does not notify
    /// clients of replay, so this polls every millisecond, over the one connection of the caller.
    ///
    /// # Errors
    ///
    /// Fails if the wait times out, if a query fails, or if the server is a primary that has not
    /// replayed the position before. Fails within a second with
    /// [`ReplicationErrorKind::NotFollowing`] if the standby lacks the WAL, receives none, and its
    /// log has the reason: the other server cannot be reached, has removed the WAL, or belongs to
    /// another cluster. Only English logs are understood: the log of a server that this object has
    /// started, or the file `server.log`.
    pub fn wait_for_replay<E>(
        &self,
        target: Lsn,
        mut query: impl FnMut(&str) -> Result<Vec<Vec<Option<String>>>, E>,
        timeout: Duration,
    ) -> Result<Lsn, ReplicationError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let failed =
            |kind| ReplicationError::new("wait for the replay of", self.data_directory(), kind);
        let mut ask = |sql: &str| {
            let rows = query(sql);
            let rows = rows.map_err(|error| failed(ReplicationErrorKind::Query(error.into())))?;
            Ok::<_, ReplicationError>(rows.into_iter().next().unwrap_or_default())
        };
        let begun = Instant::now();
        let (mut looked, mut was_silent) = (begun, false);
        loop {
            let replayed = column(&ask(REPLAYED)?, 0).and_then(|text| text.parse().ok());
            if let Some(replayed) = replayed.filter(|&replayed| replayed >= target) {
                return Ok(replayed);
            }
            let waited = begun.elapsed();
            let is_over = waited >= timeout;
            if is_over || replayed.is_none() || looked.elapsed() >= SILENCE {
                looked = Instant::now();
                let row = ask(SITUATION)?;
                let received = column(&row, 1).and_then(|text| text.parse().ok());
                if column(&row, 0) != Some("t") {
                    // The promotion may have come after the last look.
                    let last = column(&ask(REPLAYED)?, 0).and_then(|text| text.parse().ok());
                    return match last {
                        Some(last) if last >= target => Ok(last),
                        last => Err(failed(ReplicationErrorKind::Primary(last))),
                    };
                }
                let is_silent = column(&row, 3) == Some("0") && received < Some(target);
                if is_silent && (was_silent || is_over) {
                    let log = self.log_tail().unwrap_or_default();
                    let problem = ReplicationProblem::find(&ServerMessage::read_all(&log));
                    if let Some(problem) = problem {
                        return Err(failed(ReplicationErrorKind::NotFollowing(problem)));
                    }
                }
                was_silent = is_silent;
                if is_over {
                    return Err(failed(ReplicationErrorKind::NotReplayed {
                        target,
                        replayed: replayed.unwrap_or_default(),
                        received,
                        paused: column(&row, 2) == Some("t"),
                        waited,
                    }));
                }
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn column(row: &[Option<String>], n: usize) -> Option<&str> {
    row.get(n)?.as_deref()
}
