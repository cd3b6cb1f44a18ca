//! What a running server can be told: reload, promote, rotate its log, restart.

use std::borrow::Cow;
use std::time::Duration;

use camino::Utf8PathBuf;
use pg_proc::{Deadline, FindError, Pid, Postmaster, SignalError, Status, WaitError};

use crate::state::Occupant;
use crate::stop::Escalation;
use crate::{
    Cluster, ConfigurationProblem, ControlData, ControlDataError, ControlState, StartError,
    StartOptions, Started, StopError,
};

/// A running server could not be told something.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} the server of {data_directory}")]
#[non_exhaustive]
pub struct ControlError {
    /// What was to be done: `reload`, `promote`...
    pub action: &'static str,
    /// The cluster's data directory.
    pub data_directory: Utf8PathBuf,
    /// The cause.
    #[source]
    pub kind: ControlErrorKind,
}

/// Why a running server could not be told something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlErrorKind {
    /// There is no server.
    #[error("there is no server")]
    NotRunning,
    /// It cannot be found out whether there is one.
    #[error("it cannot be found out about")]
    Find(#[source] FindError),
    /// A single-user process, or a process of another user, holds the directory.
    #[error("process {0} holds the data directory and is no server that could be told")]
    Held(Pid),
    /// The signal, or the file that goes with it, could not be delivered.
    #[error("it cannot be signalled")]
    Signal(#[source] SignalError),
    /// The caller's query failed.
    #[error("it cannot be asked")]
    Query(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer to a query is none that a server would give.
    #[error("its answer makes no sense: {0}")]
    Answer(String),
    /// Only a standby can be promoted.
    #[error("it is no standby: its control file says `{}`", .0.as_str())]
    NotStandby(ControlState),
    /// The control file does not tell whether it is a standby.
    #[error("it cannot be found out whether it is a standby")]
    ControlData(#[source] ControlDataError),
    /// It has no log collector with files, or cannot be told to begin a new one (before PostgreSQL
    /// 12).
    #[error("it has no log file that it could rotate on request")]
    NoLogCollector,
    /// It has ended meanwhile, or the time was over.
    #[error("it did not become the primary")]
    Wait(#[source] WaitError),
}

impl ControlError {
    /// What may help, where something is known.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.kind {
            ControlErrorKind::NotRunning => Some("`Cluster::start` starts one".into()),
            ControlErrorKind::Signal(error) => error.hint(),
            ControlErrorKind::NoLogCollector => Some(
                "the setting `logging_collector` turns it on at the next start; before PostgreSQL 12 the function \
                 `pg_rotate_logfile` rotates"
                    .into(),
            ),
            _ => None,
        }
    }
}

/// A server could not be restarted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError {
    /// It did not stop; it still runs.
    #[error("failed to restart: the server did not stop")]
    Stop(#[source] StopError),
    /// It stopped, and did not start again.
    #[error("failed to restart: the server did not start again")]
    Start(#[source] StartError),
}

impl RestartError {
    /// What may help, where something is known.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Stop(error) => error.hint(),
            Self::Start(error) => error.hint(),
        }
    }
}

/// What a server made of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// What the server rejects. If this is not empty, settings with a problem have not changed, the
    /// others have.
    pub problems: Vec<ConfigurationProblem>,
    /// Settings that have new values in the files, which the server will use after its next start.
    pub pending_restart: Vec<String>,
}

impl Cluster {
    /// Makes the server read its configuration files again: SIGHUP. Returns at once, with the PID
    /// of the server.
    ///
    /// # Errors
    ///
    /// If there is no server or it cannot be signalled.
    pub fn reload(&self) -> Result<Pid, ControlError> {
        let action = "reload";
        self.tell(action, |postmaster| {
            postmaster
                .send(pg_proc::Signal::Reload)
                .map_err(|error| self.signal_error(action, error))
        })
    }

    /// Makes the server read its configuration files again, waits until it has done so, and asks it
    /// what it made of them.
    ///
    /// Only the server knows, and it tells only clients; so `query` has to run a statement as a
    /// superuser, by whatever client the caller uses, and return the rows as text. The statements
    /// end a transaction and begin none.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster, client: &mut postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use postgres::SimpleQueryMessage::Row;
    ///
    /// let outcome = cluster.reload_and_verify(|sql| {
    ///     let messages = client.simple_query(sql)?;
    ///     let rows = messages.iter().filter_map(|message| match message {
    ///         Row(row) => Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect()),
    ///         _ => None,
    ///     });
    ///     Ok::<_, postgres::Error>(rows.collect())
    /// })?;
    /// assert!(outcome.problems.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no server, it cannot be signalled, or a query fails; or if the server does not
    /// say within ten seconds that it has read its files.
    pub fn reload_and_verify<E>(
        &self,
        mut query: impl FnMut(&str) -> Result<Vec<Vec<Option<String>>>, E>,
    ) -> Result<Reloaded, ControlError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let failed = |kind| self.control_error("reload", kind);
        let mut ask =
            |sql: &str| query(sql).map_err(|error| failed(ControlErrorKind::Query(error.into())));
        // This view reads the files anew, each time.
        let rows = ask(
            "SELECT sourcefile, sourceline, name, error, applied FROM pg_catalog.pg_file_settings ORDER BY seqno",
        )?;
        let before = ask(LOAD_TIME)?;
        self.reload()?;
        // With a syntax error or an unknown name anywhere, nothing is applied, and no load time is
        // recorded.
        let refused = rows.iter().all(|row| column(row, 4) != Some("t"));
        // The session that is asked learns of the reload from the postmaster, some milliseconds
        // later.
        let deadline = Deadline::after(Duration::from_secs(10));
        while !refused && ask(LOAD_TIME)? == before {
            if deadline.is_over() {
                let text = "no reload was seen within ten seconds".to_owned();
                return Err(failed(ControlErrorKind::Answer(text)));
            }
            ask("SELECT pg_catalog.pg_sleep(0.002)")?;
        }
        let pending =
            ask("SELECT name FROM pg_catalog.pg_settings WHERE pending_restart ORDER BY name")?;
        let pending_restart: Vec<String> = pending
            .iter()
            .filter_map(|row| column(row, 0))
            .map(str::to_owned)
            .collect();
        // What waits for a restart is listed as "could not be applied", like a bad value.
        let waits = |row: &Vec<_>| {
            let name = column(row, 2);
            pending_restart
                .iter()
                .any(|pending| Some(pending.as_str()) == name)
        };
        let problems = rows
            .iter()
            .filter(|row| !waits(row))
            .filter_map(|row| problem(row))
            .collect();
        Ok(Reloaded {
            problems,
            pending_restart,
        })
    }

    /// Makes a standby the primary. Returns at once;
    /// [`wait_until_promoted`](Self::wait_until_promoted) can follow.
    ///
    /// # Errors
    ///
    /// If there is no server, it is no standby (as `global/pg_control` says, which is what `pg_ctl
    /// promote` goes by), or it cannot be told.
    pub fn promote(&self) -> Result<Pid, ControlError> {
        let action = "promote";
        self.tell(action, |postmaster| {
            let failed = |kind| self.control_error(action, kind);
            match self.control_state() {
                Ok(ControlState::ArchiveRecovery) => postmaster
                    .promote()
                    .map_err(|error| self.signal_error(action, error)),
                Ok(state) => Err(failed(ControlErrorKind::NotStandby(state))),
                Err(error) => Err(failed(ControlErrorKind::ControlData(error))),
            }
        })
    }

    /// Waits until a standby that was [promoted](Self::promote) is the primary and can be written
    /// to. A server that is none is not waited for.
    ///
    /// # Errors
    ///
    /// A timeout; as soon as the server ends; at once if there is none.
    pub fn wait_until_promoted(&self, timeout: Duration) -> Result<Pid, ControlError> {
        let action = "wait for the promotion of";
        self.tell(action, |postmaster| {
            let is_primary = || {
                matches!(self.control_state(), Ok(ControlState::InProduction))
                    && postmaster.status().ok().flatten() == Some(Status::Ready)
            };
            postmaster
                .wait_until(is_primary, timeout)
                .map_err(|error| self.control_error(action, ControlErrorKind::Wait(error)))
        })
    }

    /// Makes the server's log collector begin a new file: PostgreSQL 12 and later, with
    /// `logging_collector`. Returns at once.
    ///
    /// # Errors
    ///
    /// If there is no server, it has no log collector that could be told, or it cannot be
    /// signalled.
    pub fn rotate_log(&self) -> Result<Pid, ControlError> {
        let action = "rotate the log of";
        self.tell(action, |postmaster| {
            // The collector lists its files here as long as it has any
            // (src/backend/postmaster/syslogger.c).
            let collects = self.data_directory().join("current_logfiles").exists();
            if !collects || self.installation().major_version().first() < 12 {
                return Err(self.control_error(action, ControlErrorKind::NoLogCollector));
            }
            postmaster
                .rotate_log()
                .map_err(|error| self.signal_error(action, error))
        })
    }

    /// Stops the server as the escalation says, waits until nothing is left of it, and starts it
    /// again. A cluster without a server is started.
    ///
    /// It is a new server, with these options and no others: what the old one was given on its
    /// command line (port, socket directory) is forgotten, which `pg_ctl restart` would repeat.
    /// Unless the options say [detached](crate::Ownership::Detached), it ends with this program,
    /// even if the old one belonged to somebody else.
    ///
    /// # Errors
    ///
    /// If it does not stop, or does not start again.
    pub fn restart(
        &self,
        escalation: &Escalation,
        options: &StartOptions,
    ) -> Result<Started, RestartError> {
        self.stop_and_wait(escalation).map_err(RestartError::Stop)?;
        self.start(options).map_err(RestartError::Start)
    }

    fn tell(
        &self,
        action: &'static str,
        tell: impl FnOnce(&Postmaster) -> Result<(), ControlError>,
    ) -> Result<Pid, ControlError> {
        let failed = |kind| self.control_error(action, kind);
        let postmaster = match self
            .occupant()
            .map_err(|error| failed(ControlErrorKind::Find(error)))?
        {
            Occupant::Server(postmaster) => postmaster,
            Occupant::Nobody => return Err(failed(ControlErrorKind::NotRunning)),
            Occupant::SingleUser(pid) | Occupant::OtherUsers(pid) => {
                return Err(failed(ControlErrorKind::Held(pid)));
            }
        };
        tell(&postmaster)?;
        Ok(postmaster.pid())
    }

    fn control_state(&self) -> Result<ControlState, ControlDataError> {
        ControlData::read(self.data_directory())
            .map(|data| data.state)
            .map_err(|kind| ControlDataError {
                data_directory: self.data_directory().to_owned(),
                kind,
            })
    }

    fn signal_error(&self, action: &'static str, error: SignalError) -> ControlError {
        let kind = if error.is_gone() {
            ControlErrorKind::NotRunning
        } else {
            ControlErrorKind::Signal(error)
        };
        self.control_error(action, kind)
    }

    fn control_error(&self, action: &'static str, kind: ControlErrorKind) -> ControlError {
        ControlError {
            action,
            data_directory: self.data_directory().to_owned(),
            kind,
        }
    }
}

const LOAD_TIME: &str = "SELECT pg_catalog.pg_conf_load_time()";

fn column(row: &[Option<String>], n: usize) -> Option<&str> {
    row.get(n)?.as_deref()
}

fn problem(row: &[Option<String>]) -> Option<ConfigurationProblem> {
    let error = column(row, 3)?;
    Some(ConfigurationProblem {
        file: column(row, 0).map(Utf8PathBuf::from),
        line: column(row, 1).and_then(|line| line.parse().ok()),
        message: match column(row, 2) {
            Some(name) => format!("{name}: {error}"),
            None => error.to_owned(),
        },
        ..ConfigurationProblem::default()
    })
}
