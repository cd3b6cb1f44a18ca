//! The life of a temporary server: stopped, started again, crashed, frozen.

use std::marker::PhantomData;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use pg_cluster::{Signal, StopPlan};
use pg_proc::{ControlData, ControlState, Found, Postmaster, Suspended};

use crate::error::{TempError, TempErrorKind, during};
use crate::temp_cluster::TempCluster;

/// The time limit of a fast shutdown.
const SHUTDOWN: Duration = Duration::from_secs(60);
/// The time limit for suspending all processes.
const FREEZE: Duration = Duration::from_secs(10);

/// A temporary server whose processes are all suspended until this value is dropped.
///
/// Clients stay connected and wait without an answer. Of the methods that stop the server, only
/// [`TempCluster::crash`] works while it is frozen.
///
/// # Cleanup
///
/// Dropping this resumes the server. If the process that made it is killed, its servers and their
/// files are removed as always: see [`TempCluster`].
#[derive(Debug)]
#[must_use = "the server is resumed when this is dropped"]
pub struct Frozen<'a> {
    _suspended: Suspended,
    _cluster: PhantomData<&'a TempCluster>,
}

impl Frozen<'_> {
    /// Resumes the server, as dropping this does.
    pub fn thaw(self) {}
}

impl TempCluster {
    /// Shuts the server down, with a checkpoint, and waits until nothing of it is left. Clients are
    /// disconnected, and open transactions are rolled back. The files stay. If no server is
    /// running, nothing is done.
    ///
    /// # Errors
    ///
    /// Fails if the server has not exited within a minute, for example because it is
    /// [frozen](Self::freeze).
    pub fn stop(&self) -> Result<(), TempError> {
        let _turn = self.take_turn();
        self.shut_down().map_err(during("stop"))
    }

    /// Starts the server after [`stop`](Self::stop) or [`crash`](Self::crash), at the same address
    /// and with all that it was started with at first. If it is running, nothing is done.
    ///
    /// # Errors
    ///
    /// Fails if the server does not start, for example because another process has taken its
    /// [loopback](crate::Listen::Loopback) port meanwhile.
    pub fn start_again(&self) -> Result<(), TempError> {
        let _turn = self.take_turn();
        self.start_server().map_err(during("start"))
    }

    /// Stops the server and starts it again: see [`stop`](Self::stop) and
    /// [`start_again`](Self::start_again).
    ///
    /// ```no_run
    /// let server = pg_fixture::TempCluster::start()?;
    /// server.cluster().settings().set("max_connections", "10")?;
    /// server.restart()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As these.
    pub fn restart(&self) -> Result<(), TempError> {
        let _turn = self.take_turn();
        self.shut_down()
            .and_then(|()| self.start_server())
            .map_err(during("restart"))
    }

    /// Kills the server and all its child processes by SIGKILL, a [frozen](Self::freeze) one too,
    /// and waits until they are gone. The next [start](Self::start_again) recovers.
    ///
    /// A temporary server has `synchronous_commit` off: transactions that were committed in the
    /// last moments may be lost, as in a real crash with this setting. Those of a session that has
    /// set it to `on` are not. `fsync` need not be on: what a process has written stays in the
    /// system's memory.
    ///
    /// # Errors
    ///
    /// Fails if a process cannot be killed.
    pub fn crash(&self) -> Result<(), TempError> {
        let _turn = self.take_turn();
        let outcome = self.cluster.kill().map_err(TempErrorKind::Stop);
        outcome.map(|_| ()).map_err(during("crash"))
    }

    /// Stops the server and all its child processes by SIGSTOP, until the returned value is
    /// dropped. To a client this looks like a machine that hangs. Works on Linux only.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = pg_fixture::TempCluster::start()?;
    /// let frozen = server.freeze()?;
    /// // ... the code under test has to run into its timeout ...
    /// frozen.thaw();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if no server is running, or not all of its processes have stopped within ten seconds.
    pub fn freeze(&self) -> Result<Frozen<'_>, TempError> {
        let freeze = || {
            let found = Postmaster::find(self.cluster.data_directory());
            match found.map_err(TempErrorKind::Find)? {
                Found::Running(postmaster) => {
                    postmaster.suspend(FREEZE).map_err(TempErrorKind::Suspend)
                }
                _ => Err(TempErrorKind::NotRunning),
            }
        };
        Ok(Frozen {
            _suspended: freeze().map_err(during("freeze"))?,
            _cluster: PhantomData,
        })
    }

    /// One change of the server's state at a time: none may start it while its files are copied.
    pub(crate) fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shut_down(&self) -> Result<(), TempErrorKind> {
        let plan = StopPlan::new(Signal::Fast, SHUTDOWN);
        let stopped = self.cluster.stop(&plan).map_err(TempErrorKind::Stop);
        stopped.map(|_| ())
    }

    pub(crate) fn start_server(&self) -> Result<(), TempErrorKind> {
        // Its sessions have ended, and the state may be one without their template.
        *self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        let started = self.cluster.start(&self.start_options);
        started.map(|_| ()).map_err(TempErrorKind::Start)
    }

    /// Shuts the server down, if it runs, so that its files are whole: with `fsync` off they are
    /// after a shutdown only. One that has crashed is started before, to recover.
    pub(crate) fn shut_down_whole(&self) -> Result<(), TempErrorKind> {
        self.shut_down()?;
        if self.is_whole()? {
            return Ok(());
        }
        self.start_server()?;
        self.shut_down()?;
        match self.is_whole()? {
            true => Ok(()),
            false => Err(TempErrorKind::NotShutDown),
        }
    }

    /// Returns whether the server of the cluster still runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.cluster.is_running().is_ok_and(|runs| runs)
    }

    fn is_whole(&self) -> Result<bool, TempErrorKind> {
        let read = ControlData::read(self.cluster.data_directory());
        let state = read.map_err(TempErrorKind::ControlData)?.state;
        Ok(matches!(
            state,
            ControlState::ShutDown | ControlState::ShutDownInRecovery
        ))
    }
}
