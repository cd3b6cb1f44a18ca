//! Stopping a server.

use std::time::{Duration, Instant};

use camino::Utf8Path;
use pg_proc::{Deadline, Orphans, Pid, Postmaster, Signal, StopPlan, WaitError, WaitErrorKind};

use crate::Cluster;
use crate::control_error::{ControlError, ControlErrorKind};
use crate::state::{AnyPostmaster, Occupant};

/// The outcome of [`Cluster::stop`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// No server was running.
    NotRunning,
    /// The server has exited.
    By {
        /// The signal of the step after which it exited: the gentlest that was enough.
        signal: Signal,
        /// Its process ID.
        pid: Pid,
        /// The time from the first step until nothing of the server was left.
        took: Duration,
    },
}

impl Stopped {
    /// The process ID of the server; none if no server was running.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::NotRunning => None,
            Self::By { pid, .. } => Some(*pid),
        }
    }
}

impl Cluster {
    /// Stops the server by the steps of the plan, and waits until all its processes have exited.
    ///
    /// Child processes left behind by a crashed postmaster are killed, whatever the steps are:
    /// without their postmaster they cannot shut down properly. After SIGKILL the shared memory of
    /// the server is released, so that the next start can follow at once.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use pg_cluster::{Signal, StopPlan, Stopped};
    ///
    /// let plan = StopPlan::new(Signal::Smart, Duration::from_secs(5))
    ///     .then(Signal::Fast, Duration::from_secs(30));
    /// if let Stopped::By { signal, .. } = cluster.stop(&plan)? {
    ///     println!("stopped by {signal}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the state of the data directory cannot be determined, the server may not be
    /// signalled, or it still runs after the last step.
    ///
    /// # Races
    ///
    /// A signal reaches the identified server or no process: see
    /// [`Postmaster`](pg_proc::Postmaster).
    pub fn stop(&self, plan: &StopPlan) -> Result<Stopped, ControlError> {
        if let Some(postmaster) = self.to_be_stopped()? {
            return self.carry_out(plan, &postmaster);
        }
        self.end_orphans(|orphans| orphans.kill(plan.duration()))?;
        if plan.kills() {
            release(self.data_directory());
        }
        Ok(Stopped::NotRunning)
    }

    /// Kills the server, as [`stop`](Self::stop) with [`StopPlan::kill`], and returns its process
    /// ID; none if no server was running. The next start recovers from the write-ahead log.
    ///
    /// # Errors
    ///
    /// Fails as [`stop`](Self::stop) does.
    pub fn kill(&self) -> Result<Option<Pid>, ControlError> {
        Ok(self.stop(&StopPlan::kill())?.pid())
    }

    /// Sends a signal to the server, and returns its process ID at once; none if no server is
    /// running. [`stop`](Self::stop) also waits until the server has exited.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use pg_cluster::Signal;
    ///
    /// if cluster.signal(Signal::Smart)?.is_some() {
    ///     cluster.wait_until_stopped(Duration::from_secs(600))?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the state of the data directory cannot be determined, or the server may not be
    /// signalled.
    ///
    /// # Races
    ///
    /// The same as for [`stop`](Self::stop). The server takes a moment to act: a
    /// [`start`](Self::start) that follows may find it still running.
    pub fn signal(&self, signal: Signal) -> Result<Option<Pid>, ControlError> {
        let Some(postmaster) = self.to_be_stopped()? else {
            return Ok(None);
        };
        match postmaster.send(signal) {
            Ok(()) => Ok(Some(postmaster.pid())),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(self.not_stopped(ControlErrorKind::Signal(error))),
        }
    }

    /// Waits until no server is running and nothing of one is left.
    ///
    /// # Errors
    ///
    /// Fails if the wait times out, or the state of the data directory cannot be determined.
    pub fn wait_until_stopped(&self, timeout: Duration) -> Result<(), ControlError> {
        let Some(postmaster) = self.to_be_stopped()? else {
            return self.end_orphans(|orphans| orphans.wait_gone(timeout));
        };
        let begun = Instant::now();
        postmaster
            .wait_gone(Deadline::after(timeout))
            .map_err(|_| self.not_stopped(of_timeout(&postmaster, begun.elapsed())))?;
        self.wait_for_log_collector(postmaster.pid());
        Ok(())
    }

    /// Takes the steps of the plan until this server has exited.
    pub(crate) fn carry_out(
        &self,
        plan: &StopPlan,
        postmaster: &Postmaster,
    ) -> Result<Stopped, ControlError> {
        let (pid, begun) = (postmaster.pid(), Instant::now());
        for &(signal, timeout) in plan.steps() {
            let deadline = Deadline::after(timeout);
            let gone = if signal == Signal::Kill {
                postmaster.kill(deadline)
            } else {
                match postmaster.send(signal) {
                    Err(error) if !error.is_gone() => {
                        return Err(self.not_stopped(ControlErrorKind::Signal(error)));
                    }
                    _ => postmaster.wait_gone(deadline),
                }
            };
            match gone {
                Ok(()) => {
                    self.wait_for_log_collector(pid);
                    if signal == Signal::Kill {
                        release(self.data_directory());
                    }
                    let took = begun.elapsed();
                    return Ok(Stopped::By { signal, pid, took });
                }
                Err(error) if matches!(error.kind(), WaitErrorKind::TimedOut(_)) => {}
                Err(error) => return Err(self.not_stopped(ControlErrorKind::Kill(error))),
            }
        }
        Err(self.not_stopped(of_timeout(postmaster, begun.elapsed())))
    }

    /// Kills the child processes left behind by a crashed postmaster. If the directory does not
    /// exist, there are none.
    fn end_orphans(
        &self,
        end: impl FnOnce(Orphans) -> Result<(), WaitError>,
    ) -> Result<(), ControlError> {
        let Ok(orphans) = Orphans::find(self.data_directory()) else {
            return Ok(());
        };
        end(orphans).map_err(|error| {
            self.not_stopped(match error.kind() {
                WaitErrorKind::TimedOut(_) => ControlErrorKind::Timeout {
                    pid: error.pid(),
                    waited: error.waited(),
                    holders: Vec::new(),
                },
                _ => ControlErrorKind::Kill(error),
            })
        })
    }

    /// The log collector exits a moment after its postmaster. The collector of a server that
    /// another process has started cannot be waited for.
    fn wait_for_log_collector(&self, pid: Pid) {
        if let Some(own) = self.server().filter(|own| own.process.pid() == pid) {
            let _ = own.process.wait_gone(COLLECTOR_TIMEOUT);
        }
    }

    /// The server; an error if the process that holds the directory is not a postmaster.
    fn to_be_stopped(&self) -> Result<Option<AnyPostmaster>, ControlError> {
        match self.occupant() {
            Ok(Occupant::NoProcess) => Ok(None),
            Ok(Occupant::Server(postmaster)) => Ok(Some(postmaster)),
            Ok(Occupant::SingleUser(pid) | Occupant::Unknown(pid)) => {
                Err(self.not_stopped(ControlErrorKind::Held(pid)))
            }
            Err(error) => Err(self.not_stopped(ControlErrorKind::Find(error))),
        }
    }

    fn not_stopped(&self, kind: ControlErrorKind) -> ControlError {
        ControlError::new("stop", self.data_directory(), kind)
    }
}

const COLLECTOR_TIMEOUT: Duration = Duration::from_secs(1);

/// Releases the shared memory of a killed server. The next start would do so too, but there may be
/// none.
fn release(data_directory: &Utf8Path) {
    // The server may have shut down just before the signal, or another one may have been started.
    let _ = pg_proc::release_shared_memory(data_directory);
    let _ = pg_proc::remove_dead_socket(data_directory);
}

/// The reason why a server did not exit in time.
fn of_timeout(postmaster: &Postmaster, waited: Duration) -> ControlErrorKind {
    if postmaster.is_suspended() {
        return ControlErrorKind::Suspended(postmaster.pid());
    }
    ControlErrorKind::Timeout {
        pid: postmaster.pid(),
        waited,
        holders: postmaster.holders_of_shutdown(),
    }
}
