//! A member of a replica set.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use pg_cluster::conf::Document;
use pg_cluster::{ControlData, Lsn, ReplicationErrorKind, ReplicationRole, StartOptions, StopPlan};

use super::error::{ReplicaError, ReplicaErrorKind};
use super::launch::{STREAMING, make_standby, write};
use super::link::Link;
use crate::sql::{Rows, Session, SqlError};
use crate::temp_cluster::TempCluster;

/// A member of a [`ReplicaSet`](crate::ReplicaSet): the primary or a standby.
///
/// It is a [`TempCluster`], and can be used as one. [`cluster`](TempCluster::cluster) kills and
/// stops its server; [`start`](Self::start) starts it again with the options that it had.
#[derive(Debug)]
pub struct Replica {
    /// The connection to the server that it follows. Ends before the server does.
    link: Link,
    name: String,
    session: Mutex<Option<Session>>,
    /// As a primary, and as a standby.
    options: [StartOptions; 2],
    conninfo: String,
    /// The data directory of the server that it follows.
    follows: Mutex<Option<Utf8PathBuf>>,
    temp: TempCluster,
}

impl Deref for Replica {
    type Target = TempCluster;

    fn deref(&self) -> &TempCluster {
        &self.temp
    }
}

/// The time limit of a statement of this module.
const STATEMENT: Duration = Duration::from_secs(60);
/// The time without new WAL after which the reason is determined.
const SILENCE: Duration = Duration::from_millis(200);

const POSITION: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
                        ELSE pg_current_wal_lsn() END";

impl Replica {
    pub(super) fn new(
        name: String,
        temp: TempCluster,
        link: Link,
        options: [StartOptions; 2],
        conninfo: String,
    ) -> Self {
        Self {
            link,
            name,
            session: Mutex::new(None),
            options,
            conninfo,
            follows: Mutex::new(None),
            temp,
        }
    }

    /// The name by which the server that it follows knows it (`application_name`): `standby1`,
    /// `standby2`..., and `primary` for the one that was the primary first.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The position up to which the primary has written, or a standby has replayed.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub fn lsn(&self) -> Result<Lsn, ReplicaError> {
        let failed = |kind| self.error("ask for the position of", kind);
        let rows = self.run(POSITION).map_err(&failed)?;
        let text = rows.into_iter().flatten().flatten().next();
        text.unwrap_or_default()
            .parse()
            .map_err(|error: pg_proc::ParseLsnError| failed(ReplicaErrorKind::Sql(error.into())))
    }

    /// Waits until the standby has replayed the position, and returns the position that it has
    /// reached. Queries on the standby then see all transactions that were committed on the primary
    /// before its [`lsn`](Self::lsn) was queried.
    ///
    /// A server does not notify clients of its replay. This method therefore queries the position
    /// every millisecond, over one connection that stays open.
    ///
    /// # Errors
    ///
    /// Fails if the wait times out. Fails within about a second if the standby lacks the WAL and
    /// cannot get it. The error gives the reason: the standby is
    /// [disconnected](Self::disconnect), or the server that it follows does not run, refuses the
    /// connection, or has another system identifier. The log of the standby is read only if none of
    /// these reasons applies.
    pub fn wait_for(&self, lsn: Lsn, timeout: Duration) -> Result<Lsn, ReplicaError> {
        let begun = Instant::now();
        let wait = |limit: Duration| {
            let query = |sql: &str| self.query(sql);
            self.cluster().wait_for_replay(lsn, query, limit)
        };
        let failed = |kind| self.error("wait for", kind);
        let first = wait(timeout.min(SILENCE));
        let lacks_wal = match &first {
            Ok(reached) => return Ok(*reached),
            Err(error) => match error.kind() {
                ReplicationErrorKind::NotReplayed { received, .. } => *received < Some(lsn),
                ReplicationErrorKind::NotFollowing(_) => true,
                _ => false,
            },
        };
        if lacks_wal && let Some(fact) = self.fact().map_err(&failed)? {
            return Err(failed(fact));
        }
        let left = timeout.saturating_sub(begun.elapsed());
        match first {
            Err(error) if left.is_zero() => Err(failed(ReplicaErrorKind::Replication(error))),
            Err(error) if !lacks_wal && !error.is_timeout() => {
                Err(failed(ReplicaErrorKind::Replication(error)))
            }
            _ => wait(left).map_err(|error| failed(ReplicaErrorKind::Replication(error))),
        }
    }

    /// Returns why the standby gets no WAL, if that is known without its log.
    fn fact(&self) -> Result<Option<ReplicaErrorKind>, ReplicaErrorKind> {
        let follows = self.follows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = &*follows {
            let read = |directory| {
                let data = ControlData::read(directory).map_err(ReplicaErrorKind::ControlData)?;
                Ok(data.system_identifier)
            };
            let (own, other) = (read(self.cluster().data_directory())?, read(directory)?);
            if own != other {
                return Ok(Some(ReplicaErrorKind::SystemIdentifier { own, other }));
            }
        }
        Ok(self.link.problem())
    }

    /// Waits until the standby receives WAL from the server that it follows.
    ///
    /// # Errors
    ///
    /// Fails if the wait times out, with the reason if it is known.
    pub fn wait_streaming(&self, timeout: Duration) -> Result<(), ReplicaError> {
        let waited = self.link.wait_streaming(timeout);
        waited.map_err(|kind| self.error("wait for the stream of", kind))
    }

    /// Stops the replay of a standby, which goes on receiving: what reads from it sees an old state
    /// until [`resume_replay`](Self::resume_replay).
    ///
    /// # Errors
    ///
    /// If the server does not answer, or is not a standby.
    pub fn pause_replay(&self) -> Result<(), ReplicaError> {
        let failed = |kind| self.error("pause the replay of", kind);
        self.run("SELECT pg_wal_replay_pause()").map_err(&failed)?;
        // Up to PostgreSQL 13 nothing says when the request has been obeyed; replay of a record
        // that has begun is finished.
        if self.major() >= 14 {
            let begun = Instant::now();
            let state = "SELECT pg_get_wal_replay_pause_state()";
            let is_paused = |rows: Rows| rows == [[Some("paused".to_owned())]];
            while !is_paused(self.run(state).map_err(&failed)?) {
                if begun.elapsed() > STATEMENT {
                    return Err(failed(ReplicaErrorKind::NotStreaming(STATEMENT)));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Lets a standby replay again.
    ///
    /// # Errors
    ///
    /// Fails as [`pause_replay`](Self::pause_replay) does.
    pub fn resume_replay(&self) -> Result<(), ReplicaError> {
        let resumed = self.run("SELECT pg_wal_replay_resume()");
        resumed
            .map(|_| ())
            .map_err(|kind| self.error("resume the replay of", kind))
    }

    /// Delays the replay of each commit by this time (`recovery_min_apply_delay`); zero means no
    /// delay. Before PostgreSQL 12 this restarts the server.
    ///
    /// # Errors
    ///
    /// Fails if the setting cannot be changed, or if the server does not apply it.
    pub fn lag_by(&self, delay: Duration) -> Result<(), ReplicaError> {
        const SETTING: &str = "recovery_min_apply_delay";
        let failed = |kind| self.error("delay the replay of", kind);
        let value = format!("{}ms", delay.as_millis());
        if self.major() >= 12 {
            let settings = self.cluster().settings();
            let written = settings.set(SETTING, value);
            written.map_err(|error| failed(ReplicaErrorKind::Settings(error)))?;
            let reloaded = self.cluster().reload();
            return reloaded
                .map(|_| ())
                .map_err(|error| failed(ReplicaErrorKind::Control(error)));
        }
        let path = self.cluster().data_directory().join("recovery.conf");
        let file = |error| failed(ReplicaErrorKind::File(path.clone(), error));
        let text = pg_proc::open_regular_file(&path)
            .and_then(|file| pg_proc::read_all(&file, 1 << 20))
            .map_err(file)?;
        let mut recovery = Document::parse(text);
        recovery
            .set(SETTING, value)
            .map_err(|error| file(std::io::Error::other(error)))?;
        write(self.cluster(), "recovery.conf", recovery.as_bytes()).map_err(file)?;
        self.restart()
    }

    /// Disconnects the standby from the server that it follows, as a broken network does. No data
    /// gets through in either direction, and the connection is not closed. Both servers notice when
    /// their timeouts expire (`wal_receiver_timeout`, `wal_sender_timeout`: a minute).
    pub fn disconnect(&self) {
        self.link.close();
    }

    /// Ends the effect of [`disconnect`](Self::disconnect). The data that was held back is
    /// delivered first, so the connection continues unless a server has closed it.
    pub fn reconnect(&self) {
        self.link.reopen();
    }

    /// Returns whether the standby is disconnected.
    pub fn is_disconnected(&self) -> bool {
        !self.link.is_open()
    }

    /// Has the standby follow another server from now on: another member, or any temporary cluster.
    /// Its connection is cut; [`wait_streaming`](Self::wait_streaming) can follow.
    pub fn follow(&self, server: &TempCluster) {
        self.note_followed(server);
        self.link.lead_to(socket_of(server));
    }

    pub(super) fn note_followed(&self, server: &TempCluster) {
        let directory = server.cluster().data_directory().to_owned();
        *self.follows.lock().unwrap_or_else(PoisonError::into_inner) = Some(directory);
    }

    pub(super) fn follows(&self, server: &TempCluster) -> bool {
        let follows = self.follows.lock().unwrap_or_else(PoisonError::into_inner);
        follows.as_deref() == Some(server.cluster().data_directory())
    }

    /// Starts its server again after it was stopped or killed, with the options that it had, and
    /// waits until it is ready. A standby may not stream yet.
    ///
    /// # Errors
    ///
    /// If the server does not start.
    pub fn start(&self) -> Result<(), ReplicaError> {
        let failed = |kind| self.error("start", kind);
        let role = self.cluster().replication_role();
        let role = role.map_err(|error| failed(ReplicaErrorKind::Replication(error)))?;
        let [primary, standby] = &self.options;
        let options = match role {
            ReplicationRole::Primary => primary,
            _ => standby,
        };
        let started = self.cluster().start(options);
        started
            .map(|_| ())
            .map_err(|error| failed(ReplicaErrorKind::Start(error)))
    }

    /// Stops its server in order, if it runs, and starts it again.
    ///
    /// # Errors
    ///
    /// If it does not stop, or does not start.
    pub fn restart(&self) -> Result<(), ReplicaError> {
        self.stop(&StopPlan::escalating())?;
        self.start()
    }

    pub(super) fn stop(&self, plan: &StopPlan) -> Result<(), ReplicaError> {
        let stopped = self.cluster().stop(plan);
        stopped
            .map(|_| ())
            .map_err(|error| self.error("stop", ReplicaErrorKind::Control(error)))
    }

    /// Makes the stopped cluster a standby of the server that the link leads to, and starts it.
    pub(super) fn start_as_standby(&self) -> Result<(), ReplicaError> {
        let made = make_standby(self.cluster(), &self.conninfo);
        let path = self.cluster().data_directory().to_owned();
        made.map_err(|error| self.error("start", ReplicaErrorKind::File(path, error)))?;
        self.start()?;
        self.wait_streaming(STREAMING)
    }

    pub(super) fn socket(&self) -> Utf8PathBuf {
        socket_of(&self.temp)
    }

    pub(super) fn error(&self, action: &'static str, kind: ReplicaErrorKind) -> ReplicaError {
        ReplicaError::new(action, &self.name, kind)
    }

    fn major(&self) -> u16 {
        self.cluster().installation().version().major()
    }

    fn run(&self, sql: &str) -> Result<Rows, ReplicaErrorKind> {
        self.query(sql)
            .map_err(|error| ReplicaErrorKind::Sql(error.into()))
    }

    /// Runs a statement in the session of this replica, in a new one if the server has ended it.
    fn query(&self, sql: &str) -> Result<Rows, SqlError> {
        let mut slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        // A forked process leaves its parent's session alone.
        if let Some(session) = slot.as_mut().filter(|session| session.is_own()) {
            match session.run(sql) {
                // `idle_session_timeout`, a restart, a crash of another backend.
                Err(error) if error.ends_session() => {}
                outcome => return outcome,
            }
        }
        let user = self.connection_info().user().unwrap_or("postgres");
        let (directory, port) = (self.socket_directory(), self.port());
        *slot = None;
        let session = Session::open(directory, port, user, "postgres", STATEMENT)?;
        slot.insert(session).run(sql)
    }
}

/// The Unix socket of a server.
pub(super) fn socket_of(temp: &TempCluster) -> Utf8PathBuf {
    let name = format!(".s.PGSQL.{}", temp.port());
    temp.socket_directory().join(name)
}
