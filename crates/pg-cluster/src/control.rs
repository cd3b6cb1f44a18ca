//! Operations on a running server: reload, promote, rotate its log, restart.

use std::error::Error;
use std::time::Duration;

use camino::Utf8PathBuf;
use pg_proc::{
    CollectedLog, ConfigurationProblem, ControlData, ControlDataError, ControlState, Deadline, Pid,
    Postmaster, Signal, SignalError, Status, StopPlan,
};

use crate::Cluster;
use crate::control_error::{ControlError, ControlErrorKind};
use crate::start::{StartError, StartErrorKind, StartOptions, Started};
use crate::state::Occupant;

/// The outcome of [`Cluster::reload_and_verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// The problems for which the server rejects settings. A setting with a problem has not
    /// changed; the others have.
    pub problems: Vec<ConfigurationProblem>,
    /// The settings whose new values take effect at the next start.
    pub pending_restart: Vec<String>,
}

impl Cluster {
    /// Makes the server read its configuration files again, with SIGHUP. Returns its process ID at
    /// once.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// cluster.settings().set("work_mem", "64MB")?;
    /// cluster.reload()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if no server is running or the server cannot be signalled.
    pub fn reload(&self) -> Result<Pid, ControlError> {
        let action = "reload";
        self.tell(action, |postmaster| {
            postmaster
                .send(Signal::Reload)
                .map_err(|error| self.signal_error(action, error))
        })
    }

    /// Makes the server read its configuration files again, waits until it has done so, and
    /// returns the problems that it found.
    ///
    /// The server reports them only to clients. So `query` has to run a statement as a superuser,
    /// with any client, and return the rows as text. The statements must not run inside a
    /// transaction.
    ///
    /// ```no_run
    /// # use std::error::Error;
    /// # use pg_cluster::Cluster;
    /// # use postgres::Client;
    /// # fn example(cluster: &Cluster, client: &mut Client) -> Result<(), Box<dyn Error>> {
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
    /// Fails if no server is running, the server cannot be signalled, a query fails, or the server
    /// has not read its files within ten seconds.
    pub fn reload_and_verify<E>(
        &self,
        mut query: impl FnMut(&str) -> Result<Vec<Vec<Option<String>>>, E>,
    ) -> Result<Reloaded, ControlError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let failed = |kind| self.control_error("reload", kind);
        let mut ask =
            |sql: &str| query(sql).map_err(|error| failed(ControlErrorKind::Query(error.into())));
        // This view reads the files again each time.
        let rows = ask("SELECT sourcefile, sourceline, name, error, applied \
             FROM pg_catalog.pg_file_settings ORDER BY seqno")?;
        let before = ask(LOAD_TIME)?;
        self.reload()?;
        // After a syntax error or an unknown name anywhere, the server applies nothing and records
        // no load time.
        let refused = rows.iter().all(|row| column(row, 4) != Some("t"));
        // The postmaster notifies the session of the caller some milliseconds later.
        let deadline = Deadline::after(RELOAD_TIMEOUT);
        while !refused && ask(LOAD_TIME)? == before {
            if deadline.is_over() {
                return Err(failed(ControlErrorKind::NotReloaded(RELOAD_TIMEOUT)));
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
        // A setting that waits for a restart is listed as "could not be applied", like a bad value.
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

    /// Promotes a standby to a primary. Returns its process ID at once;
    /// [`wait_until_promoted`](Self::wait_until_promoted) can follow.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// cluster.promote()?;
    /// cluster.wait_until_promoted(Duration::from_secs(60))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if no server is running, the server cannot be signalled, or it is not a standby by the
    /// state in `global/pg_control`, which `pg_ctl promote` uses too.
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

    /// Waits until a standby that was [promoted](Self::promote) is a primary and accepts writes.
    /// Returns at once for a server that is already a primary.
    ///
    /// # Errors
    ///
    /// Fails if the wait times out, or no server is running or the server exits.
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

    /// Makes the log collector of the server begin a new file: PostgreSQL 12 and later, with
    /// `logging_collector`. Returns the process ID of the server at once.
    ///
    /// # Errors
    ///
    /// Fails if no server is running, the server cannot be signalled, or it has no log collector
    /// that writes files.
    pub fn rotate_log(&self) -> Result<Pid, ControlError> {
        let action = "rotate the log of";
        self.tell(action, |postmaster| {
            let collects = CollectedLog::find(self.data_directory()).is_some();
            if !collects || self.installation().major_version().first() < 12 {
                return Err(self.control_error(action, ControlErrorKind::NoLogCollector));
            }
            postmaster
                .rotate_log()
                .map_err(|error| self.signal_error(action, error))
        })
    }

    /// Stops the server by the plan, waits until all its processes have exited, and starts it
    /// again. If no server is running, this only starts one.
    ///
    /// The new server has only these options. The settings on the command line of the old one
    /// (port, socket directory) are not repeated, unlike with `pg_ctl restart`. Unless the options
    /// say [detached](crate::Ownership::Detached), the new server is bound to this program, even if
    /// another program started the old one.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use pg_cluster::{StartOptions, StopPlan};
    ///
    /// cluster.restart(&StopPlan::fast(), &StartOptions::new().port(5433))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the server does not stop ([`StartErrorKind::Stop`]), or does not start again.
    pub fn restart(&self, plan: &StopPlan, options: &StartOptions) -> Result<Started, StartError> {
        self.stop(plan)
            .map_err(|error| StartError::new(self.data_directory(), StartErrorKind::Stop(error)))?;
        self.start(options)
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
            Occupant::NoProcess => return Err(failed(ControlErrorKind::NotRunning)),
            Occupant::SingleUser(pid) | Occupant::Unknown(pid) => {
                return Err(failed(ControlErrorKind::Held(pid)));
            }
        };
        tell(&postmaster)?;
        Ok(postmaster.pid())
    }

    fn control_state(&self) -> Result<ControlState, ControlDataError> {
        Ok(ControlData::read(self.data_directory())?.state)
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
        ControlError::new(action, self.data_directory(), kind)
    }
}

const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);
const LOAD_TIME: &str = "SELECT pg_catalog.pg_conf_load_time()";

fn column(row: &[Option<String>], n: usize) -> Option<&str> {
    row.get(n)?.as_deref()
}

fn problem(row: &[Option<String>]) -> Option<ConfigurationProblem> {
    let error = column(row, 3)?;
    let message = match column(row, 2) {
        Some(name) => format!("{name}: {error}"),
        None => error.to_owned(),
    };
    let line = column(row, 1).and_then(|line| line.parse().ok());
    let file = column(row, 0).map(Utf8PathBuf::from);
    Some(ConfigurationProblem::new(message).at(file, line))
}
