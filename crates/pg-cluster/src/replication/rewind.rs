//! The way back of a former primary.

use std::time::Duration;

use camino::Utf8PathBuf;
use pg_install::Program;
use pg_proc::{ConnectionInfo, ControlState, Directory, StopPlan};

use super::follow::{AUTO_CONF, Follow, RECOVERY_CONF, STANDBY_SIGNAL, read, write};
use super::{ReplicationError, ReplicationErrorKind};
use crate::Cluster;

/// The files that `pg_rewind` would replace with those of the other server.
const OWN_FILES: [&str; 4] = ["postgresql.conf", AUTO_CONF, "pg_hba.conf", "pg_ident.conf"];

/// The options of a rewind. By default a running server is stopped by [`StopPlan::fast`],
/// `pg_rewind` may take an hour, and the standby does not use a slot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RewindOptions {
    application_name: Option<String>,
    slot: Option<String>,
    stop: StopPlan,
    timeout: Duration,
}

impl RewindOptions {
    /// The defaults, as described above.
    pub fn new() -> Self {
        Self {
            application_name: None,
            slot: None,
            stop: StopPlan::fast(),
            timeout: Duration::from_secs(3600),
        }
    }

    /// The name of the standby at the new primary.
    #[must_use]
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = Some(name.into());
        self
    }

    /// The physical replication slot on the new primary that the standby uses. It has to exist when
    /// the standby starts.
    #[must_use]
    pub fn slot(mut self, name: impl Into<String>) -> Self {
        self.slot = Some(name.into());
        self
    }

    /// The plan by which a running server is stopped first.
    #[must_use]
    pub fn stop(mut self, plan: StopPlan) -> Self {
        self.stop = plan;
        self
    }

    /// The time after which `pg_rewind` is stopped; an hour by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Default for RewindOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// Takes back what this cluster has that the new primary has not, with `pg_rewind`, and makes
    /// it a standby of that server: the way back of a primary that was replaced. Copies only the
    /// blocks that differ, and returns when the server can be started.
    ///
    /// A server that runs is stopped first, and one that crashed recovers first. The user has to be
    /// a superuser of the new primary, or to have the rights that the manual lists for `pg_rewind`.
    /// The new primary needs `full_page_writes` and, before PostgreSQL 16, a checkpoint since its
    /// promotion. This requests the checkpoint if the installation has `psql` and the user has the
    /// right. A password is stored as by [`init_standby_of`](Self::init_standby_of).
    ///
    /// DIFFERENCE: `pg_rewind` replaces `postgresql.conf`, `pg_hba.conf` and similar files by those
    /// of the new primary. Here the data directory keeps its own.
    ///
    /// # Errors
    ///
    /// Fails if the installation does not have `pg_rewind`, the cluster has neither checksums nor
    /// `wal_log_hints`, or the server cannot be stopped; nothing is changed then. Also fails if
    /// `pg_rewind` fails, for example because WAL that it needs was removed. Some files may have
    /// changed then: the cluster must not be started before another rewind has succeeded.
    pub fn rewind_to(
        &self,
        new_primary: &ConnectionInfo,
        options: &RewindOptions,
    ) -> Result<(), ReplicationError> {
        self.rewind(new_primary, options)
            .map_err(|kind| ReplicationError::new("rewind", self.data_directory(), kind))
    }

    fn rewind(
        &self,
        new_primary: &ConnectionInfo,
        options: &RewindOptions,
    ) -> Result<(), ReplicationErrorKind> {
        let upstream = match new_primary.database() {
            Some(_) => new_primary.clone(),
            None => new_primary.clone().with_database("postgres"),
        };
        let follow = Follow {
            upstream: &upstream,
            application_name: options.application_name.as_deref(),
            slot: options.slot.as_deref(),
        };
        if let Some(problem) = follow.problem() {
            return Err(ReplicationErrorKind::Option(problem));
        }
        let program = self
            .english_command(Program::PgRewind)
            .map_err(ReplicationErrorKind::MissingProgram)?;
        let control = self
            .control_data()
            .map_err(ReplicationErrorKind::ControlData)?;
        if control.wal_log_hints == Some(false) && control.data_checksums == Some(false) {
            return Err(ReplicationErrorKind::NotRewindable);
        }
        if self.is_running().map_err(ReplicationErrorKind::Find)? {
            self.stop(&options.stop)
                .map_err(ReplicationErrorKind::Stop)?;
        }
        self.recover_alone(options.timeout)?;
        let at = |name: &str| {
            let path = self.data_directory().join(name);
            |error| ReplicationErrorKind::File(path, error)
        };
        let held = Directory::open(self.data_directory()).map_err(at(""))?;
        let mut own = Vec::new();
        for name in OWN_FILES {
            let content = read(&held, name).map_err(at(name))?;
            own.extend(content.map(|content| (name, content)));
        }
        follow.write_passfile(&held).map_err(at(""))?;
        let conninfo = follow.conninfo(self.data_directory(), "10");
        self.checkpoint_source(&conninfo, options.timeout);
        program
            .arg(format!("--target-pgdata={}", self.data_directory()))
            .arg(format!("--source-server={conninfo}"))
            .run(options.timeout)
            .map_err(ReplicationErrorKind::Program)?;
        for (name, content) in own {
            write(&held, name, &content).map_err(at(name))?;
        }
        let major = self.installation().version().major();
        follow
            .write(&held, self.data_directory(), major)
            .map_err(at(""))
    }

    /// Up to PostgreSQL 15 `pg_rewind` takes the timeline of the new primary from its control file.
    /// Until the first checkpoint after the promotion the file has the previous timeline, and
    /// `pg_rewind` would report that no rewind is required. If the user may not run `CHECKPOINT`,
    /// the caller has to ensure that checkpoint.
    fn checkpoint_source(&self, conninfo: &str, timeout: Duration) {
        if self.installation().version().major() >= 16 {
            return;
        }
        if let Ok(psql) = self.english_command(Program::Psql) {
            let _ = psql
                .args(["--no-psqlrc", "--no-password", "--command=CHECKPOINT"])
                .arg(format!("--dbname={conninfo}"))
                .run(timeout);
        }
    }

    /// Has a server that crashed recover, and shut down: `pg_rewind` refuses it otherwise, and up
    /// to PostgreSQL 12 does not do so itself. A standby cannot be served by one process.
    fn recover_alone(&self, timeout: Duration) -> Result<(), ReplicationErrorKind> {
        let control = self
            .control_data()
            .map_err(ReplicationErrorKind::ControlData)?;
        let is_clean = matches!(
            control.state,
            ControlState::ShutDown | ControlState::ShutDownInRecovery
        );
        let has = |name: &str| Utf8PathBuf::from(self.data_directory()).join(name).exists();
        if is_clean || has(STANDBY_SIGNAL) || has(RECOVERY_CONF) {
            return Ok(());
        }
        let hints = match control.wal_log_hints {
            Some(true) => "wal_log_hints=on",
            _ => "wal_log_hints=off",
        };
        self.english_command(Program::Postgres)
            .map_err(ReplicationErrorKind::MissingProgram)?
            .args(["--single", "-F", "-D", self.data_directory().as_str()])
            .args(["-c", "lc_messages=C", "-c", "logging_collector=off"])
            // It may have been set for that start only, and the control file has the value of the
            // last start.
            .args(["-c", hints, "-c", "synchronous_standby_names=", "template1"])
            .run(timeout)
            .map_err(ReplicationErrorKind::Program)?;
        Ok(())
    }
}
